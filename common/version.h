/* version.h - which version of mailraft this is, the same in every program. The scripts among the
 * tools (raftcluster, raftbench, raftcompare) say it, too; a test holds them together. */
#ifndef MAILRAFT_COMMON_VERSION_H
#define MAILRAFT_COMMON_VERSION_H

#define MAILRAFT_VERSION "0.1.0"

#endif

/* member.h - raftctl member: what changes about a member. */
#ifndef MAILRAFT_TOOLS_RAFTCTL_MEMBER_H
#define MAILRAFT_TOOLS_RAFTCTL_MEMBER_H

#include "tools/raftctl/ask.h"

/* Asks the leader to readmit server raftctl->to, and says what came of it. Errors:
 * ERROR_UNAVAILABLE. Blocks. */
enum error_code member_run(struct raftctl *raftctl, struct error *error);

#endif

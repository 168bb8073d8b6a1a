/* directory.h - raftd --bootstrap, --init and --restore: makes a server's data directory, and says
 * so on standard output. What is made in which order stands at the head of storage/init.c.
 *
 * `data` is the directory's path, at most DATA_PATH_SIZE bytes with its NUL, whose missing parts
 * are made; it is as it was when these return.
 *
 * Thread: main, before anything runs. All block. */
#ifndef MAILRAFT_RAFTD_DIRECTORY_H
#define MAILRAFT_RAFTD_DIRECTORY_H

#include "server/raftd/settings.h"

enum { DATA_PATH_SIZE = 4096 };

/* The one that founds the cluster. Errors: ERROR_EXISTS, ERROR_IO, ERROR_NO_SPACE. */
WARN_UNUSED enum error_code making_bootstrap(const struct settings *settings,
                                             const struct member *self, char *data,
                                             struct error *error);

/* A blank one. The same errors, and ERROR_CONFIG (the cluster has no other server to join). */
WARN_UNUSED enum error_code making_init(const struct settings *settings, const struct member *self,
                                        char *data, struct error *error);

/* The one that founds a cluster with the state in this snapshot's file. The same errors, and
 * ERROR_MISSING, ERROR_CORRUPT, ERROR_MISMATCH: the file will not do. */
WARN_UNUSED enum error_code making_restore(const struct settings *settings,
                                           const struct member *self, char *data, const char *file,
                                           struct error *error);

#endif

/* status.h - `raftctl status`: who leads, who follows, how far behind. */
#ifndef MAILRAFT_TOOLS_RAFTCTL_STATUS_H
#define MAILRAFT_TOOLS_RAFTCTL_STATUS_H

#include "tools/raftctl/ask.h"

/* Asks, again and again if raftctl->wait, and prints. Errors: ERROR_UNAVAILABLE (no majority
 * follows a leader). Blocks. */
enum error_code status_run(struct raftctl *raftctl, struct error *error);

#endif

/* transfer.h - raftctl transfer: hands leadership to another server. */
#ifndef MAILRAFT_TOOLS_RAFTCTL_TRANSFER_H
#define MAILRAFT_TOOLS_RAFTCTL_TRANSFER_H

#include "tools/raftctl/ask.h"

/* Orders it from the leader and says who leads then. Errors: ERROR_UNAVAILABLE when there is no
 * leader, or it refuses, or the target did not take over. Blocks. */
enum error_code transfer_run(struct raftctl *raftctl, struct error *error);

#endif

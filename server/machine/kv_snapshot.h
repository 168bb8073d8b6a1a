/* kv_snapshot.h - the form of a taken state, for the two who know it: kv_snapshot.c, where it is
 * described, and kv_restore.c. */
#ifndef MAILRAFT_MACHINE_KV_SNAPSHOT_H
#define MAILRAFT_MACHINE_KV_SNAPSHOT_H

#include "server/machine/kv_store.h"

#define KV_STATE_MAGIC "kvstate1"

enum { KV_STATE_MAGIC_SIZE = 8, KV_RECORD_HEAD_SIZE = 8 };

#endif

/* model.h - a key-value store as one would explain it: what the commands that the simulated clients
 * send do, one after the other, and what their answers are.
 *
 * The judge's own: it shares no line with the machine that it is compared with. Slow and simple
 * where that one is fast. Memory is the simulator's. */
#ifndef MAILRAFT_TEST_SIM_MODEL_H
#define MAILRAFT_TEST_SIM_MODEL_H

#include "common/types.h"

struct model_item {
    u8 *key; /* NULL: a free slot */
    u32 key_size;
    u32 hash;
    u8 *value; /* NULL: the key is absent */
    u32 value_size;
};

struct model {
    struct model_item
        *items; /* hash table, a power of two; keys stay in it when they are removed */
    u32 capacity;
    u32 used;    /* slots */
    u32 present; /* keys that have a value */
};

struct model_answer {
    bool refused; /* the answer is an error, and nothing has changed */
    i64 number;   /* the answer; 0 for OK; GETDEL: the value's checksum, -1 for none */
};

void model_deinit(struct model *model);

/* Carries out a command, encoded as kv.h says: SET without options, APPEND, CAS, INCR, DEL of one
 * key, GETDEL, MSET of two, FLUSHALL. Others are not sent here. */
struct model_answer model_apply(struct model *model, const u8 *command, size_t size);

#endif

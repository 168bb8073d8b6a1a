/* tokens.h - the numbers under which a step machine knows the clients.
 *
 * A token is a place in a table and a count of its uses, so that one that is answered twice is
 * noticed at once. Thread: one at a time. */
#ifndef MAILRAFT_NODE_TOKENS_H
#define MAILRAFT_NODE_TOKENS_H

#include "server/mail/command.h"

struct token_place {
    struct command *command; /* NULL: the place is free */
    u32 uses;                /* the upper half of its token */
    u32 next_free;           /* place + 1; 0: the last one */
};

struct tokens {
    struct token_place *places;
    u32 count;
    u32 capacity;
    u32 first_free; /* place + 1; 0: none */
};

void tokens_deinit(struct tokens *tokens);

/* Keeps the command under a token, never 0. */
u64 tokens_put(struct tokens *tokens, struct command *command);
/* Takes the command out. ASSERTs that it is there: a token is answered exactly once. */
struct command *tokens_take(struct tokens *tokens, u64 token);
/* Takes out any one that is left, or NULL. */
struct command *tokens_take_any(struct tokens *tokens);

#endif

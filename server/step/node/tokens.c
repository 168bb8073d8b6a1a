/* tokens.c - see tokens.h. */
#include "server/step/node/tokens.h"

#include "common/memory.h"

enum { PLACES_MIN = 64 };

void tokens_deinit(struct tokens *tokens)
{
    memory_free(tokens->places);
    *tokens = (struct tokens){0};
}

static u32 free_place(struct tokens *tokens)
{
    if (tokens->first_free != 0) {
        u32 place = tokens->first_free - 1;
        tokens->first_free = tokens->places[place].next_free;
        return place;
    }
    if (tokens->count == tokens->capacity) {
        tokens->capacity = tokens->capacity == 0 ? PLACES_MIN : tokens->capacity * 2;
        tokens->places =
            memory_resize(tokens->places, tokens->capacity * sizeof(tokens->places[0]));
    }
    tokens->places[tokens->count] = (struct token_place){0};
    return tokens->count++;
}

u64 tokens_put(struct tokens *tokens, struct command *command)
{
    u32 at = free_place(tokens);
    struct token_place *place = &tokens->places[at];
    place->command = command;
    place->uses++;
    return (u64)place->uses << 32 | (at + 1);
}

struct command *tokens_take(struct tokens *tokens, u64 token)
{
    u32 at = (u32)token - 1;
    ASSERT(at < tokens->count);
    struct token_place *place = &tokens->places[at];
    struct command *command = place->command;
    ASSERT(command != NULL && place->uses == token >> 32);
    place->command = NULL;
    place->next_free = tokens->first_free;
    tokens->first_free = at + 1;
    return command;
}

struct command *tokens_take_any(struct tokens *tokens)
{
    for (u32 at = 0; at < tokens->count; at++) {
        const struct token_place *place = &tokens->places[at];
        if (place->command != NULL)
            return tokens_take(tokens, (u64)place->uses << 32 | (at + 1));
    }
    return NULL;
}

/* action.c - lists of actions, and messages. */
#include "server/step/action.h"

#include "common/memory.h"

enum { ACTIONS_MIN = 16 };

void step_actions_clear(struct step_actions *actions)
{
    for (u32 i = 0; i < actions->count; i++) {
        if (actions->items[i].kind == DO_SEND)
            step_message_destroy(actions->items[i].as.send.staged);
    }
    actions->count = 0;
}

void step_actions_deinit(struct step_actions *actions)
{
    step_actions_clear(actions);
    memory_free(actions->items);
    *actions = (struct step_actions){0};
}

struct step_action *step_actions_add(struct step_actions *actions, enum step_action_kind kind)
{
    if (actions->count == actions->capacity) {
        actions->capacity = actions->capacity == 0 ? ACTIONS_MIN : actions->capacity * 2;
        actions->items =
            memory_resize(actions->items, actions->capacity * sizeof(actions->items[0]));
    }
    struct step_action *action = &actions->items[actions->count++];
    *action = (struct step_action){.kind = kind};
    return action;
}

struct step_message *step_message_create(struct message *message)
{
    struct step_message *staged = memory_alloc(sizeof(*staged));
    staged->next = NULL;
    staged->store = 0;
    /* The spans behind span_count are never read. */
    memcpy(&staged->message, message,
           offsetof(struct message, spans) + message->span_count * sizeof(message->spans[0]));
    message->span_count = 0;
    return staged;
}

void step_message_destroy(struct step_message *staged)
{
    if (staged == NULL)
        return;
    message_release(&staged->message);
    memory_free(staged);
}

static const char *const words[] = {
#define X(name, word, what) [name] = (word),
    STEP_ACTIONS(X)
#undef X
};

static const char *const meanings[] = {
#define X(name, word, what) [name] = (what),
    STEP_ACTIONS(X)
#undef X
};

const char *step_action_word(enum step_action_kind kind)
{
    return words[kind];
}

const char *step_action_meaning(enum step_action_kind kind)
{
    return meanings[kind];
}

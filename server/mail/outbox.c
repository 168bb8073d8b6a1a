/* outbox.c - two lists of staged messages: those that may go before the sync, and all others. */
#include "server/mail/outbox.h"

#include "common/memory.h"

struct outbox_item {
    struct outbox_item *next;
    struct message message;
};

void outbox_init(struct outbox *outbox)
{
    memset(outbox, 0, sizeof(*outbox));
}

static void drop_items(struct outbox_item *item)
{
    while (item != NULL) {
        struct outbox_item *next = item->next;
        message_release(&item->message);
        memory_free(item);
        item = next;
    }
}

void outbox_deinit(struct outbox *outbox)
{
    drop_items(outbox->first_early);
    drop_items(outbox->first);
    memset(outbox, 0, sizeof(*outbox));
}

static void put_item(struct outbox_item **first, struct outbox_item **last, struct message *message)
{
    struct outbox_item *item = memory_alloc(sizeof(*item));
    item->next = NULL;
    item->message = *message;
    message->span_count = 0; /* the references are the outbox's now */
    if (*last == NULL)
        *first = item;
    else
        (*last)->next = item;
    *last = item;
}

void outbox_put(struct outbox *outbox, struct message *message)
{
    put_item(&outbox->first, &outbox->last, message);
}

void outbox_put_early(struct outbox *outbox, struct message *message)
{
    /* Anything else would be a promise before the disk. */
    ASSERT(message->kind == MESSAGE_APPEND_ENTRIES || message->kind == MESSAGE_INSTALL_SNAPSHOT ||
           message->kind == MESSAGE_FORWARD_REPLY || message->kind == MESSAGE_TIMEOUT_NOW);
    put_item(&outbox->first_early, &outbox->last_early, message);
}

/* Sends a list that is no longer the outbox's: what is staged meanwhile, by unsent_forward for
 * one, waits for the next flush as it must. */
static void send_items(struct outbox *outbox, struct outbox_item *item, struct transport *transport)
{
    while (item != NULL) {
        struct outbox_item *next = item->next;
        enum message_kind kind = item->message.kind;
        u64 call = item->message.call;
        bool sent = transport->ops->send(transport, &item->message);
        memory_free(item);
        if (!sent && kind == MESSAGE_FORWARD && outbox->unsent_forward != NULL)
            outbox->unsent_forward(outbox->context, call);
        item = next;
    }
}

void outbox_send_early(struct outbox *outbox, struct transport *transport)
{
    struct outbox_item *early = outbox->first_early;
    outbox->first_early = outbox->last_early = NULL;
    send_items(outbox, early, transport);
}

void outbox_send_all(struct outbox *outbox, struct transport *transport)
{
    struct outbox_item *others = outbox->first;
    outbox->first = outbox->last = NULL;
    outbox_send_early(outbox, transport);
    send_items(outbox, others, transport);
}

bool outbox_is_empty(const struct outbox *outbox)
{
    return outbox->first_early == NULL && outbox->first == NULL;
}

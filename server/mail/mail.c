/* mail.c - messages and piles of them. */
#include "server/mail/mail.h"

#include "common/memory.h"

struct mail *mail_create(enum mail_kind kind)
{
    struct mail *mail = memory_alloc_zero(1, sizeof(*mail));
    mail->kind = kind;
    if (mail_is_message(mail))
        mail->as.message.kind = (enum message_kind)kind;
    return mail;
}

void mail_destroy(struct mail *mail)
{
    if (mail_is_message(mail))
        message_release(&mail->as.message);
    else if (mail->kind == MAIL_COMMANDS)
        command_list_fail(&mail->as.commands, COMMAND_STOPPING);
    else if (mail->kind == MAIL_ENTRIES_READ)
        span_release(&mail->as.read.records);
    else if (mail->kind == MAIL_PIECE_READ)
        span_release(&mail->as.piece.piece);
    memory_free(mail);
}

bool mail_is_message(const struct mail *mail)
{
    return (u32)mail->kind < MESSAGE_KIND_END && (u32)mail->kind > MESSAGE_NONE;
}

u64 mail_weigh(const struct mail *mail)
{
    u64 size = sizeof(*mail);
    if (mail_is_message(mail))
        size += message_payload_size(&mail->as.message);
    else if (mail->kind == MAIL_COMMANDS)
        size += mail->as.commands.bytes + mail->as.commands.count * sizeof(struct command);
    else if (mail->kind == MAIL_ENTRIES_READ)
        size += mail->as.read.records.size;
    else if (mail->kind == MAIL_PIECE_READ)
        size += mail->as.piece.piece.size;
    return size;
}

const char *mail_kind_word(enum mail_kind kind)
{
    switch (kind) {
    case MAIL_PRE_VOTE:
    case MAIL_PRE_VOTE_REPLY:
    case MAIL_REQUEST_VOTE:
    case MAIL_REQUEST_VOTE_REPLY:
    case MAIL_APPEND_ENTRIES:
    case MAIL_APPEND_ENTRIES_REPLY:
    case MAIL_FORWARD:
    case MAIL_FORWARD_REPLY:
    case MAIL_TIMEOUT_NOW:
    case MAIL_UNRECOGNISED:
    case MAIL_INSTALL_SNAPSHOT:
    case MAIL_INSTALL_SNAPSHOT_REPLY:
        return message_kind_word((enum message_kind)kind);
    case MAIL_COMMANDS:
        return "commands";
    case MAIL_MET:
        return "met";
    case MAIL_JOIN:
        return "join";
    case MAIL_CONNECTED:
        return "connected";
    case MAIL_ROOM:
        return "room";
    case MAIL_DISCONNECTED:
        return "disconnected";
    case MAIL_ENTRIES_READ:
        return "entries-read";
    case MAIL_PIECE_READ:
        return "piece-read";
    case MAIL_SNAPSHOT:
        return "snapshot-news";
    case MAIL_CAMPAIGN:
        return "campaign";
    case MAIL_ELECTION_TIMEOUT:
        return "election-timeout";
    case MAIL_STOP:
        return "stop";
    }
    return "unknown";
}

bool mail_post(struct mail_slot *slot, struct mail *mail)
{
    return slot->ops->post(slot, mail);
}

bool mail_try_post(struct mail_slot *slot, struct mail *mail)
{
    return slot->ops->try_post(slot, mail);
}

struct mail *mail_pile_take(struct mail_pile *pile)
{
    struct mail *mail = pile->first;
    if (mail == NULL)
        return NULL;
    pile->first = mail->next;
    if (pile->first == NULL)
        pile->last = NULL;
    mail->next = NULL;
    return mail;
}

void mail_pile_put(struct mail_pile *pile, struct mail *mail)
{
    ASSERT(mail->next == NULL);
    if (pile->last == NULL)
        pile->first = mail;
    else
        pile->last->next = mail;
    pile->last = mail;
}

void mail_pile_put_back(struct mail_pile *pile, struct mail *mail)
{
    ASSERT(mail->next == NULL);
    mail->next = pile->first;
    pile->first = mail;
    if (pile->last == NULL)
        pile->last = mail;
}

void mail_pile_move(struct mail_pile *to, struct mail_pile *from)
{
    if (from->first == NULL)
        return;
    if (to->last == NULL)
        to->first = from->first;
    else
        to->last->next = from->first;
    to->last = from->last;
    *from = (struct mail_pile){0};
}

void mail_pile_clear(struct mail_pile *pile)
{
    struct mail *mail;
    while ((mail = mail_pile_take(pile)) != NULL)
        mail_destroy(mail);
}

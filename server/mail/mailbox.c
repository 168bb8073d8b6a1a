/* mailbox.c - see mailbox.h.
 *
 * One mutex guards a list, two sums and three flags, and is held for a few instructions only:
 * messages are weighed before it is taken and destroyed after it is given back. Emptying the box
 * splices its list, however long it is, and the sums fall to zero; so posters wait for the disk
 * behind the reader, never for its sorting.
 *
 * A poster wakes the reader only if the reader sleeps, and says so by clearing `reader_sleeps`: of
 * a hundred messages that come while it wakes up, one costs a system call. */
#include "server/mail/mailbox.h"

#include "common/clock.h"

enum budget { BUDGET_NONE, BUDGET_PEER, BUDGET_CLIENT };

static bool slot_post(struct mail_slot *slot, struct mail *mail)
{
    return mailbox_post(CONTAINER_OF(slot, struct mailbox, slot), mail);
}

static bool slot_try_post(struct mail_slot *slot, struct mail *mail)
{
    return mailbox_try_post(CONTAINER_OF(slot, struct mailbox, slot), mail);
}

static const struct mail_slot_ops slot_ops = {.post = slot_post, .try_post = slot_try_post};

void mailbox_init(struct mailbox *mailbox, u64 peer_bytes_max, u64 client_bytes_max)
{
    memset(mailbox, 0, sizeof(*mailbox));
    mailbox->slot.ops = &slot_ops;
    mutex_init(&mailbox->lock);
    condition_init(&mailbox->arrived);
    condition_init(&mailbox->room);
    mailbox->peer_bytes_max = peer_bytes_max;
    mailbox->client_bytes_max = client_bytes_max;
}

void mailbox_deinit(struct mailbox *mailbox)
{
    ASSERT(mailbox->posters_waiting == 0 && !mailbox->reader_sleeps);
    mail_pile_clear(&mailbox->backlog);
    mail_pile_clear(&mailbox->pile);
    condition_deinit(&mailbox->room);
    condition_deinit(&mailbox->arrived);
    mutex_deinit(&mailbox->lock);
}

static enum budget budget_of(const struct mail *mail)
{
    if (mail_is_message(mail))
        return BUDGET_PEER;
    return mail->kind == MAIL_COMMANDS ? BUDGET_CLIENT : BUDGET_NONE;
}

/* Whether the message's budget has room for it. A message that is larger than the whole budget goes
 * into an empty one, else it could never be posted. */
static bool has_room_locked(struct mailbox *mailbox, enum budget budget, u64 size)
{
    mutex_assert_held(&mailbox->lock);
    switch (budget) {
    case BUDGET_PEER:
        return mailbox->peer_bytes == 0 || mailbox->peer_bytes + size <= mailbox->peer_bytes_max;
    case BUDGET_CLIENT:
        return mailbox->client_bytes == 0 ||
               mailbox->client_bytes + size <= mailbox->client_bytes_max;
    case BUDGET_NONE:
        break;
    }
    return true;
}

/* Puts the message in. Returns whether the reader sleeps and is to be woken by the caller. */
static bool put_locked(struct mailbox *mailbox, enum budget budget, struct mail *mail)
{
    mutex_assert_held(&mailbox->lock);
    if (budget == BUDGET_PEER)
        mailbox->peer_bytes += mail->size;
    else if (budget == BUDGET_CLIENT)
        mailbox->client_bytes += mail->size;
    mail_pile_put(&mailbox->pile, mail);

    bool wake = mailbox->reader_sleeps;
    mailbox->reader_sleeps = false;
    return wake;
}

bool mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    enum budget budget = budget_of(mail);
    mail->size = mail_weigh(mail);

    mutex_lock(&mailbox->lock);
    while (!mailbox->closed && !has_room_locked(mailbox, budget, mail->size)) {
        mailbox->posters_waiting++;
        condition_wait(&mailbox->room, &mailbox->lock);
        mailbox->posters_waiting--;
    }
    bool posted = !mailbox->closed;
    bool wake = posted && put_locked(mailbox, budget, mail);
    mutex_unlock(&mailbox->lock);

    if (wake)
        condition_signal(&mailbox->arrived);
    if (!posted)
        mail_destroy(mail);
    return posted;
}

bool mailbox_try_post(struct mailbox *mailbox, struct mail *mail)
{
    enum budget budget = budget_of(mail);
    mail->size = mail_weigh(mail);

    mutex_lock(&mailbox->lock);
    bool posted = !mailbox->closed && has_room_locked(mailbox, budget, mail->size);
    bool wake = posted && put_locked(mailbox, budget, mail);
    mutex_unlock(&mailbox->lock);

    if (wake)
        condition_signal(&mailbox->arrived);
    return posted;
}

/* Takes all that is in the box, in the order in which it came. */
static void empty_box(struct mailbox *mailbox, const struct mail_pile *pile, u64 deadline_ns)
{
    mutex_lock(&mailbox->lock);
    bool in_time = true;
    while (in_time && mail_pile_is_empty(pile) && mail_pile_is_empty(&mailbox->pile) &&
           !mailbox->closed) {
        mailbox->reader_sleeps = true;
        in_time = condition_wait_until(&mailbox->arrived, &mailbox->lock, deadline_ns);
    }
    mailbox->reader_sleeps = false;

    /* The clock is read while nobody can post: what came before that is in the box. */
    mailbox->emptied_ns = clock_monotonic_ns();
    mail_pile_move(&mailbox->backlog, &mailbox->pile);
    mailbox->peer_bytes = 0;
    mailbox->client_bytes = 0;
    bool wake = mailbox->posters_waiting > 0;
    mutex_unlock(&mailbox->lock);

    if (wake)
        condition_broadcast(&mailbox->room);
}

u64 mailbox_collect(struct mailbox *mailbox, struct mail_pile *pile, u64 bytes_max, u64 deadline_ns)
{
    /* Not while there is a backlog: with the box it would hold more than the budgets allow. */
    if (mail_pile_is_empty(&mailbox->backlog))
        empty_box(mailbox, pile, deadline_ns);
    struct mail *mail;
    u64 bytes = 0;
    while ((bytes == 0 || bytes < bytes_max) &&
           (mail = mail_pile_take(&mailbox->backlog)) != NULL) {
        bytes += mail->size;
        mail_pile_put(pile, mail);
    }
    if (mail_pile_is_empty(&mailbox->backlog))
        mailbox->heard_ns = mailbox->emptied_ns;
    return mailbox->heard_ns;
}

void mailbox_close(struct mailbox *mailbox)
{
    mutex_lock(&mailbox->lock);
    mailbox->closed = true;
    mailbox->reader_sleeps = false;
    mutex_unlock(&mailbox->lock);

    condition_broadcast(&mailbox->arrived);
    condition_broadcast(&mailbox->room);
}

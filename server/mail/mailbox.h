/* mailbox.h - any thread hands mail to the server thread.
 *
 * It hides the lock, the wake-up and the bounds. It knows nothing of Raft. Many post, one collects:
 * the whole content in one go, but where that is more than one round should deal with. Peers' and
 * clients' mail have budgets in bytes of their own, so that a flood of commands cannot keep Raft's
 * messages out. Mail of neither (connections, jobs, stop) is not counted and always goes in.
 *
 * A pile that is too large would keep its reader from saying anything to anybody until all of it
 * has been written, synced and applied: a leader's heartbeats fail, and it loses its office for
 * being busy. So what is too much is taken out of the box, but handed to the reader in batches.
 *
 * Order: mail of one poster is read in the order in which it was posted. */
#ifndef MAILRAFT_MAIL_MAILBOX_H
#define MAILRAFT_MAIL_MAILBOX_H

#include "common/sync.h"
#include "server/mail/mail.h"

struct mailbox {
    struct mail_slot slot; /* posts through it end up here */
    struct mutex lock;
    struct condition arrived; /* signalled only when the reader sleeps */
    struct condition room;    /* somebody waits in mailbox_post, and the box was emptied */
    struct mail_pile pile;    /* Guarded by lock, as all below. */
    u64 peer_bytes;
    u64 peer_bytes_max;
    u64 client_bytes;
    u64 client_bytes_max;
    u32 posters_waiting;
    bool reader_sleeps;
    bool closed;
    struct mail_pile backlog; /* The reader's, as all below: taken out, and not yet on its pile. */
    u64 emptied_ns;           /* when the box was emptied last */
    u64 heard_ns;             /* all that was posted until then has been handed out */
};

void mailbox_init(struct mailbox *mailbox, u64 peer_bytes_max, u64 client_bytes_max);
/* Destroys what mail is left. Nobody may be inside any more. */
void mailbox_deinit(struct mailbox *mailbox);

/* Posts mail, waiting while its budget is full. One message always fits into an empty box. Consumes
 * the mail; when the mailbox is closed it is destroyed, and the answer is false.
 * Thread: any but the reader's. Blocks. */
bool mailbox_post(struct mailbox *mailbox, struct mail *mail);

/* As mailbox_post, but never waits: when the budget is full or the mailbox closed it returns false,
 * and the mail is still the caller's. Thread: any. */
WARN_UNUSED bool mailbox_try_post(struct mailbox *mailbox, struct mail *mail);

/* Waits until there is mail, or clock_monotonic_ns() has reached `deadline_ns`, or the mailbox is
 * closed, but not at all while `pile` holds mail that was left on it, or the last batch was not
 * all; then moves mail under `pile`: a batch, one message at least, that ends with the message
 * which makes it `bytes_max` (as mail_weigh weighs them).
 *
 * Returns the instant until which the reader has all mail, on its clock: everything that was posted
 * before it is on the pile now or has been collected earlier. Only when that has been read without
 * effect may the caller act on a deadline that is not later. The instant never goes back, and is
 * late by no more than what lies in the box. Thread: the one reader. Blocks. */
u64 mailbox_collect(struct mailbox *mailbox, struct mail_pile *pile, u64 bytes_max,
                    u64 deadline_ns);

/* From now on nothing goes in; who waits in mailbox_post is let go. What is inside can still be
 * collected. Thread: any. */
void mailbox_close(struct mailbox *mailbox);

#endif

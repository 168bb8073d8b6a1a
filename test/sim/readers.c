/* readers.c - mail's way into a server.
 *
 * A server with a mailbox takes mail at any moment, and the world posts it as it arrives. In the
 * dispatch design posting is handling, under a lock that is held while the disk works: whoever
 * posts must be a thread that can wait. There each peer has a reader, as it has in production. */
#include "server/server.h"
#include "test/sim/inside.h"

struct mail *sim_mail_begin(struct sim_server *server, enum mail_kind kind, struct process **before)
{
    *before = process_enter(&server->cluster->world, server->process);
    return mail_create(kind);
}

bool sim_mail_post(struct sim_server *server, struct mail *mail, server_id source,
                   struct process *before)
{
    struct reader *reader = &server->readers[source];
    bool posted = true;
    if (reader->coroutine == NULL) {
        struct mail head =
            *mail; /* of which nothing is borrowed but its kind, and a message's term */
        posted = mail_try_post(server_slot(server->server), mail);
        if (posted)
            checks_delivered(server->cluster, server, &head);
        if (!posted)
            mail_destroy(mail);
    } else {
        mail->next = NULL;
        if (reader->last != NULL)
            reader->last->next = mail;
        else
            reader->first = mail;
        reader->last = mail;
        if (reader->idle)
            coroutine_wake(reader->coroutine);
    }
    (void)process_enter(&server->cluster->world, before);
    return posted;
}

static struct mail *reader_take(struct reader *reader)
{
    struct mail *mail = reader->first;
    if (mail != NULL)
        reader->first = mail->next;
    if (reader->first == NULL)
        reader->last = NULL;
    return mail;
}

static void reader_main(void *argument)
{
    struct reader *reader = argument;
    struct sim_server *server = reader->server;
    while (!server->readers_stop) {
        struct mail *mail = reader_take(reader);
        if (mail != NULL) {
            checks_delivered(server->cluster, server, mail);
            /* The first is the clients', who get no thread of the server's to wait with. */
            if (reader != &server->readers[SERVER_NONE])
                (void)mail_post(server_slot(server->server), mail);
            else if (!mail_try_post(server_slot(server->server), mail))
                mail_destroy(mail);
            continue;
        }
        reader->idle = true;
        (void)coroutine_wait(&server->cluster->world, TIME_NEVER);
        reader->idle = false;
    }
}

void readers_start(struct sim_server *server)
{
    readers_forget(server);
    if (server->design != CLUSTER_DISPATCH)
        return;
    for (server_id source = 0; source <= server->cluster->count; source++) {
        struct reader *reader = &server->readers[source];
        reader->server = server;
        if (source != server->id)
            reader->coroutine = coroutine_start(server->process, reader_main, reader);
    }
}

void readers_stop(struct sim_server *server)
{
    struct world *world = &server->cluster->world;
    server->readers_stop = true;
    for (server_id source = 0; source <= server->cluster->count; source++) {
        struct reader *reader = &server->readers[source];
        if (reader->coroutine == NULL)
            continue;
        if (reader->idle)
            coroutine_wake(reader->coroutine);
        reader->coroutine->joiner = world->running;
        while (reader->coroutine->state != COROUTINE_ENDED)
            (void)coroutine_wait(world, TIME_NEVER);
        coroutine_free(reader->coroutine);
        reader->coroutine = NULL;
        struct mail *mail;
        while ((mail = reader_take(reader)) != NULL)
            mail_destroy(mail);
    }
}

void readers_forget(struct sim_server *server)
{
    server->readers_stop = false;
    for (server_id source = 0; source <= server->cluster->count; source++)
        server->readers[source] = (struct reader){0};
}

/* round.c - see round.h. */
#include "server/replica/round.h"

#include "common/clock.h"
#include "server/replica/events.h"
#include "server/replica/loop_time.h"

static struct loop_time_clocks read_clocks(const struct server *server)
{
    return (struct loop_time_clocks){
        .now_ns = clock_monotonic_ns(),
        .waited_ns = storage_timing(server->storage)->waited_ns,
        .thread = thread_self(),
        .thread_ns = clock_thread_ns,
    };
}

/* For as long as a round lasts, whatever makes it long, this thread answers nobody. */
static void tell_busy(struct server *server, bool begins)
{
    if (server->transport != NULL && server->transport->ops->busy != NULL)
        server->transport->ops->busy(server->transport, begins);
}

u64 server_begin_round(struct server *server)
{
    struct loop_time_clocks clocks = read_clocks(server);
    if (server->loop_time.began_ns == 0)
        tell_busy(server, true);
    server->pile_wall_ns = clock_wall_ns();
    loop_time_begin(&server->loop_time, &clocks);
    liveness_begin_round(&server->liveness, server->loop_time.began_ns);
    return clocks.now_ns;
}

void server_pause_round(struct server *server)
{
    struct loop_time_clocks clocks = read_clocks(server);
    loop_time_pause(&server->loop_time, &clocks);
}

void server_end_round(struct server *server)
{
    struct loop_time_clocks clocks = read_clocks(server);
    tell_busy(server, false);
    loop_time_end(&server->loop_time, &clocks);
    liveness_end_round(&server->liveness);
}

u64 server_collect(struct server *server, u64 deadline_ns, u64 *now_ns)
{
    server_end_round(server);
    /* Between two batches of what is to be applied there is only a look into the mailbox. */
    if (server->raft.last_applied < server->raft.commit_index)
        deadline_ns = 0;
    u64 heard_ns =
        mailbox_collect(&server->mailbox, &server->pile, server->raft.round_bytes_max, deadline_ns);
    *now_ns = server_begin_round(server);
    return heard_ns;
}

/* Each write has its place in this server's stream from here on, wherever it waits and goes. */
static void number_commands(struct server *server, struct command_list *commands)
{
    for (struct command *command = commands->first; command != NULL; command = command->next) {
        if (command->class == COMMAND_WRITE)
            server->write_serial++;
        command->serial = server->write_serial;
    }
}

void server_open_mail(struct server *server, struct mail *mail)
{
    if (mail_is_message(mail) && !mail->opened)
        events_received(&server->events, &mail->as.message);
    if (mail->kind == MAIL_COMMANDS && !mail->opened)
        number_commands(server, &mail->as.commands);
    mail->opened = true;
}

struct mail *server_next_mail(struct server *server)
{
    if (server->in_hand != NULL)
        mail_destroy(server->in_hand);
    server->in_hand = mail_pile_take(&server->pile);
    if (server->in_hand != NULL)
        server_open_mail(server, server->in_hand);
    return server->in_hand;
}

void server_put_back(struct server *server)
{
    mail_pile_put_back(&server->pile, server->in_hand);
    server->in_hand = NULL;
}

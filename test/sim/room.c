/* room.c - how many bytes of answers to forwarded reads a way takes at a time: very few, so that
 * reads wait for room often, in all designs. Nothing is lost for want of it. */
#include "test/sim/inside.h"

enum {
    ANSWERS_AT_ONCE = 8,       /* bytes; one answer may go beyond */
    ANSWERS_LEAVE_NS = 1000000 /* then they have left the way */
};

static void answers_leave(struct link *link)
{
    u64 now_ns = link->cluster->world.now_ns;
    if (now_ns < link->answers_since_ns + ANSWERS_LEAVE_NS)
        return;
    link->answers_since_ns = now_ns;
    link->answer_bytes = 0;
}

void room_take(struct link *link, u64 size)
{
    answers_leave(link);
    link->answer_bytes += size;
}

static void tell_room(void *object, u64 argument)
{
    (void)argument;
    struct link *link = object;
    struct sim_server *server = &link->cluster->servers[link->from];
    link->room_awaited = false;
    if (server->server == NULL)
        return;
    struct process *before;
    struct mail *mail = sim_mail_begin(server, MAIL_ROOM, &before);
    mail->as.peer = link->to;
    (void)sim_mail_post(server, mail, link->to, before);
}

u64 room_left(struct transport *transport, server_id to)
{
    struct sim_server *server = CONTAINER_OF(transport, struct sim_server, transport);
    struct link *link = cluster_link(server->cluster, server->id, to);
    answers_leave(link);
    u64 room = ANSWERS_AT_ONCE - u64_min(ANSWERS_AT_ONCE, link->answer_bytes);
    if (room == 0 && !link->room_awaited) {
        link->room_awaited = true;
        world_at(&server->cluster->world, link->answers_since_ns + ANSWERS_LEAVE_NS, tell_room,
                 link, 0);
    }
    return room;
}

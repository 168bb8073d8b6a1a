/* way_back.c - see way_back.h. */
#include "server/requests/way_back.h"

void ways_back_begin(struct ways_back *ways)
{
    for (u32 i = 0; i < ways->count; i++)
        ways->ways[i].asked = false;
    ways->turn++;
}

static struct way_back *find(struct ways_back *ways, server_id taker)
{
    for (u32 i = 0; i < ways->count; i++) {
        if (ways->ways[i].taker == taker)
            return &ways->ways[i];
    }
    return NULL;
}

/* NULL: there is no place for another server. Only members' commands are taken, and there are no
 * more of them. */
static struct way_back *find_or_add(struct ways_back *ways, server_id taker)
{
    struct way_back *way = find(ways, taker);
    if (way != NULL || ways->count == ARRAY_LENGTH(ways->ways))
        return way;
    way = &ways->ways[ways->count++];
    *way = (struct way_back){.taker = taker};
    return way;
}

static bool has_room(struct way_back *way, struct transport *transport)
{
    if (!way->asked) {
        way->room =
            transport->ops->room != NULL ? transport->ops->room(transport, way->taker) : UINT64_MAX;
        way->full = way->room == 0;
        way->asked = true;
    }
    return way->room > 0;
}

bool ways_back_open(struct ways_back *ways, struct transport *transport, struct command *read)
{
    if (!read->forwarded)
        return true;
    struct way_back *way = find_or_add(ways, read->taker);
    if (way == NULL || (way->waiting.first == NULL && has_room(way, transport)))
        return true;
    command_list_put(&way->waiting, read);
    return false;
}

struct command *ways_back_next(struct ways_back *ways, struct transport *transport)
{
    for (u32 i = 0; i < ways->count; i++) {
        struct way_back *way = &ways->ways[(ways->turn + i) % ways->count];
        if (way->waiting.first != NULL && has_room(way, transport))
            return command_list_take(&way->waiting);
    }
    return NULL;
}

void ways_back_answered(struct ways_back *ways, server_id taker, u64 size)
{
    struct way_back *way = find(ways, taker);
    if (way != NULL)
        way->room -= u64_min(way->room, size);
}

bool ways_back_left(const struct ways_back *ways)
{
    for (u32 i = 0; i < ways->count; i++) {
        const struct way_back *way = &ways->ways[i];
        if (way->waiting.first != NULL && (!way->asked || !way->full))
            return true;
    }
    return false;
}

u32 ways_back_waiting(const struct ways_back *ways)
{
    u32 count = 0;
    for (u32 i = 0; i < ways->count; i++)
        count += ways->ways[i].waiting.count;
    return count;
}

struct command *ways_back_take(struct ways_back *ways)
{
    for (u32 i = 0; i < ways->count; i++) {
        struct command *command = command_list_take(&ways->ways[i].waiting);
        if (command != NULL)
            return command;
    }
    return NULL;
}

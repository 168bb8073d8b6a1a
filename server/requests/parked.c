/* parked.c - see parked.h. */
#include "server/requests/parked.h"

void parked_put(struct command_list *parked, struct command *command)
{
    struct command_list one = {0};
    command_list_put(&one, command);
    command_list_merge(parked, &one);
}

u64 parked_until_ns(const struct command_list *parked, u64 wait_ns)
{
    return parked->first != NULL ? parked->first->arrived_ns + wait_ns : UINT64_MAX;
}

struct command *parked_expired(struct command_list *parked, u64 wait_ns, u64 now_ns)
{
    return parked_until_ns(parked, wait_ns) <= now_ns ? command_list_take(parked) : NULL;
}

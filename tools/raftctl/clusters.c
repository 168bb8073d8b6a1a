/* clusters.c - see clusters.h. */
#include "tools/raftctl/clusters.h"

#include <stdio.h>
#include <string.h>

/* "" when it does not say, belongs to none yet, or to one of before there were incarnations. */
static const char *incarnation_of(const struct target *target, char value[WORD_SIZE])
{
    value[0] = '\0';
    if (target_is_valid(target))
        (void)info_value(target, "raft_incarnation", value);
    if (strspn(value, "0") == strlen(value))
        value[0] = '\0';
    return value;
}

bool clusters_differ(const struct target *a, const struct target *b)
{
    char of_a[WORD_SIZE], of_b[WORD_SIZE];
    return incarnation_of(a, of_a)[0] != '\0' && incarnation_of(b, of_b)[0] != '\0' &&
           strcmp(of_a, of_b) != 0;
}

/* Whether no target before this one belongs to its cluster. */
static bool is_first(const struct raftctl *raftctl, u32 place)
{
    char value[WORD_SIZE], other[WORD_SIZE];
    if (incarnation_of(&raftctl->targets[place], value)[0] == '\0')
        return false;
    for (u32 i = 0; i < place; i++) {
        if (strcmp(incarnation_of(&raftctl->targets[i], other), value) == 0)
            return false;
    }
    return true;
}

u32 clusters_count(const struct raftctl *raftctl)
{
    u32 count = 0;
    for (u32 i = 0; i < raftctl->target_count; i++)
        count += is_first(raftctl, i);
    return count;
}

static void print_one(const struct raftctl *raftctl, const struct target *first)
{
    char value[WORD_SIZE], other[WORD_SIZE];
    const char *comma = "";
    printf("  cluster %s: server", incarnation_of(first, value));
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *target = &raftctl->targets[i];
        if (strcmp(incarnation_of(target, other), value) != 0)
            continue;
        printf("%s %u%s", comma, target->answered_id,
               strcmp(target->state, "leader") == 0 ? " (leads)" : "");
        comma = ",";
    }
    printf("\n");
}

void clusters_print(const struct raftctl *raftctl)
{
    printf("\n%u CLUSTERS are here under one name, and refuse each other:\n",
           clusters_count(raftctl));
    for (u32 i = 0; i < raftctl->target_count; i++) {
        if (is_first(raftctl, i))
            print_one(raftctl, &raftctl->targets[i]);
    }
    printf("Decide which one is yours; end the servers of the other, and put their own directories "
           "back, or make them new ones with raftd --init.\n");
}

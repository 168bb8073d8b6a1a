/* limits.c - see limits.h. */
#include "server/mail/limits.h"

#include <inttypes.h>
#include <string.h>

enum limit { LIMIT_COMMAND, LIMIT_KEY, LIMIT_VALUE };

static const char *const keys[LIMITS_AGREED] = {
    [LIMIT_COMMAND] = "client-input-bytes",
    [LIMIT_KEY] = "max-key-bytes",
    [LIMIT_VALUE] = "max-value-bytes",
};

static u64 limit_of(const struct member_limits *limits, enum limit which)
{
    switch (which) {
    case LIMIT_COMMAND:
        return limits->command_bytes;
    case LIMIT_KEY:
        return limits->key_bytes;
    case LIMIT_VALUE:
        return limits->value_bytes;
    }
    UNREACHABLE();
}

void limits_init(struct limits *limits, const struct member_limits *own)
{
    memset(limits, 0, sizeof(*limits));
    limits->own = *own;
    for (u32 i = 0; i < LIMITS_AGREED; i++)
        atomic_init(&limits->agreed[i], limit_of(own, (enum limit)i));
    atomic_init(&limits->wide, false);
    mutex_init(&limits->lock);
}

void limits_deinit(struct limits *limits)
{
    mutex_deinit(&limits->lock);
}

/* Notes what was told. Returns false when that is nothing new. */
static bool note_locked(struct limits *limits, server_id other, const struct member_limits *told)
{
    u32 at = 0;
    while (at < limits->count && limits->others[at] != other)
        at++;
    if (at == SERVERS_MAX)
        return false; /* more have come and gone than a cluster has members */
    if (at == limits->count)
        limits->others[limits->count++] = other;
    else if (memcmp(&limits->told[at], told, sizeof(*told)) == 0)
        return false;
    limits->told[at] = *told;
    return true;
}

static void agree_locked(struct limits *limits)
{
    for (u32 which = 0; which < LIMITS_AGREED; which++) {
        u64 smallest = limit_of(&limits->own, (enum limit)which);
        for (u32 i = 0; i < limits->count; i++) {
            u64 told = limit_of(&limits->told[i], (enum limit)which);
            if (told != 0)
                smallest = u64_min(smallest, told);
        }
        atomic_store_explicit(&limits->agreed[which], smallest, memory_order_relaxed);
    }
}

void limits_learn(struct limits *limits, server_id other, const struct member_limits *told,
                  struct report *report)
{
    mutex_lock(&limits->lock);
    bool news = note_locked(limits, other, told);
    if (news)
        agree_locked(limits);
    mutex_unlock(&limits->lock);
    for (u32 i = 0; news && i < LIMITS_AGREED; i++) {
        u64 own = limit_of(&limits->own, (enum limit)i);
        u64 its = limit_of(told, (enum limit)i);
        if (its != 0 && its != own)
            REPORT(report, REPORT_WARN, "server",
                   "%s is %" PRIu64 " here, and %" PRIu64 " at server %" PRIu32
                   ": the smaller one holds for clients of both; give all servers the same",
                   keys[i], own, its, other);
    }
}

void limits_allow_wide(struct limits *limits)
{
    atomic_store_explicit(&limits->wide, true, memory_order_relaxed);
}

u64 limits_arguments(const struct limits *limits)
{
    bool wide = atomic_load_explicit(&limits->wide, memory_order_relaxed);
    return wide ? UINT32_MAX : LIMITS_ARGUMENTS_OLD + 1;
}

u64 limits_command_bytes(const struct limits *limits)
{
    return atomic_load_explicit(&limits->agreed[LIMIT_COMMAND], memory_order_relaxed);
}

u64 limits_key_bytes(const struct limits *limits)
{
    return atomic_load_explicit(&limits->agreed[LIMIT_KEY], memory_order_relaxed);
}

u64 limits_value_bytes(const struct limits *limits)
{
    return atomic_load_explicit(&limits->agreed[LIMIT_VALUE], memory_order_relaxed);
}

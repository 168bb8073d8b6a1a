/* fuzz_configuration.c - the members, as entries and snapshots hold them (rules/configuration.h).
 */
#include "server/rules/configuration.h"

#include "test/fuzz/fuzz.h"

/* Members are there once, in order, and with text for addresses; the sets name no others. */
static void check_sound(const struct configuration *configuration)
{
    member_set all = configuration->count == SERVERS_MAX
                         ? ~(member_set)0
                         : ((member_set)1 << configuration->count) - 1;
    ASSERT(configuration->count <= SERVERS_MAX);
    ASSERT((configuration->voters & ~all) == 0 && (configuration->voters_old & ~all) == 0);
    for (u32 i = 0; i < configuration->count; i++) {
        const struct member *member = &configuration->members[i];
        ASSERT(configuration_position(configuration, member->id) == (int)i);
        ASSERT(memchr(member->peer_address, '\0', ADDRESS_SIZE) != NULL);
        ASSERT(memchr(member->client_address, '\0', ADDRESS_SIZE) != NULL);
    }
    ASSERT(quorum(configuration, all) == (configuration->voters != 0));
    ASSERT(!quorum(configuration, 0));
}

static void run(const u8 *data, size_t size)
{
    struct configuration configuration;
    struct error error;
    if (configuration_decode(data, size, 7, &configuration, &error) != ERROR_NONE) {
        ASSERT(error.code == ERROR_FORMAT);
        return;
    }
    ASSERT(configuration.index == 7);
    check_sound(&configuration);
    struct buffer again;
    buffer_init(&again);
    configuration_encode(&configuration, &again);
    ASSERT(again.size == size && memcmp(again.data, data, size) == 0);
    buffer_deinit(&again);
}

const struct fuzz_target fuzz_configuration = {
    .name = "configuration", .input_max = 4096, .run = run, .memory_base = 256, .memory_each = 8};

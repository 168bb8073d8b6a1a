/* founded_server.h - server 1 of a cluster of three, before its first start: its disk in memory,
 * and options with which nothing happens by itself. */
#ifndef MAILRAFT_TEST_UNIT_FOUNDED_SERVER_H
#define MAILRAFT_TEST_UNIT_FOUNDED_SERVER_H

#include "server/server.h"
#include "test/unit/memory_vfs.h"
#include "test/unit/rules_unit.h"

UNIT_HELPER struct server_options founded_options(enum server_design design)
{
    return (struct server_options){.design = design,
                                   .election_timeout_ns_min = 3600 * NS_PER_S,
                                   .election_timeout_ns_max = 3601 * NS_PER_S,
                                   .heartbeat_ns = 1800 * NS_PER_S, /* nothing by itself */
                                   .leader_wait_ns = 3600 * NS_PER_S,
                                   .forward_timeout_ns = 3600 * NS_PER_S,
                                   .message_bytes_max = 16 * KIB,
                                   .answer_bytes_max = 64 * KIB,
                                   .window_bytes_max = 256 * KIB,
                                   .round_bytes_max = MIB,
                                   .uncommitted_bytes_max = MIB,
                                   .log_memory_bytes_max = MIB,
                                   .peer_mail_bytes_max = 4 * MIB,
                                   .client_mail_bytes_max = 4 * MIB,
                                   .segment_bytes = 64 * KIB,
                                   .snapshot_log_bytes = UINT64_MAX / 2,
                                   .seed = 1};
}

UNIT_HELPER struct memory_vfs *founded_disk(void)
{
    struct error error;
    struct configuration configuration = {0};
    struct metadata identity = {.cluster_id = "test", .self = 1, .directory_id = 77};
    struct storage_options storage = {.segment_bytes = 64 * KIB};
    for (server_id id = 1; id <= 3; id++)
        ck_assert_int_eq(configuration_add(&configuration, id, "host:1", "host:2", &error),
                         ERROR_NONE);
    struct memory_vfs *disk = memory_create();
    ck_assert_int_eq(storage_init(&disk->vfs, &storage, &identity, &configuration, &error),
                     ERROR_NONE);
    return disk;
}

#endif

/* judge_unit.h - a simulated cluster that is well, for tests which violate by hand what its judge
 * watches. */
#ifndef MAILRAFT_TEST_UNIT_JUDGE_UNIT_H
#define MAILRAFT_TEST_UNIT_JUDGE_UNIT_H

#include "test/unit/unit.h"

#include "test/sim/checks_see.h"
#include "test/sim/inside.h"

UNIT_HELPER struct cluster *cluster;

UNIT_HELPER struct cluster *begin(u32 servers)
{
    struct cluster_config config;
    struct error error = {0};
    cluster_config_init(&config);
    config.servers = servers;
    ck_assert_int_eq(cluster_create(&config, &cluster, &error), ERROR_NONE);
    return cluster;
}

UNIT_HELPER struct sim_server *nth(server_id id)
{
    return &cluster->servers[id];
}

UNIT_HELPER void set_key(const char *value)
{
    struct client *client = cluster_client(cluster, "main");
    struct client_request request = {.op = CLIENT_SET, .key = "k", .value = value};
    client_send(client, &request);
    cluster_client_wait(cluster, client);
}

/* Three servers, 1 leads, some entries are committed everywhere. */
UNIT_HELPER void begin_well(void)
{
    begin(3);
    cluster_run(cluster, 100 * NS_PER_MS);
    ck_assert(cluster_elect(cluster, 1));
    set_key("one");
    set_key("two");
    ck_assert_int_eq(client_answer(cluster_client(cluster, "main"))->kind, ANSWER_OK);
    cluster_run(cluster, 300 * NS_PER_MS);
    ck_assert_ptr_null(cluster_failure(cluster));
    ck_assert_uint_ge(cluster_commit_index(cluster, 3), 4);
    ck_assert_uint_eq(cluster->checks.acknowledged.count, 2);
}

UNIT_HELPER void end_violating(const char *property)
{
    const struct cluster_failure *failure = cluster_failure(cluster);
    ck_assert_msg(failure != NULL, "nothing was noticed, expected: %s", property);
    ck_assert_msg(strcmp(failure->property, property) == 0, "%s: %s\n expected: %s",
                  failure->property, failure->text, property);
    cluster_destroy(cluster);
}

#endif

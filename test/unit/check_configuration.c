/* check_configuration.c - members, quorums of one and of two voter sets, and the encoding. */
#include "server/rules/configuration.h"

#include "test/unit/unit.h"

/* A configuration of voters 1 .. count. */
static struct configuration voters_of(u32 count)
{
    struct configuration configuration = {.index = 1};
    struct error error;
    for (server_id id = 1; id <= count; id++)
        ck_assert_int_eq(configuration_add(&configuration, id, "host:1", "", &error), ERROR_NONE);
    return configuration;
}

START_TEST(configuration_add__keeps_the_order)
{
    struct configuration configuration = {0};
    struct error error;
    const server_id ids[] = {5, 1, 9, 3};
    for (size_t i = 0; i < ARRAY_LENGTH(ids); i++)
        ck_assert_int_eq(configuration_add(&configuration, ids[i], "host:1", "host:2", &error),
                         ERROR_NONE);
    ck_assert_uint_eq(configuration.count, 4);
    const server_id sorted[] = {1, 3, 5, 9};
    for (int p = 0; p < 4; p++) {
        ck_assert_uint_eq(configuration.members[p].id, sorted[p]);
        ck_assert_int_eq(configuration_position(&configuration, sorted[p]), p);
    }
    ck_assert_uint_eq(configuration.voters, 0xf);
    ck_assert_int_eq(configuration_position(&configuration, 4), -1);
    ck_assert_ptr_null(configuration_member(&configuration, 4));
    ck_assert_str_eq(configuration_member(&configuration, 9)->client_address, "host:2");
}
END_TEST

START_TEST(configuration_add__moves_the_sets_with_the_members)
{
    struct configuration configuration = voters_of(2);
    struct error error;
    configuration.members[0].id = 10;
    configuration.members[1].id = 20;
    configuration.voters = 2;     /* 20 */
    configuration.voters_old = 3; /* 10 and 20 */
    ck_assert_int_eq(configuration_add(&configuration, 15, "h:1", "", &error), ERROR_NONE);
    ck_assert_uint_eq(configuration.voters, 6);     /* 15 and 20 */
    ck_assert_uint_eq(configuration.voters_old, 5); /* 10 and 20 */
}
END_TEST

START_TEST(configuration_add__refuses)
{
    struct configuration configuration = voters_of(SERVERS_MAX);
    struct error error;
    ck_assert_int_eq(configuration_add(&configuration, 99, "h:1", "", &error), ERROR_CONFIG);
    configuration = voters_of(3);
    ck_assert_int_eq(configuration_add(&configuration, 2, "h:1", "", &error), ERROR_CONFIG);
    ck_assert_int_eq(configuration_add(&configuration, 0, "h:1", "", &error), ERROR_CONFIG);
    ck_assert_int_eq(configuration_add(&configuration, 4, "", "", &error), ERROR_CONFIG);
    char address[ADDRESS_SIZE + 1];
    memset(address, 'a', ADDRESS_SIZE);
    address[ADDRESS_SIZE] = '\0';
    ck_assert_int_eq(configuration_add(&configuration, 4, address, "", &error), ERROR_CONFIG);
    address[ADDRESS_SIZE - 1] = '\0';
    ck_assert_int_eq(configuration_add(&configuration, 4, address, "", &error), ERROR_NONE);
}
END_TEST

START_TEST(configuration_is_voter__of_either_set)
{
    struct configuration configuration = voters_of(4);
    configuration.voters = 3;
    configuration.voters_old = 6;
    ck_assert(configuration_is_voter(&configuration, 1));
    ck_assert(configuration_is_voter(&configuration, 3));
    ck_assert(!configuration_is_voter(&configuration, 4));
    ck_assert(!configuration_is_voter(&configuration, 5));
}
END_TEST

START_TEST(quorum__is_a_majority)
{
    struct configuration none = {0};
    ck_assert(!quorum(&none, 0));
    ck_assert(!quorum(&none, ~0u));
    for (u32 count = 1; count <= 7; count++) {
        struct configuration configuration = voters_of(count);
        for (member_set set = 0; set < 1u << count; set++)
            ck_assert_int_eq(quorum(&configuration, set), 2 * (u32)__builtin_popcount(set) > count);
    }
    struct configuration full = voters_of(SERVERS_MAX);
    ck_assert(!quorum(&full, 0xffff));
    ck_assert(quorum(&full, 0x1ffff));
}
END_TEST

START_TEST(quorum__during_a_change_needs_both_sets)
{
    struct configuration configuration = voters_of(6);
    configuration.voters_old = 0x07; /* 1 2 3 */
    configuration.voters = 0x38;     /* 4 5 6 */
    ck_assert(!quorum(&configuration, 0x07));
    ck_assert(!quorum(&configuration, 0x38));
    ck_assert(!quorum(&configuration, 0x0f)); /* a majority of the union, not of both */
    ck_assert(quorum(&configuration, 0x1b));
    ck_assert(!quorum(&configuration, 0x39));
}
END_TEST

START_TEST(quorum__ignores_who_does_not_vote)
{
    struct configuration configuration = voters_of(5);
    configuration.voters = 0x07;
    ck_assert(!quorum(&configuration, 0x19));
    ck_assert(quorum(&configuration, 0x03));
}
END_TEST

START_TEST(quorum_value__is_the_best_that_a_quorum_has)
{
    struct configuration five = voters_of(5);
    ck_assert_uint_eq(quorum_value(&five, (u64[]){9, 2, 7, 5, 1}), 5);
    ck_assert_uint_eq(quorum_value(&five, (u64[]){4, 4, 4, 0, 0}), 4);
    ck_assert_uint_eq(quorum_value(&five, (u64[]){4, 4, 0, 0, 0}), 0);
    struct configuration four = voters_of(4);
    ck_assert_uint_eq(quorum_value(&four, (u64[]){9, 8, 3, 1}), 3);
    struct configuration one = voters_of(1);
    ck_assert_uint_eq(quorum_value(&one, (u64[]){6}), 6);
    struct configuration joint = voters_of(6);
    joint.voters_old = 0x07;
    joint.voters = 0x38;
    ck_assert_uint_eq(quorum_value(&joint, (u64[]){9, 9, 9, 2, 3, 4}), 3);
    ck_assert_uint_eq(quorum_value(&joint, (u64[]){2, 3, 4, 9, 9, 9}), 3);
    struct configuration none = {0};
    ck_assert_uint_eq(quorum_value(&none, NULL), 0);
}
END_TEST

START_TEST(configuration_encode__is_read_back)
{
    struct configuration configuration = {0}, got;
    struct error error;
    ck_assert_int_eq(configuration_add(&configuration, 1, "a:1", "a:2", &error), ERROR_NONE);
    ck_assert_int_eq(configuration_add(&configuration, 700000, "b:1", "", &error), ERROR_NONE);
    configuration.voters_old = 1;
    struct buffer bytes;
    buffer_init(&bytes);
    configuration_encode(&configuration, &bytes);
    const u8 expected[] = {1,   2,   1,    0,    0,    0, 3, 3, 'a', ':', '1', 3, 'a',
                           ':', '2', 0x60, 0xae, 0x0a, 0, 1, 3, 'b', ':', '1', 0};
    ck_assert_uint_eq(bytes.size, sizeof(expected));
    ck_assert_mem_eq(bytes.data, expected, sizeof(expected));
    ck_assert_int_eq(configuration_decode(bytes.data, bytes.size, 42, &got, &error), ERROR_NONE);
    configuration.index = 42;
    ck_assert_mem_eq(&got, &configuration, sizeof(got));
    buffer_deinit(&bytes);
}
END_TEST

START_TEST(configuration_decode__refuses_each_cut_and_more)
{
    struct configuration configuration = voters_of(3), got;
    struct error error;
    struct buffer bytes;
    buffer_init(&bytes);
    configuration_encode(&configuration, &bytes);
    for (size_t size = 0; size < bytes.size; size++)
        ck_assert_int_eq(configuration_decode(bytes.data, size, 1, &got, &error), ERROR_FORMAT);
    buffer_append(&bytes, "", 1);
    ck_assert_int_eq(configuration_decode(bytes.data, bytes.size, 1, &got, &error), ERROR_FORMAT);
    bytes.size--;
    const struct {
        size_t at;
        u8 value;
    } wrong[] = {{0, 2}, {1, 33}, {2, 0}, {2, 2}, {6, 7}, {7, 128}, {8, 0}};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        u8 right = bytes.data[wrong[i].at];
        bytes.data[wrong[i].at] = wrong[i].value;
        ck_assert_int_eq(configuration_decode(bytes.data, bytes.size, 1, &got, &error),
                         ERROR_FORMAT);
        bytes.data[wrong[i].at] = right;
    }
    ck_assert_int_eq(configuration_decode(bytes.data, bytes.size, 1, &got, &error), ERROR_NONE);
    buffer_deinit(&bytes);
}
END_TEST

/* Who they are, and which cluster: bytes as they stand at the head of configuration.h. */
START_TEST(configuration_encode__identities)
{
    struct configuration configuration = voters_of(2);
    struct configuration got;
    struct buffer encoded;
    struct error error;
    buffer_init(&encoded);
    configuration_encode(&configuration, &encoded);
    ck_assert_uint_eq(encoded.data[0], 1); /* as before there were any */
    size_t plain = encoded.size;
    buffer_clear(&encoded);
    configuration.feature = FEATURE_IDENTITY;
    configuration.incarnation = 0x1122334455667788;
    configuration.members[0].directory_id = 11;
    configuration.members[1].directory_id = 22;
    configuration.members[1].readmission =
        (struct readmission){{.term = 5, .index = 40}, .start_count = 3, .start_id = 33};
    configuration_encode(&configuration, &encoded);
    ck_assert_uint_eq(encoded.data[0], 2);
    ck_assert_uint_eq(load_u64(encoded.data + 2), 0x1122334455667788);
    ck_assert_uint_eq(load_u32(encoded.data + 10), FEATURE_IDENTITY);
    ck_assert_uint_eq(encoded.size, plain + 12 + 2 * 8 + 32);
    ck_assert_int_eq(configuration_decode(encoded.data, encoded.size, 41, &got, &error),
                     ERROR_NONE);
    configuration.index = 41;
    ck_assert_mem_eq(&got, &configuration, sizeof(got));
    ck_assert(configuration_is_complete(&got));
    got.members[0].directory_id = 0;
    ck_assert(!configuration_is_complete(&got));
    for (size_t cut = 0; cut < encoded.size; cut++)
        ck_assert_int_eq(configuration_decode(encoded.data, cut, 1, &got, &error), ERROR_FORMAT);
    store_u32(encoded.data + 10, FEATURE_NEWEST + 1);
    ck_assert_int_eq(configuration_decode(encoded.data, encoded.size, 1, &got, &error),
                     ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "start a newer one"));
    store_u32(encoded.data + 10, 0);
    ck_assert_int_eq(configuration_decode(encoded.data, encoded.size, 1, &got, &error),
                     ERROR_FORMAT);
    buffer_deinit(&encoded);
}
END_TEST

UNIT_MAIN("configuration", configuration_add__keeps_the_order,
          configuration_add__moves_the_sets_with_the_members, configuration_add__refuses,
          configuration_is_voter__of_either_set, quorum__is_a_majority,
          quorum__during_a_change_needs_both_sets, quorum__ignores_who_does_not_vote,
          quorum_value__is_the_best_that_a_quorum_has, configuration_encode__is_read_back,
          configuration_encode__identities, configuration_decode__refuses_each_cut_and_more)

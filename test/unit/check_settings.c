/* check_settings.c - server/settings: the table, its bounds, and the cluster.conf that is shipped.
 */
#include "server/raftd/settings.h"

#include "test/unit/directory.h"
#include "test/unit/unit.h"

static const char members[] = "server 1 127.0.0.1:7001 client=127.0.0.1:6001\n"
                              "server 2 localhost:7002 client=localhost:6002\n"
                              "server 3 127.0.0.1:7003 client=127.0.0.1:6003\n";

/* Loads a file with this text; `place` becomes its path, which is what errors begin with. */
static enum error_code load(struct settings *settings, const char *text, char *place,
                            size_t place_size, struct error *error)
{
    char *root = directory_make();
    snprintf(place, place_size, "%s/c.conf", root);
    FILE *file = fopen(place, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    error_clear(error);
    enum error_code code = settings_load(settings, place, error);
    directory_remove(root);
    return code;
}

/* Asserts that the text is refused, with this sentence after the name of the file. */
static void assert_refused(const char *text, const char *sentence)
{
    struct settings settings;
    struct error error;
    char path[1100];
    settings_init(&settings);
    enum error_code code = load(&settings, text, path, sizeof(path), &error);
    ck_assert_msg(code == ERROR_CONFIG, "accepted: %s", text);
    ck_assert_msg(strncmp(error.text, path, strlen(path)) == 0, "names no file: %s", error.text);
    ck_assert_str_eq(error.text + strlen(path), sentence);
    settings_deinit(&settings);
}

/* All keys that have a value, as CONFIG GET * answers them: name and value by turns. */
struct listing {
    char *words[2 * CONFIG_KEYS_MAX];
    u32 count; /* pairs */
};

static char *take_bulk(const char **at, const char *end)
{
    char *after;
    ck_assert_int_eq(**at, '$');
    size_t size = strtoul(*at + 1, &after, 10);
    ck_assert(after + 2 + size + 2 <= end);
    char *word = strndup(after + 2, size);
    ck_assert_ptr_nonnull(word);
    *at = after + 2 + size + 2;
    return word;
}

static void list(struct settings *settings, const char *pattern, struct listing *listing)
{
    struct clients_options options;
    settings_clients_options(settings, &options);
    struct buffer answer;
    buffer_init(&answer);
    listing->count = options.config_get(options.config_context, pattern, &answer);
    ck_assert_uint_le(listing->count, CONFIG_KEYS_MAX);
    const char *at = (const char *)answer.data;
    const char *end = at + answer.size;
    for (u32 i = 0; i < 2 * listing->count; i++)
        listing->words[i] = take_bulk(&at, end);
    ck_assert_ptr_eq(at, end);
    buffer_deinit(&answer);
}

static void free_listing(struct listing *listing)
{
    for (u32 i = 0; i < 2 * listing->count; i++)
        free(listing->words[i]);
}

/* ---- the file that is shipped ---- */

/* Reads cluster.conf with the "#" taken from every line that shows a default. */
static void read_shipped(struct buffer *all_keys)
{
    FILE *file = fopen("cluster.conf", "r");
    ck_assert_msg(file != NULL, "run this from the top of the tree");
    char line[CONFIG_LINE_SIZE];
    while (fgets(line, sizeof(line), file) != NULL) {
        ck_assert_msg(strlen(line) <= 101, "longer than 100 columns: %s", line);
        bool shows_default = line[0] == '#' && line[1] >= 'a' && line[1] <= 'z';
        buffer_append_string(all_keys, shows_default ? line + 1 : line);
    }
    ck_assert_int_eq(fclose(file), 0);
    buffer_append(all_keys, "", 1);
}

static bool has_line_of(const char *text, const char *key)
{
    size_t size = strlen(key);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, size) == 0 && line[size] == ' ')
            return true;
    }
    return false;
}

START_TEST(shipped_file__loads)
{
    struct settings settings;
    struct error error;
    settings_init(&settings);
    ck_assert_msg(settings_load(&settings, "cluster.conf", &error) == ERROR_NONE, "%s", error.text);
    const struct configuration *configuration = &settings.values.configuration;
    ck_assert_uint_eq(configuration->count, 3);
    ck_assert_str_eq(configuration->members[0].client_address, "127.0.0.1:6001");
    ck_assert_str_eq(configuration->members[2].peer_address, "127.0.0.1:7003");
    settings_deinit(&settings);
}
END_TEST

/* Every key of the table stands in the file, and no other; what it shows as the default is it. */
START_TEST(shipped_file__shows_every_key_and_the_real_defaults)
{
    struct buffer text;
    buffer_init(&text);
    read_shipped(&text);
    struct settings settings;
    settings_init(&settings);
    struct listing defaults;
    list(&settings, "*", &defaults);
    ck_assert_uint_gt(defaults.count, 20);

    struct error error;
    char path[1100];
    enum error_code code = load(&settings, (const char *)text.data, path, sizeof(path), &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    struct listing shown;
    list(&settings, "*", &shown);
    ck_assert_uint_eq(shown.count, defaults.count);
    for (u32 i = 0; i < 2 * shown.count; i += 2) {
        const char *key = shown.words[i];
        ck_assert_msg(has_line_of((const char *)text.data, key), "%s is not in the file", key);
        ck_assert_msg(strcmp(shown.words[i + 1], defaults.words[i + 1]) == 0,
                      "%s: shown as %s, and is %s", key, shown.words[i + 1], defaults.words[i + 1]);
    }
    free_listing(&shown);
    free_listing(&defaults);
    settings_deinit(&settings);
    buffer_deinit(&text);
}
END_TEST

/* ---- loading ---- */

START_TEST(load__values_reach_the_rooms)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "cluster-id \"a.B-3_x\"\n%selection-timeout 1s..2s\nheartbeat 100ms\nredirect yes\n"
             "reconnect 7ms..9ms\nmax-clients 5\nsegment-bytes 128MiB\n",
             members);
    struct settings settings;
    struct error error;
    char path[1100];
    settings_init(&settings);
    ck_assert_msg(load(&settings, text, path, sizeof(path), &error) == ERROR_NONE, "%s",
                  error.text);
    ck_assert_str_eq(settings.values.cluster_id, "a.B-3_x");

    struct server_options server;
    settings_server_options(&settings, 42, &server);
    ck_assert_uint_eq(server.election_timeout_ns_min, NS_PER_S);
    ck_assert_uint_eq(server.election_timeout_ns_max, 2 * NS_PER_S);
    ck_assert_uint_eq(server.heartbeat_ns, 100 * NS_PER_MS);
    ck_assert_uint_eq(server.segment_bytes, 128 * MIB);
    ck_assert_uint_eq(server.seed, 42);

    struct peers_options peers;
    settings_peers_options(&settings, &peers);
    ck_assert_uint_eq(peers.configuration->count, 3);
    ck_assert_uint_eq(peers.reconnect_ns_min, 7 * NS_PER_MS);
    ck_assert_uint_eq(peers.reconnect_ns_max, 9 * NS_PER_MS);
    /* A peer's frame has room for the largest command, with what stands around it. */
    ck_assert_uint_gt(peers.frame_bytes_max, settings.values.client_input_bytes);

    struct clients_options clients;
    settings_clients_options(&settings, &clients);
    ck_assert_uint_eq(clients.connections_max, 5);
    ck_assert(clients.redirect);
    settings_deinit(&settings);
}
END_TEST

START_TEST(load__each_refusal_says_where_and_what)
{
    static const struct {
        const char *line; /* the first of the file; the rest is good */
        const char *sentence;
    } cases[] = {
        {"heartbeet 50ms", ":1: unknown key \"heartbeet\"; did you mean \"heartbeat\"?"},
        {"heartbeat 50",
         ":1: heartbeat: \"50\" will not do; expected a duration from 1ms to 30s, such as 250ms"},
        {"cluster-id other", ":2: cluster-id: line 1 has given it already; expected it once"},
        {"server", ":1: server: expected: server NUMBER HOST:PORT client=HOST:PORT, with a number "
                   "from 1 up"},
        {"server 0 a:1 client=a:2", ":1: server: expected: server NUMBER HOST:PORT "
                                    "client=HOST:PORT, with a number from 1 up"},
        {"server 4 a:1 clients=a:2", ":1: server: \"clients=a:2\" is not client=HOST:PORT; "
                                     "expected: server NUMBER HOST:PORT client=HOST:PORT"},
        {"server 4 a client=a:2", ":1: server: \"a\" is not HOST:PORT with a port of 1..65535"},
        {"server 4 :1 client=a:2", ":1: server: \":1\" is not HOST:PORT with a port of 1..65535"},
        {"server 4 a:1 client=a:65536",
         ":1: server: \"a:65536\" is not HOST:PORT with a port of 1..65535"},
        {"server 4 a:0 client=a:2", ":1: server: \"a:0\" is not HOST:PORT with a port of 1..65535"},
        {"heartbeat 100ms",
         ": heartbeat must be at most half of the shortest election-timeout, or followers lose "
         "patience with a healthy leader"},
        {"max-value-bytes 16MiB",
         ": client-input-bytes must hold max-value-bytes and max-key-bytes together and 1KiB "
         "more, or the largest values could not be sent"},
        {"message-bytes 17MiB",
         ": message-bytes must be at most client-input-bytes, or peers would refuse the largest "
         "messages"},
        {"segment-bytes 16MiB",
         ": segment-bytes must exceed client-input-bytes by 64KiB, or the largest command would "
         "not fit into a file of the log"},
        {"window-bytes 64MiB",
         ": peer-queue-bytes must be at least window-bytes and message-bytes together, or "
         "messages that the window allows would be dropped"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s\ncluster-id c\n%s", cases[i].line, members);
        assert_refused(text, cases[i].sentence);
    }
    assert_refused("cluster-id c\n", ": \"server\" is missing; expected a line of it");
    assert_refused(members, ": \"cluster-id\" is missing; expected a line of it");
}
END_TEST

START_TEST(load__members_and_names_that_clash)
{
    assert_refused("cluster-id c\nserver 1 a:1 client=a:2\nserver 1 b:1 client=b:2\n",
                   ":3: server: server 1 is there twice");
    assert_refused("cluster-id c\nserver 1 a:1 client=a:2\nserver 2 a:1 client=b:2\n",
                   ":3: server: \"a:1\" is an address of server 1 already; expected another");
    assert_refused("cluster-id c\nserver 1 a:1 client=a:2\nserver 2 b:1 client=a:1\n",
                   ":3: server: \"a:1\" is an address of server 1 already; expected another");
    assert_refused("cluster-id c\nserver 1 a:1 client=a:1\n",
                   ":2: server: \"a:1\" stands for peers and for clients; expected two addresses");
    assert_refused("cluster-id 'a b'\nserver 1 a:1 client=a:2\n",
                   ": cluster-id may have letters, digits, '.', '_' and '-' only");
}
END_TEST

START_TEST(load__no_such_file)
{
    struct settings settings;
    struct error error;
    settings_init(&settings);
    ck_assert_int_eq(settings_load(&settings, "/nonexistent/c.conf", &error), ERROR_MISSING);
    ck_assert_ptr_nonnull(strstr(error.text, "/nonexistent/c.conf: No such file or directory"));
    settings_deinit(&settings);
}
END_TEST

/* ---- at run time ---- */

static void init_loaded(struct settings *settings)
{
    struct error error;
    settings_init(settings);
    ck_assert_int_eq(settings_load(settings, "cluster.conf", &error), ERROR_NONE);
}

START_TEST(set__changes_the_options_and_nothing_else)
{
    struct settings settings;
    struct error error;
    struct report report;
    struct server_options options;
    init_loaded(&settings);
    report_init_stderr(&report, REPORT_INFO, REPORT_LOGFMT, 1);
    settings.report = &report;
    settings_server_options(&settings, 7, &options);
    ck_assert_int_eq(settings_set(&settings, "Election-Timeout", "1s..2s", &options, &error),
                     ERROR_NONE);
    ck_assert_uint_eq(options.election_timeout_ns_min, NS_PER_S);
    ck_assert_uint_eq(options.heartbeat_ns, 50 * NS_PER_MS);
    ck_assert_uint_eq(options.seed, 7);
    struct listing got;
    list(&settings, "election-*", &got);
    ck_assert_uint_eq(got.count, 1);
    ck_assert_str_eq(got.words[0], "election-timeout");
    ck_assert_str_eq(got.words[1], "1s..2s");
    free_listing(&got);
    ck_assert_int_eq(settings_set(&settings, "log-level", "error", &options, &error), ERROR_NONE);
    ck_assert_int_eq(atomic_load(&report.level), REPORT_ERROR);
    settings_deinit(&settings);
}
END_TEST

START_TEST(set__refused_values_leave_all_as_it_was)
{
    static const struct {
        const char *key;
        const char *value;
        const char *sentence;
    } cases[] = {
        {"heartbeat", "0",
         "heartbeat: \"0\" will not do; expected a duration from 1ms to 30s, "
         "such as 250ms"},
        {"heartbeat", "76ms",
         "heartbeat must be at most half of the shortest election-timeout, "
         "or followers lose patience with a healthy leader"},
        {"segment-bytes", "128MiB", "segment-bytes: cannot be changed while the server runs"},
        {"server", "4", "server: can be given in the file only"},
        {"haertbeat", "5ms", "unknown key \"haertbeat\"; did you mean \"heartbeat\"?"},
    };
    struct settings settings;
    init_loaded(&settings);
    struct clients_options clients;
    settings_clients_options(&settings, &clients);
    struct server_options options;
    settings_server_options(&settings, 7, &options);
    struct server_options before = options;
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct error error;
        ck_assert_int_eq(settings_set(&settings, cases[i].key, cases[i].value, &options, &error),
                         ERROR_CONFIG);
        ck_assert_str_eq(error.text, cases[i].sentence);
        ck_assert_mem_eq(&options, &before, sizeof(options));
        /* The client port asks first, and must hear the same. */
        error_clear(&error);
        ck_assert_int_eq(
            clients.config_check(clients.config_context, cases[i].key, cases[i].value, &error),
            ERROR_CONFIG);
        ck_assert_str_eq(error.text, cases[i].sentence);
    }
    struct listing got;
    list(&settings, "heartbeat", &got);
    ck_assert_str_eq(got.words[1], "50ms");
    free_listing(&got);
    settings_deinit(&settings);
}
END_TEST

START_TEST(config_check__changes_nothing)
{
    struct settings settings;
    struct error error;
    init_loaded(&settings);
    struct clients_options clients;
    settings_clients_options(&settings, &clients);
    ck_assert_int_eq(clients.config_check(clients.config_context, "heartbeat", "20ms", &error),
                     ERROR_NONE);
    struct listing got;
    list(&settings, "heart*", &got);
    ck_assert_uint_eq(got.count, 1);
    ck_assert_str_eq(got.words[1], "50ms");
    free_listing(&got);
    list(&settings, "no-such-*", &got);
    ck_assert_uint_eq(got.count, 0);
    settings_deinit(&settings);
}
END_TEST

UNIT_MAIN("settings", shipped_file__loads, shipped_file__shows_every_key_and_the_real_defaults,
          load__values_reach_the_rooms, load__each_refusal_says_where_and_what,
          load__members_and_names_that_clash, load__no_such_file,
          set__changes_the_options_and_nothing_else, set__refused_values_leave_all_as_it_was,
          config_check__changes_nothing)

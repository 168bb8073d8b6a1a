/* fuzz_settings.c - cluster.conf (settings.h, common/config.h). */
#include "server/raftd/settings.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test/fuzz/fuzz.h"

/* Loads the text as a file. */
static enum error_code load(struct settings *settings, const u8 *text, size_t size,
                            struct error *error)
{
    char path[64];
    int fd = memfd_create("cluster.conf", MFD_CLOEXEC);
    ASSERT(fd >= 0);
    ASSERT(write(fd, text, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    settings_init(settings);
    enum error_code code = settings_load(settings, path, error);
    close(fd);
    if (code == ERROR_NONE)
        return code;
    /* It says in which file something is wrong, and says it in one line. */
    ASSERT(code == ERROR_CONFIG && error->code == code);
    ASSERT(strncmp(error->text, path, strlen(path)) == 0);
    ASSERT(strchr(error->text, '\n') == NULL);
    return code;
}

/* All values as CONFIG GET shows them: a list of bulk strings, keys and values by turns. */
static void list(struct settings *settings, struct buffer *to)
{
    struct clients_options options;
    settings_clients_options(settings, &options);
    (void)options.config_get(options.config_context, "*", to);
}

/* Takes the next bulk string of the list. */
static bool take_bulk(const u8 **at, const u8 *end, const char **text, size_t *size)
{
    if (*at == end)
        return false;
    *size = 0;
    for ((*at)++; **at != '\r'; (*at)++)
        *size = *size * 10 + (size_t)(**at - '0');
    *text = (const char *)*at + 2;
    *at += 2 + *size + 2;
    return true;
}

static void write_quoted(struct buffer *to, const char *text, size_t size)
{
    buffer_append_string(to, "\"");
    for (size_t i = 0; i < size; i++)
        buffer_append_format(to, "\\x%02x", (unsigned)(u8)text[i]);
    buffer_append_string(to, "\"");
}

/* A file that says what the settings are. */
static void write_file(struct settings *settings, const struct buffer *listed, struct buffer *file)
{
    const u8 *at = listed->data;
    const char *text;
    size_t size;
    for (bool is_key = true; take_bulk(&at, listed->data + listed->size, &text, &size);
         is_key = !is_key) {
        if (is_key) {
            buffer_append(file, text, size);
            buffer_append_string(file, " ");
        } else {
            write_quoted(file, text, size);
            buffer_append_string(file, "\n");
        }
    }
    const struct configuration *configuration = &settings->values.configuration;
    for (u32 i = 0; i < configuration->count; i++) {
        const struct member *member = &configuration->members[i];
        buffer_append_format(file, "server %u ", member->id);
        write_quoted(file, member->peer_address, strlen(member->peer_address));
        buffer_append_string(file, " ");
        /* "client=" in front of the quote would not be quoted. */
        buffer_append_string(file, "\"client=");
        for (const char *c = member->client_address; *c != '\0'; c++)
            buffer_append_format(file, "\\x%02x", (unsigned)(u8)*c);
        buffer_append_string(file, "\"\n");
    }
}

/* What was read, shown, and read again is the same. */
static void check_again(struct settings *settings)
{
    struct buffer listed, listed_again, file;
    struct settings again;
    struct error error;
    buffer_init(&listed);
    buffer_init(&listed_again);
    buffer_init(&file);
    list(settings, &listed);
    write_file(settings, &listed, &file);
    ASSERT(load(&again, file.data, file.size, &error) == ERROR_NONE);
    list(&again, &listed_again);
    ASSERT(listed.size == listed_again.size &&
           memcmp(listed.data, listed_again.data, listed.size) == 0);
    ASSERT(memcmp(&settings->values.configuration, &again.values.configuration,
                  sizeof(struct configuration)) == 0);
    settings_deinit(&again);
    buffer_deinit(&listed);
    buffer_deinit(&listed_again);
    buffer_deinit(&file);
}

/* Numbers that the rooms take for granted. */
static void check_options(struct settings *settings)
{
    struct server_options server;
    struct peers_options peers;
    struct clients_options clients;
    settings_server_options(settings, 1, &server);
    settings_peers_options(settings, &peers);
    settings_clients_options(settings, &clients);
    ASSERT(server.election_timeout_ns_min > 0 &&
           server.election_timeout_ns_min <= server.election_timeout_ns_max);
    ASSERT(server.heartbeat_ns > 0 && server.heartbeat_ns < server.election_timeout_ns_min);
    ASSERT(peers.frame_bytes_max > server.message_bytes_max && peers.frame_bytes_max <= UINT32_MAX);
    ASSERT(clients.input_bytes_max < server.segment_bytes);
    ASSERT(clients.limits.value_bytes_max < clients.input_bytes_max);
}

static void run(const u8 *data, size_t size)
{
    struct settings settings;
    struct error error;
    if (load(&settings, data, size, &error) == ERROR_NONE) {
        check_options(&settings);
        check_again(&settings);
    }
    settings_deinit(&settings);
}

/* The file is read in steps of 16 KiB. */
const struct fuzz_target fuzz_settings = {.name = "settings",
                                          .input_max = 4096,
                                          .run = run,
                                          .memory_base = 128 * 1024,
                                          .memory_each = 64};

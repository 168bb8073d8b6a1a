/* directory.c - see directory.h. */
#include "server/raftd/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/crc32c.h"
#include "common/rng.h"
#include "server/machine/kv.h"
#include "server/storage/snapshot.h"

/* A data directory in the making. */
struct making {
    const struct settings *settings;
    const struct member *self;
    char *data;
    const char *restore; /* NULL: it begins with nothing */
    struct vfs *vfs;     /* NULL: not opened yet */
};

static u32 seed_crc(const struct configuration *configuration)
{
    struct buffer encoded;
    buffer_init(&encoded);
    configuration_encode(configuration, &encoded);
    u32 crc = crc32c(0, encoded.data, encoded.size);
    buffer_deinit(&encoded);
    return crc;
}

/* mkdir -p. */
static enum error_code make_directories(char *path, struct error *error)
{
    for (char *slash = path + 1;; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        char kept = *slash;
        *slash = '\0';
        int failed = mkdir(path, 0700) != 0 && errno != EEXIST;
        *slash = kept;
        if (failed)
            return error_set_errno(error, ERROR_IO, errno, "make directory %s", path);
        if (kept == '\0')
            return ERROR_NONE;
    }
}

/* Who the new directory will belong to. */
static struct metadata new_identity(const struct making *making)
{
    const struct settings_values *values = &making->settings->values;
    struct metadata identity = {.self = making->self->id,
                                .directory_id = rng_entropy(),
                                .seed_crc = seed_crc(&values->configuration)};
    (void)snprintf(identity.cluster_id, sizeof(identity.cluster_id), "%s", values->cluster_id);
    return identity;
}

static enum error_code open_new_directory(struct making *making, struct error *error)
{
    enum error_code code = make_directories(making->data, error);
    return code == ERROR_NONE ? vfs_posix_create(making->data, &making->vfs, error) : code;
}

/* The configuration of a cluster that is founded now, by the server with this directory. */
static struct configuration new_configuration(const struct making *making,
                                              const struct metadata *identity)
{
    struct configuration configuration = making->settings->values.configuration;
    int position = configuration_position(&configuration, identity->self);
    ASSERT(position >= 0);
    configuration.members[position].directory_id = identity->directory_id;
    configuration.feature = FEATURE_NEWEST;
    do
        configuration.incarnation = rng_entropy();
    while (configuration.incarnation == 0);
    return configuration;
}

/* What is still to be done for a cluster that was founded just now. */
static const char *about_others(const struct configuration *configuration)
{
    return configuration->count == 1 ? ""
                                     : "; make the directories of the other servers with --init";
}

static enum error_code bootstrap(struct making *making, struct error *error)
{
    const struct settings_values *values = &making->settings->values;
    struct metadata identity = new_identity(making);
    struct configuration configuration = new_configuration(making, &identity);
    struct storage_options options = {.segment_bytes = values->segment_bytes};
    enum error_code code = open_new_directory(making, error);
    if (code == ERROR_NONE)
        code = storage_init(making->vfs, &options, &identity, &configuration, error);
    if (code == ERROR_NONE)
        printf("raftd: %s is ready for server %" PRIu32 ", which founds cluster %s (%016" PRIx64
               ")%s\n",
               making->data, making->self->id, values->cluster_id, configuration.incarnation,
               about_others(&configuration));
    return code;
}

static enum error_code init(struct making *making, struct error *error)
{
    const struct settings_values *values = &making->settings->values;
    if (values->configuration.count == 1)
        return error_set(error, ERROR_CONFIG,
                         "the configuration has one server, and a directory made with --init waits "
                         "for others: make it with --bootstrap");
    struct metadata identity = new_identity(making);
    struct storage_options options = {.segment_bytes = values->segment_bytes};
    enum error_code code = open_new_directory(making, error);
    if (code == ERROR_NONE)
        code = storage_init(making->vfs, &options, &identity, NULL, error);
    if (code == ERROR_NONE)
        printf("raftd: %s is ready for server %" PRIu32 ", and joins cluster %s when it meets it; "
               "one of the others must have been made with --bootstrap\n",
               making->data, making->self->id, values->cluster_id);
    return code;
}

/* The directory that a path is in, and its name there. */
static void path_split(const char *path, char directory[DATA_PATH_SIZE], const char **name)
{
    const char *slash = strrchr(path, '/');
    *name = slash == NULL ? path : slash + 1;
    if (slash == NULL)
        (void)snprintf(directory, DATA_PATH_SIZE, ".");
    else
        (void)snprintf(directory, DATA_PATH_SIZE, "%.*s", slash == path ? 1 : (int)(slash - path),
                       path);
}

static bool try_head(void *context, const struct snapshot_head *head)
{
    (void)context;
    (void)head;
    return true;
}

static bool try_piece(void *context, const u8 *data, size_t size)
{
    struct machine *machine = context;
    return machine->ops->restore(machine, data, size);
}

/* Whether it is a whole snapshot of this machine's state, which is tried out. */
static enum error_code try_snapshot(struct vfs *vfs, const char *path, struct snapshot_info *info,
                                    struct error *error)
{
    struct machine *machine = kv_create();
    const struct snapshot_taker taker = {try_head, try_piece, machine};
    enum error_code code = snapshot_load_file(vfs, path, &taker, info, error);
    if (code == ERROR_NONE && !machine->ops->restore_end(machine))
        code = error_set(error, ERROR_CORRUPT,
                         "%s: damaged: the state in it is not the one that was written", path);
    machine->ops->destroy(machine);
    return code;
}

static enum error_code restore_from(struct making *making, struct vfs *from, const char *name,
                                    struct error *error)
{
    const struct settings_values *values = &making->settings->values;
    struct metadata identity = new_identity(making);
    struct configuration configuration = new_configuration(making, &identity);
    struct storage_options options = {.segment_bytes = values->segment_bytes};
    struct snapshot_info info;
    enum error_code code = try_snapshot(from, name, &info, error);
    if (code == ERROR_NONE)
        code = open_new_directory(making, error);
    if (code == ERROR_NONE)
        code = storage_restore(making->vfs, &options, &identity, &configuration, from, name, &info,
                               error);
    if (code == ERROR_NONE)
        printf("raftd: %s is ready for server %" PRIu32 ", which founds cluster %s (%016" PRIx64
               ") with the state of entry %" PRIu64 " in %s%s\n",
               making->data, making->self->id, values->cluster_id, configuration.incarnation,
               info.last.index, making->restore, about_others(&configuration));
    return code;
}

static enum error_code restore(struct making *making, struct error *error)
{
    char directory[DATA_PATH_SIZE];
    struct vfs *from;
    const char *name;
    path_split(making->restore, directory, &name);
    enum error_code code = vfs_posix_create(directory, &from, error);
    if (code == ERROR_NONE) {
        code = restore_from(making, from, name, error);
        vfs_posix_destroy(from);
    }
    return code == ERROR_NONE ? code : error_add(error, "--restore %s", making->restore);
}

/* ---- the three ways ---- */

static enum error_code make(const struct settings *settings, const struct member *self, char *data,
                            const char *file,
                            enum error_code (*how)(struct making *making, struct error *error),
                            struct error *error)
{
    struct making making = {.settings = settings, .self = self, .data = data, .restore = file};
    enum error_code code = how(&making, error);
    if (making.vfs != NULL)
        vfs_posix_destroy(making.vfs);
    return code;
}

enum error_code making_bootstrap(const struct settings *settings, const struct member *self,
                                 char *data, struct error *error)
{
    return make(settings, self, data, NULL, bootstrap, error);
}

enum error_code making_init(const struct settings *settings, const struct member *self, char *data,
                            struct error *error)
{
    return make(settings, self, data, NULL, init, error);
}

enum error_code making_restore(const struct settings *settings, const struct member *self,
                               char *data, const char *file, struct error *error)
{
    return make(settings, self, data, file, restore, error);
}

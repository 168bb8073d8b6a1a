/* backup.c - see backup.h. */
#include "tools/raftctl/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "server/storage/snapshot.h"

enum {
    PIECE_BYTES = 512 * 1024, /* asked for at once */
    AGAIN_MS = 50,            /* before something is asked once more */
    RESTARTS_MAX = 10,        /* of a backup whose snapshot was replaced meanwhile */
    PATH_SIZE = 4096
};

/* How long an election, a lagging server, or the disk behind a piece is waited for. */
#define PATIENCE_NS (15 * NS_PER_S)

static void rest(void)
{
    struct timespec pause = {.tv_nsec = (long)(AGAIN_MS * NS_PER_MS)};
    (void)nanosleep(&pause, NULL);
}

static u64 patience_ns(const struct raftctl *raftctl)
{
    return u64_max(raftctl->timeout_ns, PATIENCE_NS);
}

/* ---- which server ---- */

/* The target that raftctl->where means; the leader when it says nothing. */
static enum error_code choose_server(struct raftctl *raftctl, const struct target **chosen,
                                     struct error *error)
{
    *chosen = ask_for_leader(raftctl);
    if (raftctl->where == NULL)
        return *chosen != NULL ? ERROR_NONE
                               : error_set(error, ERROR_UNAVAILABLE, "there is no leader");
    u64 id = 0;
    bool by_id = quantity_parse_u64(raftctl->where, &id);
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *target = &raftctl->targets[i];
        bool is_meant =
            by_id ? target_known_id(target) == id : strcmp(target->address, raftctl->where) == 0;
        if (!is_meant)
            continue;
        *chosen = target;
        if (target_is_valid(target))
            return ERROR_NONE;
        return error_set(error, ERROR_UNAVAILABLE, "%s: %s", target->address, target->trouble);
    }
    return error_set(error, ERROR_USAGE, "%s: there is no such server", raftctl->where);
}

/* ---- through which entry everything is acknowledged ---- */

/* A read that the leader answers itself, or not at all; when it has, everything acknowledged before
 * is applied there. */
static enum error_code read_at_leader(const struct raftctl *raftctl, const struct target *leader,
                                      struct error *error)
{
    static const char *const redirect[] = {"RAFT.REDIRECT", "on"};
    static const char *const read[] = {"DBSIZE"};
    redisContext *connection;
    redisReply *reply;
    enum error_code code = ask_connect(leader, raftctl->timeout_ns, &connection, error);
    if (code != ERROR_NONE)
        return code;
    code = ask_on(connection, leader, 2, (const char **)(uintptr_t)redirect, &reply, error);
    if (code == ERROR_NONE) {
        freeReplyObject(reply);
        code = ask_on(connection, leader, 1, (const char **)(uintptr_t)read, &reply, error);
    }
    if (code == ERROR_NONE)
        freeReplyObject(reply);
    redisFree(connection);
    return code;
}

/* The index through which the leader has applied, after everything acknowledged by now was. */
static enum error_code find_acknowledged(struct raftctl *raftctl, u64 *index, struct error *error)
{
    u64 deadline_ns = clock_monotonic_ns() + patience_ns(raftctl);
    for (;;) {
        const struct target *leader = ask_for_leader(raftctl);
        enum error_code code = ERROR_UNAVAILABLE;
        if (leader == NULL)
            (void)error_set(error, code, "there is no leader");
        else
            code = read_at_leader(raftctl, leader, error);
        if (code == ERROR_NONE) {
            ask_all(raftctl);
            if (target_is_valid(leader)) {
                *index = info_number(leader, "raft_last_applied");
                return ERROR_NONE;
            }
            (void)error_set(error, ERROR_UNAVAILABLE, "%s: %s", leader->address, leader->trouble);
        }
        if (clock_monotonic_ns() >= deadline_ns)
            return error_add(error, "no leader confirms what is acknowledged");
        rest();
    }
}

/* ---- taking a snapshot ---- */

static enum error_code take_snapshot(const struct raftctl *raftctl, const struct target *server,
                                     u64 *index, struct error *error)
{
    static const char *const words[] = {"RAFT.SNAPSHOT"};
    redisReply *reply;
    enum error_code code = ask_patiently(server, patience_ns(raftctl), 1,
                                         (const char **)(uintptr_t)words, &reply, error);
    if (code != ERROR_NONE)
        return code;
    *index = (u64)reply->integer;
    if (reply->type != REDIS_REPLY_INTEGER)
        code = error_set(error, ERROR_UNAVAILABLE, "%s answered something else than a number",
                         server->address);
    freeReplyObject(reply);
    return code;
}

/* Takes snapshots until one reaches entry `least`: the first may have been begun before, or the
 * server lags. It may lag for as long as it goes on. */
static enum error_code take_late_snapshot(const struct raftctl *raftctl,
                                          const struct target *server, u64 least,
                                          struct error *error)
{
    u64 reached = 0;
    u64 deadline_ns = 0;
    for (;;) {
        u64 index = 0;
        enum error_code code = take_snapshot(raftctl, server, &index, error);
        if (code != ERROR_NONE || index >= least)
            return code;
        u64 now_ns = clock_monotonic_ns();
        if (index > reached || deadline_ns == 0)
            deadline_ns = now_ns + patience_ns(raftctl);
        reached = u64_max(reached, index);
        if (now_ns >= deadline_ns)
            return error_set(error, ERROR_UNAVAILABLE,
                             "%s lags behind: its snapshot reaches entry %" PRIu64
                             ", and entry %" PRIu64 " is acknowledged",
                             server->address, reached, least);
        rest();
    }
}

enum error_code snapshot_run(struct raftctl *raftctl, struct error *error)
{
    const struct target *server;
    u64 index = 0;
    enum error_code code = choose_server(raftctl, &server, error);
    if (code == ERROR_NONE)
        code = take_snapshot(raftctl, server, &index, error);
    if (code != ERROR_NONE)
        return code;
    printf("server %u has a snapshot of entry %" PRIu64 "\n", server->answered_id, index);
    return ERROR_NONE;
}

/* ---- fetching it ---- */

struct backup {
    const struct raftctl *raftctl;
    const struct target *server;
    redisContext *connection;
    struct snapshot_info info;
    u64 least;             /* the entry that it must reach */
    struct vfs *vfs;       /* of the directory that the file goes to */
    struct vfs_file *file; /* `part` */
    char part[PATH_SIZE];  /* its path until it is complete */
    const char *part_name; /* the end of it: the name in the directory */
    char cluster_id[CLUSTER_ID_SIZE];
};

static u64 text_number(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* Which is the server's newest snapshot. */
static enum error_code name_snapshot(struct backup *backup, struct error *error)
{
    static const char *const words[] = {"RAFT.STATUS"};
    redisReply *reply;
    enum error_code code = ask_on(backup->connection, backup->server, 1,
                                  (const char **)(uintptr_t)words, &reply, error);
    if (code != ERROR_NONE)
        return code;
    const char *text = reply->type == REDIS_REPLY_STRING ? reply->str : "";
    struct snapshot_info *info = &backup->info;
    info->last.index = text_number(text, "\nraft_snapshot_index:");
    info->last.term = text_number(text, "\nraft_snapshot_term:");
    info->size = text_number(text, "\nraft_snapshot_bytes:");
    info->checksum = (u32)text_number(text, "\nraft_snapshot_checksum:");
    freeReplyObject(reply);
    if (info->last.index < backup->least || info->size == 0)
        return error_set(error, ERROR_UNAVAILABLE,
                         "%s: its newest snapshot is of entry %" PRIu64 ", and %" PRIu64
                         " was taken before",
                         backup->server->address, info->last.index, backup->least);
    return ERROR_NONE;
}

/* Asks for the piece at `offset`, and writes it. `*got`: its bytes. */
static enum error_code fetch_piece(struct backup *backup, u64 offset, u64 *got, struct error *error)
{
    char text[6][24];
    const char *words[7] = {"RAFT.BACKUP"};
    const struct snapshot_info *info = &backup->info;
    const u64 numbers[6] = {info->last.index, info->last.term, info->size,
                            info->checksum,   offset,          PIECE_BYTES};
    for (u32 i = 0; i < ARRAY_LENGTH(numbers); i++) {
        (void)snprintf(text[i], sizeof(text[i]), "%" PRIu64, numbers[i]);
        words[i + 1] = text[i];
    }
    redisReply *reply;
    enum error_code code = ask_on(backup->connection, backup->server, 7, words, &reply, error);
    if (code != ERROR_NONE)
        return code;
    *got = reply->type == REDIS_REPLY_STRING ? reply->len : 0;
    if (*got == 0 || *got > info->size - offset) {
        code = error_set(error, ERROR_UNAVAILABLE,
                         "%s: the snapshot's file ends at %" PRIu64 " and not at %" PRIu64,
                         backup->server->address, offset + *got, info->size);
    } else {
        struct iovec piece = {.iov_base = reply->str, .iov_len = reply->len};
        code = vfs_write_at(backup->file, &piece, 1, offset, error);
    }
    freeReplyObject(reply);
    return code;
}

static enum error_code fetch_once(struct backup *backup, struct error *error)
{
    enum error_code code = name_snapshot(backup, error);
    if (code == ERROR_NONE)
        code = vfs_truncate(backup->file, 0, error);
    for (u64 offset = 0; offset < backup->info.size && code == ERROR_NONE;) {
        u64 got = 0;
        code = fetch_piece(backup, offset, &got, error);
        offset += got;
    }
    return code;
}

/* Fetches the file; if the server replaces the snapshot meanwhile, the new one from its beginning.
 */
static enum error_code fetch(struct backup *backup, struct error *error)
{
    enum error_code code =
        ask_connect(backup->server, patience_ns(backup->raftctl), &backup->connection, error);
    for (int i = 0; code == ERROR_NONE; i++) {
        code = fetch_once(backup, error);
        if (code == ERROR_NONE)
            break;
        bool replaced = code == ERROR_UNAVAILABLE && strncmp(error->text, "NOSNAPSHOT", 10) == 0;
        if (!replaced)
            break;
        if (i == RESTARTS_MAX)
            return error_set(error, ERROR_UNAVAILABLE,
                             "%s takes snapshots faster than one can be fetched",
                             backup->server->address);
        code = ERROR_NONE;
    }
    return code;
}

/* ---- the file ---- */

static bool note_head(void *context, const struct snapshot_head *head)
{
    struct backup *backup = context;
    memcpy(backup->cluster_id, head->cluster_id, sizeof(backup->cluster_id));
    return true;
}

static bool pass_over(void *context, const u8 *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
    return true;
}

/* Reads what was written back, all of it. */
static enum error_code verify(struct backup *backup, struct error *error)
{
    const struct snapshot_taker taker = {note_head, pass_over, backup};
    const struct snapshot_info *wanted = &backup->info;
    struct snapshot_info info;
    enum error_code code = snapshot_load_file(backup->vfs, backup->part_name, &taker, &info, error);
    if (code == ERROR_NONE &&
        (info.last.index != wanted->last.index || info.last.term != wanted->last.term ||
         info.size != wanted->size || info.checksum != wanted->checksum))
        code = error_set(error, ERROR_CORRUPT, "it is not the snapshot that was announced");
    if (code == ERROR_CORRUPT)
        return error_add(error,
                         "what %s sent is damaged, perhaps on its disk: make the backup from "
                         "another server",
                         backup->server->address);
    return code;
}

/* --force is meant for an older backup: to rename a file over a device, or over a link such as
 * /dev/stdout, would take that away from the whole machine. */
static enum error_code refuse_existing(const struct raftctl *raftctl, struct error *error)
{
    struct stat there;
    if (lstat(raftctl->file, &there) == 0 && !S_ISREG(there.st_mode))
        return error_set(error, ERROR_EXISTS,
                         "%s is there already, and no regular file: give the backup another name",
                         raftctl->file);
    if (raftctl->force)
        return ERROR_NONE;
    return error_set(error, ERROR_EXISTS, "%s is there already; --force replaces it",
                     raftctl->file);
}

/* Gives the file its name, and never another's without being told to. */
static enum error_code publish(struct backup *backup, struct error *error)
{
    const struct raftctl *raftctl = backup->raftctl;
    unsigned flags = raftctl->force ? 0 : RENAME_NOREPLACE;
    int failed = renameat2(AT_FDCWD, backup->part, AT_FDCWD, raftctl->file, flags);
    /* There are file systems that cannot do that; that nothing is there was found out before. */
    if (failed != 0 && errno == EINVAL && flags != 0)
        failed = renameat2(AT_FDCWD, backup->part, AT_FDCWD, raftctl->file, 0);
    if (failed != 0 && errno == EEXIST)
        return refuse_existing(raftctl, error);
    if (failed != 0)
        return error_set_errno(error, ERROR_IO, errno, "%s", raftctl->file);
    return vfs_sync_directory(backup->vfs, ".", error);
}

/* The directory that the file goes to, and a new file in it beside the name. */
static enum error_code open_part(struct backup *backup, struct error *error)
{
    const struct raftctl *raftctl = backup->raftctl;
    char directory[PATH_SIZE];
    size_t size = strlen(raftctl->file);
    if (size == 0 || size >= PATH_SIZE - 32 || raftctl->file[size - 1] == '/')
        return error_set(error, ERROR_USAGE, "\"%.100s\" is no file's name", raftctl->file);
    const char *slash = strrchr(raftctl->file, '/');
    size_t before = slash == NULL ? 0 : (size_t)(slash - raftctl->file) + 1;
    (void)snprintf(directory, sizeof(directory), "%.*s", (int)before, raftctl->file);
    (void)snprintf(backup->part, sizeof(backup->part), "%s.%ld.part", raftctl->file,
                   (long)getpid());
    backup->part_name = backup->part + before;
    enum error_code code = vfs_posix_create(before == 0 ? "." : directory, &backup->vfs, error);
    if (code != ERROR_NONE)
        return code;
    struct stat there;
    if (lstat(raftctl->file, &there) == 0)
        code = refuse_existing(raftctl, error);
    if (code != ERROR_NONE)
        return code;
    return vfs_open(backup->vfs, backup->part_name, VFS_CREATE, &backup->file, error);
}

static enum error_code make_backup(struct backup *backup, struct raftctl *raftctl,
                                   struct error *error)
{
    u64 acknowledged = 0;
    enum error_code code = open_part(backup, error);
    if (code == ERROR_NONE)
        code = find_acknowledged(raftctl, &acknowledged, error);
    if (code == ERROR_NONE)
        code = choose_server(raftctl, &backup->server, error);
    if (code == ERROR_NONE)
        code = take_late_snapshot(raftctl, backup->server, acknowledged, error);
    backup->least = acknowledged;
    if (code == ERROR_NONE)
        code = fetch(backup, error);
    if (code == ERROR_NONE)
        code = vfs_sync(backup->file, error);
    if (code == ERROR_NONE)
        code = verify(backup, error);
    return code == ERROR_NONE ? publish(backup, error) : code;
}

enum error_code backup_run(struct raftctl *raftctl, struct error *error)
{
    struct backup backup = {.raftctl = raftctl};
    enum error_code code = make_backup(&backup, raftctl, error);
    if (code == ERROR_NONE)
        printf("%s: the state of cluster %s through entry %" PRIu64 ", %" PRIu64
               " bytes, from server %u\n",
               raftctl->file, backup.cluster_id, backup.info.last.index, backup.info.size,
               backup.server->answered_id);
    vfs_close(backup.file);
    if (code != ERROR_NONE && backup.file != NULL) {
        struct error ignored;
        (void)!vfs_remove(backup.vfs, backup.part_name, &ignored);
    }
    if (backup.connection != NULL)
        redisFree(backup.connection);
    if (backup.vfs != NULL)
        vfs_posix_destroy(backup.vfs);
    return code == ERROR_NONE ? code : error_add(error, "backup");
}

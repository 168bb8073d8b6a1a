/* files.c - a file system in memory: names and their bytes. Nothing in it outlives the process. */
#include "common/memory.h"
#include "tools/raftpipe/pipe.h"

struct pipe_file {
    struct pipe_file *next;
    char *path; /* NULL: removed, and still open */
    u32 opens;
    struct buffer bytes;
};

struct open_file {
    struct vfs_file file;
    struct pipe_file *content;
};

struct pipe *pipe_of_vfs(struct vfs *vfs)
{
    return CONTAINER_OF(vfs, struct pipe, files);
}

static struct pipe *pipe_of_file(struct vfs_file *file)
{
    return pipe_of_vfs(file->vfs);
}

static struct pipe_file *find(struct pipe *pipe, const char *path)
{
    struct pipe_file *file = pipe->file_list;
    while (file != NULL && (file->path == NULL || strcmp(file->path, path) != 0))
        file = file->next;
    return file;
}

/* Frees it when it has neither name nor user. Locks: files_lock is held. */
static void drop_unused(struct pipe *pipe, struct pipe_file *file)
{
    if (file->path != NULL || file->opens > 0)
        return;
    struct pipe_file **at = &pipe->file_list;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    buffer_deinit(&file->bytes);
    memory_free(file);
}

static void unname(struct pipe *pipe, struct pipe_file *file)
{
    memory_free(file->path);
    file->path = NULL;
    drop_unused(pipe, file);
}

/* A new empty file. */
static struct pipe_file *create(struct pipe *pipe, const char *path)
{
    struct pipe_file *content = memory_alloc_zero(1, sizeof(*content));
    content->path = memory_copy_string(path);
    content->next = pipe->file_list;
    pipe->file_list = content;
    return content;
}

static struct vfs_file *open_content(struct pipe *pipe, struct pipe_file *content)
{
    struct open_file *open = memory_alloc_zero(1, sizeof(*open));
    open->file.vfs = &pipe->files;
    open->content = content;
    content->opens++;
    return &open->file;
}

static enum error_code files_open(struct vfs *vfs, const char *path, enum vfs_open_mode mode,
                                  struct vfs_file **file, struct error *error)
{
    struct pipe *pipe = pipe_of_vfs(vfs);
    enum error_code code = ERROR_NONE;
    mutex_lock(&pipe->files_lock);
    struct pipe_file *content = find(pipe, path);
    if (content != NULL && mode == VFS_CREATE)
        code = error_set(error, ERROR_EXISTS, "create %s: it exists", path);
    else if (content == NULL && mode != VFS_CREATE)
        code = error_set(error, ERROR_MISSING, "open %s: there is no such file", path);
    else
        *file = open_content(pipe, content != NULL ? content : create(pipe, path));
    mutex_unlock(&pipe->files_lock);
    return code;
}

static struct pipe_file *content_of(struct vfs_file *file)
{
    return CONTAINER_OF(file, struct open_file, file)->content;
}

static void files_close(struct vfs_file *file)
{
    struct pipe *pipe = pipe_of_file(file);
    struct pipe_file *content = content_of(file);
    mutex_lock(&pipe->files_lock);
    content->opens--;
    drop_unused(pipe, content);
    mutex_unlock(&pipe->files_lock);
    memory_free(CONTAINER_OF(file, struct open_file, file));
}

static enum error_code files_read_at(struct vfs_file *file, void *data, size_t size, u64 offset,
                                     size_t *got, struct error *error)
{
    (void)error;
    struct pipe *pipe = pipe_of_file(file);
    const struct buffer *bytes = &content_of(file)->bytes;
    mutex_lock(&pipe->files_lock);
    *got = offset < bytes->size ? (size_t)u64_min(size, bytes->size - offset) : 0;
    if (*got > 0)
        memcpy(data, bytes->data + offset, *got);
    mutex_unlock(&pipe->files_lock);
    return ERROR_NONE;
}

static enum error_code files_write_at(struct vfs_file *file, const struct iovec *pieces, int count,
                                      u64 offset, struct error *error)
{
    (void)error;
    struct pipe *pipe = pipe_of_file(file);
    struct buffer *bytes = &content_of(file)->bytes;
    mutex_lock(&pipe->files_lock);
    for (int i = 0; i < count; i++) {
        u64 end = offset + pieces[i].iov_len;
        if (end > bytes->size) {
            size_t before = bytes->size;
            memset(buffer_reserve(bytes, (size_t)end - before), 0, (size_t)end - before);
            bytes->size = (size_t)end;
        }
        if (pieces[i].iov_len > 0)
            memcpy(bytes->data + offset, pieces[i].iov_base, pieces[i].iov_len);
        offset = end;
    }
    mutex_unlock(&pipe->files_lock);
    return ERROR_NONE;
}

static enum error_code files_sync(struct vfs_file *file, struct error *error)
{
    (void)file;
    (void)error;
    return ERROR_NONE;
}

static enum error_code files_size(struct vfs_file *file, u64 *size, struct error *error)
{
    (void)error;
    struct pipe *pipe = pipe_of_file(file);
    mutex_lock(&pipe->files_lock);
    *size = content_of(file)->bytes.size;
    mutex_unlock(&pipe->files_lock);
    return ERROR_NONE;
}

static enum error_code files_truncate(struct vfs_file *file, u64 size, struct error *error)
{
    (void)file;
    return error_set(error, ERROR_IO, "truncate to %llu: not in this file system",
                     (unsigned long long)size);
}

static enum error_code files_rename(struct vfs *vfs, const char *from, const char *to,
                                    struct error *error)
{
    struct pipe *pipe = pipe_of_vfs(vfs);
    enum error_code code = ERROR_NONE;
    mutex_lock(&pipe->files_lock);
    struct pipe_file *moved = find(pipe, from);
    struct pipe_file *replaced = find(pipe, to);
    if (moved == NULL) {
        code = error_set(error, ERROR_MISSING, "rename %s: there is no such file", from);
    } else if (moved != replaced) {
        if (replaced != NULL)
            unname(pipe, replaced);
        memory_free(moved->path);
        moved->path = memory_copy_string(to);
    }
    mutex_unlock(&pipe->files_lock);
    return code;
}

static enum error_code files_remove(struct vfs *vfs, const char *path, struct error *error)
{
    struct pipe *pipe = pipe_of_vfs(vfs);
    mutex_lock(&pipe->files_lock);
    struct pipe_file *file = find(pipe, path);
    if (file != NULL)
        unname(pipe, file);
    mutex_unlock(&pipe->files_lock);
    return file != NULL ? ERROR_NONE
                        : error_set(error, ERROR_MISSING, "remove %s: there is no such file", path);
}

static enum error_code files_directory(struct vfs *vfs, const char *path, struct error *error)
{
    (void)vfs;
    (void)path;
    (void)error;
    return ERROR_NONE;
}

static enum error_code files_list(struct vfs *vfs, const char *path,
                                  void (*each)(void *context, const char *name), void *context,
                                  struct error *error)
{
    (void)error;
    struct pipe *pipe = pipe_of_vfs(vfs);
    size_t length = strlen(path);
    mutex_lock(&pipe->files_lock);
    for (const struct pipe_file *file = pipe->file_list; file != NULL; file = file->next) {
        if (file->path != NULL && strncmp(file->path, path, length) == 0 &&
            file->path[length] == '/')
            each(context, file->path + length + 1);
    }
    mutex_unlock(&pipe->files_lock);
    return ERROR_NONE;
}

static const struct vfs_ops files_ops = {.open = files_open,
                                         .close = files_close,
                                         .read_at = files_read_at,
                                         .write_at = files_write_at,
                                         .sync = files_sync,
                                         .size = files_size,
                                         .truncate = files_truncate,
                                         .rename = files_rename,
                                         .remove = files_remove,
                                         .make_directory = files_directory,
                                         .sync_directory = files_directory,
                                         .list = files_list,
                                         .lock = files_directory};

void pipe_files_init(struct pipe *pipe)
{
    pipe->files = (struct vfs){.ops = &files_ops, .root = "memory"};
    mutex_init(&pipe->files_lock);
}

void pipe_files_deinit(struct pipe *pipe)
{
    while (pipe->file_list != NULL) {
        struct pipe_file *file = pipe->file_list;
        pipe->file_list = file->next;
        memory_free(file->path);
        buffer_deinit(&file->bytes);
        memory_free(file);
    }
    mutex_deinit(&pipe->files_lock);
}

/* vfs.c - the table's functions by name. Which table it is, is the maker's business. */
#include "common/vfs.h"

enum error_code vfs_open(struct vfs *vfs, const char *path, enum vfs_open_mode mode,
                         struct vfs_file **file, struct error *error)
{
    return vfs->ops->open(vfs, path, mode, file, error);
}

void vfs_close(struct vfs_file *file)
{
    if (file != NULL)
        file->vfs->ops->close(file);
}

enum error_code vfs_read_at(struct vfs_file *file, void *data, size_t size, u64 offset, size_t *got,
                            struct error *error)
{
    return file->vfs->ops->read_at(file, data, size, offset, got, error);
}

enum error_code vfs_write_at(struct vfs_file *file, const struct iovec *pieces, int count,
                             u64 offset, struct error *error)
{
    return file->vfs->ops->write_at(file, pieces, count, offset, error);
}

void vfs_stream(struct vfs_file *file)
{
    if (file->vfs->ops->stream != NULL)
        file->vfs->ops->stream(file);
}

enum error_code vfs_sync(struct vfs_file *file, struct error *error)
{
    return file->vfs->ops->sync(file, error);
}

enum error_code vfs_size(struct vfs_file *file, u64 *size, struct error *error)
{
    return file->vfs->ops->size(file, size, error);
}

enum error_code vfs_truncate(struct vfs_file *file, u64 size, struct error *error)
{
    return file->vfs->ops->truncate(file, size, error);
}

enum error_code vfs_rename(struct vfs *vfs, const char *from, const char *to, struct error *error)
{
    return vfs->ops->rename(vfs, from, to, error);
}

enum error_code vfs_remove(struct vfs *vfs, const char *path, struct error *error)
{
    return vfs->ops->remove(vfs, path, error);
}

enum error_code vfs_make_directory(struct vfs *vfs, const char *path, struct error *error)
{
    return vfs->ops->make_directory(vfs, path, error);
}

enum error_code vfs_sync_directory(struct vfs *vfs, const char *path, struct error *error)
{
    return vfs->ops->sync_directory(vfs, path, error);
}

enum error_code vfs_list(struct vfs *vfs, const char *path,
                         void (*each)(void *context, const char *name), void *context,
                         struct error *error)
{
    return vfs->ops->list(vfs, path, each, context, error);
}

enum error_code vfs_lock(struct vfs *vfs, const char *path, struct error *error)
{
    return vfs->ops->lock(vfs, path, error);
}

/* stalled_disk.c - a disk that does not answer, for test_stall.py: preloaded into raftd, it holds
 * up every sync and positioned write for as long as the file named by STALLED_DISK exists. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static void wait_for_disk(void)
{
    const char *sign = getenv("STALLED_DISK");
    while (sign != NULL && access(sign, F_OK) == 0)
        usleep(5000);
}

/* The next function of that name; ISO C knows no way from an object's pointer to a function's. */
static void find(const char *name, void *function)
{
    *(void **)function = dlsym(RTLD_NEXT, name);
}

int fdatasync(int fd)
{
    int (*next)(int);
    find("fdatasync", &next);
    wait_for_disk();
    return next(fd);
}

int fsync(int fd)
{
    int (*next)(int);
    find("fsync", &next);
    wait_for_disk();
    return next(fd);
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    ssize_t (*next)(int, const struct iovec *, int, off_t);
    find("pwritev", &next);
    wait_for_disk();
    return next(fd, pieces, count, offset);
}

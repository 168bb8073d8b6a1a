/* process.c - see process.h. */
#include "common/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"

/* Occupies the lowest number that is free: what reads or writes it is refused, as if it were
 * closed. */
static int open_nothing(void)
{
    int fd = open("/dev/null", O_RDWR);
    return fd >= 0 ? fd : open("/", O_PATH);
}

void process_begin(const char *program)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* Those below are open, so that this is the lowest that is free. */
        if (open_nothing() != fd) {
            struct error error;
            (void)error_set_errno(&error, ERROR_SYSTEM, errno,
                                  "descriptor %d is closed, and neither /dev/null nor / can be "
                                  "opened in its place",
                                  fd);
            error_print(program, &error);
            _exit(error_exit_code(ERROR_SYSTEM));
        }
    }
    (void)umask(S_IRWXG | S_IRWXO);
}

/* process.c - see process.h. */
#include "common/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

/* What was printed counts as done only when all of it is where it was sent, such as a full disk. */
static void check_output(int status, void *program)
{
    struct error error = {0};
    if (fflush(stdout) != 0)
        (void)error_set_errno(&error, ERROR_IO, errno, "standard output");
    else if (ferror(stdout) != 0)
        (void)error_set(&error, ERROR_IO, "standard output: not all could be written");
    if (error.code == ERROR_NONE)
        return;
    error_print(program, &error);
    _exit(status != 0 ? status : error_exit_code(ERROR_IO));
}

void process_begin(const char *program)
{
    bool prints = fcntl(STDOUT_FILENO, F_GETFD) >= 0;
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
    if (prints && on_exit(check_output, (void *)(uintptr_t)program) != 0)
        abort();
}

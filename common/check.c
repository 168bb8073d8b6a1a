/* check.c - the end of a process whose invariants broke. */
#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *file, int line, const char *function, const char *what)
{
    /* One write and no stream: the heap and stdio's locks may be what is broken. */
    char text[512];
    int size = snprintf(text, sizeof(text), "%s:%d: %s: broken invariant: %s\n", file, line,
                        function, what);
    if (size >= (int)sizeof(text)) {
        size = (int)sizeof(text) - 1;
        text[size - 1] = '\n';
    }
    if (size > 0 && write(STDERR_FILENO, text, (size_t)size) < 0) {
        /* Nobody to tell; the abort below says the rest. */
    }
    abort();
}

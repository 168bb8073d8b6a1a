/* directory.h - an empty directory for a test that writes to disk, and its removal.
 *
 *     char *root = directory_make();
 *     ...
 *     directory_remove(root);
 */
#ifndef MAILRAFT_TEST_UNIT_DIRECTORY_H
#define MAILRAFT_TEST_UNIT_DIRECTORY_H

#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Returns the path of a new empty directory below $TMPDIR or /tmp; give it to directory_remove. */
static inline char *directory_make(void)
{
    const char *above = getenv("TMPDIR");
    char path[1024];
    snprintf(path, sizeof(path), "%s/unit-XXXXXX", above != NULL ? above : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path));
    char *copy = strdup(path);
    ck_assert_ptr_nonnull(copy);
    return copy;
}

static inline int directory_remove_one(const char *path, const struct stat *status, int kind,
                                       struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void directory_remove(char *path)
{
    ck_assert_int_eq(nftw(path, directory_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(path);
}

#endif

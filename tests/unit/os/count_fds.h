/* SPDX-License-Identifier: Apache-2.0 */
/* What is open, for tests that must leave nothing so; cmocka.h comes first. */
#ifndef TWINAX_TESTS_COUNT_FDS_H
#define TWINAX_TESTS_COUNT_FDS_H

#include <dirent.h>

static inline unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

#endif

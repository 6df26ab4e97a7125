/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/st_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_st_index x;
    tw_err err = {.code = 0};
    int rc = tw_st_index_parse("fuzz", (const char *)p, n, &x, &err);
    if (rc < 0) {
        if (err.code != rc || err.msg[0] == '\0')
            abort();
        return 0;
    }
    for (size_t i = 0; i < x.n_files; i++)
        if (strchr(x.files[i], '/') != NULL || x.files[i][0] == '.')
            abort();
    for (size_t i = 0; i < x.n; i++)
        if (x.entries[i].i_file >= x.n_files ||
            tw_st_index_find(&x, x.entries[i].tensor) != &x.entries[i])
            abort();
    tw_st_index_done(&x);
    return 0;
}

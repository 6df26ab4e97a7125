/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fmt/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* The input is a whole file. What is accepted must keep the header's promises. */
static void check(const tw_st *st, size_t file_bytes)
{
    uint64_t sum = 0, lowest = file_bytes;
    for (size_t i = 0; i < st->n; i++) {
        const tw_st_tensor *t = &st->tensors[i];
        char shape[40];
        tw_st_show_shape(t, shape, sizeof(shape));
        if (t->off_bytes > file_bytes || t->n_bytes > file_bytes - t->off_bytes ||
            tw_st_find(st, t->name) != t || strlen(shape) >= sizeof(shape))
            abort();
        if (i > 0 && strcmp(st->tensors[i - 1].name, t->name) >= 0)
            abort();
        sum += t->n_bytes;
        lowest = t->off_bytes < lowest ? t->off_bytes : lowest;
    }
    if (sum != file_bytes - lowest)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    tw_st st;
    tw_err err = {.code = 0};
    int rc = tw_st_parse("fuzz", p, n, n, &st, &err);
    if (rc == 0) {
        check(&st, n);
        tw_st_done(&st);
    } else if (err.code != rc || err.msg[0] == '\0') {
        abort();
    }
    return 0;
}

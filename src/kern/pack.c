/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/kern.h"

#include <string.h>

#include "base/scope.h"

size_t tw_packed_bytes(enum tw_dtype type, size_t n, size_t k)
{
    size_t v;
    if (!tw_size_add(n, TW_PANEL - 1, &v) || !tw_size_mul(v / TW_PANEL * TW_PANEL, k, &v) ||
        !tw_size_mul(v, tw_dtype_bytes(type), &v))
        return 0;
    return v;
}

/* Position of column i of a panel row. */
static size_t column_place(enum tw_dtype type, size_t i)
{
    if (type != TW_BF16)
        return i;
    size_t j = i % 16;
    return i - j + (j < 8 ? 2 * j : 2 * (j - 8) + 1);
}

void tw_pack_rows(enum tw_dtype type, void *dst, size_t n, size_t k, size_t i_n0, const void *src,
                  size_t n_rows, size_t ld)
{
    (void)n;
    size_t bytes = tw_dtype_bytes(type);
    for (size_t r = 0; r < n_rows; r++) {
        size_t i_n = i_n0 + r;
        char *d = (char *)dst +
                  (i_n / TW_PANEL * k * TW_PANEL + column_place(type, i_n % TW_PANEL)) * bytes;
        const char *s = (const char *)src + r * ld * bytes;
        for (size_t i = 0; i < k; i++)
            memcpy(d + i * TW_PANEL * bytes, s + i * bytes, bytes);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Packing is a transpose. It goes in strips of STRIP_K columns of one panel, whose destination
 * stays in the first cache, by squares of 8 x 8 (16-bit) or 4 x 4 (32-bit) elements in vectors that
 * every machine of the family has. */
#include "kern/kern.h"

#include <string.h>

#include "base/scope.h"
#include "kern/quant.h"
#include "kern/unroll.h"

enum { STRIP_K = 128 };

typedef uint16_t vec16 __attribute__((vector_size(16)));
typedef uint32_t vec32 __attribute__((vector_size(16)));

size_t tw_packed_bytes(enum tw_dtype type, size_t n, size_t k)
{
    size_t v;
    if (tw_dtype_is_quant(type)) {
        /* Far from what a size can hold, or it is checked in the units that are multiplied. */
        if (k % TW_GRANULE != 0 || k > SIZE_MAX / 1024 || !tw_size_add(n, TW_PANEL - 1, &v) ||
            !tw_size_mul(v / TW_PANEL, tw_quant_panel_bytes(type, k), &v))
            return 0;
        return v;
    }
    if (!tw_size_add(n, TW_PANEL - 1, &v) || !tw_size_mul(v / TW_PANEL * TW_PANEL, k, &v) ||
        !tw_size_mul(v, tw_dtype_bytes(type), &v))
        return 0;
    return v;
}

/* Which column of its panel lies at position i of a panel row. */
static size_t column_at(enum tw_dtype type, size_t i)
{
    if (type != TW_BF16)
        return i;
    size_t j = i % 16;
    return i - j + j / 2 + j % 2 * 8;
}

/* The low halves of a and b in turns, and the high halves. */
#define ZIP16_LO(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define ZIP16_HI(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define ZIP32_LO(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define ZIP32_HI(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)

/* dst [8][64] = transpose of 8 elements of each of 8 rows. */
static inline void turn_16(uint16_t *dst, const char *const rows[8], size_t at_bytes)
{
    vec16 a[8], b[8];
    TW_UNROLL
    for (size_t i = 0; i < 8; i++)
        memcpy(&a[i], rows[i] + at_bytes, sizeof a[i]);
    /* Three rounds of zipping row i with row i + 4. */
    TW_UNROLL
    for (size_t i = 0; i < 4; i++) {
        b[2 * i] = ZIP16_LO(a[i], a[i + 4]);
        b[2 * i + 1] = ZIP16_HI(a[i], a[i + 4]);
    }
    TW_UNROLL
    for (size_t i = 0; i < 4; i++) {
        a[2 * i] = ZIP16_LO(b[i], b[i + 4]);
        a[2 * i + 1] = ZIP16_HI(b[i], b[i + 4]);
    }
    TW_UNROLL
    for (size_t i = 0; i < 4; i++) {
        b[2 * i] = ZIP16_LO(a[i], a[i + 4]);
        b[2 * i + 1] = ZIP16_HI(a[i], a[i + 4]);
    }
    TW_UNROLL
    for (size_t i = 0; i < 8; i++)
        memcpy(dst + i * TW_PANEL, &b[i], sizeof b[i]);
}

static inline void turn_32(uint32_t *dst, const char *const rows[4], size_t at_bytes)
{
    vec32 a[4], b[4];
    TW_UNROLL
    for (size_t i = 0; i < 4; i++)
        memcpy(&a[i], rows[i] + at_bytes, sizeof a[i]);
    TW_UNROLL
    for (size_t i = 0; i < 2; i++) {
        b[2 * i] = ZIP32_LO(a[i], a[i + 2]);
        b[2 * i + 1] = ZIP32_HI(a[i], a[i + 2]);
    }
    TW_UNROLL
    for (size_t i = 0; i < 2; i++) {
        a[2 * i] = ZIP32_LO(b[i], b[i + 2]);
        a[2 * i + 1] = ZIP32_HI(b[i], b[i + 2]);
    }
    TW_UNROLL
    for (size_t i = 0; i < 4; i++)
        memcpy(dst + i * TW_PANEL, &a[i], sizeof a[i]);
}

/* Columns [k0, k1) of rows (NULL: not given) into positions [pos, pos + n) of panel. */
static void pack_group(enum tw_dtype type, char *panel, size_t pos, const char *const *rows,
                       size_t n, size_t k0, size_t k1)
{
    const size_t bytes = tw_dtype_bytes(type);
    bool whole = true;
    for (size_t i = 0; i < n; i++)
        whole = whole && rows[i];
    size_t k = k0;
    for (; whole && k + n <= k1; k += n) {
        char *dst = panel + (k * TW_PANEL + pos) * bytes;
        if (bytes == 2)
            turn_16((uint16_t *)(void *)dst, rows, k * bytes);
        else
            turn_32((uint32_t *)(void *)dst, rows, k * bytes);
    }
    for (; k < k1; k++)
        for (size_t i = 0; i < n; i++)
            if (rows[i])
                memcpy(panel + (k * TW_PANEL + pos + i) * bytes, rows[i] + k * bytes, bytes);
}

/* src: row col0 of the panel and those after it, up to col1. */
static void pack_panel(enum tw_dtype type, char *panel, size_t k, const char *src, size_t col0,
                       size_t col1, size_t row_bytes)
{
    const size_t group = 16 / tw_dtype_bytes(type);
    for (size_t k0 = 0; k0 < k; k0 += STRIP_K) {
        size_t k1 = TW_MIN(k0 + STRIP_K, k);
        for (size_t pos = 0; pos < TW_PANEL; pos += group) {
            const char *rows[8];
            for (size_t i = 0; i < group; i++) {
                size_t col = column_at(type, pos + i);
                rows[i] = col >= col0 && col < col1 ? src + (col - col0) * row_bytes : NULL;
            }
            pack_group(type, panel, pos, rows, group, k0, k1);
        }
    }
}

void tw_pack_rows(enum tw_dtype type, void *dst, size_t n, size_t k, size_t i_n0, const void *src,
                  size_t n_rows, size_t ld)
{
    (void)n;
    const size_t bytes = tw_dtype_bytes(type);
    for (size_t r = 0; r < n_rows;) {
        size_t col0 = (i_n0 + r) % TW_PANEL, cols = TW_MIN(TW_PANEL - col0, n_rows - r);
        char *panel = (char *)dst + (i_n0 + r) / TW_PANEL * k * TW_PANEL * bytes;
        pack_panel(type, panel, k, (const char *)src + r * ld * bytes, col0, col0 + cols,
                   ld * bytes);
        r += cols;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint's coded numbers into panels: a transpose in squares of 16 x 16 bytes, as pack.c has
 * them of wider elements. */
#include <string.h>

#include "base/scope.h"
#include "kern/coded.h"
#include "kern/unroll.h"

enum { SQUARE = 16, STRIP_K = 128 };

typedef uint8_t vec8 __attribute__((vector_size(SQUARE)));

size_t tw_packed_panel_bytes(const tw_packed *w)
{
    if (!tw_dtype_is_coded(w->type))
        return tw_packed_bytes(w->type, TW_PANEL, w->k);
    size_t codes, heads;
    if (w->group == 0 || w->phase >= w->group || w->k > SIZE_MAX / 2 || w->phase > SIZE_MAX / 2 ||
        !tw_size_mul(w->k, TW_CODED_COLUMN, &codes) ||
        !tw_size_mul(tw_coded_n_groups(w), TW_CODED_HEAD, &heads) ||
        !tw_size_add(codes, heads, &codes))
        return 0;
    return codes;
}

size_t tw_packed_size(const tw_packed *w)
{
    size_t n;
    if (!tw_dtype_is_coded(w->type))
        return tw_packed_bytes(w->type, w->n, w->k);
    if (!tw_size_add(w->n, TW_PANEL - 1, &n) ||
        !tw_size_mul(n / TW_PANEL, tw_packed_panel_bytes(w), &n))
        return 0;
    return n;
}

#define ZIP8_LO(a, b)                                                                              \
    __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP8_HI(a, b)                                                                              \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

static inline void zip_rows(const vec8 from[SQUARE], vec8 to[SQUARE])
{
    TW_UNROLL
    for (size_t i = 0; i < SQUARE / 2; i++) {
        to[2 * i] = ZIP8_LO(from[i], from[i + SQUARE / 2]);
        to[2 * i + 1] = ZIP8_HI(from[i], from[i + SQUARE / 2]);
    }
}

/* dst [16] columns, TW_CODED_COLUMN apart, of 16 bytes each: the transpose of 16 bytes of 16 rows.
 * Four rounds of zipping row i with row i + 8. */
static inline void turn_8(uint8_t *dst, const uint8_t *const rows[SQUARE], size_t at)
{
    vec8 a[SQUARE], b[SQUARE];
    TW_UNROLL
    for (size_t i = 0; i < SQUARE; i++)
        memcpy(&a[i], rows[i] + at, sizeof a[i]);
    zip_rows(a, b);
    zip_rows(b, a);
    zip_rows(a, b);
    zip_rows(b, a);
    TW_UNROLL
    for (size_t i = 0; i < SQUARE; i++)
        memcpy(dst + i * TW_CODED_COLUMN, &a[i], sizeof a[i]);
}

/* Columns [k0, k1) of one group into places [place, place + 16). dst: column k0. rows: NULL where not
 * given. */
static void pack_square(uint8_t *dst, const uint8_t *const rows[SQUARE], size_t k0, size_t k1)
{
    bool whole = true;
    for (size_t i = 0; i < SQUARE; i++)
        whole = whole && rows[i] != NULL;
    size_t k = k0;
    for (; whole && k + SQUARE <= k1; k += SQUARE)
        turn_8(dst + (k - k0) * TW_CODED_COLUMN, rows, k);
    for (; k < k1; k++)
        for (size_t i = 0; i < SQUARE; i++)
            if (rows[i] != NULL)
                dst[(k - k0) * TW_CODED_COLUMN + i] = rows[i][k];
}

/* Columns [k0, k1) of one group; outputs [lane0, lane0 + n_rows). */
static void pack_columns(uint8_t *dst, const tw_codes *src, size_t lane0, size_t n_rows, size_t k0,
                         size_t k1)
{
    for (size_t place = 0; place < TW_PANEL; place += SQUARE) {
        const uint8_t *rows[SQUARE];
        for (size_t i = 0; i < SQUARE; i++) {
            const size_t lane =
                (place + i) % 4 * 16 + (place + i) / 4; /* tw_coded_place's inverse */
            const bool given = lane >= lane0 && lane < lane0 + n_rows;
            rows[i] = given ? src->code + (lane - lane0) * src->ld : NULL;
        }
        pack_square(dst + place, rows, k0, k1);
    }
}

void tw_pack_coded_rows(const tw_packed *w, void *dst, size_t i_n0, const tw_codes *src,
                        size_t n_rows)
{
    const size_t lane0 = i_n0 % TW_PANEL;
    uint8_t *panel = (uint8_t *)dst + i_n0 / TW_PANEL * tw_packed_panel_bytes(w);
    for (size_t k0 = 0, k1; k0 < w->k; k0 = k1) {
        k1 = TW_MIN(tw_coded_group_end(w, k0), k0 + STRIP_K);
        memcpy(panel + tw_coded_head_at(w, k0) + lane0 * sizeof(float),
               src->scale + tw_coded_group(w, k0) * TW_PANEL + lane0, n_rows * sizeof(float));
        pack_columns(panel + tw_coded_at(w, k0), src, lane0, n_rows, k0, k1);
    }
}

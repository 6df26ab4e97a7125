/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint's coded numbers into panels: a transpose in squares of 16 x 16 bytes, as pack.c has
 * them of wider elements. */
#include <string.h>

#include "base/scope.h"
#include "kern/coded.h"
#include "kern/half.h"
#include "kern/unroll.h"

enum { SQUARE = 16, STRIP_K = 128 };

typedef uint8_t vec8 __attribute__((vector_size(SQUARE)));

size_t tw_packed_panel_bytes(const tw_packed *w)
{
    if (!tw_dtype_is_coded(w->type))
        return tw_packed_bytes(w->type, TW_PANEL, w->k);
    size_t bytes, heads;
    const bool pairs = w->type == TW_INT4;
    if (w->group == 0 || w->phase >= w->group || w->k > SIZE_MAX / 4 || w->phase > SIZE_MAX / 4 ||
        (pairs && (w->group % 2 != 0 || w->phase % 2 != 0)) ||
        !tw_size_mul(pairs ? w->k / 2 + w->k % 2 : w->k, TW_CODED_LINE, &bytes) ||
        !tw_size_mul(tw_coded_n_groups(w), tw_coded_head_bytes(w->type), &heads) ||
        !tw_size_add(bytes, heads, &bytes))
        return 0;
    return bytes;
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

/* dst [16] columns, 64 bytes apart, of 16 bytes each: the transpose of 16 bytes of 16 rows.
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
        memcpy(dst + i * TW_CODED_LINE, &a[i], sizeof a[i]);
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
        turn_8(dst + (k - k0) * TW_CODED_LINE, rows, k);
    for (; k < k1; k++)
        for (size_t i = 0; i < SQUARE; i++)
            if (rows[i] != NULL)
                dst[(k - k0) * TW_CODED_LINE + i] = rows[i][k];
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

/* The nibbles of four bytes side by side. */
static uint32_t squeeze(uint32_t d)
{
    return (d & 0xf) | (d >> 4 & 0xf0) | (d >> 8 & 0xf00) | (d >> 12 & 0xf000);
}

/* As pack_columns, two columns a line. What other rows have is kept. */
static void pack_pairs(uint8_t *dst, const tw_codes *src, size_t lane0, size_t n_rows, size_t k0,
                       size_t k1)
{
    enum { LANES = TW_PANEL / 4 };
    uint32_t bytes[STRIP_K + 1][LANES] = {{0}}; /* as FP8 would have them */
    uint8_t given[TW_PANEL] = {0};
    uint32_t mine[LANES], old[LANES];
    for (size_t i = lane0; i < lane0 + n_rows; i++)
        given[tw_coded_place(i)] = 15;
    memcpy(mine, given, sizeof mine);
    pack_columns((uint8_t *)bytes, src, lane0, n_rows, k0, k1);
    for (size_t k = 0; k < k1 - k0; k += 2, dst += TW_CODED_LINE) {
        memcpy(old, dst, sizeof old);
        for (size_t j = 0; j < LANES; j++)
            old[j] = (old[j] & ~(squeeze(mine[j]) * 0x10001u)) | squeeze(bytes[k][j]) |
                     squeeze(bytes[k + 1][j]) << 16;
        memcpy(dst, old, sizeof old);
    }
}

static void pack_head(uint8_t *dst, enum tw_dtype type, const float *scale, const uint8_t *zero,
                      size_t lane0, size_t n_rows)
{
    if (type == TW_FP8) {
        memcpy(dst + lane0 * sizeof *scale, scale + lane0, n_rows * sizeof *scale);
        return;
    }
    for (size_t i = lane0; i < lane0 + n_rows; i++) {
        const uint16_t h = tw_f16_from_f32(scale[i]);
        memcpy(dst + i * sizeof h, &h, sizeof h);
    }
    memcpy(dst + TW_PANEL * sizeof(uint16_t) + lane0, zero + lane0, n_rows);
}

void tw_pack_coded_rows(const tw_packed *w, void *dst, size_t i_n0, const tw_codes *src,
                        size_t n_rows)
{
    const size_t lane0 = i_n0 % TW_PANEL;
    const bool pairs = w->type == TW_INT4;
    uint8_t *panel = (uint8_t *)dst + i_n0 / TW_PANEL * tw_packed_panel_bytes(w);
    for (size_t k0 = 0, k1; k0 < w->k; k0 = k1) {
        const size_t g = tw_coded_group(w, k0) * TW_PANEL;
        k1 = TW_MIN(tw_coded_group_end(w, k0), k0 + STRIP_K);
        pack_head(panel + tw_coded_head_at(w, k0), w->type, src->scale + g,
                  pairs ? src->zero + g : NULL, lane0, n_rows);
        (pairs ? pack_pairs : pack_columns)(panel + tw_coded_at(w, k0), src, lane0, n_rows, k0, k1);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A file's blocks into panels: granule by granule into dwords, one lane of the panel's rows. Goes in
 * strips of a super-block's columns, whose destination stays in the cache for all 64 outputs. */
#include <string.h>

#include "base/scope.h"
#include "kern/quant.h"

typedef struct cut {
    enum tw_dtype type;
    size_t g0, n_g; /* granules of the source row */
    size_t phase;
} cut;

static void put_super(const cut *c, uint8_t *dst, size_t lane, const tw_super *s)
{
    const tw_qform *f = &tw_qforms[c->type];
    for (size_t i = 0; i < f->n_head_f16; i++, dst += 2 * TW_PANEL)
        memcpy(dst + 2 * lane, &s->f16[i], 2);
    for (size_t i = 0; i < f->n_words; i++, dst += 4 * TW_PANEL)
        memcpy(dst + 4 * lane, &s->word[i], 4);
}

static void put_granule(const cut *c, uint8_t *dst, size_t lane, const tw_granule *g)
{
    const tw_qform *f = &tw_qforms[c->type];
    for (size_t i = 0; i < f->n_f16; i++)
        memcpy(dst + (i * TW_PANEL + lane) * 2, &g->f16[i], 2);
    if (c->type == TW_MXFP4)
        dst[lane] = (uint8_t)g->f16[0];
    dst += tw_granule_scale_bytes(c->type);
    for (size_t i = 0; i < f->n_q; i++, dst += 4 * TW_PANEL)
        memcpy(dst + 4 * lane, &g->q[i], 4);
    for (size_t i = 0; i < f->n_high; i++, dst += 4 * TW_PANEL)
        memcpy(dst + 4 * lane, &g->high[i], 4);
}

/* Granules [i0, i1) of one row, within one super-block. */
static void pack_strip(const cut *c, uint8_t *panel, size_t lane, const uint8_t *row, size_t i0,
                       size_t i1)
{
    if (tw_qforms[c->type].n_words) {
        tw_super s;
        tw_super_load(c->type, row, (c->g0 + i0) / 8, &s);
        put_super(c, panel + tw_super_at(c->type, c->phase, i0), lane, &s);
    }
    for (size_t i = i0; i < i1; i++) {
        tw_granule g;
        tw_granule_load(c->type, row, c->g0 + i, &g);
        put_granule(c, panel + tw_granule_at(c->type, c->phase, i), lane, &g);
    }
}

static void pack_panel(const cut *c, uint8_t *panel, size_t lane0, const uint8_t *src,
                       size_t n_rows, size_t src_row_bytes)
{
    if (tw_qforms[c->type].n_words) {
        const uint32_t head[TW_PANEL_HEAD / 4] = {(uint32_t)c->phase};
        memcpy(panel, head, sizeof head);
    }
    for (size_t i0 = 0; i0 < c->n_g;) {
        const size_t i1 = TW_MIN((i0 + c->phase) / 8 * 8 + 8 - c->phase, c->n_g);
        for (size_t r = 0; r < n_rows; r++)
            pack_strip(c, panel, lane0 + r, src + r * src_row_bytes, i0, i1);
        i0 = i1;
    }
}

void tw_pack_quant_rows(enum tw_dtype type, void *dst, size_t k, size_t i_n0, const void *src,
                        size_t n_rows, size_t src_row_bytes, size_t col0)
{
    const cut c = {type, col0 / TW_GRANULE, k / TW_GRANULE, col0 / TW_GRANULE % 8};
    for (size_t r = 0; r < n_rows;) {
        const size_t lane0 = (i_n0 + r) % TW_PANEL, rows = TW_MIN(TW_PANEL - lane0, n_rows - r);
        uint8_t *panel = (uint8_t *)dst + (i_n0 + r) / TW_PANEL * tw_quant_panel_bytes(type, k);
        pack_panel(&c, panel, lane0, (const uint8_t *)src + r * src_row_bytes, rows, src_row_bytes);
        r += rows;
    }
}

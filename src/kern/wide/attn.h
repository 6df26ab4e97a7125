/* SPDX-License-Identifier: Apache-2.0 */
/* What the two files of attention share: attn.c walks the blocks and has the tiles for many pairs,
 * attn_few.c those for few. */
#ifndef TWINAX_KERN_WIDE_ATTN_H
#define TWINAX_KERN_WIDE_ATTN_H

#include "kern/scratch.h"
#include "kern/wide/wide.h"

enum {
    V16 = 16 / TW_W,
    TILE = 6,
    TILE_V = TW_REGS / 8,
    SCORE_N = TW_REGS >= 32 ? 3 : 6, /* pairs x KEYS keys x LANES_N lanes are a tile of scores */
    KEYS_V = 2,
    KEYS = KEYS_V * TW_W,
    LANES_N = TW_REGS >= 32 ? 4 : 1,
    MAX_PAIRS = TW_ATTN_PAIRS,
    BLOCK = TW_KV_BLOCK,
    FEW = 8,
};

typedef struct pair {
    uint32_t begin, end; /* visible keys */
    unsigned lo, hi;     /* visible in this block */
    bool in_span, any;   /* m, l, o of the span and of all before it hold something */
    float m, l, c, m_all, l_all;
} pair;

typedef struct walk {
    const tw_attn *op;
    size_t q_pad, n_pairs;
    uint32_t i_span0, i_span1; /* of these; parts: each goes there, else they are merged */
    bool parts;
    unsigned kv0, n_kv; /* KV heads; several only where pairs are those of one row, few for each */
    size_t head_bytes;  /* of a KV head in a page */
    bool few;
    uint32_t i_last; /* block */
    uint32_t pair0;  /* row * heads + head of pair 0, of the n_kv KV heads' */
    float *q;        /* [pairs][Q] in lane order; as it is when few */
    float *o;        /* [pairs][Q] */
    float *o_all;    /* [pairs][Q] */
    float *p;        /* [pairs][64]: scores, then weights */
    float *k;        /* [Q][64] in lane order */
    float *v;        /* [64][Q] */
    pair pairs[MAX_PAIRS];
} walk;

static inline const void *page_of(const walk *w, const void *const *pages, uint32_t i,
                                  unsigned i_kv)
{
    return (const char *)pages[i] + (w->kv0 + i_kv) * w->head_bytes;
}

/* Up to FEW pairs a KV head, Q a multiple of 16: keys [lo, hi) of page i_page, rounded out to whole
 * vectors, give scores to w->p; values likewise go to w->o, pair by pair as far as each sees. */
void TW_FN(attn_few_scores)(const walk *w, uint32_t i_page, unsigned lo, unsigned hi);
void TW_FN(attn_few_values)(const walk *w, uint32_t i_page);

#endif

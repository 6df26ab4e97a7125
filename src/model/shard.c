/* SPDX-License-Identifier: Apache-2.0 */
#include "model/shard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { FFN_GRANULE = 32, VOCAB_GRANULE = 64, DIM_GRANULE = 32 };

/* [*ret_from, *ret_from + *ret_n) of an axis with these 8 segments. */
static void cut_axis(const uint32_t seg[TW_SEGMENTS + 1], const tw_shard *s, uint32_t *ret_from,
                     uint32_t *ret_n)
{
    *ret_from = seg[s->rank * s->n_seg];
    *ret_n = seg[(s->rank + 1) * s->n_seg] - *ret_from;
}

static void localize(const uint32_t seg[TW_SEGMENTS + 1], const tw_shard *s,
                     uint32_t ret_seg[TW_SEGMENTS + 1])
{
    const uint32_t *from = &seg[s->rank * s->n_seg];
    for (unsigned i = 0; i <= s->n_seg; i++)
        ret_seg[i] = from[i] - from[0];
}

static tw_shard cut_model(const tw_model_config *c, unsigned n_ranks, unsigned rank)
{
    tw_shard s = {.rank = rank, .n_ranks = n_ranks, .n_seg = TW_SEGMENTS / n_ranks};
    uint32_t heads[TW_SEGMENTS + 1], seg_o[TW_SEGMENTS + 1], seg_f[TW_SEGMENTS + 1],
        seg_e[TW_SEGMENTS + 1];
    tw_segments(c->n_heads, 1, heads);
    tw_segments((size_t)c->n_heads * c->head_dim, c->head_dim, seg_o);
    tw_segments(c->ffn, FFN_GRANULE, seg_f);
    tw_segments(c->expert_ffn, FFN_GRANULE, seg_e);
    tw_segments(c->d_model, DIM_GRANULE, s.seg_d);
    tw_segments(c->vocab, VOCAB_GRANULE, s.seg_v);
    cut_axis(heads, &s, &s.head0, &s.n_heads);
    cut_axis(seg_f, &s, &s.ffn0, &s.n_ffn);
    cut_axis(seg_e, &s, &s.expert_ffn0, &s.n_expert_ffn);
    cut_axis(s.seg_v, &s, &s.vocab0, &s.n_vocab);
    localize(seg_o, &s, s.seg_o);
    localize(seg_f, &s, s.seg_f);
    localize(seg_e, &s, s.seg_e);
    if (s.n_heads > 0) {
        uint32_t group = c->n_heads / c->n_kv_heads;
        s.kv0 = s.head0 / group;
        s.n_kv = (s.head0 + s.n_heads - 1) / group + 1 - s.kv0;
    }
    return s;
}

/* The first rank that would hold nothing of something; NULL when all hold some of all. */
static const char *find_empty(const tw_model_config *c, unsigned n_ranks, unsigned *ret_rank)
{
    for (unsigned r = 0; r < n_ranks; r++) {
        tw_shard s = cut_model(c, n_ranks, r);
        *ret_rank = r;
        if (s.n_heads == 0)
            return "attention heads";
        if (s.n_ffn == 0 && tw_model_has_dense(c))
            return "feed-forward columns (in blocks of 32)";
        if (s.n_expert_ffn == 0 && c->n_expert_layers > 0)
            return "columns of each expert (in blocks of 32)";
        if (s.n_vocab == 0)
            return "vocabulary (in blocks of 64 ids)";
    }
    return NULL;
}

unsigned tw_shard_allowed(const tw_model_config *c)
{
    unsigned mask = 0, rank;
    for (unsigned i = 0; i < 4; i++)
        if (find_empty(c, 1u << i, &rank) == NULL)
            mask |= 1u << i;
    return mask;
}

static void show_allowed(unsigned mask, char out[16])
{
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < 4; i++)
        if (mask & (1u << i))
            n += (size_t)snprintf(out + n, 16 - n, "%s%u", n == 0 ? "" : ", ", 1u << i);
}

int tw_shard_init(const tw_model_config *c, unsigned n_ranks, unsigned rank, tw_shard *ret,
                  tw_err *err)
{
    char allowed[16];
    show_allowed(tw_shard_allowed(c), allowed);
    if (n_ranks != 1 && n_ranks != 2 && n_ranks != 4 && n_ranks != 8)
        return tw_err_set(err, -EINVAL, "tp %u: no such split; this model allows tp %s", n_ranks,
                          allowed);
    if (rank >= n_ranks)
        return tw_err_set(err, -EINVAL, "rank %u of %u: want 0..%u", rank, n_ranks, n_ranks - 1);
    unsigned r = 0;
    const char *empty = find_empty(c, n_ranks, &r);
    if (empty != NULL)
        return tw_err_set(
            err, -EINVAL,
            "tp %u: rank %u would have no %s (model: %u heads, ffn %u, vocabulary %u);"
            " this model allows tp %s",
            n_ranks, r, empty, c->n_heads, c->n_expert_layers > 0 ? c->expert_ffn : c->ffn,
            c->vocab, allowed);
    *ret = cut_model(c, n_ranks, rank);
    return 0;
}

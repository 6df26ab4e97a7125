/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of loading: which part of which tensor goes where, and in which chunks. */
#include <errno.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/coded.h"
#include "model/weights_inside.h"

enum {
    CHUNK_BYTES = 1 << 20, /* of source, about */
    ALIGN_BYTES = 64,
    GRANULE = 32,
};

const tw_piece *tw_weights_find_piece(const tw_loader *l, size_t i_chunk)
{
    size_t lo = 0, hi = l->n_pieces - 1;
    while (lo < hi) {
        size_t mid = lo + (hi - lo + 1) / 2;
        if (l->pieces[mid].i_chunk0 <= i_chunk)
            lo = mid;
        else
            hi = mid - 1;
    }
    return &l->pieces[lo];
}

void tw_weights_col_span(const tw_piece *p, size_t *ret_off_bytes, size_t *ret_n_bytes)
{
    const tw_coded *coded = p->t->coded;
    if (coded != NULL) {
        *ret_off_bytes = tw_coded_by_rows(coded) ? p->col0 : 0;
        *ret_n_bytes = tw_coded_by_rows(coded) ? p->n_cols : tw_coded_row_bytes(coded);
        return;
    }
    size_t block = tw_dtype_block(p->t->type), bytes = tw_dtype_block_bytes(p->t->type);
    size_t first = p->col0 / block;
    *ret_off_bytes = first * bytes;
    *ret_n_bytes = (TW_DIV_UP(p->col0 + p->n_cols, block) - first) * bytes;
}

/* Rows that a chunk holds all of: a panel, whole heads where their rows lie mixed. */
static size_t group_rows(const tw_tensor *t)
{
    size_t n = TW_PANEL;
    while (t->turned != 0 && n % t->turned != 0)
        n += TW_PANEL;
    return n;
}

/* Quantised on load: plain matrices whose segments begin at blocks; not a router, whose choice is
 * sharp; the head gets eight bits in any case. */
enum tw_dtype tw_weights_packed_type(const tw_model *m, const tw_part_spec *spec,
                                     const tw_tensor *t)
{
    if (m->quant == TW_F32 || spec->cols == TW_AXIS_ONE || tw_dtype_is_quant(t->type) ||
        spec->rows == TW_AXIS_E || t->n_cols % GRANULE != 0 ||
        (spec->cols == TW_AXIS_HQ && m->config.head_dim % GRANULE != 0))
        return t->type;
    return spec->rows == TW_AXIS_V ? TW_Q8_0 : m->quant;
}

/* The next piece. */
static bool plan_piece(tw_loader *l, const tw_shard *s, const tw_part_spec *spec,
                       const tw_tensor *t)
{
    tw_piece p = {.t = t, .is_vector = spec->cols == TW_AXIS_ONE};
    tw_axis_cut(&l->m->config, s, spec->rows, &p.row0, &p.n_rows);
    tw_axis_cut(&l->m->config, s, spec->cols, &p.col0, &p.n_cols);
    p.type = tw_weights_packed_type(l->m, spec, t);
    size_t n_group = group_rows(t), group_bytes = n_group * tw_tensor_row_bytes(t);
    size_t n_groups = TW_MAX(CHUNK_BYTES / group_bytes, (size_t)1);
    const bool whole = p.is_vector || (t->coded != NULL && !tw_coded_by_rows(t->coded));
    p.n_chunk_rows = whole ? p.n_rows : n_groups * n_group;
    p.i_chunk0 = l->n_chunks;
    p.off_bytes = l->n_bytes;
    const tw_packed packed = tw_piece_packed(&p, NULL);
    size_t bytes = p.is_vector ? p.n_rows * sizeof(float) : tw_packed_size(&packed);
    l->n_chunks += TW_DIV_UP(p.n_rows, p.n_chunk_rows);
    size_t off_bytes = 0, row_bytes = 0;
    tw_weights_col_span(&p, &off_bytes, &row_bytes);
    l->total_bytes += (uint64_t)p.n_rows * row_bytes;
    l->scratch_bytes = TW_MAX(l->scratch_bytes, tw_piece_scratch_bytes(&p));
    l->pieces[l->n_pieces++] = p;
    return bytes != 0 && tw_size_add(bytes, ALIGN_BYTES - 1, &bytes) &&
           tw_size_add(l->n_bytes, bytes / ALIGN_BYTES * ALIGN_BYTES, &l->n_bytes);
}

static bool plan_layer(tw_loader *l, const tw_shard *s, uint32_t i_layer)
{
    const tw_model *m = l->m;
    bool fits = true;
    for (enum tw_part part = 0; part < TW_PART_LAYER_END; part++) {
        const tw_tensor *t = tw_model_tensor(m, part, i_layer);
        if (t->name != NULL)
            fits = plan_piece(l, s, tw_part_get(part), t) && fits;
    }
    const uint32_t n_experts = m->config.experts[i_layer] ? m->config.n_experts : 0;
    for (uint32_t e = 0; e < n_experts; e++)
        for (enum tw_expert_part part = 0; part < TW_EXPERT_PARTS; part++)
            fits =
                plan_piece(l, s, tw_expert_part_get(part), tw_model_expert(m, part, i_layer, e)) &&
                fits;
    return fits;
}

int tw_weights_plan(tw_loader *l, const tw_shard *s, tw_err *err)
{
    const tw_model *m = l->m;
    const tw_model_config *c = &m->config;
    size_t n_max = (size_t)c->n_layers * TW_PART_LAYER_END + TW_PART_END +
                   (size_t)c->n_expert_layers * c->n_experts * TW_EXPERT_PARTS;
    l->pieces = tw_mem_calloc(n_max, sizeof(*l->pieces));
    if (l->pieces == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for the plan of loading", m->path);
    bool fits = true;
    for (uint32_t i = 0; i < c->n_layers; i++)
        fits = plan_layer(l, s, i) && fits;
    enum tw_part head = c->tied ? TW_PART_EMBED : TW_PART_LM_HEAD;
    fits = plan_piece(l, s, tw_part_get(TW_PART_FINAL_NORM),
                      tw_model_tensor(m, TW_PART_FINAL_NORM, 0)) &&
           plan_piece(l, s, tw_part_get(head), tw_model_tensor(m, head, 0)) && fits;
    if (!fits)
        return tw_err_set(err, -EOVERFLOW, "model %s: weights too large for this machine", m->path);
    return 0;
}

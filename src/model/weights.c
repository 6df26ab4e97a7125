/* SPDX-License-Identifier: Apache-2.0 */
/* Packs a shard's part of every tensor into one run of pages. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/weights_inside.h"

struct owner {
    void *pages;
    size_t n_bytes;
};

/* Places of the parts in tw_layer. A vector's is a pointer, a matrix's a tw_packed. */
static const size_t places[TW_PART_LAYER_END] = {
    [TW_PART_ATTN_NORM] = offsetof(tw_layer, attn_norm),
    [TW_PART_Q] = offsetof(tw_layer, q),
    [TW_PART_K] = offsetof(tw_layer, k),
    [TW_PART_V] = offsetof(tw_layer, v),
    [TW_PART_Q_BIAS] = offsetof(tw_layer, q_bias),
    [TW_PART_K_BIAS] = offsetof(tw_layer, k_bias),
    [TW_PART_V_BIAS] = offsetof(tw_layer, v_bias),
    [TW_PART_Q_NORM] = offsetof(tw_layer, q_norm),
    [TW_PART_K_NORM] = offsetof(tw_layer, k_norm),
    [TW_PART_O] = offsetof(tw_layer, o),
    [TW_PART_O_BIAS] = offsetof(tw_layer, o_bias),
    [TW_PART_FFN_NORM] = offsetof(tw_layer, ffn_norm),
    [TW_PART_GATE] = offsetof(tw_layer, gate),
    [TW_PART_UP] = offsetof(tw_layer, up),
    [TW_PART_GATE_BIAS] = offsetof(tw_layer, gate_bias),
    [TW_PART_UP_BIAS] = offsetof(tw_layer, up_bias),
    [TW_PART_DOWN] = offsetof(tw_layer, down),
    [TW_PART_DOWN_BIAS] = offsetof(tw_layer, down_bias),
    [TW_PART_ROUTER] = offsetof(tw_layer, router),
};

static tw_packed packed_of(const tw_loader *l, const tw_piece *p)
{
    return (
        tw_packed){.type = p->type, .n = p->n_rows, .k = p->n_cols, .data = l->base + p->off_bytes};
}

/* p: the layer's first piece; returns the first after what the layer has once. */
static const tw_piece *fill_layer(const tw_loader *l, const tw_piece *p, uint32_t i_layer,
                                  tw_layer *layer)
{
    for (enum tw_part part = 0; part < TW_PART_LAYER_END; part++) {
        if (tw_model_tensor(l->m, part, i_layer)->name == NULL)
            continue;
        char *place = (char *)layer + places[part];
        const float *vector = (const float *)(const void *)(l->base + p->off_bytes);
        tw_packed packed = packed_of(l, p);
        if (p->is_vector)
            memcpy(place, &vector, sizeof(vector));
        else
            memcpy(place, &packed, sizeof(packed));
        p++;
    }
    return p;
}

static void fill_layers(const tw_loader *l, tw_weights *w)
{
    const tw_model_config *c = &l->m->config;
    const tw_piece *p = l->pieces;
    tw_expert *x = w->experts;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        p = fill_layer(l, p, i, &w->layers[i]);
        if (!c->experts[i])
            continue;
        w->layers[i].experts = x;
        for (uint32_t e = 0; e < c->n_experts; e++, x++, p += TW_EXPERT_PARTS)
            *x = (tw_expert){.gate = packed_of(l, p + TW_EXPERT_GATE),
                             .up = packed_of(l, p + TW_EXPERT_UP),
                             .down = packed_of(l, p + TW_EXPERT_DOWN)};
    }
}

static void fill_weights(const tw_loader *l, tw_weights *w)
{
    const tw_piece *norm = &l->pieces[l->n_pieces - 2], *head = norm + 1;
    fill_layers(l, w);
    w->final_norm = (const float *)(const void *)(l->base + norm->off_bytes);
    w->lm_head = packed_of(l, head);
    w->bytes = l->n_bytes;
}

/* Everything that tw_weights_done frees. */
static int reserve(tw_loader *l, tw_weights *w, tw_err *err)
{
    struct owner *own = tw_mem_calloc(1, sizeof(*own));
    w->impl = own;
    w->layers = tw_mem_calloc(l->m->config.n_layers, sizeof(*w->layers));
    const tw_model_config *c = &l->m->config;
    const size_t n_experts = (size_t)c->n_expert_layers * c->n_experts;
    w->experts = tw_mem_calloc(TW_MAX(n_experts, (size_t)1), sizeof(*w->experts));
    if (own != NULL)
        own->pages = tw_pages_new(l->n_bytes);
    if (own == NULL || own->pages == NULL || w->layers == NULL || w->experts == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %zu MiB of weights", l->m->path,
                          l->n_bytes >> 20);
    own->n_bytes = l->n_bytes;
    l->base = own->pages;
    return 0;
}

static int load_all(tw_loader *l, const tw_shard *s, tw_team *team, tw_weights *w, tw_err *err)
{
    int rc = tw_weights_plan(l, s, err);
    if (rc == 0)
        rc = reserve(l, w, err);
    if (rc < 0)
        return rc;
    rc = tw_weights_load_chunks(l, team, err);
    if (rc == 0)
        fill_weights(l, w);
    return rc;
}

int tw_weights_load(tw_model *m, const tw_shard *s, tw_team *team, tw_progress_fn *progress,
                    void *ctx, tw_weights *ret, tw_err *err)
{
    tw_loader l = {.m = m, .progress = progress, .ctx = ctx, .i_bad = SIZE_MAX};
    tw_weights w = {.layers = NULL};
    int rc = load_all(&l, s, team, &w, err);
    tw_mem_free(l.pieces);
    for (size_t i = 0; i < m->n_files; i++)
        tw_map_drop(&m->files[i].map, 0, m->files[i].map.size_bytes);
    if (rc < 0) {
        tw_weights_done(&w);
        return rc;
    }
    *ret = w;
    return 0;
}

int tw_weights_count_bytes(const tw_model *m, const tw_shard *s, uint64_t *ret, tw_err *err)
{
    tw_loader l = {.m = m};
    int rc = tw_weights_plan(&l, s, err);
    tw_mem_free(l.pieces);
    if (rc == 0)
        *ret = l.n_bytes;
    return rc;
}

void tw_weights_done(tw_weights *w)
{
    if (w == NULL)
        return;
    struct owner *own = w->impl;
    if (own != NULL)
        tw_pages_free(own->pages, own->n_bytes);
    tw_mem_free(own);
    tw_mem_free(w->layers);
    tw_mem_free(w->experts);
    *w = (tw_weights){.layers = NULL};
}

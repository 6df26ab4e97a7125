/* SPDX-License-Identifier: Apache-2.0 */
/* Packs a shard's part of every tensor into one run of pages. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/pack.h"
#include "model/weights_inside.h"

struct owner {
    void *pages; /* NULL: they are the pack's */
    size_t n_bytes;
    tw_pack_map map;
    tw_pack_keep *keep;
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
    return tw_piece_packed(p, l->base + p->off_bytes);
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

/* Everything that tw_weights_done frees, but the pages. */
static int make_owner(const tw_loader *l, tw_weights *w, tw_err *err)
{
    w->impl = tw_mem_calloc(1, sizeof(struct owner));
    w->layers = tw_mem_calloc(l->m->config.n_layers, sizeof(*w->layers));
    const tw_model_config *c = &l->m->config;
    const size_t n_experts = (size_t)c->n_expert_layers * c->n_experts;
    w->experts = tw_mem_calloc(TW_MAX(n_experts, (size_t)1), sizeof(*w->experts));
    if (w->impl == NULL || w->layers == NULL || w->experts == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for its layers", l->m->path);
    return 0;
}

static int load_files(tw_loader *l, tw_team *team, tw_weights *w, tw_err *err)
{
    struct owner *own = w->impl;
    own->pages = tw_pages_new(l->n_bytes);
    if (own->pages == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %zu MiB of weights", l->m->path,
                          l->n_bytes >> 20);
    own->n_bytes = l->n_bytes;
    l->base = own->pages;
    return tw_weights_load_chunks(l, team, err);
}

struct copy {
    const tw_pack_map *from;
    uint8_t *to;
    _Atomic size_t i_next;
};

static void copy_chunks(void *ctx, unsigned i_thread, unsigned n_threads)
{
    (void)i_thread;
    (void)n_threads;
    struct copy *c = ctx;
    const tw_map map = {.p = c->from->data, .size_bytes = c->from->n_bytes};
    size_t i;
    while ((i = atomic_fetch_add(&c->i_next, 1)) < c->from->n_chunks) {
        const size_t at = i * TW_PACK_CHUNK_BYTES, n = tw_pack_chunk_bytes(c->from->n_bytes, i);
        memcpy(c->to + at, c->from->data + at, n);
        tw_map_drop(&map, at, n);
    }
}

/* The pack's bytes in pages of our own. The map stays, without a page: it says that the pack is in
 * use. False: no memory; the map serves as well. */
static bool copy_pack(struct owner *own, tw_team *team)
{
    struct copy c = {.from = &own->map, .to = tw_pages_new(own->map.n_bytes)};
    if (c.to == NULL)
        return false;
    if (team == NULL)
        copy_chunks(&c, 0, 1);
    else
        tw_team_run(team, copy_chunks, &c);
    own->pages = c.to;
    own->n_bytes = own->map.n_bytes;
    return true;
}

/* 1: found; 0: not; else the code with which progress ended it, and err is its. */
static int load_pack(tw_loader *l, const tw_shard *s, const tw_pack_opts *packs, tw_team *team,
                     tw_weights *w)
{
    struct owner *own = w->impl;
    tw_err ignored;
    int stopped = 0;
    if (tw_pack_find(l, s, packs, team, &own->map, &stopped, &ignored) != 0)
        return stopped;
    union {
        const uint8_t *read;
        uint8_t *base;
    } u = {.read = own->map.data}; /* nobody writes to what is loaded */
    w->is_mapped = true;
    l->base = packs->copy && copy_pack(own, team) ? own->pages : u.base;
    return 1;
}

static int load_all(tw_loader *l, const tw_shard *s, tw_team *team, const tw_pack_opts *packs,
                    tw_weights *w, tw_err *err)
{
    int rc = tw_weights_plan(l, s, err);
    if (rc == 0)
        rc = make_owner(l, w, err);
    if (rc < 0)
        return rc;
    struct owner *own = w->impl;
    const uint64_t least = packs->min_bytes != 0 ? packs->min_bytes : TW_PACK_MIN_BYTES;
    const bool cached = packs->folder != NULL && l->n_bytes >= least;
    const int found = cached ? load_pack(l, s, packs, team, w) : 0;
    if (found == 0)
        rc = load_files(l, team, w, err);
    else
        rc = found == 1 ? 0 : found;
    if (rc != 0)
        return rc;
    fill_weights(l, w);
    tw_err ignored;
    if (cached && found == 0 && tw_pack_begin_keep(l, s, packs, team, &own->keep, &ignored) != 0)
        own->keep = NULL;
    return 0;
}

int tw_weights_load_cached(tw_model *m, const tw_shard *s, tw_team *team, tw_progress_fn *progress,
                           void *ctx, const tw_pack_opts *packs, tw_weights *ret, tw_err *err)
{
    tw_loader l = {.m = m, .progress = progress, .ctx = ctx, .i_bad = SIZE_MAX};
    tw_weights w = {.layers = NULL};
    int rc = load_all(&l, s, team, packs, &w, err);
    tw_mem_free(l.pieces);
    for (size_t i = 0; i < m->n_files; i++)
        tw_map_drop(&m->files[i].map, 0, m->files[i].map.size_bytes);
    if (rc != 0) {
        tw_weights_done(&w);
        return rc;
    }
    *ret = w;
    return 0;
}

int tw_weights_load(tw_model *m, const tw_shard *s, tw_team *team, tw_progress_fn *progress,
                    void *ctx, tw_weights *ret, tw_err *err)
{
    const tw_pack_opts none = {.folder = NULL};
    return tw_weights_load_cached(m, s, team, progress, ctx, &none, ret, err);
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

void tw_weights_keep(tw_weights *w)
{
    const struct owner *own = w->impl;
    if (own != NULL)
        tw_pack_keep_go(own->keep);
}

bool tw_weights_is_keeping(const tw_weights *w)
{
    const struct owner *own = w->impl;
    return own != NULL && tw_pack_keep_is_busy(own->keep);
}

int tw_weights_end_keep(tw_weights *w, uint64_t wait_ns, tw_err *err)
{
    struct owner *own = w->impl;
    if (own == NULL || own->keep == NULL)
        return -ECANCELED;
    tw_pack_keep *keep = own->keep;
    own->keep = NULL;
    return tw_pack_keep_end(keep, wait_ns, err);
}

void tw_model_config_cut(const tw_model_config *c, uint32_t n_layers, tw_model_config *ret)
{
    *ret = *c;
    ret->n_layers = TW_MIN(n_layers, c->n_layers);
    ret->n_expert_layers = 0;
    for (uint32_t i = 0; i < ret->n_layers; i++)
        ret->n_expert_layers += c->experts[i];
}

int tw_weights_count_layer_bytes(const tw_model *m, const tw_shard *s, uint32_t n_layers,
                                 uint64_t *ret, tw_err *err)
{
    tw_model cut = *m;
    tw_model_config_cut(&m->config, n_layers, &cut.config);
    tw_loader l = {.m = &cut};
    int rc = tw_weights_plan(&l, s, err);
    if (rc == 0)
        *ret = l.pieces[l.n_pieces - 2].off_bytes; /* of the final norm, after the layers */
    tw_mem_free(l.pieces);
    return rc;
}

/* Small numbers of both signs, as bf16 halves and as f32 alike. */
static void spread(void *p, size_t bytes)
{
    for (size_t i = 0; i < bytes / 2; i++) {
        const uint16_t h = (uint16_t)(0x3c00u + (i * 2654435761u >> 9 & 0x81ffu));
        memcpy((uint8_t *)p + 2 * i, &h, sizeof(h));
    }
}

static void fill_blank(const tw_loader *l)
{
    memset(l->base, 0, l->pieces[l->n_pieces - 2].off_bytes);
    for (size_t i = 0; i + 1 < l->n_pieces; i++) {
        const tw_piece *p = &l->pieces[i];
        float *v = (float *)(void *)(l->base + p->off_bytes);
        for (size_t k = 0; p->is_vector && k < p->n_rows; k++)
            v[k] = 1;
    }
    for (uint32_t i = 0; i < l->m->config.n_layers; i++) {
        const tw_tensor *t = tw_model_tensor(l->m, TW_PART_ROUTER, i);
        for (size_t k = 0; t->name != NULL && k < l->n_pieces; k++)
            if (l->pieces[k].t == t && !tw_dtype_is_quant(l->pieces[k].type)) {
                const tw_packed packed = packed_of(l, &l->pieces[k]);
                spread(l->base + l->pieces[k].off_bytes, tw_packed_size(&packed));
            }
    }
}

int tw_weights_blank(const tw_model *m, const tw_shard *s, uint32_t n_layers, tw_weights *ret,
                     tw_err *err)
{
    tw_model cut = *m;
    tw_model_config_cut(&m->config, n_layers, &cut.config);
    tw_loader l = {.m = &cut};
    tw_weights w = {.layers = NULL};
    int rc = tw_weights_plan(&l, s, err);
    if (rc == 0)
        rc = make_owner(&l, &w, err);
    if (rc == 0) {
        struct owner *own = w.impl;
        own->pages = tw_pages_new(l.n_bytes);
        own->n_bytes = l.n_bytes;
        l.base = own->pages;
        if (l.base == NULL)
            rc = tw_err_set(err, -ENOMEM, "model %s: no memory for a trial of %u layers", m->path,
                            n_layers);
    }
    if (rc == 0) {
        fill_blank(&l);
        fill_weights(&l, &w);
    }
    tw_mem_free(l.pieces);
    if (rc != 0) {
        tw_weights_done(&w);
        return rc;
    }
    *ret = w;
    return 0;
}

void tw_weights_done(tw_weights *w)
{
    if (w == NULL)
        return;
    struct owner *own = w->impl;
    if (own != NULL) {
        (void)tw_weights_end_keep(w, 0, NULL);
        tw_pages_free(own->pages, own->n_bytes);
        tw_pack_map_close(&own->map);
    }
    tw_mem_free(own);
    tw_mem_free(w->layers);
    tw_mem_free(w->experts);
    *w = (tw_weights){.layers = NULL};
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Packs a shard's part of every tensor into one run of pages. The plan is a list of pieces (one a
 * tensor), each cut into chunks of whole panels; the team takes chunks in ascending order. */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/model_state.h"
#include "model/weights_finite.h"

enum {
    CHUNK_BYTES = 1 << 20, /* of source, about */
    WIDEN_MAX = 256,
    ALIGN_BYTES = 64,
    /* The kernel maps the pages around a fault too; a chunk gives these back with its own. */
    FAULT_AROUND_BYTES = 64 << 10,
    /* ... or the whole large folio of the page cache, which may begin well before. Dropping a
     * neighbour's page costs it a minor fault. */
    FOLIO_BYTES = 2 << 20,
    GAP_MIN_BYTES = 32 << 10, /* smaller ones are read along: fewer, longer reads */
    N_AHEAD = 8,              /* chunks on their way from the disk */
};

struct piece {
    const tw_tensor *t;
    size_t row0, n_rows, col0, n_cols;
    bool is_vector; /* widened to f32 */
    size_t off_bytes;
    size_t n_chunk_rows, i_chunk0; /* i_chunk0: among the chunks of all pieces */
};

struct owner {
    void *pages;
    size_t n_bytes;
};

struct loader {
    const tw_model *m;
    struct piece *pieces;
    size_t n_pieces, n_chunks, n_bytes;
    uint64_t total_bytes; /* of source, for progress */
    uint8_t *base;
    tw_progress_fn *progress;
    void *ctx;
    _Atomic size_t i_next;
    _Atomic size_t i_bad; /* lowest chunk with a non-finite number; SIZE_MAX: none */
    _Atomic uint64_t done_bytes;
    _Atomic int stopped; /* by progress; 0: not */
};

static const uint8_t *piece_at(const struct loader *l, const struct piece *p, size_t row)
{
    size_t elem = (p->row0 + row) * p->t->n_cols + p->col0;
    return l->m->files[p->t->i_file].map.p + p->t->off_bytes + elem * tw_dtype_bytes(p->t->type);
}

static void drop_rows(const struct loader *l, const struct piece *p, size_t row, size_t n_rows)
{
    const tw_map *map = &l->m->files[p->t->i_file].map;
    size_t row_bytes = p->t->n_cols * tw_dtype_bytes(p->t->type);
    size_t from = p->t->off_bytes + (p->row0 + row) * row_bytes;
    size_t to = from + n_rows * row_bytes + FAULT_AROUND_BYTES;
    from -= TW_MIN(from, (size_t)FOLIO_BYTES);
    tw_map_drop(map, from, to - from);
}

static void widen(const struct loader *l, const struct piece *p)
{
    const tw_kern *kern = tw_kern_ref();
    size_t bytes = tw_dtype_bytes(p->t->type);
    const uint8_t *src = piece_at(l, p, 0);
    float *dst = (float *)(void *)(l->base + p->off_bytes);
    for (size_t i = 0; i < p->n_rows; i += WIDEN_MAX) {
        float aligned[WIDEN_MAX]; /* a file's tensor may lie at any byte */
        size_t n = TW_MIN(p->n_rows - i, (size_t)WIDEN_MAX);
        memcpy(aligned, src + i * bytes, n * bytes);
        kern->to_f32(dst + i, aligned, p->t->type, n);
    }
}

static const struct piece *find_piece(const struct loader *l, size_t i_chunk)
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

/* Has the disk read a chunk that is due soon. Columns of rows are asked for one by one where the
 * gaps between them are worth skipping. */
static void want_chunk(const struct loader *l, size_t i_chunk)
{
    if (i_chunk >= l->n_chunks)
        return;
    const struct piece *p = find_piece(l, i_chunk);
    const tw_map *map = &l->m->files[p->t->i_file].map;
    size_t row = (i_chunk - p->i_chunk0) * p->n_chunk_rows;
    size_t n_rows = TW_MIN(p->n_rows - row, p->n_chunk_rows);
    size_t bytes = tw_dtype_bytes(p->t->type), gap = (p->t->n_cols - p->n_cols) * bytes;
    size_t from = (size_t)(piece_at(l, p, row) - map->p);
    if (gap < GAP_MIN_BYTES) {
        tw_map_want(map, from, (n_rows * p->t->n_cols) * bytes - gap);
        return;
    }
    for (size_t r = 0; r < n_rows; r++)
        tw_map_want(map, from + r * p->t->n_cols * bytes, p->n_cols * bytes);
}

static bool load_rows(const struct loader *l, const struct piece *p, size_t row, size_t n_rows)
{
    bool finite = true;
    for (size_t i = row; i < row + n_rows; i += TW_PANEL) {
        size_t n = TW_MIN(row + n_rows - i, (size_t)TW_PANEL);
        for (size_t r = i; r < i + n; r++) /* also brings the pages in, in order */
            finite = tw_weights_finite(p->t->type, piece_at(l, p, r), p->n_cols) && finite;
        if (!p->is_vector)
            tw_pack_rows(p->t->type, l->base + p->off_bytes, p->n_rows, p->n_cols, i,
                         piece_at(l, p, i), n, p->t->n_cols);
    }
    if (p->is_vector)
        widen(l, p);
    drop_rows(l, p, row, n_rows);
    return finite;
}

static void note_bad(struct loader *l, size_t i_chunk)
{
    size_t old = atomic_load(&l->i_bad);
    while (i_chunk < old && !atomic_compare_exchange_weak(&l->i_bad, &old, i_chunk))
        ;
}

static void load_chunks(void *ctx, unsigned i_thread, unsigned n_threads)
{
    (void)n_threads;
    struct loader *l = ctx;
    while (atomic_load(&l->i_bad) == SIZE_MAX && atomic_load(&l->stopped) == 0) {
        size_t i = atomic_fetch_add(&l->i_next, 1);
        if (i >= l->n_chunks)
            return;
        want_chunk(l, i + N_AHEAD);
        const struct piece *p = find_piece(l, i);
        size_t row = (i - p->i_chunk0) * p->n_chunk_rows;
        size_t n_rows = TW_MIN(p->n_rows - row, p->n_chunk_rows);
        if (!load_rows(l, p, row, n_rows))
            note_bad(l, i);
        uint64_t n_bytes = (uint64_t)n_rows * p->n_cols * tw_dtype_bytes(p->t->type);
        uint64_t done = atomic_fetch_add(&l->done_bytes, n_bytes) + n_bytes;
        if (i_thread == 0 && l->progress != NULL && done < l->total_bytes)
            atomic_store(&l->stopped, l->progress(l->ctx, done, l->total_bytes));
    }
}

static int report_bad(const struct loader *l, tw_err *err)
{
    size_t i_chunk = atomic_load(&l->i_bad);
    const struct piece *p = find_piece(l, i_chunk);
    size_t row = (i_chunk - p->i_chunk0) * p->n_chunk_rows, col = 0;
    while (tw_weights_finite(p->t->type, piece_at(l, p, row), p->n_cols))
        row++;
    const uint8_t *src = piece_at(l, p, row);
    size_t bytes = tw_dtype_bytes(p->t->type);
    while (tw_weights_finite(p->t->type, src + col * bytes, 1))
        col++;
    return tw_err_set(err, -EDOM,
                      "%s: tensor \"%s\": row %zu column %zu is not finite (bits 0x%x);"
                      " the file is damaged",
                      p->t->file, p->t->name, p->row0 + row, p->col0 + col,
                      tw_weights_bits(p->t->type, src, col));
}

static bool plan_piece(struct loader *l, const tw_shard *s, enum tw_part part, const tw_tensor *t,
                       struct piece *ret)
{
    const tw_part_spec *spec = tw_part_get(part);
    struct piece p = {.t = t, .is_vector = spec->cols == TW_AXIS_ONE};
    tw_axis_cut(&l->m->config, s, spec->rows, &p.row0, &p.n_rows);
    tw_axis_cut(&l->m->config, s, spec->cols, &p.col0, &p.n_cols);
    size_t panel_bytes = TW_PANEL * t->n_cols * tw_dtype_bytes(t->type);
    size_t n_panels = TW_MAX(CHUNK_BYTES / panel_bytes, (size_t)1);
    p.n_chunk_rows = p.is_vector ? p.n_rows : n_panels * TW_PANEL;
    p.i_chunk0 = l->n_chunks;
    p.off_bytes = l->n_bytes;
    size_t bytes =
        p.is_vector ? p.n_rows * sizeof(float) : tw_packed_bytes(t->type, p.n_rows, p.n_cols);
    l->n_chunks += TW_DIV_UP(p.n_rows, p.n_chunk_rows);
    l->total_bytes += (uint64_t)p.n_rows * p.n_cols * tw_dtype_bytes(t->type);
    *ret = p;
    return bytes != 0 && tw_size_add(bytes, ALIGN_BYTES - 1, &bytes) &&
           tw_size_add(l->n_bytes, bytes / ALIGN_BYTES * ALIGN_BYTES, &l->n_bytes);
}

static int plan_all(struct loader *l, const tw_shard *s, tw_err *err)
{
    const tw_model *m = l->m;
    size_t n_max = (size_t)m->config.n_layers * TW_PART_LAYER_END + TW_PART_END;
    l->pieces = tw_mem_calloc(n_max, sizeof(*l->pieces));
    if (l->pieces == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for the plan of loading", m->path);
    bool fits = true;
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        for (enum tw_part part = 0; part < TW_PART_LAYER_END; part++) {
            const tw_tensor *t = tw_model_tensor(m, part, i);
            if (t->name != NULL)
                fits = plan_piece(l, s, part, t, &l->pieces[l->n_pieces++]) && fits;
        }
    }
    const tw_tensor *norm = tw_model_tensor(m, TW_PART_FINAL_NORM, 0);
    fits = plan_piece(l, s, TW_PART_FINAL_NORM, norm, &l->pieces[l->n_pieces++]) && fits;
    enum tw_part head = m->config.tied ? TW_PART_EMBED : TW_PART_LM_HEAD;
    const tw_tensor *t = tw_model_tensor(m, head, 0);
    fits = plan_piece(l, s, head, t, &l->pieces[l->n_pieces++]) && fits;
    if (!fits)
        return tw_err_set(err, -EOVERFLOW, "model %s: weights too large for this machine", m->path);
    return 0;
}

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
};

static tw_packed packed_of(const struct loader *l, const struct piece *p)
{
    return (tw_packed){.type = p->t->type,
                       .n = p->n_rows,
                       .k = p->n_cols,
                       .data = l->base + p->off_bytes};
}

static void fill_layers(const struct loader *l, tw_layer *layers)
{
    const struct piece *p = l->pieces;
    for (uint32_t i = 0; i < l->m->config.n_layers; i++) {
        for (enum tw_part part = 0; part < TW_PART_LAYER_END; part++) {
            if (tw_model_tensor(l->m, part, i)->name == NULL)
                continue;
            char *place = (char *)&layers[i] + places[part];
            const float *vector = (const float *)(const void *)(l->base + p->off_bytes);
            tw_packed packed = packed_of(l, p);
            if (p->is_vector)
                memcpy(place, &vector, sizeof(vector));
            else
                memcpy(place, &packed, sizeof(packed));
            p++;
        }
    }
}

static void fill_weights(const struct loader *l, tw_weights *w)
{
    const struct piece *norm = &l->pieces[l->n_pieces - 2], *head = norm + 1;
    fill_layers(l, w->layers);
    w->final_norm = (const float *)(const void *)(l->base + norm->off_bytes);
    w->lm_head = packed_of(l, head);
    w->bytes = l->n_bytes;
}

/* Everything that tw_weights_done frees. */
static int reserve(struct loader *l, tw_weights *w, tw_err *err)
{
    struct owner *own = tw_mem_calloc(1, sizeof(*own));
    w->impl = own;
    w->layers = tw_mem_calloc(l->m->config.n_layers, sizeof(*w->layers));
    if (own != NULL)
        own->pages = tw_pages_new(l->n_bytes);
    if (own == NULL || own->pages == NULL || w->layers == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %zu MiB of weights", l->m->path,
                          l->n_bytes >> 20);
    own->n_bytes = l->n_bytes;
    l->base = own->pages;
    return 0;
}

static int load_all(struct loader *l, const tw_shard *s, tw_team *team, tw_weights *w, tw_err *err)
{
    int rc = plan_all(l, s, err);
    if (rc == 0)
        rc = reserve(l, w, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < N_AHEAD; i++)
        want_chunk(l, i);
    if (team == NULL)
        load_chunks(l, 0, 1);
    else
        tw_team_run(team, load_chunks, l);
    if (atomic_load(&l->i_bad) != SIZE_MAX)
        return report_bad(l, err);
    rc = atomic_load(&l->stopped);
    if (rc == 0 && l->progress != NULL)
        rc = l->progress(l->ctx, l->total_bytes, l->total_bytes);
    if (rc == 0)
        fill_weights(l, w);
    return rc;
}

int tw_weights_load(tw_model *m, const tw_shard *s, tw_team *team, tw_progress_fn *progress,
                    void *ctx, tw_weights *ret, tw_err *err)
{
    struct loader l = {.m = m, .progress = progress, .ctx = ctx, .i_bad = SIZE_MAX};
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
    struct loader l = {.m = m};
    int rc = plan_all(&l, s, err);
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
    *w = (tw_weights){.layers = NULL};
}

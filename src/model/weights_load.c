/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the chunks of a plan: reads ahead, packs, checks every number, lets go of the source. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "model/weights_finite.h"
#include "model/weights_inside.h"

enum {
    WIDEN_MAX = 256,
    /* The kernel maps the pages around a fault too; a chunk gives these back with its own. */
    FAULT_AROUND_BYTES = 64 << 10,
    /* ... or the whole large folio of the page cache, which may begin well before. Dropping a
     * neighbour's page costs it a minor fault. */
    FOLIO_BYTES = 2 << 20,
    GAP_MIN_BYTES = 32 << 10, /* smaller ones are read along: fewer, longer reads */
    N_AHEAD = 8,              /* chunks on their way from the disk */
};

static const uint8_t *piece_at(const tw_loader *l, const tw_piece *p, size_t row)
{
    size_t elem = (p->row0 + row) * p->t->n_cols + p->col0;
    return l->m->files[p->t->i_file].map.p + p->t->off_bytes + elem * tw_dtype_bytes(p->t->type);
}

static void drop_rows(const tw_loader *l, const tw_piece *p, size_t row, size_t n_rows)
{
    const tw_map *map = &l->m->files[p->t->i_file].map;
    size_t row_bytes = p->t->n_cols * tw_dtype_bytes(p->t->type);
    size_t from = p->t->off_bytes + (p->row0 + row) * row_bytes;
    size_t to = from + n_rows * row_bytes + FAULT_AROUND_BYTES;
    from -= TW_MIN(from, (size_t)FOLIO_BYTES);
    tw_map_drop(map, from, to - from);
}

static void widen(const tw_loader *l, const tw_piece *p)
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

/* Has the disk read a chunk that is due soon. Columns of rows are asked for one by one where the
 * gaps between them are worth skipping. */
static void want_chunk(const tw_loader *l, size_t i_chunk)
{
    if (i_chunk >= l->n_chunks)
        return;
    const tw_piece *p = tw_weights_find_piece(l, i_chunk);
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

static bool load_rows(const tw_loader *l, const tw_piece *p, size_t row, size_t n_rows)
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

static void note_bad(tw_loader *l, size_t i_chunk)
{
    size_t old = atomic_load(&l->i_bad);
    while (i_chunk < old && !atomic_compare_exchange_weak(&l->i_bad, &old, i_chunk))
        ;
}

static void load_chunks(void *ctx, unsigned i_thread, unsigned n_threads)
{
    (void)n_threads;
    tw_loader *l = ctx;
    while (atomic_load(&l->i_bad) == SIZE_MAX && atomic_load(&l->stopped) == 0) {
        size_t i = atomic_fetch_add(&l->i_next, 1);
        if (i >= l->n_chunks)
            return;
        want_chunk(l, i + N_AHEAD);
        const tw_piece *p = tw_weights_find_piece(l, i);
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

static int report_bad(const tw_loader *l, tw_err *err)
{
    size_t i_chunk = atomic_load(&l->i_bad);
    const tw_piece *p = tw_weights_find_piece(l, i_chunk);
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

int tw_weights_load_chunks(tw_loader *l, tw_team *team, tw_err *err)
{
    for (size_t i = 0; i < N_AHEAD; i++)
        want_chunk(l, i);
    if (team == NULL)
        load_chunks(l, 0, 1);
    else
        tw_team_run(team, load_chunks, l);
    if (atomic_load(&l->i_bad) != SIZE_MAX)
        return report_bad(l, err);
    int rc = atomic_load(&l->stopped);
    if (rc == 0 && l->progress != NULL)
        rc = l->progress(l->ctx, l->total_bytes, l->total_bytes);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the chunks of a plan: reads ahead, packs, checks every number, lets go of the source. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/coded.h"
#include "model/weights_finite.h"
#include "model/weights_inside.h"

enum {
    /* The kernel maps the pages around a fault too; a chunk gives these back with its own. */
    FAULT_AROUND_BYTES = 64 << 10,
    /* ... or the whole large folio of the page cache, which may begin well before. Dropping a
     * neighbour's page costs it a minor fault. */
    FOLIO_BYTES = 2 << 20,
    GAP_MIN_BYTES = 32 << 10, /* smaller ones are read along: fewer, longer reads */
    N_AHEAD = 8,              /* chunks on their way from the disk */
};

static size_t row_bytes(const tw_piece *p)
{
    return tw_tensor_row_bytes(p->t);
}

/* Rows lie beside each other: there is one chunk. */
static bool is_by_columns(const tw_piece *p)
{
    return p->t->coded != NULL && !tw_coded_by_rows(p->t->coded);
}

/* Which row of the file is row `row` of the tensor. */
static size_t file_row(const tw_tensor *t, size_t row)
{
    if (t->turned == 0)
        return row;
    size_t half = t->turned / 2, i = row % t->turned;
    return row - i + (i < half ? 2 * i : 2 * (i - half) + 1);
}

/* How many of the next n rows lie at the same distance from each other. */
static size_t count_run(const tw_piece *p, size_t row, size_t n)
{
    if (p->t->turned == 0)
        return n;
    size_t half = p->t->turned / 2;
    return TW_MIN(n, half - (p->row0 + row) % half);
}

const uint8_t *tw_piece_at(const tw_loader *l, const tw_piece *p, size_t row)
{
    size_t off, n;
    tw_weights_col_span(p, &off, &n);
    return l->m->files[p->t->i_file].map.p + p->t->off_bytes +
           file_row(p->t, p->row0 + row) * row_bytes(p) + off;
}

static void drop_rows(const tw_loader *l, const tw_piece *p, size_t row, size_t n_rows)
{
    const tw_map *map = &l->m->files[p->t->i_file].map;
    size_t from = p->t->off_bytes + (p->row0 + row) * row_bytes(p);
    size_t to = from + n_rows * row_bytes(p) + FAULT_AROUND_BYTES;
    if (is_by_columns(p)) {
        from = p->t->off_bytes;
        to = from + p->t->n_rows * row_bytes(p);
    }
    from -= TW_MIN(from, (size_t)FOLIO_BYTES);
    tw_map_drop(map, from, to - from);
}

static void widen(const tw_loader *l, const tw_piece *p)
{
    float *dst = (float *)(void *)(l->base + p->off_bytes);
    size_t n = 1;
    for (size_t i = 0; i < p->n_rows; i += n) {
        n = p->t->turned == 0 ? p->n_rows : 1;
        tw_dequantize_row(p->t->type, dst + i, tw_piece_at(l, p, i), n);
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
    size_t n_rows = TW_MIN(p->n_rows - row, p->n_chunk_rows), off, n_bytes;
    if (is_by_columns(p)) {
        tw_map_want(map, p->t->off_bytes, p->t->n_rows * row_bytes(p));
        return;
    }
    tw_weights_col_span(p, &off, &n_bytes);
    size_t gap = row_bytes(p) - n_bytes;
    size_t from = p->t->off_bytes + (p->row0 + row) * row_bytes(p) + off;
    if (gap < GAP_MIN_BYTES) {
        tw_map_want(map, from, n_rows * row_bytes(p) - gap);
        return;
    }
    for (size_t r = 0; r < n_rows; r++)
        tw_map_want(map, from + r * row_bytes(p), n_bytes);
}

static bool row_is_finite(const tw_loader *l, const tw_piece *p, size_t row)
{
    size_t off, n_bytes, block = tw_dtype_block(p->t->type);
    if (p->t->coded != NULL)
        return true; /* known once it is widened */
    tw_weights_col_span(p, &off, &n_bytes);
    return tw_weights_finite(p->t->type, tw_piece_at(l, p, row),
                             n_bytes / tw_dtype_block_bytes(p->t->type) * block);
}

/* Rows that lie at the same distance from each other, of one panel. */
static void pack_run(const tw_loader *l, const tw_piece *p, size_t row, size_t n)
{
    size_t step = p->t->turned == 0 ? 1 : 2;
    if (tw_dtype_is_quant(p->type)) {
        const size_t col0 = p->col0 % tw_dtype_block(p->type); /* tw_piece_at begins at its block */
        tw_pack_quant_rows(p->type, l->base + p->off_bytes, p->n_cols, row, tw_piece_at(l, p, row),
                           n, row_bytes(p) * step, col0);
        return;
    }
    tw_pack_rows(p->type, l->base + p->off_bytes, p->n_rows, p->n_cols, row, tw_piece_at(l, p, row),
                 n, p->t->n_cols * step);
}

static bool load_rows(const tw_loader *l, const tw_piece *p, size_t row, size_t n_rows,
                      void *scratch)
{
    bool finite = true;
    for (size_t i = row; i < row + n_rows; i += TW_PANEL) {
        size_t n = TW_MIN(row + n_rows - i, (size_t)TW_PANEL), n_run;
        for (size_t r = i; r < i + n; r++) /* also brings the pages in, in order */
            finite = row_is_finite(l, p, r) && finite;
        if (tw_piece_is_made(p)) {
            finite = finite && tw_piece_make(l, p, i, n, scratch);
            continue;
        }
        for (size_t r = i; r < i + n && !p->is_vector; r += n_run) {
            n_run = count_run(p, r, i + n - r);
            pack_run(l, p, r, n_run);
        }
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
        if (!load_rows(l, p, row, n_rows, l->scratch + i_thread * l->scratch_bytes))
            note_bad(l, i);
        size_t off, row_bytes_read;
        tw_weights_col_span(p, &off, &row_bytes_read);
        uint64_t n_bytes = (uint64_t)n_rows * row_bytes_read;
        uint64_t done = atomic_fetch_add(&l->done_bytes, n_bytes) + n_bytes;
        if (i_thread == 0 && l->progress != NULL && done < l->total_bytes)
            atomic_store(&l->stopped, l->progress(l->ctx, done, l->total_bytes));
    }
}

/* A block counts as its first column. */
static int report_bad(const tw_loader *l, tw_err *err)
{
    size_t i_chunk = atomic_load(&l->i_bad);
    const tw_piece *p = tw_weights_find_piece(l, i_chunk);
    enum tw_dtype type = p->t->type;
    if (p->t->coded != NULL)
        return tw_err_set(err, -EDOM,
                          "%s: tensor \"%s\": a number is not finite once it has its scale; the"
                          " file is damaged",
                          p->t->file, p->t->name);
    size_t row = (i_chunk - p->i_chunk0) * p->n_chunk_rows, i = 0;
    while (row_is_finite(l, p, row))
        row++;
    const uint8_t *src = tw_piece_at(l, p, row);
    const size_t block = tw_dtype_block(type), bytes = tw_dtype_block_bytes(type);
    while (tw_weights_finite(type, src + i * bytes, block))
        i++;
    return tw_err_set(err, -EDOM,
                      "%s: tensor \"%s\": row %zu column %zu is not finite (bits 0x%x);"
                      " the file is damaged",
                      p->t->file, p->t->name, file_row(p->t, p->row0 + row),
                      p->col0 / block * block + i * block, tw_weights_bits(type, src, i));
}

int tw_weights_load_chunks(tw_loader *l, tw_team *team, tw_err *err)
{
    const size_t n_threads = team == NULL ? 1 : tw_team_size(team);
    TW_CLEANUP(tw_mem_freep) void *scratch = tw_mem_align(64, n_threads * l->scratch_bytes + 1);
    if (scratch == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory to quantise weights", l->m->path);
    l->scratch = scratch;
    for (size_t i = 0; i < N_AHEAD; i++)
        want_chunk(l, i);
    if (team == NULL)
        load_chunks(l, 0, 1);
    else
        tw_team_run(team, load_chunks, l);
    l->scratch = NULL;
    if (atomic_load(&l->i_bad) != SIZE_MAX)
        return report_bad(l, err);
    int rc = atomic_load(&l->stopped);
    if (rc == 0 && l->progress != NULL)
        rc = l->progress(l->ctx, l->total_bytes, l->total_bytes);
    return rc;
}

int tw_weights_load_piece(const tw_loader *l, const tw_piece *p, void *out)
{
    const tw_loader alone = {.m = l->m, .base = out};
    tw_piece at_front = *p;
    TW_CLEANUP(tw_mem_freep) void *scratch = tw_mem_align(64, tw_piece_scratch_bytes(p) + 1);
    at_front.off_bytes = 0;
    bool finite = true;
    if (scratch == NULL)
        return -ENOMEM;
    for (size_t row = 0; row < p->n_rows; row += p->n_chunk_rows)
        finite =
            load_rows(&alone, &at_front, row, TW_MIN(p->n_rows - row, p->n_chunk_rows), scratch) &&
            finite;
    return finite ? 0 : -EDOM;
}

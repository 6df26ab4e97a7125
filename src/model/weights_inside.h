/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of tw_weights_load: a plan of pieces (one a tensor of the shard), each cut into chunks
 * of whole panels, which the team loads in ascending order. */
#ifndef TWINAX_MODEL_WEIGHTS_INSIDE_H
#define TWINAX_MODEL_WEIGHTS_INSIDE_H

#include <stdatomic.h>

#include "model/model_state.h"

typedef struct tw_piece {
    const tw_tensor *t;
    enum tw_dtype type; /* as packed */
    size_t row0, n_rows, col0, n_cols;
    bool is_vector; /* widened to f32 */
    size_t off_bytes;
    size_t n_chunk_rows, i_chunk0; /* i_chunk0: among the chunks of all pieces */
} tw_piece;

typedef struct tw_loader {
    const tw_model *m;
    tw_piece *pieces;
    size_t n_pieces, n_chunks, n_bytes;
    size_t scratch_bytes; /* of a thread, the most that a piece wants */
    uint8_t *scratch;     /* [threads][scratch_bytes], in tw_weights_load_chunks */
    uint64_t total_bytes; /* of source, for progress */
    uint8_t *base;
    tw_progress_fn *progress;
    void *ctx;
    _Atomic size_t i_next;
    _Atomic size_t i_bad; /* lowest chunk with a non-finite number; SIZE_MAX: none */
    _Atomic uint64_t done_bytes;
    _Atomic int stopped; /* by progress; 0: not */
} tw_loader;

/* Fills the pieces of everything that the shard holds, layer by layer (in a layer first what it has
 * once, then expert by expert), the final norm and the head last, and the counts; reads no weight. Owns: l->pieces from base/mem.h, also after a failure. */
TW_MUST_CHECK int tw_weights_plan(tw_loader *l, const tw_shard *s, tw_err *err);
/* What a tensor is packed as: its own type, or what --quant makes of it. */
enum tw_dtype tw_weights_packed_type(const tw_model *m, const tw_part_spec *spec,
                                     const tw_tensor *t);
/* The piece that a chunk belongs to. */
const tw_piece *tw_weights_find_piece(const tw_loader *l, size_t i_chunk);
/* Where the piece's columns lie in a row of the file: whole blocks. */
void tw_weights_col_span(const tw_piece *p, size_t *ret_off_bytes, size_t *ret_n_bytes);
/* Loads all chunks into l->base with the team (NULL: in the caller alone). */
TW_MUST_CHECK int tw_weights_load_chunks(tw_loader *l, tw_team *team, tw_err *err);
/* One piece alone, to the front of out, which is zeroed: as it would lie at its place in l->base.
 * -EDOM: a number in it is not finite; -ENOMEM. */
TW_MUST_CHECK int tw_weights_load_piece(const tw_loader *l, const tw_piece *p, void *out);
/* The piece's columns of one of its rows in the file, from the block that holds the first. */
const uint8_t *tw_piece_at(const tw_loader *l, const tw_piece *p, size_t row);

/* Whether its packed numbers are made of the file's (weights_made.c), not copied. */
bool tw_piece_is_made(const tw_piece *p);
size_t tw_piece_scratch_bytes(const tw_piece *p); /* 0: none is wanted */
/* The piece as it lies packed at data, which may be NULL. No vector. */
tw_packed tw_piece_packed(const tw_piece *p, const void *data);
/* Bytes of a row of the tensor in the file. */
size_t tw_tensor_row_bytes(const tw_tensor *t);
/* Rows [row, row + n) of one panel. False: a coded number is not finite once it is widened. */
bool tw_piece_make(const tw_loader *l, const tw_piece *p, size_t row, size_t n, void *scratch);

#endif

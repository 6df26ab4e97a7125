/* SPDX-License-Identifier: Apache-2.0 */
/* Header of a .safetensors file: u64 length (little endian), JSON, then the data of all tensors
 * without a gap.
 *
 *   0        8                8 + N              file size
 *   | u64 N  | JSON, N bytes  | data             |
 *
 * Invariants of a parsed header: every tensor lies inside the file, has exactly the bytes that its
 * shape and dtype want, none overlap, and together they cover the data. Pure: reads no file.
 * Source: the format's description at huggingface.co/docs/safetensors. */
#ifndef TWINAX_FMT_SAFETENSORS_H
#define TWINAX_FMT_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "twinax/err.h"

enum {
    TW_ST_DIMS_MAX = 8,
    TW_ST_TENSORS_MAX = 1 << 20,
    TW_ST_HEADER_MAX_BYTES = 100 << 20,
};

/* OTHER: a type that the format has and we only measure (I64, F8_E4M3, ...) */
enum tw_st_type { TW_ST_F32, TW_ST_F16, TW_ST_BF16, TW_ST_OTHER };

typedef struct tw_st_tensor {
    const char *name;
    const char *type_name; /* "BF16" */
    enum tw_st_type type;
    unsigned n_dims;
    uint64_t shape[TW_ST_DIMS_MAX];
    uint64_t off_bytes; /* from the beginning of the file */
    uint64_t n_bytes;
} tw_st_tensor;

typedef struct tw_st {
    tw_st_tensor *tensors; /* sorted by name, byte order */
    size_t n;
    tw_arena arena;
} tw_st;

/* p: the first n bytes of the file, which has file_bytes; n must reach the end of the header (the
 * error says so when it does not). name: the path for messages. Owns: tw_st_done frees. */
TW_MUST_CHECK int tw_st_parse(const char *name, const uint8_t *p, size_t n, uint64_t file_bytes,
                              tw_st *ret, tw_err *err);
void tw_st_done(tw_st *st);
const tw_st_tensor *tw_st_find(const tw_st *st, const char *name); /* NULL: none */
/* "[4, 8]" into out. */
void tw_st_show_shape(const tw_st_tensor *t, char *out, size_t out_bytes);

#endif

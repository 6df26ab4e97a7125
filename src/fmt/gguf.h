/* SPDX-License-Identifier: Apache-2.0 */
/* Header of a .gguf file (versions 2 and 3, little-endian): metadata by key, then the tensors'
 * names, shapes, types and places, then their data, each aligned.
 *
 *   0      4        8            16       24          ...            data_off          file size
 *   | GGUF | version | n tensors  | n keys | keys      | tensor infos | padding | data |
 *   key:    text, u32 kind, value; an array: u32 kind of its elements, u64 count, elements
 *   info:   text, u32 n_dims, u64 dims[n_dims] (columns first), u32 type, u64 offset in the data
 *   text:   u64 length, bytes
 *
 * Invariants of a parsed header: every key is there once, every tensor's name is, every tensor lies
 * inside the file with the bytes that its shape and type want, and none overlap. Values and texts
 * point into the caller's bytes. Pure: reads no file.
 * Source: docs/gguf.md of the ggml repository. */
#ifndef TWINAX_FMT_GGUF_H
#define TWINAX_FMT_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"
#include "twinax/err.h"

enum {
    TW_GGUF_DIMS_MAX = 4,
    TW_GGUF_TENSORS_MAX = 1 << 20,
    TW_GGUF_KEYS_MAX = 1 << 16,
    TW_GGUF_NEST_MAX = 4, /* arrays in arrays */
    TW_GGUF_ALIGN_MAX = 1 << 20,
};

/* The numbers of the format. */
enum tw_gguf_kind {
    TW_GGUF_U8,
    TW_GGUF_I8,
    TW_GGUF_U16,
    TW_GGUF_I16,
    TW_GGUF_U32,
    TW_GGUF_I32,
    TW_GGUF_F32,
    TW_GGUF_BOOL,
    TW_GGUF_TEXT,
    TW_GGUF_ARRAY,
    TW_GGUF_U64,
    TW_GGUF_I64,
    TW_GGUF_F64,
    TW_GGUF_KIND_END,
};

/* The numbers of the format, of those types that anybody asks for. */
enum tw_gguf_type {
    TW_GGUF_TYPE_F32 = 0,
    TW_GGUF_TYPE_F16 = 1,
    TW_GGUF_TYPE_Q4_0 = 2,
    TW_GGUF_TYPE_Q4_1 = 3,
    TW_GGUF_TYPE_Q5_0 = 6,
    TW_GGUF_TYPE_Q5_1 = 7,
    TW_GGUF_TYPE_Q8_0 = 8,
    TW_GGUF_TYPE_Q4_K = 12,
    TW_GGUF_TYPE_Q5_K = 13,
    TW_GGUF_TYPE_Q6_K = 14,
    TW_GGUF_TYPE_BF16 = 30,
    TW_GGUF_TYPE_MXFP4 = 39,
    TW_GGUF_TYPE_END = 40,
};

typedef struct tw_gguf_value {
    enum tw_gguf_kind kind; /* of an array: of its elements */
    bool is_array;
    uint64_t n;       /* elements; 1 where it is no array */
    const uint8_t *p; /* of the first, at any alignment */
    size_t n_bytes;
} tw_gguf_value;

typedef struct tw_gguf_pair {
    tw_str key;
    tw_gguf_value value;
} tw_gguf_pair;

typedef struct tw_gguf_tensor {
    const char *name;
    uint32_t type; /* below TW_GGUF_TYPE_END, one that has a name */
    unsigned n_dims;
    uint64_t dims[TW_GGUF_DIMS_MAX]; /* columns first; 1 past n_dims */
    uint64_t off_bytes;              /* from the beginning of the file */
    uint64_t n_bytes;
} tw_gguf_tensor;

typedef struct tw_gguf {
    uint32_t version;
    tw_gguf_pair *pairs; /* sorted by key */
    size_t n_pairs;
    tw_gguf_tensor *tensors; /* sorted by name, byte order */
    size_t n;
    uint64_t data_off; /* where the header ends and the data may begin */
    tw_arena arena;
} tw_gguf;

/* p: the first n bytes of the file, which has file_bytes; n must reach the end of the header (the
 * error says so when it does not). name: the path for messages. Borrows p until tw_gguf_done. */
TW_MUST_CHECK int tw_gguf_parse(const char *name, const uint8_t *p, size_t n, uint64_t file_bytes,
                                tw_gguf *ret, tw_err *err);
void tw_gguf_done(tw_gguf *g);

const tw_gguf_tensor *tw_gguf_find(const tw_gguf *g, const char *name); /* NULL: none */
const tw_gguf_value *tw_gguf_get(const tw_gguf *g, const char *key);    /* NULL: none */
/* "Q4_K"; NULL for a number that the format does not have (or has no more). */
const char *tw_gguf_type_name(uint32_t type);
const char *tw_gguf_kind_name(enum tw_gguf_kind kind); /* "u32" */
unsigned tw_gguf_kind_bytes(enum tw_gguf_kind kind);   /* 0: of no fixed size */
/* "[4, 8]", rows first, into out. */
void tw_gguf_show_shape(const tw_gguf_tensor *t, char *out, size_t out_bytes);

/* Element i (below v->n) as this type; false, and *ret untouched, where it is none: u64 of a
 * negative number, f64 of a text. Whole numbers of any width are u64, all numbers f64. */
bool tw_gguf_u64(const tw_gguf_value *v, uint64_t i, uint64_t *ret);
bool tw_gguf_f64(const tw_gguf_value *v, uint64_t i, double *ret);
bool tw_gguf_bool(const tw_gguf_value *v, bool *ret);
/* A text that is no array. */
bool tw_gguf_text(const tw_gguf_value *v, tw_str *ret);

/* Walks the texts of an array of texts, or the one of a text. */
typedef struct tw_gguf_texts {
    const uint8_t *p;
    uint64_t n_left;
} tw_gguf_texts;

/* Without any where v is NULL or no text. */
void tw_gguf_texts_init(tw_gguf_texts *t, const tw_gguf_value *v);
bool tw_gguf_texts_next(tw_gguf_texts *t, tw_str *ret);

/* "NAME-00002-of-00003.gguf": *ret_stem the bytes of NAME, *ret_no from 1. False: no such name. */
bool tw_gguf_split_name(const char *name, size_t *ret_stem, unsigned *ret_no, unsigned *ret_count);

#endif

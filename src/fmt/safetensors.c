/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/le.h"
#include "base/scope.h"
#include "fmt/json.h"

static const struct type_row {
    const char *name;
    unsigned n_bits;
    enum tw_st_type type;
} type_rows[] = {
    {"BF16", 16, TW_ST_BF16},    {"F16", 16, TW_ST_F16},      {"F32", 32, TW_ST_F32},
    {"F64", 64, TW_ST_OTHER},    {"I64", 64, TW_ST_OTHER},    {"I32", 32, TW_ST_OTHER},
    {"I16", 16, TW_ST_OTHER},    {"I8", 8, TW_ST_OTHER},      {"U64", 64, TW_ST_OTHER},
    {"U32", 32, TW_ST_OTHER},    {"U16", 16, TW_ST_OTHER},    {"U8", 8, TW_ST_OTHER},
    {"BOOL", 8, TW_ST_OTHER},    {"F8_E4M3", 8, TW_ST_OTHER}, {"F8_E5M2", 8, TW_ST_OTHER},
    {"F8_E8M0", 8, TW_ST_OTHER}, {"F6_E2M3", 6, TW_ST_OTHER}, {"F6_E3M2", 6, TW_ST_OTHER},
    {"F4", 4, TW_ST_OTHER},      {"C64", 64, TW_ST_OTHER},
};

struct header {
    const char *file;
    uint64_t data_off, data_bytes;
    tw_err *err;
};

void tw_st_show_shape(const tw_st_tensor *t, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (unsigned i = 0; i < t->n_dims && n < out_bytes; i++) {
        int k = snprintf(out + n, out_bytes - n, "%s%" PRIu64, i == 0 ? "[" : ", ", t->shape[i]);
        n += k > 0 ? (size_t)k : 0;
    }
    if (n < out_bytes)
        snprintf(out + n, out_bytes - n, t->n_dims == 0 ? "[]" : "]");
}

static int refuse(const struct header *h, const char *tensor, const json_t *found, const char *what)
{
    char text[64] = "missing";
    if (found != NULL)
        tw_json_show(found, text, sizeof(text));
    return tw_err_set(h->err, -EINVAL, "%s: tensor \"%.80s\": %s, found %s", h->file, tensor, what,
                      text);
}

static int parse_type(const struct header *h, const json_t *v, tw_st_tensor *t, unsigned *ret_bits)
{
    const json_t *name = json_object_get(v, "dtype");
    for (size_t i = 0; i < TW_ARRAY_LEN(type_rows) && json_is_string(name); i++) {
        if (strcmp(json_string_value(name), type_rows[i].name) == 0) {
            t->type = type_rows[i].type;
            t->type_name = type_rows[i].name;
            *ret_bits = type_rows[i].n_bits;
            return 0;
        }
    }
    return refuse(h, t->name, name, "dtype must be one of the format's, such as BF16, F16, F32");
}

/* *ret_bits: of one element in, of the whole tensor out. */
static int parse_shape(const struct header *h, const json_t *v, tw_st_tensor *t, uint64_t *ret_bits)
{
    const json_t *shape = json_object_get(v, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > TW_ST_DIMS_MAX)
        return refuse(h, t->name, shape, "shape must be a list of at most 8 whole numbers");
    t->n_dims = (unsigned)json_array_size(shape);
    for (unsigned i = 0; i < t->n_dims; i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return refuse(h, t->name, shape, "shape must be a list of whole numbers");
        t->shape[i] = (uint64_t)json_integer_value(dim);
        if (__builtin_mul_overflow(*ret_bits, t->shape[i], ret_bits))
            return refuse(h, t->name, shape, "shape is too large to be true");
    }
    return 0;
}

static int parse_offsets(const struct header *h, const json_t *v, tw_st_tensor *t, uint64_t n_bits)
{
    const json_t *at = json_object_get(v, "data_offsets");
    const json_t *b = json_array_get(at, 0), *e = json_array_get(at, 1);
    if (json_array_size(at) != 2 || !json_is_integer(b) || !json_is_integer(e) ||
        json_integer_value(b) < 0 || json_integer_value(e) < json_integer_value(b))
        return refuse(h, t->name, at, "data_offsets must be [begin, end], begin <= end");
    uint64_t begin = (uint64_t)json_integer_value(b), end = (uint64_t)json_integer_value(e);
    if (end > h->data_bytes)
        return tw_err_set(h->err, -EINVAL,
                          "%s: tensor \"%.80s\": data ends at byte %" PRIu64
                          ", but the file holds %" PRIu64 " data bytes; is it cut short?",
                          h->file, t->name, end, h->data_bytes);
    if (n_bits % 8 != 0 || end - begin != n_bits / 8) {
        char shape[64];
        tw_st_show_shape(t, shape, sizeof(shape));
        return tw_err_set(h->err, -EINVAL,
                          "%s: tensor \"%.80s\": %s of shape %s wants %" PRIu64
                          " bytes, found data_offsets of %" PRIu64,
                          h->file, t->name, t->type_name, shape, n_bits / 8, end - begin);
    }
    t->off_bytes = h->data_off + begin;
    t->n_bytes = end - begin;
    return 0;
}

static int parse_tensor(const struct header *h, const json_t *v, tw_st_tensor *t)
{
    for (const char *c = t->name; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return tw_err_set(h->err, -EINVAL, "%s: a tensor's name holds control byte 0x%02x",
                              h->file, (unsigned char)*c);
    if (!json_is_object(v))
        return refuse(h, t->name, v, "entry must be an object");
    unsigned bits = 0;
    int rc = parse_type(h, v, t, &bits);
    if (rc < 0)
        return rc;
    uint64_t n_bits = bits;
    rc = parse_shape(h, v, t, &n_bits);
    return rc < 0 ? rc : parse_offsets(h, v, t, n_bits);
}

static int by_offset(const void *a, const void *b)
{
    const tw_st_tensor *x = a, *y = b;
    if (x->off_bytes != y->off_bytes)
        return x->off_bytes < y->off_bytes ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tw_st_tensor *)a)->name, ((const tw_st_tensor *)b)->name);
}

/* Sorts by offset and checks that the tensors follow each other without overlap or hole. */
static int check_cover(const struct header *h, tw_st *st)
{
    qsort(st->tensors, st->n, sizeof(*st->tensors), by_offset);
    uint64_t at = h->data_off;
    for (size_t i = 0; i < st->n; i++) {
        const tw_st_tensor *t = &st->tensors[i];
        if (t->off_bytes < at)
            return tw_err_set(
                h->err, -EINVAL,
                "%s: tensor \"%.80s\" overlaps \"%.80s\": begins at data byte %" PRIu64
                ", want %" PRIu64,
                h->file, t->name, st->tensors[i - 1].name, t->off_bytes - h->data_off,
                at - h->data_off);
        if (t->off_bytes > at)
            return tw_err_set(h->err, -EINVAL,
                              "%s: tensor \"%.80s\": %" PRIu64
                              " bytes before it belong to no tensor; the format wants no holes",
                              h->file, t->name, t->off_bytes - at);
        at += t->n_bytes;
    }
    uint64_t end = h->data_off + h->data_bytes;
    if (at != end)
        return tw_err_set(h->err, -EINVAL,
                          "%s: %" PRIu64 " bytes after the last tensor belong to none; want a file"
                          " of %" PRIu64 " bytes, found %" PRIu64,
                          h->file, end - at, at, end);
    return 0;
}

static int parse_all(const struct header *h, json_t *root, tw_st *st)
{
    if (!json_is_object(root))
        return tw_err_set(h->err, -EINVAL, "%s: the header must be a JSON object", h->file);
    size_t n = json_object_size(root);
    if (n > TW_ST_TENSORS_MAX)
        return tw_err_set(h->err, -EINVAL, "%s: %zu tensors, want at most %d", h->file, n,
                          TW_ST_TENSORS_MAX);
    st->tensors = tw_arena_array(&st->arena, n + 1, sizeof(*st->tensors));
    if (st->tensors == NULL)
        return tw_err_set(h->err, -ENOMEM, "%s: no memory for %zu tensors", h->file, n);
    const char *key;
    json_t *v;
    json_object_foreach(root, key, v)
    {
        if (strcmp(key, "__metadata__") == 0)
            continue;
        tw_st_tensor *t = &st->tensors[st->n];
        t->name = tw_arena_strndup(&st->arena, key, strlen(key));
        if (t->name == NULL)
            return tw_err_set(h->err, -ENOMEM, "%s: no memory for %zu tensors", h->file, n);
        int rc = parse_tensor(h, v, t);
        if (rc < 0)
            return rc;
        st->n++;
    }
    int rc = check_cover(h, st);
    if (rc == 0)
        qsort(st->tensors, st->n, sizeof(*st->tensors), by_name);
    return rc;
}

static int read_length(const char *name, const uint8_t *p, size_t n, uint64_t file_bytes,
                       uint64_t *ret, tw_err *err)
{
    if (n < 8 || file_bytes < 8)
        return tw_err_set(err, -EINVAL, "%s: no safetensors file: %zu bytes, want at least 8", name,
                          n);
    const uint64_t len = tw_le_load(p, 8);
    if (len > TW_ST_HEADER_MAX_BYTES)
        return tw_err_set(err, -EINVAL,
                          "%s: header of %" PRIu64 " bytes, want at most %d; no safetensors file?",
                          name, len, TW_ST_HEADER_MAX_BYTES);
    if (len > file_bytes - 8 || len > n - 8)
        return tw_err_set(err, -EINVAL,
                          "%s: header of %" PRIu64 " bytes, but the file has %" PRIu64
                          " bytes; is it cut short?",
                          name, len, file_bytes);
    *ret = len;
    return 0;
}

int tw_st_parse(const char *name, const uint8_t *p, size_t n, uint64_t file_bytes, tw_st *ret,
                tw_err *err)
{
    uint64_t len = 0;
    int rc = read_length(name, p, n, file_bytes, &len, err);
    if (rc < 0)
        return rc;
    TW_CLEANUP(tw_json_freep) json_t *root = NULL;
    rc = tw_json_parse(name, (const char *)p + 8, (size_t)len, &root, err);
    if (rc < 0)
        return rc;
    struct header h = {.file = name, .data_off = 8 + len, .err = err};
    h.data_bytes = file_bytes - h.data_off;
    tw_st st = {.tensors = NULL, .n = 0};
    tw_arena_init(&st.arena, 0);
    rc = parse_all(&h, root, &st);
    if (rc < 0) {
        tw_st_done(&st);
        return rc;
    }
    *ret = st;
    return 0;
}

void tw_st_done(tw_st *st)
{
    if (st == NULL)
        return;
    tw_arena_done(&st->arena);
    st->tensors = NULL;
    st->n = 0;
}

const tw_st_tensor *tw_st_find(const tw_st *st, const char *name)
{
    if (st->n == 0)
        return NULL;
    tw_st_tensor key = {.name = name};
    return bsearch(&key, st->tensors, st->n, sizeof(*st->tensors), by_name);
}

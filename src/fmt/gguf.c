/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/gguf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/le.h"
#include "base/scope.h"

enum { NAME_MAX_BYTES = 256, KEY_MAX_BYTES = 65535, ALIGN_DEFAULT = 32 };

static const struct type_row {
    const char *name; /* NULL: the format has none of this number */
    uint16_t n_elements, n_bytes;
} type_rows[TW_GGUF_TYPE_END] = {
    [TW_GGUF_TYPE_F32] = {"F32", 1, 4},
    [TW_GGUF_TYPE_F16] = {"F16", 1, 2},
    [TW_GGUF_TYPE_Q4_0] = {"Q4_0", 32, 18},
    [TW_GGUF_TYPE_Q4_1] = {"Q4_1", 32, 20},
    [TW_GGUF_TYPE_Q5_0] = {"Q5_0", 32, 22},
    [TW_GGUF_TYPE_Q5_1] = {"Q5_1", 32, 24},
    [TW_GGUF_TYPE_Q8_0] = {"Q8_0", 32, 34},
    [9] = {"Q8_1", 32, 36},
    [10] = {"Q2_K", 256, 84},
    [11] = {"Q3_K", 256, 110},
    [TW_GGUF_TYPE_Q4_K] = {"Q4_K", 256, 144},
    [TW_GGUF_TYPE_Q5_K] = {"Q5_K", 256, 176},
    [TW_GGUF_TYPE_Q6_K] = {"Q6_K", 256, 210},
    [15] = {"Q8_K", 256, 292},
    [16] = {"IQ2_XXS", 256, 66},
    [17] = {"IQ2_XS", 256, 74},
    [18] = {"IQ3_XXS", 256, 98},
    [19] = {"IQ1_S", 256, 50},
    [20] = {"IQ4_NL", 32, 18},
    [21] = {"IQ3_S", 256, 110},
    [22] = {"IQ2_S", 256, 82},
    [23] = {"IQ4_XS", 256, 136},
    [24] = {"I8", 1, 1},
    [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},
    [27] = {"I64", 1, 8},
    [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", 256, 56},
    [TW_GGUF_TYPE_BF16] = {"BF16", 1, 2},
    [34] = {"TQ1_0", 256, 54},
    [35] = {"TQ2_0", 256, 66},
    [TW_GGUF_TYPE_MXFP4] = {"MXFP4", 32, 17},
};

/* Reads forward; never past n. */
struct reader {
    const char *file;
    const uint8_t *p;
    size_t n, at;
    uint64_t file_bytes;
    tw_err *err;
};

static int cut_short(const struct reader *r, const char *what)
{
    return tw_err_set(r->err, -EINVAL,
                      "%s: ends at byte %zu inside %s of its header; is it cut short?", r->file,
                      r->n, what);
}

static int read_number(struct reader *r, unsigned n_bytes, const char *what, uint64_t *ret)
{
    if (r->n - r->at < n_bytes)
        return cut_short(r, what);
    *ret = tw_le_load(r->p + r->at, n_bytes);
    r->at += n_bytes;
    return 0;
}

static int read_u32(struct reader *r, const char *what, uint32_t *ret)
{
    uint64_t v = 0;
    int rc = read_number(r, 4, what, &v);
    if (rc == 0)
        *ret = (uint32_t)v;
    return rc;
}

static int read_text(struct reader *r, size_t max_bytes, const char *what, tw_str *ret)
{
    uint64_t len = 0;
    int rc = read_number(r, 8, what, &len);
    if (rc < 0)
        return rc;
    if (len > max_bytes)
        return tw_err_set(r->err, -EINVAL, "%s: %s of %" PRIu64 " bytes, want at most %zu", r->file,
                          what, len, max_bytes);
    if (len > r->n - r->at)
        return cut_short(r, what);
    *ret = (tw_str){(const char *)r->p + r->at, (size_t)len};
    r->at += (size_t)len;
    return 0;
}

/* Names and keys go into messages and paths of their own. */
static int check_printable(const struct reader *r, tw_str s, const char *what)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return tw_err_set(r->err, -EINVAL, "%s: %s holds control byte 0x%02x", r->file, what,
                              (unsigned char)s.p[i]);
    if (s.len == 0)
        return tw_err_set(r->err, -EINVAL, "%s: %s is empty", r->file, what);
    return 0;
}

static int refuse_kind(const struct reader *r, tw_str key, uint32_t kind)
{
    return tw_err_set(r->err, -EINVAL, "%s: key \"%.*s\": kind %u, want 0..%d", r->file,
                      (int)TW_MIN(key.len, (size_t)80), key.p, kind, TW_GGUF_KIND_END - 1);
}

static int skip_elements(struct reader *r, tw_str key, tw_gguf_value *v, unsigned depth);

/* An array in an array: only that it is one. */
static int skip_array(struct reader *r, tw_str key, unsigned depth)
{
    tw_gguf_value inner = {.is_array = true};
    uint32_t kind = 0;
    if (depth == TW_GGUF_NEST_MAX)
        return tw_err_set(r->err, -EINVAL, "%s: key \"%.*s\": arrays in arrays %d deep", r->file,
                          (int)TW_MIN(key.len, (size_t)80), key.p, TW_GGUF_NEST_MAX);
    int rc = read_u32(r, "an array", &kind);
    if (rc == 0)
        rc = read_number(r, 8, "an array", &inner.n);
    if (rc == 0 && kind >= TW_GGUF_KIND_END)
        rc = refuse_kind(r, key, kind);
    inner.kind = (enum tw_gguf_kind)kind;
    return rc < 0 ? rc : skip_elements(r, key, &inner, depth + 1);
}

/* v->n elements of v->kind lie at r->at. */
static int skip_elements(struct reader *r, tw_str key, tw_gguf_value *v, unsigned depth)
{
    size_t from = r->at;
    v->p = r->p + from;
    unsigned n_bytes = tw_gguf_kind_bytes(v->kind);
    if (n_bytes > 0) {
        if (v->n > (r->n - r->at) / n_bytes)
            return cut_short(r, "an array");
        r->at += (size_t)v->n * n_bytes;
    }
    for (uint64_t i = 0; n_bytes == 0 && i < v->n; i++) {
        tw_str text;
        int rc = v->kind == TW_GGUF_TEXT ? read_text(r, r->n, "a text", &text)
                                         : skip_array(r, key, depth);
        if (rc < 0)
            return rc;
    }
    v->n_bytes = r->at - from;
    return 0;
}

static int read_pair(struct reader *r, tw_gguf_pair *ret)
{
    tw_gguf_value *v = &ret->value;
    uint32_t kind = 0;
    int rc = read_text(r, KEY_MAX_BYTES, "a key", &ret->key);
    if (rc == 0)
        rc = check_printable(r, ret->key, "a key");
    if (rc == 0)
        rc = read_u32(r, "a key's kind", &kind);
    v->n = 1;
    v->is_array = kind == TW_GGUF_ARRAY;
    if (rc == 0 && v->is_array)
        rc = read_u32(r, "an array", &kind);
    if (rc == 0 && v->is_array)
        rc = read_number(r, 8, "an array", &v->n);
    if (rc < 0)
        return rc;
    if (kind >= TW_GGUF_KIND_END)
        return refuse_kind(r, ret->key, kind);
    v->kind = (enum tw_gguf_kind)kind;
    rc = skip_elements(r, ret->key, v, 1);
    if (rc == 0 && !v->is_array && v->kind == TW_GGUF_BOOL && v->p[0] > 1)
        return tw_err_set(r->err, -EINVAL, "%s: key \"%.*s\": bool %u, want 0 or 1", r->file,
                          (int)TW_MIN(ret->key.len, (size_t)80), ret->key.p, v->p[0]);
    return rc;
}

static int compare_text(tw_str a, tw_str b)
{
    int c = memcmp(a.p, b.p, TW_MIN(a.len, b.len));
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

static int by_key(const void *a, const void *b)
{
    return compare_text(((const tw_gguf_pair *)a)->key, ((const tw_gguf_pair *)b)->key);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tw_gguf_tensor *)a)->name, ((const tw_gguf_tensor *)b)->name);
}

static int by_offset(const void *a, const void *b)
{
    const tw_gguf_tensor *x = a, *y = b;
    if (x->off_bytes != y->off_bytes)
        return x->off_bytes < y->off_bytes ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

static int read_pairs(struct reader *r, uint64_t n, tw_gguf *g)
{
    g->pairs = tw_arena_array(&g->arena, (size_t)n, sizeof(*g->pairs));
    if (g->pairs == NULL)
        return tw_err_set(r->err, -ENOMEM, "%s: no memory for %" PRIu64 " keys", r->file, n);
    for (; g->n_pairs < n; g->n_pairs++) {
        int rc = read_pair(r, &g->pairs[g->n_pairs]);
        if (rc < 0)
            return rc;
    }
    qsort(g->pairs, g->n_pairs, sizeof(*g->pairs), by_key);
    for (size_t i = 1; i < g->n_pairs; i++)
        if (by_key(&g->pairs[i - 1], &g->pairs[i]) == 0)
            return tw_err_set(r->err, -EINVAL, "%s: key \"%.*s\" is there twice", r->file,
                              (int)TW_MIN(g->pairs[i].key.len, (size_t)80), g->pairs[i].key.p);
    return 0;
}

static int read_dims(struct reader *r, tw_gguf_tensor *t)
{
    int rc = read_u32(r, "a tensor", &t->n_dims);
    if (rc == 0 && t->n_dims > TW_GGUF_DIMS_MAX)
        return tw_err_set(r->err, -EINVAL, "%s: tensor \"%.80s\": %u dimensions, want at most %d",
                          r->file, t->name, t->n_dims, TW_GGUF_DIMS_MAX);
    for (unsigned i = 0; i < TW_GGUF_DIMS_MAX && rc == 0; i++) {
        t->dims[i] = 1;
        if (i < t->n_dims)
            rc = read_number(r, 8, "a tensor", &t->dims[i]);
    }
    return rc;
}

/* Fills n_bytes from shape and type. */
static int measure(const struct reader *r, tw_gguf_tensor *t)
{
    const char *type = tw_gguf_type_name(t->type);
    if (type == NULL)
        return tw_err_set(r->err, -ENOTSUP,
                          "%s: tensor \"%.80s\": type %u is none of the format's that are known"
                          " here",
                          r->file, t->name, t->type);
    const struct type_row *row = &type_rows[t->type];
    uint64_t n = 1;
    bool fits = true;
    for (unsigned i = 0; i < t->n_dims; i++)
        fits = fits && !__builtin_mul_overflow(n, t->dims[i], &n);
    fits =
        fits && !__builtin_mul_overflow(n / row->n_elements, (uint64_t)row->n_bytes, &t->n_bytes);
    if (fits && t->dims[0] % row->n_elements == 0)
        return 0;
    char shape[96];
    tw_gguf_show_shape(t, shape, sizeof(shape));
    return tw_err_set(r->err, -EINVAL,
                      "%s: tensor \"%.80s\": shape %s: want rows of a multiple of"
                      " %u numbers for %s%s",
                      r->file, t->name, shape, row->n_elements, type,
                      fits ? "" : ", and fewer of them");
}

static int read_tensor(struct reader *r, tw_arena *a, tw_gguf_tensor *t)
{
    tw_str name;
    int rc = read_text(r, NAME_MAX_BYTES, "a tensor's name", &name);
    if (rc == 0)
        rc = check_printable(r, name, "a tensor's name");
    if (rc < 0)
        return rc;
    t->name = tw_arena_strndup(a, name.p, name.len);
    if (t->name == NULL)
        return tw_err_set(r->err, -ENOMEM, "%s: no memory for its tensors", r->file);
    rc = read_dims(r, t);
    if (rc == 0)
        rc = read_u32(r, "a tensor", &t->type);
    if (rc == 0)
        rc = read_number(r, 8, "a tensor", &t->off_bytes);
    return rc < 0 ? rc : measure(r, t);
}

static int read_tensors(struct reader *r, uint64_t n, tw_gguf *g)
{
    g->tensors = tw_arena_array(&g->arena, (size_t)n, sizeof(*g->tensors));
    if (g->tensors == NULL)
        return tw_err_set(r->err, -ENOMEM, "%s: no memory for %" PRIu64 " tensors", r->file, n);
    for (; g->n < n; g->n++) {
        int rc = read_tensor(r, &g->arena, &g->tensors[g->n]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_align(const struct reader *r, const tw_gguf *g, uint64_t *ret)
{
    const tw_gguf_value *v = tw_gguf_get(g, "general.alignment");
    *ret = ALIGN_DEFAULT;
    if (v == NULL)
        return 0;
    if (v->is_array || !tw_gguf_u64(v, 0, ret) || *ret == 0 || *ret > TW_GGUF_ALIGN_MAX ||
        (*ret & (*ret - 1)) != 0)
        return tw_err_set(r->err, -EINVAL,
                          "%s: general.alignment: want a power of two of at most %d", r->file,
                          TW_GGUF_ALIGN_MAX);
    return 0;
}

/* Offsets become those in the file; tensors inside it, aligned, none over another. */
static int place_tensors(const struct reader *r, tw_gguf *g)
{
    uint64_t align = 0;
    int rc = read_align(r, g, &align);
    if (rc < 0)
        return rc;
    g->data_off = ((uint64_t)r->at + align - 1) / align * align;
    uint64_t room = r->file_bytes > g->data_off ? r->file_bytes - g->data_off : 0;
    for (size_t i = 0; i < g->n; i++) {
        tw_gguf_tensor *t = &g->tensors[i];
        if (t->off_bytes % align != 0)
            return tw_err_set(r->err, -EINVAL,
                              "%s: tensor \"%.80s\": begins at data byte %" PRIu64
                              ", want a multiple of %" PRIu64,
                              r->file, t->name, t->off_bytes, align);
        if (g->data_off > r->file_bytes || t->off_bytes > room || t->n_bytes > room - t->off_bytes)
            return tw_err_set(r->err, -EINVAL,
                              "%s: tensor \"%.80s\": %" PRIu64 " bytes at data byte %" PRIu64
                              ", but the file holds %" PRIu64 " data bytes; is it cut short?",
                              r->file, t->name, t->n_bytes, t->off_bytes, room);
        t->off_bytes += g->data_off;
    }
    qsort(g->tensors, g->n, sizeof(*g->tensors), by_offset);
    for (size_t i = 1; i < g->n; i++)
        if (g->tensors[i].off_bytes - g->tensors[i - 1].off_bytes < g->tensors[i - 1].n_bytes)
            return tw_err_set(r->err, -EINVAL, "%s: tensor \"%.80s\" overlaps \"%.80s\"", r->file,
                              g->tensors[i].name, g->tensors[i - 1].name);
    qsort(g->tensors, g->n, sizeof(*g->tensors), by_name);
    for (size_t i = 1; i < g->n; i++)
        if (by_name(&g->tensors[i - 1], &g->tensors[i]) == 0)
            return tw_err_set(r->err, -EINVAL, "%s: tensor \"%.80s\" is there twice", r->file,
                              g->tensors[i].name);
    return 0;
}

static int read_version(struct reader *r, uint32_t *ret)
{
    if (r->n < 8 || memcmp(r->p, "GGUF", 4) != 0)
        return tw_err_set(r->err, -EINVAL, "%s: no GGUF file: want \"GGUF\" in its first bytes",
                          r->file);
    r->at = 4;
    int rc = read_u32(r, "the version", ret);
    if (rc < 0 || *ret == 2 || *ret == 3)
        return rc;
    if (*ret != 0 && *ret % 65536 == 0)
        return tw_err_set(
            r->err, -ENOTSUP,
            "%s: a big-endian GGUF file; want a little-endian one (gguf-convert-endian"
            " turns it)",
            r->file);
    return tw_err_set(r->err, -ENOTSUP, "%s: GGUF version %u, want 2 or 3%s", r->file, *ret,
                      *ret == 1 ? "; convert the model anew" : "");
}

static int parse_all(struct reader *r, tw_gguf *g)
{
    uint64_t n_tensors = 0, n_pairs = 0;
    int rc = read_version(r, &g->version);
    if (rc == 0)
        rc = read_number(r, 8, "the counts", &n_tensors);
    if (rc == 0)
        rc = read_number(r, 8, "the counts", &n_pairs);
    if (rc < 0)
        return rc;
    if (n_tensors > TW_GGUF_TENSORS_MAX || n_pairs > TW_GGUF_KEYS_MAX)
        return tw_err_set(r->err, -EINVAL,
                          "%s: %" PRIu64 " tensors and %" PRIu64 " keys, want at most %d and %d",
                          r->file, n_tensors, n_pairs, TW_GGUF_TENSORS_MAX, TW_GGUF_KEYS_MAX);
    /* Each takes some bytes: what a small file claims is not worth memory. */
    if (n_tensors > r->n / 24 || n_pairs > r->n / 13)
        return cut_short(r, "the tensors and keys");
    rc = read_pairs(r, n_pairs, g);
    if (rc == 0)
        rc = read_tensors(r, n_tensors, g);
    return rc < 0 ? rc : place_tensors(r, g);
}

int tw_gguf_parse(const char *name, const uint8_t *p, size_t n, uint64_t file_bytes, tw_gguf *ret,
                  tw_err *err)
{
    struct reader r = {.file = name, .p = p, .n = n, .file_bytes = file_bytes, .err = err};
    tw_gguf g = {.pairs = NULL};
    tw_arena_init(&g.arena, 0);
    int rc = parse_all(&r, &g);
    if (rc < 0) {
        tw_gguf_done(&g);
        return rc;
    }
    *ret = g;
    return 0;
}

void tw_gguf_done(tw_gguf *g)
{
    if (g == NULL)
        return;
    tw_arena_done(&g->arena);
    g->pairs = NULL;
    g->tensors = NULL;
    g->n_pairs = g->n = 0;
}

const tw_gguf_tensor *tw_gguf_find(const tw_gguf *g, const char *name)
{
    tw_gguf_tensor key = {.name = name};
    return g->n == 0 ? NULL : bsearch(&key, g->tensors, g->n, sizeof(*g->tensors), by_name);
}

const tw_gguf_value *tw_gguf_get(const tw_gguf *g, const char *key)
{
    tw_gguf_pair want = {.key = tw_str_from(key)};
    const tw_gguf_pair *found =
        g->n_pairs == 0 ? NULL : bsearch(&want, g->pairs, g->n_pairs, sizeof(*g->pairs), by_key);
    return found != NULL ? &found->value : NULL;
}

const char *tw_gguf_type_name(uint32_t type)
{
    return type < TW_GGUF_TYPE_END ? type_rows[type].name : NULL;
}

void tw_gguf_show_shape(const tw_gguf_tensor *t, char *out, size_t out_bytes)
{
    size_t n = 0;
    for (unsigned i = t->n_dims; i-- > 0 && n < out_bytes;) {
        int k = snprintf(out + n, out_bytes - n, "%s%" PRIu64, i + 1 == t->n_dims ? "[" : ", ",
                         t->dims[i]);
        n += k > 0 ? (size_t)k : 0;
    }
    if (n < out_bytes)
        snprintf(out + n, out_bytes - n, t->n_dims == 0 ? "[]" : "]");
}

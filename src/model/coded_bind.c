/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the tensors that a coded matrix is made of, and checks them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "model/coded.h"
#include "model/model_state.h"

enum { PER_WORD = 8 };

/* What a name has instead of ".weight", or after it. */
static const char *const tails[] = {".qweight",          ".qzeros",       ".scales",     ".g_idx",
                                    ".weight_scale_inv", ".weight_scale", ".input_scale"};

bool tw_coded_whole_name(const tw_model *m, const char *name, char out[TW_TENSOR_NAME_BYTES])
{
    const size_t n = strlen(name);
    for (size_t i = 0; i < TW_ARRAY_LEN(tails) && m->config.coded.kind != TW_CODED_NONE; i++)
        if (tw_str_ends(tw_str_from(name), tw_str_from(tails[i])) && n < TW_TENSOR_NAME_BYTES) {
            snprintf(out, TW_TENSOR_NAME_BYTES, "%.*s.weight", (int)(n - strlen(tails[i])), name);
            return true;
        }
    return false;
}

struct binder {
    const tw_model *m;
    const char *stem; /* without ".weight" */
    tw_err *err;
};

/* NULL: not there. */
static const tw_st_tensor *find(const struct binder *b, const char *tail, size_t *ret_file)
{
    char name[TW_TENSOR_NAME_BYTES];
    if (snprintf(name, sizeof(name), "%s%s", b->stem, tail) >= (int)sizeof(name))
        return NULL;
    return tw_model_tensor_find(b->m, name, ret_file);
}

/* rows x cols of 32 bits. */
static int take_words(const struct binder *b, const char *tail, size_t rows, size_t cols,
                      const uint8_t **ret)
{
    size_t i_file = 0;
    const tw_st_tensor *t = find(b, tail, &i_file);
    if (t == NULL)
        return tw_err_set(b->err, -EINVAL,
                          "tensor \"%.80s%s\" is missing, quantization_config wants it", b->stem,
                          tail);
    const bool fits = t->n_dims == (cols == 0 ? 1 : 2) && t->shape[0] == rows &&
                      (cols == 0 || t->shape[1] == cols);
    if (!fits || strcmp(t->type_name, "I32") != 0) {
        char shape[64];
        tw_st_show_shape(t, shape, sizeof(shape));
        return tw_err_set(b->err, -EINVAL, "%s: tensor \"%.80s\": %s %s, want I32 [%zu%s%.0zu]",
                          b->m->files[i_file].name, t->name, t->type_name, shape, rows,
                          cols == 0 ? "" : ", ", cols);
    }
    *ret = b->m->files[i_file].map.p + t->off_bytes;
    return 0;
}

static int take_scales(const struct binder *b, const tw_st_tensor *t, size_t i_file, tw_coded *c)
{
    c->scales = b->m->files[i_file].map.p + t->off_bytes;
    return tw_model_tensor_type(t, b->m->files[i_file].name, &c->scale_type, b->err);
}

/* One scale for all, one a row, or one a block of the size that the config says. */
static int bind_fp8(const struct binder *b, tw_coded *c)
{
    size_t i_file = 0;
    const tw_st_tensor *t = find(b, ".weight_scale_inv", &i_file);
    if (t == NULL)
        t = find(b, ".weight_scale", &i_file);
    if (t == NULL)
        return tw_err_set(b->err, -EINVAL, "tensor \"%.80s.weight\" is FP8, but has no scales",
                          b->stem);
    const uint64_t a = t->n_dims > 0 ? t->shape[0] : 1, z = t->n_dims > 1 ? t->shape[1] : 1;
    const uint32_t br = b->m->config.coded.block_rows, bc = b->m->config.coded.block_cols;
    c->n_scale_cols = (size_t)z;
    c->block_cols = c->n_cols;
    c->block_rows = a == 1 ? c->n_rows : 1;
    if (t->n_dims <= 2 && br != 0 && a == TW_DIV_UP(c->n_rows, br) &&
        z == TW_DIV_UP(c->n_cols, bc)) {
        c->block_rows = br;
        c->block_cols = bc;
    } else if (t->n_dims > 2 || z != 1 || (a != 1 && a != c->n_rows)) {
        char shape[64];
        tw_st_show_shape(t, shape, sizeof(shape));
        return tw_err_set(
            b->err, -EINVAL,
            "%s: tensor \"%.80s\": shape %s: want one scale, %zu, or one for each block"
            " of %u x %u",
            b->m->files[i_file].name, t->name, shape, c->n_rows, br, bc);
    }
    return take_scales(b, t, i_file, c);
}

static int check_groups(const struct binder *b, const tw_coded *c, size_t n_groups)
{
    for (size_t k = 0; c->g_idx != NULL && k < c->n_cols; k++) {
        uint32_t g;
        memcpy(&g, c->g_idx + 4 * k, sizeof(g));
        if (g >= n_groups)
            return tw_err_set(b->err, -EINVAL,
                              "tensor \"%.80s.g_idx\": column %zu is of group %u, want below %zu",
                              b->stem, k, g, n_groups);
    }
    return 0;
}

static int bind_four(const struct binder *b, tw_coded *c)
{
    const bool awq = c->kind == TW_CODED_AWQ;
    const size_t n = c->n_rows, k = c->n_cols;
    size_t i_file = 0;
    c->group = b->m->config.coded.group != 0 ? b->m->config.coded.group : k;
    c->zero_add = b->m->config.coded.zero_add;
    if (n % PER_WORD != 0 || k % PER_WORD != 0)
        return tw_err_set(b->err, -EINVAL,
                          "tensor \"%.80s.qweight\": want multiples of 8, not %zu x %zu", b->stem,
                          n, k);
    const size_t n_groups = TW_DIV_UP(k, c->group);
    int rc = take_words(b, ".qweight", awq ? k : k / PER_WORD, awq ? n / PER_WORD : n, &c->data);
    if (rc == 0)
        rc = take_words(b, ".qzeros", n_groups, n / PER_WORD, &c->zeros);
    if (rc == 0 && !awq && find(b, ".g_idx", &i_file) != NULL)
        rc = take_words(b, ".g_idx", k, 0, &c->g_idx);
    if (rc == 0)
        rc = check_groups(b, c, n_groups);
    if (rc < 0)
        return rc;
    const tw_st_tensor *t = find(b, ".scales", &i_file);
    if (t == NULL || t->n_dims != 2 || t->shape[0] != n_groups || t->shape[1] != n)
        return tw_err_set(b->err, -EINVAL, "tensor \"%.80s.scales\": want [%zu, %zu]", b->stem,
                          n_groups, n);
    return take_scales(b, t, i_file, c);
}

int tw_coded_bind(tw_model *m, const char *name, tw_tensor *t, tw_err *err)
{
    char stem[TW_TENSOR_NAME_BYTES];
    static const char end[] = ".weight";
    const enum tw_coded_kind kind = m->config.coded.kind;
    if (kind == TW_CODED_NONE || !tw_str_ends(tw_str_from(name), TW_STR(end)))
        return 0;
    snprintf(stem, sizeof(stem), "%.*s", (int)(strlen(name) - (sizeof(end) - 1)), name);
    struct binder b = {.m = m, .stem = stem, .err = err};
    size_t i_file = 0;
    const bool fp8 = kind == TW_CODED_FP8;
    const tw_st_tensor *data = find(&b, fp8 ? end : ".qweight", &i_file);
    if (data == NULL || (fp8 && strcmp(data->type_name, "F8_E4M3") != 0))
        return 0; /* this one is plain */
    tw_coded *c = tw_arena_alloc(&m->arena, sizeof(*c));
    if (c == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for its tensors", m->path);
    *c = (tw_coded){.kind = kind,
                    .n_rows = t->n_rows,
                    .n_cols = t->n_cols,
                    .data = m->files[i_file].map.p + data->off_bytes};
    int rc = fp8 ? bind_fp8(&b, c) : bind_four(&b, c);
    if (rc < 0)
        return rc;
    t->name = data->name;
    t->file = m->files[i_file].name;
    t->i_file = i_file;
    t->off_bytes = (size_t)data->off_bytes;
    t->type = tw_coded_packed_type(c);
    t->coded = c;
    return 1;
}

/* Writers put a bias of zeros beside each of their matrices. */
bool tw_coded_is_empty_bias(const tw_model *m, const tw_st_tensor *t, size_t i_file)
{
    if (m->config.coded.kind == TW_CODED_NONE ||
        !tw_str_ends(tw_str_from(t->name), TW_STR(".bias")))
        return false;
    const uint8_t *p = m->files[i_file].map.p + t->off_bytes;
    for (uint64_t i = 0; i < t->n_bytes; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a model in GGUF files: their names, and the checks of their tensors. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "model/model_gguf.h"

enum { NAME_MAX_BYTES = 128, GRANULE = 32 };

static const char *const part_names[TW_PART_END] = {
    [TW_PART_ATTN_NORM] = "attn_norm.weight",
    [TW_PART_Q] = "attn_q.weight",
    [TW_PART_K] = "attn_k.weight",
    [TW_PART_V] = "attn_v.weight",
    [TW_PART_Q_BIAS] = "attn_q.bias",
    [TW_PART_K_BIAS] = "attn_k.bias",
    [TW_PART_V_BIAS] = "attn_v.bias",
    [TW_PART_Q_NORM] = "attn_q_norm.weight",
    [TW_PART_K_NORM] = "attn_k_norm.weight",
    [TW_PART_O] = "attn_output.weight",
    [TW_PART_O_BIAS] = "attn_output.bias",
    [TW_PART_FFN_NORM] = "ffn_norm.weight",
    [TW_PART_GATE] = "ffn_gate.weight",
    [TW_PART_UP] = "ffn_up.weight",
    [TW_PART_GATE_BIAS] = "ffn_gate.bias",
    [TW_PART_UP_BIAS] = "ffn_up.bias",
    [TW_PART_DOWN] = "ffn_down.weight",
    [TW_PART_DOWN_BIAS] = "ffn_down.bias",
    [TW_PART_EMBED] = "token_embd.weight",
    [TW_PART_FINAL_NORM] = "output_norm.weight",
    [TW_PART_LM_HEAD] = "output.weight",
};

static const struct type_row {
    enum tw_gguf_type from;
    enum tw_dtype to;
} type_rows[] = {
    {TW_GGUF_TYPE_F32, TW_F32},   {TW_GGUF_TYPE_F16, TW_F16},   {TW_GGUF_TYPE_BF16, TW_BF16},
    {TW_GGUF_TYPE_Q8_0, TW_Q8_0}, {TW_GGUF_TYPE_Q4_0, TW_Q4_0}, {TW_GGUF_TYPE_Q4_1, TW_Q4_1},
    {TW_GGUF_TYPE_Q5_0, TW_Q5_0}, {TW_GGUF_TYPE_Q5_1, TW_Q5_1}, {TW_GGUF_TYPE_Q4_K, TW_Q4_K},
    {TW_GGUF_TYPE_Q5_K, TW_Q5_K}, {TW_GGUF_TYPE_Q6_K, TW_Q6_K}, {TW_GGUF_TYPE_MXFP4, TW_MXFP4},
};

void tw_model_gguf_part_name(enum tw_part part, uint32_t i_layer, char *out, size_t out_bytes)
{
    const char *name = part_names[part] != NULL ? part_names[part] : "?";
    if (part >= TW_PART_LAYER_END)
        snprintf(out, out_bytes, "%s", name);
    else
        snprintf(out, out_bytes, "blk.%u.%s", i_layer, name);
}

static int check_shape(const tw_model *m, const tw_gguf_tensor *t, enum tw_part part,
                       const char *file, tw_err *err)
{
    const tw_part_spec *spec = tw_part_get(part);
    tw_gguf_tensor want = {.n_dims = spec->cols == TW_AXIS_ONE ? 1 : 2};
    want.dims[want.n_dims - 1] = tw_axis_size(&m->config, spec->rows);
    if (want.n_dims == 2)
        want.dims[0] = tw_axis_size(&m->config, spec->cols);
    if (t->n_dims == want.n_dims &&
        memcmp(t->dims, want.dims, want.n_dims * sizeof(want.dims[0])) == 0)
        return 0;
    char found_text[96], want_text[96];
    tw_gguf_show_shape(t, found_text, sizeof(found_text));
    tw_gguf_show_shape(&want, want_text, sizeof(want_text));
    return tw_err_set(err, -EINVAL, "%s: tensor \"%s\": shape %s, but its keys want %s", file,
                      t->name, found_text, want_text);
}

static int check_type(const tw_gguf_tensor *t, const char *file, enum tw_dtype *ret, tw_err *err)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(type_rows); i++)
        if ((uint32_t)type_rows[i].from == t->type) {
            *ret = type_rows[i].to;
            return 0;
        }
    return tw_err_set(err, -ENOTSUP,
                      "%s: tensor \"%s\": type %s is not read; these are: F32, F16, BF16, Q8_0,"
                      " Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, MXFP4",
                      file, t->name, tw_gguf_type_name(t->type));
}

/* Sums of blocks begin at every border of a segment (DESIGN 5.2), a head for the one, else 32. */
static int check_blocks(const tw_model *m, const tw_tensor *t, enum tw_part part, tw_err *err)
{
    if (!tw_dtype_is_quant(t->type))
        return 0;
    if (tw_part_get(part)->cols == TW_AXIS_ONE)
        return tw_err_set(err, -ENOTSUP,
                          "%s: tensor \"%s\": type %s, want F32, F16 or BF16 for a"
                          " single row",
                          t->file, t->name, tw_dtype_name(t->type));
    if (tw_part_get(part)->cols == TW_AXIS_HQ && m->config.head_dim % GRANULE != 0)
        return tw_err_set(err, -ENOTSUP,
                          "%s: tensor \"%s\": type %s wants heads of a multiple of 32 numbers, this"
                          " model's have %u; want a file with F16 or BF16 there",
                          t->file, t->name, tw_dtype_name(t->type), m->config.head_dim);
    return 0;
}

int tw_model_gguf_bind(const tw_model *m, enum tw_part part, uint32_t i_layer, tw_tensor *ret,
                       tw_err *err)
{
    char name[NAME_MAX_BYTES];
    size_t i_file = 0;
    tw_model_gguf_part_name(part, i_layer, name, sizeof(name));
    const tw_gguf_tensor *t = tw_model_gguf_find(m, name, &i_file);
    if (t == NULL)
        return tw_err_set(err, -EINVAL,
                          "model %s: tensor \"%s\" is missing, a %s of %u layers has it", m->path,
                          name, m->config.family, m->config.n_layers);
    const tw_part_spec *spec = tw_part_get(part);
    tw_tensor found = {.name = t->name,
                       .file = m->files[i_file].name,
                       .i_file = i_file,
                       .off_bytes = (size_t)t->off_bytes,
                       .n_rows = (size_t)tw_axis_size(&m->config, spec->rows),
                       .n_cols = (size_t)tw_axis_size(&m->config, spec->cols)};
    int rc = check_shape(m, t, part, found.file, err);
    if (rc == 0)
        rc = check_type(t, found.file, &found.type, err);
    if (rc == 0)
        rc = check_blocks(m, &found, part, err);
    if (rc < 0)
        return rc;
    if (m->is_turned && (part == TW_PART_Q || part == TW_PART_K || part == TW_PART_Q_BIAS ||
                         part == TW_PART_K_BIAS))
        found.turned = m->config.head_dim;
    *ret = found;
    return 0;
}

/* tail: what follows "blk." */
static bool is_bound(const tw_model *m, const char *tail)
{
    char *dot = NULL;
    uint64_t i = strtoull(tail, &dot, 10);
    if (dot == tail || *dot != '.' || i >= m->config.n_layers)
        return false;
    for (enum tw_part p = 0; p < TW_PART_LAYER_END; p++)
        if (tw_part_wanted(&m->config, p) && part_names[p] != NULL &&
            strcmp(part_names[p], dot + 1) == 0)
            return true;
    return false;
}

int tw_model_gguf_refuse_strays(const tw_model *m, tw_err *err)
{
    for (size_t i = 0; i < m->n_files; i++) {
        const tw_gguf *g = &m->files[i].gguf;
        for (size_t j = 0; j < g->n; j++) {
            const char *name = g->tensors[j].name;
            if (tw_str_starts(tw_str_from(name), TW_STR("blk.")) && !is_bound(m, name + 4))
                return tw_err_set(err, -EINVAL,
                                  "%s: tensor \"%.80s\" has no place in this %s of %u layers: it is"
                                  " not supported",
                                  m->files[i].name, name, m->config.family, m->config.n_layers);
        }
    }
    return 0;
}

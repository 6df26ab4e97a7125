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
    [TW_PART_ROUTER] = "ffn_gate_inp.weight",
    [TW_PART_EMBED] = "token_embd.weight",
    [TW_PART_FINAL_NORM] = "output_norm.weight",
    [TW_PART_LM_HEAD] = "output.weight",
};

/* All of a layer in one tensor. */
static const char *const expert_names[TW_EXPERT_PARTS] = {
    [TW_EXPERT_GATE] = "ffn_gate_exps.weight",
    [TW_EXPERT_UP] = "ffn_up_exps.weight",
    [TW_EXPERT_DOWN] = "ffn_down_exps.weight",
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

/* n_experts 0: the tensor of one part alone. */
static int check_shape(const tw_model *m, const tw_gguf_tensor *t, const tw_part_spec *spec,
                       uint32_t n_experts, const char *file, tw_err *err)
{
    const uint64_t n_rows = tw_axis_size(&m->config, spec->rows);
    const uint64_t n_cols = tw_axis_size(&m->config, spec->cols);
    tw_gguf_tensor want = {.n_dims = 2, .dims = {n_cols, n_rows}};
    if (spec->cols == TW_AXIS_ONE)
        want = (tw_gguf_tensor){.n_dims = 1, .dims = {n_rows}};
    if (n_experts > 0)
        want.dims[want.n_dims++] = n_experts;
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
static int check_blocks(const tw_model *m, const tw_tensor *t, const tw_part_spec *spec,
                        tw_err *err)
{
    if (!tw_dtype_is_quant(t->type))
        return 0;
    if (spec->cols == TW_AXIS_ONE)
        return tw_err_set(err, -ENOTSUP,
                          "%s: tensor \"%s\": type %s, want F32, F16 or BF16 for a"
                          " single row",
                          t->file, t->name, tw_dtype_name(t->type));
    if (spec->cols == TW_AXIS_HQ && m->config.head_dim % GRANULE != 0)
        return tw_err_set(err, -ENOTSUP,
                          "%s: tensor \"%s\": type %s wants heads of a multiple of 32 numbers, this"
                          " model's have %u; want a file with F16 or BF16 there",
                          t->file, t->name, tw_dtype_name(t->type), m->config.head_dim);
    return 0;
}

/* The tensor of this name, checked; n_experts as in check_shape. */
static int bind(const tw_model *m, const char *name, const tw_part_spec *spec, uint32_t n_experts,
                tw_tensor *ret, tw_err *err)
{
    size_t i_file = 0;
    const tw_gguf_tensor *t = tw_model_gguf_find(m, name, &i_file);
    if (t == NULL)
        return tw_err_set(err, -EINVAL,
                          "model %s: tensor \"%s\" is missing, a %s of %u layers has it", m->path,
                          name, m->config.family, m->config.n_layers);
    tw_tensor found = {.name = t->name,
                       .file = m->files[i_file].name,
                       .i_file = i_file,
                       .off_bytes = (size_t)t->off_bytes,
                       .n_rows = (size_t)tw_axis_size(&m->config, spec->rows),
                       .n_cols = (size_t)tw_axis_size(&m->config, spec->cols)};
    int rc = check_shape(m, t, spec, n_experts, found.file, err);
    if (rc == 0)
        rc = check_type(t, found.file, &found.type, err);
    if (rc == 0)
        rc = check_blocks(m, &found, spec, err);
    if (rc == 0)
        *ret = found;
    return rc;
}

int tw_model_gguf_bind(const tw_model *m, enum tw_part part, uint32_t i_layer, tw_tensor *ret,
                       tw_err *err)
{
    char name[NAME_MAX_BYTES];
    tw_model_gguf_part_name(part, i_layer, name, sizeof(name));
    int rc = bind(m, name, tw_part_get(part), 0, ret, err);
    if (rc == 0 && m->is_turned &&
        (part == TW_PART_Q || part == TW_PART_K || part == TW_PART_Q_BIAS ||
         part == TW_PART_K_BIAS))
        ret->turned = m->config.head_dim;
    return rc;
}

int tw_model_gguf_bind_experts(const tw_model *m, enum tw_expert_part part, uint32_t i_layer,
                               tw_tensor *ret, tw_err *err)
{
    char name[NAME_MAX_BYTES];
    tw_tensor all = {.name = NULL};
    snprintf(name, sizeof(name), "blk.%u.%s", i_layer, expert_names[part]);
    int rc = bind(m, name, tw_expert_part_get(part), m->config.n_experts, &all, err);
    if (rc < 0)
        return rc;
    const size_t bytes = all.n_rows * tw_dtype_row_bytes(all.type, all.n_cols);
    for (uint32_t e = 0; e < m->config.n_experts; e++, all.off_bytes += bytes)
        ret[(size_t)e * TW_EXPERT_PARTS] = all;
    return 0;
}

static bool is_expert_part(const char *tail)
{
    for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS; p++)
        if (strcmp(tail, expert_names[p]) == 0)
            return true;
    return false;
}

/* tail: what follows "blk." */
static bool is_bound(const tw_model *m, const char *tail)
{
    char *dot = NULL;
    uint64_t i = strtoull(tail, &dot, 10);
    if (dot == tail || *dot != '.' || i >= m->config.n_layers)
        return false;
    for (enum tw_part p = 0; p < TW_PART_LAYER_END; p++)
        if (tw_part_in_layer(&m->config, p, (uint32_t)i) && part_names[p] != NULL &&
            strcmp(part_names[p], dot + 1) == 0)
            return true;
    return m->config.experts[i] && is_expert_part(dot + 1);
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

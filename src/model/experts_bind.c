/* SPDX-License-Identifier: Apache-2.0 */
/* Experts in files: one tensor a part and expert, or all of a layer in two, as the reference
 * implementation holds them: gate_up_proj [E][2F][D], each expert's gate before its up, and
 * down_proj [E][D][F]. */
#include <errno.h>
#include <stdio.h>

#include "base/scope.h"
#include "model/model_gguf.h"
#include "model/weights_inside.h"

static tw_tensor *place_of(tw_model *m, enum tw_expert_part part, uint32_t i_layer,
                           uint32_t i_expert)
{
    return &m->experts[((size_t)i_layer * m->config.n_experts + i_expert) * TW_EXPERT_PARTS + part];
}

static int bind_each(tw_model *m, uint32_t i_layer, tw_err *err)
{
    for (uint32_t e = 0; e < m->config.n_experts; e++) {
        for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS; p++) {
            char name[TW_TENSOR_NAME_BYTES];
            tw_expert_part_name(p, i_layer, e, name, sizeof(name));
            int rc = tw_model_tensor_bind(m, name, tw_expert_part_get(p), " as num_experts says so",
                                          place_of(m, p, i_layer, e), err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* The tensor of all experts of a layer: n_parts of them, from part on, one after the other. */
static int bind_joined(tw_model *m, const char *tail, uint32_t i_layer, enum tw_expert_part part,
                       uint32_t n_parts, tw_err *err)
{
    const tw_part_spec *spec = tw_expert_part_get(part);
    const uint64_t n_rows = tw_axis_size(&m->config, spec->rows);
    const uint64_t n_cols = tw_axis_size(&m->config, spec->cols);
    const tw_st_tensor want = {.n_dims = 3,
                               .shape = {m->config.n_experts, n_parts * n_rows, n_cols}};
    char name[TW_TENSOR_NAME_BYTES], keys[96];
    size_t i_file = 0;
    tw_expert_joined_name(tail, i_layer, name, sizeof(name));
    const tw_st_tensor *t = tw_model_tensor_find(m, name, &i_file);
    if (t == NULL)
        return tw_err_set(err, -EINVAL, "tensor \"%s\" is missing, though its other half is there",
                          name);
    const char *file = m->files[i_file].name;
    enum tw_dtype type = TW_F32;
    snprintf(keys, sizeof(keys), "num_experts, %s%s, %s", n_parts == 2 ? "2 x " : "",
             tw_axis_key(spec->rows), tw_axis_key(spec->cols));
    int rc = tw_model_tensor_shape(t, file, &want, keys, err);
    if (rc == 0)
        rc = tw_model_tensor_type(t, file, &type, err);
    if (rc < 0)
        return rc;
    const size_t bytes = (size_t)(n_rows * n_cols) * tw_dtype_bytes(type);
    for (uint32_t i = 0; i < m->config.n_experts * n_parts; i++)
        *place_of(m, part + i % n_parts, i_layer, i / n_parts) =
            (tw_tensor){.name = t->name,
                        .file = file,
                        .type = type,
                        .i_file = i_file,
                        .off_bytes = (size_t)t->off_bytes + i * bytes,
                        .n_rows = (size_t)n_rows,
                        .n_cols = (size_t)n_cols};
    return 0;
}

static int bind_gguf(tw_model *m, uint32_t i_layer, tw_err *err)
{
    int rc = 0;
    for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS && rc == 0; p++)
        rc = tw_model_gguf_bind_experts(m, p, i_layer, place_of(m, p, i_layer, 0), err);
    return rc;
}

static int bind_layer(tw_model *m, uint32_t i_layer, tw_err *err)
{
    char name[TW_TENSOR_NAME_BYTES];
    size_t i_file;
    if (m->is_gguf)
        return bind_gguf(m, i_layer, err);
    tw_expert_joined_name(TW_EXPERTS_GATE_UP, i_layer, name, sizeof(name));
    if (tw_model_tensor_find(m, name, &i_file) == NULL)
        return bind_each(m, i_layer, err);
    int rc = bind_joined(m, TW_EXPERTS_GATE_UP, i_layer, TW_EXPERT_GATE, 2, err);
    return rc < 0 ? rc : bind_joined(m, TW_EXPERTS_DOWN, i_layer, TW_EXPERT_DOWN, 1, err);
}

int tw_model_experts_bind(tw_model *m, tw_err *err)
{
    const tw_model_config *c = &m->config;
    if (c->n_expert_layers == 0)
        return 0;
    m->experts = tw_arena_array(&m->arena, (size_t)c->n_layers * c->n_experts * TW_EXPERT_PARTS,
                                sizeof(*m->experts));
    if (m->experts == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %u x %u experts", m->path,
                          c->n_layers, c->n_experts);
    int rc = 0;
    for (uint32_t i = 0; i < c->n_layers && rc == 0; i++)
        if (c->experts[i])
            rc = bind_layer(m, i, err);
    return rc;
}

uint64_t tw_weights_count_expert_bytes(const tw_model *m, const tw_shard *s)
{
    const tw_model_config *c = &m->config;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < c->n_layers; i++) {
        for (uint32_t e = 0; c->experts[i] && e < c->n_experts; e++) {
            for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS; p++) {
                const tw_part_spec *spec = tw_expert_part_get(p);
                tw_piece x = {.t = tw_model_expert(m, p, i, e)};
                x.type = tw_weights_packed_type(m, spec, x.t);
                tw_axis_cut(c, s, spec->rows, &x.row0, &x.n_rows);
                tw_axis_cut(c, s, spec->cols, &x.col0, &x.n_cols);
                const tw_packed packed = tw_piece_packed(&x, NULL);
                bytes += tw_packed_size(&packed);
            }
        }
    }
    return bytes;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The weight files of a model's folder: which, mapped, their headers, and each part bound to its
 * tensor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "model/experts.h"
#include "model/model_gguf.h"

enum { INDEX_MAX_BYTES = 128 << 20, HEADER_GUESS_BYTES = 256 << 10 };

static const char *single_name = "model.safetensors";
static const char *index_name = "model.safetensors.index.json";

/* 1: the folder has it, 0: not. */
static int has_file(const tw_model *m, const char *name, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) char *path = tw_model_join(m->path, name);
    if (path == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for its path", name);
    return tw_file_exists(path);
}

static int open_file(tw_model *m, const char *name, tw_model_file *f, tw_err *err)
{
    f->name = name;
    TW_CLEANUP(tw_mem_freep) char *path = tw_model_join(m->path, name);
    if (path == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for its path", name);
    if (m->index.n_files > 0 && !tw_file_exists(path))
        return tw_err_set(err, -ENOENT, "%s: is missing from %s, though %s names it", name, m->path,
                          index_name);
    int rc = tw_map_open(path, &f->map, err);
    if (rc < 0)
        return rc;
    tw_map_set_sparse(&f->map); /* a rank wants its own rows, and single rows of the embedding */
    tw_map_want(&f->map, 0, HEADER_GUESS_BYTES);
    rc = tw_st_parse(name, f->map.p, f->map.size_bytes, f->map.size_bytes, &f->st, err);
    tw_map_drop(&f->map, 0, f->map.size_bytes);
    return rc;
}

/* Every tensor of the index must be in the file that the index says. */
static int check_index(const tw_model *m, tw_err *err)
{
    for (size_t i = 0; i < m->index.n; i++) {
        const tw_st_entry *e = &m->index.entries[i];
        if (tw_st_find(&m->files[e->i_file].st, e->tensor) == NULL)
            return tw_err_set(err, -EINVAL,
                              "%s: tensor \"%.80s\" is missing, though %s says it is there",
                              m->files[e->i_file].name, e->tensor, index_name);
    }
    return 0;
}

static int read_index(tw_model *m, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf buf = TW_BUF(INDEX_MAX_BYTES);
    TW_CLEANUP(tw_mem_freep) char *path = tw_model_join(m->path, index_name);
    if (path == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for its path", index_name);
    int rc = tw_file_read(path, &buf, err);
    if (rc < 0)
        return rc;
    return tw_st_index_parse(index_name, buf.len == 0 ? "" : buf.data, buf.len, &m->index, err);
}

static int refuse_no_weights(const tw_model *m, tw_err *err)
{
    int rc = has_file(m, "pytorch_model.bin", err);
    if (rc < 0)
        return rc;
    return tw_err_set(err, -ENOENT, "model %s: no weights: want %s or %s%s", m->path, single_name,
                      index_name, rc > 0 ? "; pytorch_model.bin is not read" : "");
}

/* names: [n], of the files to open. */
static int open_files(tw_model *m, const char *const *names, size_t n, tw_err *err)
{
    m->files = tw_arena_array(&m->arena, n, sizeof(*m->files));
    if (m->files == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %zu files", m->path, n);
    for (; m->n_files < n; m->n_files++) {
        tw_model_file *f = &m->files[m->n_files];
        int rc = open_file(m, names[m->n_files], f, err);
        if (rc < 0) {
            tw_map_close(&f->map);
            return rc;
        }
    }
    return 0;
}

/* One file wins over an index, as in the reference implementation. */
int tw_model_files_open(tw_model *m, tw_err *err)
{
    int rc = has_file(m, single_name, err);
    if (rc < 0)
        return rc;
    if (rc > 0)
        return open_files(m, &single_name, 1, err);
    rc = has_file(m, index_name, err);
    if (rc <= 0)
        return rc < 0 ? rc : refuse_no_weights(m, err);
    rc = read_index(m, err);
    if (rc == 0)
        rc = open_files(m, m->index.files, m->index.n_files, err);
    return rc < 0 ? rc : check_index(m, err);
}

const tw_st_tensor *tw_model_tensor_find(const tw_model *m, const char *name, size_t *ret_file)
{
    if (m->index.n_files == 0) {
        *ret_file = 0;
        return tw_st_find(&m->files[0].st, name);
    }
    const tw_st_entry *e = tw_st_index_find(&m->index, name);
    if (e == NULL)
        return NULL;
    *ret_file = e->i_file;
    return tw_st_find(&m->files[e->i_file].st, name);
}

int tw_model_tensor_shape(const tw_st_tensor *t, const char *file, const tw_st_tensor *want,
                          const char *keys, tw_err *err)
{
    if (t->n_dims == want->n_dims &&
        memcmp(t->shape, want->shape, want->n_dims * sizeof(want->shape[0])) == 0)
        return 0;
    char found_text[64], want_text[64];
    tw_st_show_shape(t, found_text, sizeof(found_text));
    tw_st_show_shape(want, want_text, sizeof(want_text));
    return tw_err_set(err, -EINVAL, "%s: tensor \"%s\": shape %s, but config.json wants %s (%s)",
                      file, t->name, found_text, want_text, keys);
}

static int check_shape(const tw_model *m, const tw_st_tensor *t, const tw_part_spec *spec,
                       const char *file, tw_err *err)
{
    const bool is_vector = spec->cols == TW_AXIS_ONE;
    tw_st_tensor want = {.n_dims = is_vector ? 1 : 2};
    char keys[64];
    want.shape[0] = tw_axis_size(&m->config, spec->rows);
    want.shape[1] = tw_axis_size(&m->config, spec->cols);
    snprintf(keys, sizeof(keys), "%s%s%s", tw_axis_key(spec->rows), is_vector ? "" : ", ",
             is_vector ? "" : tw_axis_key(spec->cols));
    return tw_model_tensor_shape(t, file, &want, keys, err);
}

int tw_model_tensor_type(const tw_st_tensor *t, const char *file, enum tw_dtype *ret, tw_err *err)
{
    switch (t->type) {
    case TW_ST_F32:
        *ret = TW_F32;
        return 0;
    case TW_ST_F16:
        *ret = TW_F16;
        return 0;
    case TW_ST_BF16:
        *ret = TW_BF16;
        return 0;
    case TW_ST_OTHER:
        break;
    }
    return tw_err_set(err, -ENOTSUP, "%s: tensor \"%s\": dtype %s, want BF16, F16 or F32", file,
                      t->name, t->type_name);
}

/* As tw_coded_bind. Vectors and rows of the embedding are read as they lie in the file. */
static int bind_coded(tw_model *m, const char *name, const tw_part_spec *spec, tw_tensor *ret,
                      tw_err *err)
{
    tw_tensor coded = {.n_rows = (size_t)tw_axis_size(&m->config, spec->rows),
                       .n_cols = (size_t)tw_axis_size(&m->config, spec->cols)};
    int rc = tw_coded_bind(m, name, &coded, err);
    if (rc > 0 && (spec->cols == TW_AXIS_ONE || spec == tw_part_get(TW_PART_EMBED)))
        return tw_err_set(
            err, -ENOTSUP,
            "%s: tensor \"%s\": is coded (quantization_config), want BF16, F16 or F32", coded.file,
            coded.name);
    if (rc > 0)
        *ret = coded;
    return rc;
}

int tw_model_tensor_bind(tw_model *m, const char *name, const tw_part_spec *spec, const char *why,
                         tw_tensor *ret, tw_err *err)
{
    size_t i_file = 0;
    const tw_st_tensor *t = tw_model_tensor_find(m, name, &i_file);
    int rc = t != NULL ? check_shape(m, t, spec, m->files[i_file].name, err) : 0;
    if (rc == 0)
        rc = bind_coded(m, name, spec, ret, err);
    if (rc != 0)
        return TW_MIN(rc, 0);
    if (t == NULL)
        return tw_err_set(err, -EINVAL, "%s: tensor \"%s\" is missing, config.json (%s) wants it%s",
                          m->index.n_files == 0 ? single_name : index_name, name, m->config.family,
                          why);
    const char *file = m->files[i_file].name;
    enum tw_dtype type = TW_F32;
    rc = tw_model_tensor_type(t, file, &type, err);
    if (rc < 0)
        return rc;
    *ret = (tw_tensor){.name = t->name,
                       .file = file,
                       .type = type,
                       .i_file = i_file,
                       .off_bytes = (size_t)t->off_bytes,
                       .n_rows = (size_t)tw_axis_size(&m->config, spec->rows),
                       .n_cols = (size_t)tw_axis_size(&m->config, spec->cols)};
    return 0;
}

static int bind_part(tw_model *m, enum tw_part part, uint32_t i_layer, tw_tensor *ret, tw_err *err)
{
    if (m->is_gguf)
        return tw_model_gguf_bind(m, part, i_layer, ret, err);
    char name[TW_TENSOR_NAME_BYTES];
    tw_part_name(part, i_layer, name, sizeof(name));
    const char *why = part == TW_PART_LM_HEAD  ? " as tie_word_embeddings is not true"
                      : part == TW_PART_ROUTER ? " as num_experts is not 0"
                                               : "";
    return tw_model_tensor_bind(m, name, tw_part_get(part), why, ret, err);
}

/* tail: what follows "model.layers." */
static bool is_bound(const tw_model *m, const char *tail)
{
    char *dot = NULL;
    uint64_t i = strtoull(tail, &dot, 10);
    if (dot == tail || *dot != '.' || i >= m->config.n_layers)
        return false;
    for (enum tw_part p = 0; p < TW_PART_LAYER_END; p++)
        if (tw_part_in_layer(&m->config, p, (uint32_t)i) &&
            strcmp(tw_part_get(p)->layer_name, dot + 1) == 0)
            return true;
    return m->config.experts[i] && tw_expert_part_is(&m->config, dot + 1);
}

/* A tensor inside a layer that the config has no place for would be left out of the result: a
 * wrong config.json, not a detail. Buffers of rope are no weights. */
static int refuse_strays(const tw_model *m, tw_err *err)
{
    static const char layers[] = "model.layers.";
    if (m->is_gguf)
        return tw_model_gguf_refuse_strays(m, err);
    for (size_t i = 0; i < m->n_files; i++) {
        const tw_st *st = &m->files[i].st;
        for (size_t j = 0; j < st->n; j++) {
            tw_str name = tw_str_from(st->tensors[j].name);
            if (!tw_str_starts(name, TW_STR(layers)) ||
                tw_str_ends(name, TW_STR(".rotary_emb.inv_freq")))
                continue;
            char whole[TW_TENSOR_NAME_BYTES];
            const char *of = name.p;
            if (tw_coded_whole_name(m, name.p, whole))
                of = whole;
            if (!is_bound(m, of + sizeof(layers) - 1) &&
                !tw_coded_is_empty_bias(m, &st->tensors[j], i))
                return tw_err_set(err, -EINVAL,
                                  "%s: tensor \"%.80s\" has no place in this %s of %u layers; does"
                                  " config.json belong to these weights?",
                                  m->files[i].name, st->tensors[j].name, m->config.family,
                                  m->config.n_layers);
        }
    }
    return 0;
}

int tw_model_parts_bind(tw_model *m, tw_err *err)
{
    m->layers = tw_arena_array(&m->arena, (size_t)m->config.n_layers * TW_PART_LAYER_END,
                               sizeof(*m->layers));
    if (m->layers == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %u layers", m->path,
                          m->config.n_layers);
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        for (enum tw_part p = 0; p < TW_PART_LAYER_END; p++) {
            if (!tw_part_in_layer(&m->config, p, i))
                continue;
            int rc = bind_part(m, p, i, &m->layers[(size_t)i * TW_PART_LAYER_END + p], err);
            if (rc < 0)
                return rc;
        }
    }
    for (enum tw_part p = TW_PART_LAYER_END; p < TW_PART_END; p++) {
        if (!tw_part_wanted(&m->config, p))
            continue;
        int rc = bind_part(m, p, 0, &m->whole[p - TW_PART_LAYER_END], err);
        if (rc < 0)
            return rc;
    }
    int rc = tw_model_experts_bind(m, err);
    return rc < 0 ? rc : refuse_strays(m, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "model/model_gguf.h"

enum { CONFIG_MAX_BYTES = 4 << 20 };

char *tw_model_join(const char *folder, const char *name)
{
    size_t n_folder = strlen(folder), n_name = strlen(name);
    char *s = tw_mem_alloc(n_folder + n_name + 2);
    if (s == NULL)
        return NULL;
    memcpy(s, folder, n_folder);
    s[n_folder] = '/';
    memcpy(s + n_folder + 1, name, n_name + 1);
    return s;
}

static bool is_gguf(const char *path)
{
    return tw_str_ends(tw_str_from(path), TW_STR(".gguf"));
}

static int check_path(const char *path, tw_err *err)
{
    if (tw_file_is_dir(path))
        return 0;
    if (!tw_file_exists(path))
        return tw_err_set(err, -ENOENT,
                          "model %s: no such folder or file; want a folder with config.json and"
                          " *.safetensors, or a .gguf file",
                          path);
    if (is_gguf(path))
        return 0;
    return tw_err_set(err, -ENOTDIR,
                      "model %s: is a file; want a .gguf file, or a folder with config.json and"
                      " *.safetensors",
                      path);
}

static int read_file(const tw_model *m, const char *name, tw_buf *buf, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) char *path = tw_model_join(m->path, name);
    if (path == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for its path", name);
    return tw_file_read(path, buf, err);
}

static int read_configs(tw_model *m, tw_buf *config, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf gen = TW_BUF(CONFIG_MAX_BYTES);
    int rc = read_file(m, "config.json", config, err);
    if (rc == -ENOENT)
        return tw_err_set(err, -ENOENT, "model %s: config.json is missing; is it a model's folder?",
                          m->path);
    if (rc < 0)
        return rc;
    tw_err quiet;
    rc = read_file(m, "generation_config.json", &gen, &quiet);
    if (rc < 0 && rc != -ENOENT) {
        if (err != NULL)
            *err = quiet;
        return rc;
    }
    bool has_gen = rc == 0;
    return tw_model_config_parse("config.json", config->len == 0 ? "" : config->data, config->len,
                                 has_gen ? (gen.len == 0 ? "" : gen.data) : NULL, gen.len,
                                 &m->config, &m->gen, err);
}

static int fill_names(tw_model *m, const char *path, tw_err *err)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    m->path = tw_arena_strndup(&m->arena, path, n);
    if (m->path == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for its path", path);
    const char *slash = strrchr(m->path, '/');
    m->name = slash == NULL || slash[1] == '\0' ? m->path : slash + 1;
    return 0;
}

static int open_folder(tw_model *m, tw_buf *config, tw_err *err)
{
    int rc = read_configs(m, config, err);
    if (rc == 0)
        rc = tw_model_files_open(m, err);
    return rc < 0 ? rc : tw_model_chat_read(m, err);
}

static int open_all(tw_model *m, const char *path, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf config = TW_BUF(CONFIG_MAX_BYTES);
    TW_CLEANUP(tw_mem_freep) char *inside = NULL;
    int rc = fill_names(m, path, err);
    if (rc == 0)
        rc = check_path(m->path, err);
    if (rc == 0 && tw_file_is_dir(m->path))
        rc = tw_model_gguf_in_folder(m->path, &inside, err);
    if (rc == 0 && inside != NULL)
        rc = fill_names(m, inside, err);
    if (rc == 0 && is_gguf(m->path) && !tw_file_is_dir(m->path))
        rc = tw_model_gguf_open(m, err);
    else if (rc == 0)
        rc = open_folder(m, &config, err);
    if (rc == 0)
        rc = tw_model_parts_bind(m, err);
    if (rc == 0)
        rc = tw_model_identify(m, config.data, config.len, err);
    return rc;
}

int tw_model_open(const char *path, tw_model **ret, tw_err *err)
{
    tw_model *m = tw_mem_calloc(1, sizeof(*m));
    if (m == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %zu bytes", path, sizeof(*m));
    tw_arena_init(&m->arena, 0);
    int rc = open_all(m, path, err);
    if (rc < 0) {
        tw_model_close(m);
        return rc;
    }
    *ret = m;
    return 0;
}

const tw_model_config *tw_model_get_config(const tw_model *m)
{
    return &m->config;
}

void tw_model_set_quant(tw_model *m, enum tw_dtype to)
{
    m->quant = to;
}

const tw_gen_config *tw_model_get_gen(const tw_model *m)
{
    return &m->gen;
}

const char *tw_model_name(const tw_model *m)
{
    return m->name;
}

const char *tw_model_id(const tw_model *m)
{
    return m->id;
}

const char *tw_model_chat_template(const tw_model *m)
{
    return m->chat_template;
}

const char *tw_model_bos_text(const tw_model *m)
{
    return m->bos_text;
}

const char *tw_model_eos_text(const tw_model *m)
{
    return m->eos_text;
}

const void *tw_model_embed_row(const tw_model *m, uint32_t id, enum tw_dtype *ret_type)
{
    const tw_tensor *t = tw_model_tensor(m, TW_PART_EMBED, 0);
    *ret_type = t->type;
    return m->files[t->i_file].map.p + t->off_bytes + id * tw_dtype_row_bytes(t->type, t->n_cols);
}

void tw_model_embed_drop(const tw_model *m)
{
    const tw_tensor *t = tw_model_tensor(m, TW_PART_EMBED, 0);
    tw_map_drop(&m->files[t->i_file].map, t->off_bytes,
                t->n_rows * tw_dtype_row_bytes(t->type, t->n_cols));
}

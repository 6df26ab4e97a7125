/* SPDX-License-Identifier: Apache-2.0 */
#include "model/model_gguf.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "model/gguf_config.h"

enum {
    NAME_MAX_BYTES = 128,
    HEADER_GUESS_BYTES = 4 << 20,
    SPLIT_MAX = 9999,
    CHAT_MAX_BYTES = 8 << 20
};

static int open_file(tw_model *m, const char *path, const char *name, tw_model_file *f, tw_err *err)
{
    f->name = name;
    if (m->n_files > 0 && !tw_file_exists(path))
        return tw_err_set(err, -ENOENT, "%s: is missing beside %s, of which it is a part", name,
                          m->files[0].name);
    int rc = tw_map_open(path, &f->map, err);
    if (rc < 0)
        return rc;
    tw_map_set_sparse(&f->map); /* a rank wants its own rows, and single rows of the embedding */
    tw_map_want(&f->map, 0, TW_MIN(f->map.size_bytes, (size_t)HEADER_GUESS_BYTES));
    rc = tw_gguf_parse(name, f->map.p, f->map.size_bytes, f->map.size_bytes, &f->gguf, err);
    tw_map_drop(&f->map, 0, f->map.size_bytes);
    return rc;
}

/* The file's own word on which part it is; n: by the name. */
static int check_split(const tw_model_file *f, unsigned i, unsigned n, tw_err *err)
{
    tw_gguf_keys k = {.file = f->name, .arch = "", .g = &f->gguf, .err = err};
    char want[16];
    snprintf(want, sizeof(want), "%u", n);
    uint64_t count = tw_gguf_keys_u64(&k, "split.count", n, 0, UINT16_MAX);
    if (count != n && !(n == 1 && count == 0))
        tw_gguf_keys_refuse(&k, "split.count",
                            n == 1 ? "1: keep the names NAME-00001-of-0000N.gguf" : want);
    snprintf(want, sizeof(want), "%u", i);
    if (k.rc == 0 && tw_gguf_keys_u64(&k, "split.no", i, 0, UINT16_MAX) != i)
        tw_gguf_keys_refuse(&k, "split.no", want);
    return k.rc;
}

/* The path of part i (of n) of a split model; NULL: no memory. */
static char *part_path(const tw_model *m, size_t stem, unsigned i, unsigned n)
{
    size_t bytes = stem + 24;
    char *path = tw_mem_alloc(bytes);
    if (path != NULL)
        snprintf(path, bytes, "%.*s-%05u-of-%05u.gguf", (int)stem, m->path, i + 1, n);
    return path;
}

static int open_part(tw_model *m, size_t stem, unsigned i, unsigned n, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep)
    char *path = n == 1 ? tw_mem_strdup(m->path) : part_path(m, stem, i, n);
    tw_model_file *f = &m->files[i];
    if (path == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for a path", m->path);
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    name = tw_arena_strndup(&m->arena, name, strlen(name));
    if (name == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for a path", m->path);
    int rc = open_file(m, path, name, f, err);
    m->n_files++; /* closes what is open, also after an error */
    return rc < 0 ? rc : check_split(f, i, n, err);
}

static int check_total(const tw_model *m, tw_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_files; i++)
        n += m->files[i].gguf.n;
    tw_gguf_keys k = {.file = m->files[0].name, .arch = "", .g = &m->files[0].gguf, .err = err};
    uint64_t want = tw_gguf_keys_u64(&k, "split.tensors.count", n, 0, INT32_MAX);
    if (k.rc == 0 && want != n)
        return tw_err_set(err, -EINVAL,
                          "%s: split.tensors.count is %" PRIu64 ", but its %zu files hold %zu",
                          k.file, want, m->n_files, n);
    return k.rc;
}

static int open_parts(tw_model *m, tw_err *err)
{
    size_t stem = 0;
    unsigned no = 1, n = 1;
    if (!tw_gguf_split_name(m->path, &stem, &no, &n))
        n = 1;
    if (n > SPLIT_MAX)
        return tw_err_set(err, -EINVAL, "model %s: %u parts, want at most %d", m->path, n,
                          SPLIT_MAX);
    m->files = tw_arena_array(&m->arena, n, sizeof(*m->files));
    if (m->files == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory for %u files", m->path, n);
    for (unsigned i = 0; i < n; i++) {
        int rc = open_part(m, stem, i, n, err);
        if (rc < 0)
            return rc;
    }
    return check_total(m, err);
}

const tw_gguf_tensor *tw_model_gguf_find(const tw_model *m, const char *name, size_t *ret_file)
{
    for (size_t i = 0; i < m->n_files; i++) {
        const tw_gguf_tensor *t = tw_gguf_find(&m->files[i].gguf, name);
        if (t != NULL) {
            *ret_file = i;
            return t;
        }
    }
    return NULL;
}

static bool has_part(const tw_model *m, enum tw_part part)
{
    char name[NAME_MAX_BYTES];
    size_t i_file;
    tw_model_gguf_part_name(part, 0, name, sizeof(name));
    return tw_model_gguf_find(m, name, &i_file) != NULL;
}

static void find_experts(const tw_model *m, bool ret[TW_LAYERS_MAX])
{
    for (uint32_t i = 0; i < TW_LAYERS_MAX; i++) {
        char name[NAME_MAX_BYTES];
        size_t i_file;
        tw_model_gguf_part_name(TW_PART_ROUTER, i, name, sizeof(name));
        ret[i] = tw_model_gguf_find(m, name, &i_file) != NULL;
    }
}

static enum tw_dtype plain_type(const tw_model *m)
{
    size_t i_file;
    const tw_gguf_tensor *t = tw_model_gguf_find(m, "blk.0.attn_q.weight", &i_file);
    if (t != NULL && t->type == TW_GGUF_TYPE_F32)
        return TW_F32;
    return t != NULL && t->type == TW_GGUF_TYPE_F16 ? TW_F16 : TW_BF16;
}

static int read_rope_factors(tw_model *m, tw_gguf_facts *f, tw_err *err)
{
    size_t i_file;
    const tw_gguf_tensor *t = tw_model_gguf_find(m, "rope_freqs.weight", &i_file);
    if (t == NULL)
        return 0;
    if (t->type != TW_GGUF_TYPE_F32 || t->n_dims != 1 || t->dims[0] == 0 ||
        t->dims[0] > TW_MODEL_HEAD_DIM_MAX / 2)
        return tw_err_set(err, -EINVAL,
                          "%s: tensor \"rope_freqs.weight\": want one row of F32, a number for each"
                          " pair of a head",
                          m->files[i_file].name);
    float *v = tw_arena_array(&m->arena, (size_t)t->dims[0], sizeof(*v));
    if (v == NULL)
        return tw_err_set(err, -ENOMEM, "model %s: no memory", m->path);
    tw_dequantize_row(TW_F32, v, m->files[i_file].map.p + t->off_bytes, (size_t)t->dims[0]);
    f->rope_factors = v;
    f->n_rope_factors = (size_t)t->dims[0];
    return 0;
}

static int read_facts(tw_model *m, tw_gguf_facts *f, tw_err *err)
{
    size_t i_file;
    const tw_gguf_tensor *embed = tw_model_gguf_find(m, "token_embd.weight", &i_file);
    if (embed == NULL || embed->n_dims != 2 || embed->dims[1] == 0 ||
        embed->dims[1] > TW_MODEL_VOCAB_MAX)
        return tw_err_set(err, -EINVAL,
                          "model %s: want a tensor \"token_embd.weight\" with a row for each token",
                          m->path);
    *f = (tw_gguf_facts){.vocab = (uint32_t)embed->dims[1],
                         .has_output = has_part(m, TW_PART_LM_HEAD),
                         .has_q_bias = has_part(m, TW_PART_Q_BIAS),
                         .has_k_bias = has_part(m, TW_PART_K_BIAS),
                         .has_v_bias = has_part(m, TW_PART_V_BIAS),
                         .has_o_bias = has_part(m, TW_PART_O_BIAS),
                         .has_mlp_bias = has_part(m, TW_PART_GATE_BIAS) ||
                                         has_part(m, TW_PART_UP_BIAS) ||
                                         has_part(m, TW_PART_DOWN_BIAS),
                         .dtype = plain_type(m)};
    find_experts(m, f->experts);
    return read_rope_factors(m, f, err);
}

/* Text of the token that a key names; "" when there is none. */
static tw_str token_text(tw_gguf_keys *k, const char *key)
{
    uint64_t id = tw_gguf_keys_u64(k, key, UINT32_MAX, 0, UINT32_MAX), i = 0;
    tw_gguf_texts t;
    tw_str text;
    tw_gguf_texts_init(&t, tw_gguf_keys_get(k, "tokenizer.ggml.tokens"));
    for (; tw_gguf_texts_next(&t, &text); i++)
        if (i == id)
            return text;
    return TW_STR("");
}

static const char *keep_text(tw_model *m, tw_str text, int *rc, tw_err *err)
{
    const char *copy = tw_arena_strndup(&m->arena, text.p, text.len);
    if (copy == NULL)
        *rc = tw_err_set(err, -ENOMEM, "model %s: no memory for a text of %zu bytes", m->path,
                         text.len);
    return copy;
}

static int read_chat(tw_model *m, tw_err *err)
{
    const tw_gguf *g = &m->files[0].gguf;
    tw_gguf_keys k = {.file = m->files[0].name, .arch = "", .g = g, .err = err};
    int rc = 0;
    m->bos_text = keep_text(m, token_text(&k, "tokenizer.ggml.bos_token_id"), &rc, err);
    m->eos_text = keep_text(m, token_text(&k, "tokenizer.ggml.eos_token_id"), &rc, err);
    if (tw_gguf_get(g, "tokenizer.chat_template") != NULL) {
        tw_str chat = tw_gguf_keys_text(&k, "tokenizer.chat_template", TW_STR(""));
        if (chat.len > CHAT_MAX_BYTES)
            return tw_err_set(err, -E2BIG,
                              "%s: tokenizer.chat_template of %zu bytes, want at most %d", k.file,
                              chat.len, CHAT_MAX_BYTES);
        m->chat_template = keep_text(m, chat, &rc, err);
    }
    return k.rc < 0 ? k.rc : rc;
}

/* "Qwen3-0.6B-Q8_0" of ".../Qwen3-0.6B-Q8_0.gguf", of a split file's name too. */
static int fill_name(tw_model *m, tw_err *err)
{
    const char *slash = strrchr(m->path, '/'), *name = slash == NULL ? m->path : slash + 1;
    size_t stem = strlen(name) - strlen(".gguf");
    unsigned no, n;
    (void)tw_gguf_split_name(name, &stem, &no, &n);
    int rc = 0;
    m->name = keep_text(m, stem > 0 ? (tw_str){name, stem} : tw_str_from(name), &rc, err);
    return rc;
}

int tw_model_gguf_open(tw_model *m, tw_err *err)
{
    tw_gguf_facts facts = {.vocab = 0};
    tw_str arch = {.len = 0};
    m->is_gguf = true;
    int rc = fill_name(m, err);
    if (rc == 0)
        rc = open_parts(m, err);
    /* before what other architectures' tensors lack */
    if (rc == 0)
        rc = tw_gguf_config_arch(m->files[0].name, &m->files[0].gguf, &arch, err);
    if (rc == 0)
        rc = read_facts(m, &facts, err);
    if (rc == 0)
        rc = tw_gguf_config_read(m->files[0].name, &m->files[0].gguf, &facts, &m->config, &m->gen,
                                 err);
    m->is_turned = rc == 0 && tw_gguf_config_is_turned(arch.p, arch.len);
    return rc < 0 ? rc : read_chat(m, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tiny.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/rng.h"
#include "base/scope.h"
#include "model/experts.h"
#include "model/family.h"

enum { FILES_MAX = 64, PATH_BYTES = 1024 };

int tw_tiny_dir(char *out, size_t out_bytes)
{
    const char *tmp = getenv("TMPDIR");
    int n =
        snprintf(out, out_bytes, "%s/twinax-XXXXXX", tmp == NULL || *tmp == '\0' ? "/tmp" : tmp);
    if (n < 0 || (size_t)n >= out_bytes)
        return -ENAMETOOLONG;
    return mkdtemp(out) == NULL ? -errno : 0;
}

void tw_tiny_remove(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    rmdir(dir);
}

static FILE *open_out(const char *dir, const char *name)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof(path), "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof(path) ? fopen(path, "wb") : NULL;
}

static int close_out(FILE *f)
{
    int bad = ferror(f);
    return fclose(f) != 0 || bad ? -EIO : 0;
}

int tw_tiny_put(const char *dir, const char *name, const void *p, size_t n)
{
    FILE *f = open_out(dir, name);
    if (f == NULL)
        return -errno;
    fwrite(p, 1, n, f);
    return close_out(f);
}

static struct tw_tiny with_defaults(const struct tw_tiny *opts)
{
    struct tw_tiny t = *opts;
    t.family = t.family != NULL ? t.family : "llama";
    t.n_layers = t.n_layers ? t.n_layers : 2;
    t.d_model = t.d_model ? t.d_model : 64;
    t.n_heads = t.n_heads ? t.n_heads : 8;
    t.n_kv_heads = t.n_kv_heads ? t.n_kv_heads : 4;
    t.head_dim = t.head_dim ? t.head_dim : 16;
    t.ffn = t.ffn ? t.ffn : 256;
    t.vocab = t.vocab ? t.vocab : 512;
    t.max_ctx = t.max_ctx ? t.max_ctx : 4096;
    t.n_files = t.n_files ? t.n_files : 1;
    return t;
}

static int print_config(const struct tw_tiny *t, tw_buf *b)
{
    char window[16] = "null";
    if (t->window != 0)
        snprintf(window, sizeof(window), "%u", t->window);
    const char *dtype = t->f32 ? "float32" : t->f16 ? "float16" : "bfloat16";
    return tw_buf_printf(
        b,
        "{\"model_type\": \"%s\", \"num_hidden_layers\": %u, \"hidden_size\": %u,\n"
        " \"num_attention_heads\": %u, \"num_key_value_heads\": %u, \"head_dim\": %u,\n"
        " \"intermediate_size\": %u, \"vocab_size\": %u, \"max_position_embeddings\": %u,\n"
        " \"rms_norm_eps\": 1e-05, \"hidden_act\": \"silu\", \"sliding_window\": %s,\n"
        " \"tie_word_embeddings\": %s, \"attention_bias\": %s, \"mlp_bias\": %s,\n"
        " \"torch_dtype\": \"%s\", \"bos_token_id\": 1, \"eos_token_id\": 2%s%s}\n",
        t->family, t->n_layers, t->d_model, t->n_heads, t->n_kv_heads, t->head_dim, t->ffn,
        t->vocab, t->max_ctx, window, t->tied ? "true" : "false",
        t->attention_bias ? "true" : "false", t->mlp_bias ? "true" : "false", dtype,
        t->extra != NULL ? ", " : "", t->extra != NULL ? t->extra : "");
}

struct out_tensor {
    char name[96];
    enum tw_dtype type;
    size_t n_experts;      /* 0: [n_rows][n_cols]; else all of a layer, that in front */
    size_t n_rows, n_cols; /* n_cols 0: a vector */
    unsigned i_file;
};

struct out_model {
    struct tw_tiny t;
    tw_model_config c;
    struct out_tensor *tensors;
    size_t n;
};

static enum tw_dtype pick_type(const struct tw_tiny *t, size_t i)
{
    enum tw_dtype type = t->f32 ? TW_F32 : t->f16 ? TW_F16 : TW_BF16;
    return t->mixed && i % 3 == 1 ? (type == TW_F32 ? TW_BF16 : TW_F32) : type;
}

/* The next one, whose name the caller has yet to write. */
static struct out_tensor *add_tensor(struct out_model *o, const tw_part_spec *spec)
{
    struct out_tensor *x = &o->tensors[o->n];
    const bool vector = spec->cols == TW_AXIS_ONE;
    x->type = pick_type(&o->t, o->n);
    x->n_rows = (size_t)tw_axis_size(&o->c, spec->rows);
    x->n_cols = vector ? 0 : (size_t)tw_axis_size(&o->c, spec->cols);
    x->i_file = (unsigned)(o->n % o->t.n_files);
    o->n++;
    return x;
}

static void add_part(struct out_model *o, enum tw_part part, uint32_t i_layer)
{
    const bool in_layer = part < TW_PART_LAYER_END;
    if (in_layer ? !tw_part_in_layer(&o->c, part, i_layer) : !tw_part_wanted(&o->c, part))
        return;
    struct out_tensor *x = add_tensor(o, tw_part_get(part));
    tw_part_name(part, i_layer, x->name, sizeof(x->name));
}

static void add_experts(struct out_model *o, uint32_t i_layer)
{
    for (uint32_t e = 0; e < o->c.n_experts && !o->t.joined; e++)
        for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS; p++) {
            struct out_tensor *x = add_tensor(o, tw_expert_part_get(p));
            tw_expert_part_name(p, i_layer, e, x->name, sizeof(x->name));
        }
    if (!o->t.joined)
        return;
    struct out_tensor *x = add_tensor(o, tw_expert_part_get(TW_EXPERT_GATE));
    tw_expert_joined_name(TW_EXPERTS_GATE_UP, i_layer, x->name, sizeof(x->name));
    x->n_experts = o->c.n_experts;
    x->n_rows *= 2;
    x = add_tensor(o, tw_expert_part_get(TW_EXPERT_DOWN));
    tw_expert_joined_name(TW_EXPERTS_DOWN, i_layer, x->name, sizeof(x->name));
    x->n_experts = o->c.n_experts;
}

static int list_tensors(struct out_model *o)
{
    const size_t per_layer = TW_PART_LAYER_END + (size_t)o->c.n_experts * TW_EXPERT_PARTS;
    o->tensors = calloc(o->c.n_layers * per_layer + TW_PART_END, sizeof(*o->tensors));
    if (o->tensors == NULL)
        return -ENOMEM;
    add_part(o, TW_PART_EMBED, 0);
    for (uint32_t i = 0; i < o->c.n_layers; i++) {
        for (enum tw_part p = 0; p < TW_PART_LAYER_END; p++)
            add_part(o, p, i);
        if (o->c.experts[i])
            add_experts(o, i);
    }
    add_part(o, TW_PART_FINAL_NORM, 0);
    add_part(o, TW_PART_LM_HEAD, 0);
    return 0;
}

static size_t tensor_elements(const struct out_tensor *x)
{
    return TW_MAX(x->n_experts, (size_t)1) * x->n_rows * TW_MAX(x->n_cols, (size_t)1);
}

static size_t tensor_bytes(const struct out_tensor *x)
{
    return tensor_elements(x) * tw_dtype_bytes(x->type);
}

static int print_header(const struct out_model *o, unsigned i_file, tw_buf *b)
{
    static const char *type_names[] = {[TW_F32] = "F32", [TW_F16] = "F16", [TW_BF16] = "BF16"};
    size_t at = 0;
    int rc = tw_buf_puts(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < o->n && rc == 0; i++) {
        const struct out_tensor *x = &o->tensors[i];
        if (x->i_file != i_file)
            continue;
        rc =
            tw_buf_printf(b, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", x->name, type_names[x->type]);
        if (rc == 0 && x->n_experts > 0)
            rc = tw_buf_printf(b, "%zu,", x->n_experts);
        if (rc == 0)
            rc = tw_buf_printf(b, "%zu", x->n_rows);
        if (rc == 0 && x->n_cols > 0)
            rc = tw_buf_printf(b, ",%zu", x->n_cols);
        if (rc == 0)
            rc = tw_buf_printf(b, "],\"data_offsets\":[%zu,%zu]}", at, at + tensor_bytes(x));
        at += tensor_bytes(x);
    }
    if (rc == 0)
        rc = tw_buf_puts(b, "}");
    while (rc == 0 && b->len % 8 != 0)
        rc = tw_buf_puts(b, " ");
    return rc;
}

/* Values depend on seed, place in the list and row, so they are the same for any n_files. */
static void write_values(const struct out_model *o, size_t i_tensor, FILE *f)
{
    const struct out_tensor *x = &o->tensors[i_tensor];
    bool vector = x->n_cols == 0;
    bool norm = strstr(x->name, "norm.weight") != NULL;
    float scale = vector ? 0.1f : 1.0f / sqrtf((float)x->n_cols);
    tw_rng rng = tw_rng_seed(o->t.seed * 1000003 + i_tensor);
    for (size_t i = 0; i < tensor_elements(x);) {
        float v[64];
        uint8_t raw[sizeof(v)];
        size_t n = TW_MIN(tensor_elements(x) - i, TW_ARRAY_LEN(v));
        for (size_t j = 0; j < n; j++) /* uniform is enough, and ten times as fast as normal */
            v[j] = (tw_rng_f32(&rng) - 0.5f) * 3.4f * scale + (norm ? 1.0f : 0.0f);
        tw_kern_ref()->from_f32(raw, v, x->type, n);
        fwrite(raw, 1, n * tw_dtype_bytes(x->type), f);
        i += n;
    }
}

static void file_name(const struct out_model *o, unsigned i_file, char out[64])
{
    if (o->t.n_files == 1)
        snprintf(out, 64, "model.safetensors");
    else
        snprintf(out, 64, "model-%05u-of-%05u.safetensors", i_file + 1, o->t.n_files);
}

static int write_file(const struct out_model *o, const char *dir, unsigned i_file)
{
    TW_CLEANUP(tw_buf_done) tw_buf head = TW_BUF(64 << 20);
    int rc = print_header(o, i_file, &head);
    if (rc < 0)
        return rc;
    char name[64];
    file_name(o, i_file, name);
    FILE *f = open_out(dir, name);
    if (f == NULL)
        return -errno;
    for (unsigned i = 0; i < 8; i++)
        fputc((int)((uint64_t)head.len >> (8 * i) & 0xff), f);
    fwrite(head.data, 1, head.len, f);
    for (size_t i = 0; i < o->n; i++)
        if (o->tensors[i].i_file == i_file)
            write_values(o, i, f);
    return close_out(f);
}

static int write_index(const struct out_model *o, const char *dir)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 << 20);
    int rc = tw_buf_puts(&b, "{\"metadata\":{\"total_size\":0},\"weight_map\":{");
    for (size_t i = 0; i < o->n && rc == 0; i++) {
        char name[64];
        file_name(o, o->tensors[i].i_file, name);
        rc = tw_buf_printf(&b, "%s\"%s\":\"%s\"", i == 0 ? "" : ",", o->tensors[i].name, name);
    }
    if (rc == 0)
        rc = tw_buf_puts(&b, "}}");
    return rc < 0 ? rc : tw_tiny_put(dir, "model.safetensors.index.json", b.data, b.len);
}

static int write_weights(struct out_model *o, const char *dir)
{
    int rc = list_tensors(o);
    for (unsigned i = 0; i < o->t.n_files && rc == 0; i++)
        rc = write_file(o, dir, i);
    if (rc == 0 && o->t.n_files > 1)
        rc = write_index(o, dir);
    free(o->tensors);
    return rc;
}

int tw_tiny_write(const char *dir, const struct tw_tiny *opts)
{
    struct out_model o = {.t = with_defaults(opts)};
    TW_CLEANUP(tw_buf_done) tw_buf config = TW_BUF(1 << 20);
    tw_gen_config gen;
    tw_err err = {.code = 0};
    int rc = print_config(&o.t, &config);
    if (rc == 0)
        rc = tw_model_config_parse("tiny", config.data, config.len, NULL, 0, &o.c, &gen, &err);
    if (rc == 0)
        rc = tw_tiny_put(dir, "config.json", config.data, config.len);
    if (rc < 0) {
        printf("# tiny: %s\n", err.msg);
        return rc;
    }
    return write_weights(&o, dir);
}

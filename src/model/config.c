/* SPDX-License-Identifier: Apache-2.0 */
#include "model/config.h"

#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/json.h"
#include "model/experts.h"
#include "model/coded.h"
#include "model/family.h"
#include "model/rope.h"

enum {
    DIM_MAX = TW_MODEL_DIM_MAX,
    FFN_MAX = TW_MODEL_FFN_MAX,
    VOCAB_MAX = TW_MODEL_VOCAB_MAX,
    HEADS_MAX = TW_MODEL_HEADS_MAX,
    HEAD_DIM_MAX = TW_MODEL_HEAD_DIM_MAX,
    CTX_MAX = TW_MODEL_CTX_MAX,
};

static const tw_family *read_family(tw_json_obj *o)
{
    const char *type = tw_json_text(o, "model_type", "");
    const tw_family *f = tw_family_find(type);
    if (f == NULL) {
        tw_json_refuse(o, "model_type", "one of llama, mistral, qwen2, qwen3, qwen3_moe");
        return NULL;
    }
    const json_t *arch = tw_json_get(o, "architectures");
    for (size_t i = 0; i < json_array_size(arch); i++) {
        const char *name = json_string_value(json_array_get(arch, i));
        if (name != NULL && strcmp(name, f->arch) == 0)
            return f;
    }
    if (arch != NULL && !(json_is_array(arch) && json_array_size(arch) == 0))
        tw_json_refuse(o, "architectures", f->arch);
    return f;
}

/* Features that would change the result and that we do not compute. */
static void refuse_foreign(tw_json_obj *o)
{
    const char *act = tw_json_text(o, "hidden_act", "silu");
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        tw_json_refuse(o, "hidden_act", "silu");
    if (tw_json_u64(o, "pretraining_tp", 1, 0, 1 << 16) > 1)
        tw_json_refuse(o, "pretraining_tp", "1");
}

static void read_dims(tw_json_obj *o, const tw_family *f, tw_model_config *c)
{
    c->n_layers = (uint32_t)tw_json_u64_needed(o, "num_hidden_layers", 1, TW_LAYERS_MAX);
    c->d_model = (uint32_t)tw_json_u64_needed(o, "hidden_size", 1, DIM_MAX);
    c->n_heads = (uint32_t)tw_json_u64_needed(o, "num_attention_heads", 1, HEADS_MAX);
    c->ffn = (uint32_t)tw_json_u64_needed(o, "intermediate_size", 1, FFN_MAX);
    c->vocab = (uint32_t)tw_json_u64_needed(o, "vocab_size", 1, VOCAB_MAX);
    c->max_ctx = (uint32_t)tw_json_u64(o, "max_position_embeddings", f->max_ctx, 1, CTX_MAX);
    c->norm_eps = (float)tw_json_f64(o, "rms_norm_eps", 1e-6, 0, 1);
    /* a null is H, an absent key the family's own default */
    bool null_kv = json_is_null(json_object_get(o->v, "num_key_value_heads"));
    uint32_t kv = f->n_kv == 0 || null_kv ? c->n_heads : f->n_kv;
    c->n_kv_heads = (uint32_t)tw_json_u64(o, "num_key_value_heads", kv, 1, HEADS_MAX);
    if (o->rc == 0 && c->n_heads % c->n_kv_heads != 0)
        tw_json_refuse(o, "num_key_value_heads", "a divisor of num_attention_heads");
    uint32_t q = f->head_dim != 0 || c->n_heads == 0 ? f->head_dim : c->d_model / c->n_heads;
    bool by_key = tw_json_get(o, "head_dim") != NULL;
    c->head_dim = (uint32_t)tw_json_u64(o, "head_dim", q, 2, HEAD_DIM_MAX);
    if (c->head_dim < 2 || c->head_dim > HEAD_DIM_MAX || c->head_dim % 2 != 0 ||
        (!by_key && f->head_dim == 0 && o->rc == 0 && c->d_model % c->n_heads != 0))
        tw_json_refuse(o, by_key ? "head_dim" : "num_attention_heads",
                       "heads of an even size 2..512 (hidden_size / num_attention_heads)");
}

static void read_flags(tw_json_obj *o, const tw_family *f, tw_model_config *c)
{
    bool attn = f->attn_bias_key && tw_json_bool(o, "attention_bias", false);
    c->q_bias = c->k_bias = c->v_bias = attn || f->qkv_bias;
    c->o_bias = attn;
    c->mlp_bias = f->mlp_bias_key && tw_json_bool(o, "mlp_bias", false);
    c->qk_norm = f->qk_norm;
    c->tied = tw_json_bool(o, "tie_word_embeddings", false);
}

static void read_layer_types(tw_json_obj *o, const json_t *types, uint32_t window,
                             tw_model_config *c)
{
    if (!json_is_array(types) || json_array_size(types) != c->n_layers) {
        tw_json_refuse(o, "layer_types", "a list with one entry for each of num_hidden_layers");
        return;
    }
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const char *t = json_string_value(json_array_get(types, i));
        bool slides = t != NULL && strcmp(t, "sliding_attention") == 0;
        if (t == NULL || (!slides && strcmp(t, "full_attention") != 0))
            tw_json_refuse(o, "layer_types", "full_attention or sliding_attention");
        else if (slides && window == 0)
            tw_json_refuse(o, "layer_types", "full_attention only, as use_sliding_window is false");
        c->window[i] = slides ? window : 0;
    }
}

static void read_windows(tw_json_obj *o, const tw_family *f, tw_model_config *c)
{
    if (f->window_rule == TW_WINDOW_NEVER)
        return;
    /* a null is no window; an absent key is the family's default */
    bool null_window = json_is_null(json_object_get(o->v, "sliding_window"));
    uint32_t window = null_window ? 0 : f->window;
    window = (uint32_t)tw_json_u64(o, "sliding_window", window, 1, CTX_MAX);
    uint32_t first = 0;
    const json_t *types = NULL;
    if (f->window_rule != TW_WINDOW_ALL && !tw_json_bool(o, "use_sliding_window", false))
        window = 0;
    if (f->window_rule == TW_WINDOW_LAYERS) {
        first = (uint32_t)tw_json_u64(o, "max_window_layers", f->max_window_layers, 0, CTX_MAX);
        types = tw_json_get(o, "layer_types");
    }
    if (types != NULL)
        read_layer_types(o, types, window, c);
    else
        for (uint32_t i = first; i < c->n_layers; i++)
            c->window[i] = window;
}

static enum tw_dtype read_dtype(tw_json_obj *o)
{
    const char *key = tw_json_get(o, "dtype") != NULL ? "dtype" : "torch_dtype";
    const char *name = tw_json_text(o, key, "float32");
    if (strncmp(name, "torch.", 6) == 0)
        name += 6;
    if (strcmp(name, "bfloat16") == 0)
        return TW_BF16;
    if (strcmp(name, "float16") == 0)
        return TW_F16;
    if (strcmp(name, "float32") != 0)
        tw_json_refuse(o, key, "bfloat16, float16 or float32");
    return TW_F32;
}

/* Ids past the vocabulary can never be generated and are left out. */
static void add_eos(tw_json_obj *o, const json_t *v, tw_model_config *c)
{
    json_int_t id = json_integer_value(v);
    if (!json_is_integer(v) || id < 0)
        tw_json_refuse(o, "eos_token_id", "a token id or a list of them");
    else if (id < (json_int_t)c->vocab && c->n_eos == TW_EOS_MAX)
        tw_json_refuse(o, "eos_token_id", "at most 16 token ids");
    else if (id < (json_int_t)c->vocab)
        c->eos[c->n_eos++] = (uint32_t)id;
}

static void read_eos(tw_json_obj *o, tw_model_config *c)
{
    const json_t *v = tw_json_get(o, "eos_token_id");
    if (v == NULL)
        return;
    c->n_eos = 0;
    if (!json_is_array(v))
        add_eos(o, v, c);
    for (size_t i = 0; i < json_array_size(v) && o->rc == 0; i++)
        add_eos(o, json_array_get(v, i), c);
}

static void read_tokens(tw_json_obj *o, const tw_family *f, tw_model_config *c)
{
    c->bos = json_object_get(o->v, "bos_token_id") == NULL ? f->bos : -1;
    if (tw_json_get(o, "bos_token_id") != NULL)
        c->bos = (int64_t)tw_json_u64(o, "bos_token_id", 0, 0, VOCAB_MAX);
    if (json_object_get(o->v, "eos_token_id") == NULL && f->eos >= 0 && f->eos < c->vocab)
        c->eos[c->n_eos++] = (uint32_t)f->eos;
    read_eos(o, c);
}

static int parse_config(const char *name, const json_t *root, tw_model_config *c, tw_err *err)
{
    tw_json_obj o = {.file = name, .prefix = "", .v = root, .rc = 0, .err = err};
    if (!json_is_object(root))
        return tw_err_set(err, -EINVAL, "%s: want a JSON object", name);
    const tw_family *f = read_family(&o);
    if (f == NULL || o.rc != 0)
        return o.rc;
    c->family = f->name;
    refuse_foreign(&o);
    tw_coded_config_read(&o, &c->coded);
    read_dims(&o, f, c);
    if (o.rc != 0) /* the rest divides by them */
        return o.rc;
    read_flags(&o, f, c);
    read_windows(&o, f, c);
    if (f->experts)
        tw_experts_config_read(&o, c);
    tw_rope_config_read(&o, c->max_ctx, &c->rope);
    c->dtype = read_dtype(&o);
    read_tokens(&o, f, c);
    return o.rc;
}

static int parse_gen(const json_t *root, tw_model_config *c, tw_gen_config *g, tw_err *err)
{
    tw_json_obj o = {.file = "generation_config.json", .prefix = "", .v = root, .err = err};
    if (!json_is_object(root))
        return tw_err_set(err, -EINVAL, "generation_config.json: want a JSON object");
    read_eos(&o, c);
    g->do_sample = tw_json_bool(&o, "do_sample", g->do_sample);
    g->temperature = (float)tw_json_f64(&o, "temperature", 1, 0, 1e6);
    g->top_p = (float)tw_json_f64(&o, "top_p", 1, 0, 1);
    g->min_p = (float)tw_json_f64(&o, "min_p", 0, 0, 1);
    const json_t *k = tw_json_get(&o, "top_k");
    if (!(json_is_integer(k) && json_integer_value(k) == -1)) /* -1: off, as some write it */
        g->top_k = (uint32_t)tw_json_u64(&o, "top_k", 0, 0, UINT32_MAX);
    return o.rc;
}

int tw_model_config_parse(const char *name, const char *json, size_t n, const char *gen_json,
                          size_t n_gen, tw_model_config *ret, tw_gen_config *ret_gen, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *root = NULL;
    TW_CLEANUP(tw_json_freep) json_t *gen = NULL;
    int rc = tw_json_parse(name, json, n, &root, err);
    if (rc == 0 && gen_json != NULL)
        rc = tw_json_parse("generation_config.json", gen_json, n_gen, &gen, err);
    if (rc < 0)
        return rc;
    tw_model_config c = {.family = NULL};
    tw_gen_config g = {.do_sample = true, .temperature = 1, .top_p = 1, .min_p = 0, .top_k = 0};
    rc = parse_config(name, root, &c, err);
    if (rc == 0 && gen != NULL)
        rc = parse_gen(gen, &c, &g, err);
    if (rc < 0)
        return rc;
    *ret = c;
    *ret_gen = g;
    return 0;
}

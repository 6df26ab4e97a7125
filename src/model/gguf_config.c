/* SPDX-License-Identifier: Apache-2.0 */
#include "model/gguf_config.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "model/family.h"
#include "model/rope.h"

/* turned: the writers of this architecture put the two rows that rope pairs next to each other. */
static const struct arch_row {
    const char *arch, *family;
    bool turned, q_norm;
} arch_rows[] = {
    {"llama", "llama", true, false},
    {"qwen2", "qwen2", false, false},
    {"qwen3", "qwen3", false, true},
    {"qwen3moe", "qwen3_moe", false, true},
};

static const struct arch_row *find_arch(const char *arch, size_t n)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(arch_rows); i++)
        if (strlen(arch_rows[i].arch) == n && memcmp(arch_rows[i].arch, arch, n) == 0)
            return &arch_rows[i];
    return NULL;
}

bool tw_gguf_config_is_turned(const char *arch, size_t n)
{
    const struct arch_row *row = find_arch(arch, n);
    return row != NULL && row->turned;
}

int tw_gguf_config_arch(const char *name, const tw_gguf *g, tw_str *ret, tw_err *err)
{
    tw_gguf_keys k = {.file = name, .arch = "", .g = g, .err = err};
    tw_str arch = tw_gguf_keys_text(&k, "general.architecture", TW_STR(""));
    if (k.rc == 0 && find_arch(arch.p, arch.len) == NULL)
        tw_gguf_keys_refuse(&k, "general.architecture", "one of llama, qwen2, qwen3, qwen3moe");
    if (k.rc == 0)
        *ret = arch;
    return k.rc;
}

enum { SOFTMAX = 1 }; /* of expert_gating_func; 0: none said */

/* Features that would change the result and that we do not compute. */
static void refuse_foreign(tw_gguf_keys *k, const tw_family *family)
{
    static const char *const factors[] = {".logit_scale", ".residual_scale", ".embedding_scale",
                                          ".attention.scale", ".expert_weights_scale"};
    for (size_t i = 0; i < TW_ARRAY_LEN(factors); i++) {
        double f = tw_gguf_keys_f64(k, factors[i], 0, -1e30, 1e30);
        if (fabs(f) > 0 && fabs(f - 1) > 0)
            tw_gguf_keys_refuse(k, factors[i], "none");
    }
    if (!family->experts && tw_gguf_keys_u64(k, ".expert_count", 0, 0, UINT32_MAX) > 0)
        tw_gguf_keys_refuse(k, ".expert_count", "0: of those with experts qwen3moe is read");
    if (tw_gguf_keys_u64(k, ".expert_shared_count", 0, 0, UINT32_MAX) > 0)
        tw_gguf_keys_refuse(k, ".expert_shared_count", "0");
    if (tw_gguf_keys_u64(k, ".expert_gating_func", SOFTMAX, 0, UINT32_MAX) > SOFTMAX)
        tw_gguf_keys_refuse(k, ".expert_gating_func", "1 (softmax)");
    if (!tw_gguf_keys_bool(k, ".attention.causal", true))
        tw_gguf_keys_refuse(k, ".attention.causal", "true");
}

static void read_dims(tw_gguf_keys *k, tw_model_config *c)
{
    c->n_layers = (uint32_t)tw_gguf_keys_u64_needed(k, ".block_count", 1, TW_LAYERS_MAX);
    c->d_model = (uint32_t)tw_gguf_keys_u64_needed(k, ".embedding_length", 1, TW_MODEL_DIM_MAX);
    c->ffn = (uint32_t)tw_gguf_keys_u64_needed(k, ".feed_forward_length", 1, TW_MODEL_FFN_MAX);
    c->n_heads =
        (uint32_t)tw_gguf_keys_u64_needed(k, ".attention.head_count", 1, TW_MODEL_HEADS_MAX);
    c->n_kv_heads = (uint32_t)tw_gguf_keys_u64(k, ".attention.head_count_kv", c->n_heads, 1,
                                               TW_MODEL_HEADS_MAX);
    c->max_ctx = (uint32_t)tw_gguf_keys_u64_needed(k, ".context_length", 1, TW_MODEL_CTX_MAX);
    c->norm_eps = (float)tw_gguf_keys_f64_needed(k, ".attention.layer_norm_rms_epsilon", 0, 1);
    if (k->rc != 0)
        return;
    if (c->n_heads % c->n_kv_heads != 0)
        tw_gguf_keys_refuse(k, ".attention.head_count_kv", "a divisor of attention.head_count");
    const char *key = ".attention.key_length";
    bool by_key = tw_gguf_keys_get(k, key) != NULL;
    c->head_dim =
        (uint32_t)tw_gguf_keys_u64(k, key, c->d_model / c->n_heads, 2, TW_MODEL_HEAD_DIM_MAX);
    if (c->head_dim < 2 || c->head_dim > TW_MODEL_HEAD_DIM_MAX || c->head_dim % 2 != 0 ||
        (!by_key && c->d_model % c->n_heads != 0))
        tw_gguf_keys_refuse(k, by_key ? key : ".attention.head_count",
                            "heads of an even size 2..512 (embedding_length / head_count)");
    if (tw_gguf_keys_u64(k, ".attention.value_length", c->head_dim, 0, UINT32_MAX) != c->head_dim)
        tw_gguf_keys_refuse(k, ".attention.value_length", "the same as attention.key_length");
    if (tw_gguf_keys_u64(k, ".rope.dimension_count", c->head_dim, 0, UINT32_MAX) != c->head_dim)
        tw_gguf_keys_refuse(k, ".rope.dimension_count",
                            "a head's size (rope over part of a head is not supported)");
}

/* Which layers have them only the tensors know. Files of this architecture do not say whether the
 * chosen ones' weights are made to sum to 1: all do it. */
static void read_experts(tw_gguf_keys *k, const tw_gguf_facts *f, tw_model_config *c)
{
    const uint32_t n = (uint32_t)tw_gguf_keys_u64_needed(k, ".expert_count", 1, TW_EXPERTS_MAX);
    const uint32_t used =
        (uint32_t)tw_gguf_keys_u64_needed(k, ".expert_used_count", 1,
                                          TW_MIN(n, (uint32_t)TW_EXPERTS_PER_TOK_MAX));
    if (k->rc != 0)
        return;
    for (uint32_t i = 0; i < c->n_layers; i++)
        c->n_expert_layers += c->experts[i] = f->experts[i];
    if (c->n_expert_layers == 0)
        return;
    c->n_experts = n;
    c->experts_per_tok = used;
    c->expert_ffn = (uint32_t)tw_gguf_keys_u64(k, ".expert_feed_forward_length",
                                               TW_MAX(c->ffn / used, 1u), 1, TW_MODEL_FFN_MAX);
    c->norm_topk = tw_gguf_keys_bool(k, ".expert_weights_norm", true);
}

/* One window for all layers, or a list that says which layers slide. The other families' files name
 * a window that no layer uses. */
static void read_windows(tw_gguf_keys *k, tw_model_config *c)
{
    uint32_t window =
        (uint32_t)tw_gguf_keys_u64(k, ".attention.sliding_window", 0, 0, TW_MODEL_CTX_MAX);
    const char *key = ".attention.sliding_window_pattern";
    const tw_gguf_value *v = tw_gguf_keys_get(k, key);
    if (window == 0 || k->rc != 0)
        return;
    if (v != NULL && !(v->is_array && v->kind == TW_GGUF_BOOL && v->n >= c->n_layers))
        tw_gguf_keys_refuse(k, key, "a bool for each layer");
    else if (v != NULL || strcmp(c->family, "llama") == 0)
        for (uint32_t i = 0; i < c->n_layers; i++)
            c->window[i] = v == NULL || v->p[i] != 0 ? window : 0;
}

static void read_yarn(tw_gguf_keys *k, uint32_t max_ctx, tw_rope_config *r)
{
    r->kind = TW_ROPE_YARN;
    r->truncate = true;
    r->original_ctx = (uint32_t)tw_gguf_keys_u64(k, ".rope.scaling.original_context_length",
                                                 max_ctx, 1, TW_MODEL_CTX_MAX);
    double implied = (double)max_ctx / (double)r->original_ctx;
    r->factor = tw_gguf_keys_f64(k, ".rope.scaling.factor", TW_MAX(implied, 1), 1, 1e6);
    r->beta_fast = tw_gguf_keys_f64(k, ".rope.scaling.yarn_beta_fast", 32, 1e-6, 1e9);
    r->beta_slow = tw_gguf_keys_f64(k, ".rope.scaling.yarn_beta_slow", 1, 1e-6, 1e9);
    double attn = tw_gguf_keys_f64(k, ".rope.scaling.attn_factor", 1, 1e-6, 1e6);
    attn = tw_gguf_keys_f64(k, ".rope.scaling.yarn_attn_factor", attn, 1e-6, 1e6);
    r->attention_factor = tw_rope_yarn_scale(r->factor, 1) * attn;
    double ext = tw_gguf_keys_f64(k, ".rope.scaling.yarn_ext_factor", 1, -1e6, 1e6);
    if (fabs(ext - 1) > 0 && fabs(ext + 1) > 0)
        tw_gguf_keys_refuse(k, ".rope.scaling.yarn_ext_factor", "1");
}

static void read_scaling(tw_gguf_keys *k, uint32_t max_ctx, tw_rope_config *r)
{
    const char *key = ".rope.scaling.type";
    tw_str type = tw_gguf_keys_text(k, key, TW_STR("none"));
    double linear = tw_gguf_keys_f64(k, ".rope.scale_linear", 1, 1e-6, 1e6); /* of old files */
    if (k->rc != 0)
        return;
    if (tw_str_is(type, "yarn")) {
        read_yarn(k, max_ctx, r);
    } else if (tw_str_is(type, "linear")) {
        r->kind = TW_ROPE_LINEAR;
        r->factor = tw_gguf_keys_f64(k, ".rope.scaling.factor", linear, 1, 1e6);
    } else if (!tw_str_is(type, "none")) {
        tw_gguf_keys_refuse(k, key, "one of none, linear, yarn");
    } else if (linear > 1) {
        r->kind = TW_ROPE_LINEAR;
        r->factor = linear;
    }
}

/* Whether the parameters of llama3 that the field uses give just these divisors, but for the
 * writer's rounding: then they are meant, and the frequencies are those of the original. */
static bool is_llama3(const tw_model_config *c, const tw_gguf_facts *f, uint32_t original_ctx,
                      tw_rope_config *ret)
{
    tw_model_config plain = *c, scaled = *c;
    float p[TW_MODEL_HEAD_DIM_MAX / 2], s[TW_MODEL_HEAD_DIM_MAX / 2], scale;
    scaled.rope.kind = TW_ROPE_LLAMA3;
    scaled.rope.original_ctx = original_ctx;
    scaled.rope.low_freq_factor = 1;
    scaled.rope.high_freq_factor = 4;
    scaled.rope.factor = (double)f->rope_factors[f->n_rope_factors - 1];
    tw_rope_freqs(&plain, p, &scale);
    tw_rope_freqs(&scaled, s, &scale);
    for (size_t i = 0; i < f->n_rope_factors; i++)
        if (!(fabsf(p[i] / s[i] - f->rope_factors[i]) <= 1e-5f * f->rope_factors[i]))
            return false;
    *ret = scaled.rope;
    return true;
}

static void take_factors(tw_gguf_keys *k, const tw_gguf_facts *f, tw_model_config *c)
{
    if (f->rope_factors == NULL || k->rc != 0)
        return;
    bool good = f->n_rope_factors == c->head_dim / 2;
    for (size_t i = 0; i < f->n_rope_factors && good; i++)
        good = isfinite(f->rope_factors[i]) && f->rope_factors[i] > 0;
    if (!good || c->rope.kind != TW_ROPE_PLAIN) {
        k->rc = tw_err_set(k->err, -EINVAL,
                           "%s: tensor \"rope_freqs.weight\": want %u numbers above 0, and no"
                           " other scaling of rope",
                           k->file, c->head_dim / 2);
        return;
    }
    uint32_t original = (uint32_t)tw_gguf_keys_u64(k, ".rope.scaling.original_context_length", 8192,
                                                   1, TW_MODEL_CTX_MAX);
    if (is_llama3(c, f, original, &c->rope))
        return;
    c->rope.kind = TW_ROPE_FACTORS;
    memcpy(c->rope.divisors, f->rope_factors, f->n_rope_factors * sizeof(float));
}

static void add_eos(tw_model_config *c, uint64_t id)
{
    for (unsigned i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id)
            return;
    if (id < c->vocab && c->n_eos < TW_EOS_MAX)
        c->eos[c->n_eos++] = (uint32_t)id;
}

/* Files name one end of text, chat models have more: those tokens that are known by their text. */
static void add_known_eos(tw_gguf_keys *k, tw_model_config *c)
{
    static const char *const ends[] = {"<|eot_id|>",
                                       "<|eom_id|>",
                                       "<|end_of_text|>",
                                       "<|im_end|>",
                                       "<|endoftext|>",
                                       "<|end|>",
                                       "<EOT>",
                                       "_<EOT>",
                                       "<|end_of_turn|>",
                                       "<end_of_turn>",
                                       "<｜end▁of▁sentence｜>"};
    const tw_gguf_value *types = tw_gguf_keys_get(k, "tokenizer.ggml.token_type");
    tw_gguf_texts t;
    tw_str text;
    tw_gguf_texts_init(&t, tw_gguf_keys_get(k, "tokenizer.ggml.tokens"));
    for (uint64_t id = 0; tw_gguf_texts_next(&t, &text); id++) {
        uint64_t type = 3;
        if (text.len == 0 || (text.p[0] != '<' && text.p[0] != '_'))
            continue;
        if (types != NULL && id < types->n && tw_gguf_u64(types, id, &type) && type != 3 &&
            type != 4)
            continue;
        for (size_t i = 0; i < TW_ARRAY_LEN(ends); i++)
            if (tw_str_is(text, ends[i]))
                add_eos(c, id);
    }
}

static void read_tokens(tw_gguf_keys *k, tw_model_config *c)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    bool spm = tw_str_is(tw_gguf_keys_text(k, "tokenizer.ggml.model", TW_STR("")), "llama");
    c->bos = spm ? 1 : -1;
    if (tw_gguf_keys_get(k, "tokenizer.ggml.bos_token_id") != NULL)
        c->bos = (int64_t)tw_gguf_keys_u64(k, "tokenizer.ggml.bos_token_id", 0, 0, UINT32_MAX);
    if (c->bos >= (int64_t)c->vocab)
        c->bos = -1; /* some writers' "none" */
    if (spm && tw_gguf_keys_get(k, keys[0]) == NULL)
        add_eos(c, 2);
    for (size_t i = 0; i < TW_ARRAY_LEN(keys); i++)
        if (tw_gguf_keys_get(k, keys[i]) != NULL)
            add_eos(c, tw_gguf_keys_u64(k, keys[i], 0, 0, UINT32_MAX));
    add_known_eos(k, c);
}

/* Newer files carry the original's wishes for sampling. */
static void read_gen(tw_gguf_keys *k, tw_gen_config *g)
{
    g->temperature = (float)tw_gguf_keys_f64(k, "general.sampling.temp", 1, 0, 1e6);
    g->top_p = (float)tw_gguf_keys_f64(k, "general.sampling.top_p", 1, 0, 1);
    g->min_p = (float)tw_gguf_keys_f64(k, "general.sampling.min_p", 0, 0, 1);
    g->top_k = (uint32_t)tw_gguf_keys_u64(k, "general.sampling.top_k", 0, 0, UINT32_MAX);
}

int tw_gguf_config_read(const char *name, const tw_gguf *g, const tw_gguf_facts *f,
                        tw_model_config *ret, tw_gen_config *ret_gen, tw_err *err)
{
    tw_str arch_text = {.len = 0};
    int rc = tw_gguf_config_arch(name, g, &arch_text, err);
    if (rc < 0)
        return rc;
    const struct arch_row *row = find_arch(arch_text.p, arch_text.len);
    const tw_family *family = row != NULL ? tw_family_find(row->family) : NULL;
    if (family == NULL)
        return tw_err_set(err, -ENOTSUP, "%s: no such family here", name);
    tw_gguf_keys k = {.file = name, .arch = row->arch, .g = g, .err = err};
    tw_model_config c = {.family = family->name,
                         .qk_norm = row->q_norm,
                         .vocab = f->vocab,
                         .tied = !f->has_output,
                         .q_bias = f->has_q_bias,
                         .k_bias = f->has_k_bias,
                         .v_bias = f->has_v_bias,
                         .o_bias = f->has_o_bias,
                         .mlp_bias = f->has_mlp_bias,
                         .dtype = f->dtype};
    tw_gen_config gen = {.do_sample = true};
    refuse_foreign(&k, family);
    read_dims(&k, &c);
    if (family->experts)
        read_experts(&k, f, &c);
    read_windows(&k, &c);
    c.rope = (tw_rope_config){.kind = TW_ROPE_PLAIN, .factor = 1, .attention_factor = 1};
    c.rope.theta = tw_gguf_keys_f64(&k, ".rope.freq_base", 10000, 1.0001, 1e12);
    read_scaling(&k, c.max_ctx, &c.rope);
    take_factors(&k, f, &c);
    read_tokens(&k, &c);
    read_gen(&k, &gen);
    if (k.rc != 0)
        return k.rc;
    *ret = c;
    *ret_gen = gen;
    return 0;
}

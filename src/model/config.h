/* SPDX-License-Identifier: Apache-2.0 */
/* What a model is: dimensions and flags. A family is a row of a table (model/family.c) that says
 * which flags, tensor names and defaults it has; no family has code of its own in the engine.
 * Must not know ranks, files' layout or arithmetic. */
#ifndef TWINAX_MODEL_CONFIG_H
#define TWINAX_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kern/kern.h"
#include "twinax/err.h"

enum {
    TW_LAYERS_MAX = 512,
    TW_EOS_MAX = 16,
    TW_EXPERTS_MAX = 4096,
    TW_EXPERTS_PER_TOK_MAX = 64,
};

/* What any file may claim. */
enum {
    TW_MODEL_DIM_MAX = 1 << 20,
    TW_MODEL_FFN_MAX = 1 << 22,
    TW_MODEL_VOCAB_MAX = 1 << 24,
    TW_MODEL_HEADS_MAX = 4096,
    TW_MODEL_HEAD_DIM_MAX = 512,
    TW_MODEL_CTX_MAX = 1 << 30,
};

/* FACTORS: each frequency has a divisor of its own, as GGUF files say it. */
enum tw_rope_kind { TW_ROPE_PLAIN, TW_ROPE_LINEAR, TW_ROPE_LLAMA3, TW_ROPE_YARN, TW_ROPE_FACTORS };

typedef struct tw_rope_config {
    enum tw_rope_kind kind;
    double theta;
    double factor;                             /* linear, llama3, yarn */
    double low_freq_factor, high_freq_factor;  /* llama3 */
    double beta_fast, beta_slow;               /* yarn */
    double attention_factor;                   /* yarn; cos and sin are multiplied by it; else 1 */
    bool truncate;                             /* yarn: correction range rounded to whole dims */
    uint32_t original_ctx;                     /* llama3, yarn */
    float divisors[TW_MODEL_HEAD_DIM_MAX / 2]; /* factors: [Q/2] */
} tw_rope_config;

/* How a checkpoint's matrices are coded: model/coded.h. */
enum tw_coded_kind { TW_CODED_NONE, TW_CODED_FP8, TW_CODED_GPTQ, TW_CODED_AWQ };

typedef struct tw_coded_config {
    enum tw_coded_kind kind;
    uint32_t block_rows, block_cols; /* FP8: of a scale, 0: by row or tensor */
    uint32_t group;                  /* GPTQ, AWQ: columns of a scale, 0: all */
    bool zero_add;                   /* GPTQ: zeros are kept less one */
} tw_coded_config;

typedef struct tw_model_config {
    const char *family;  /* "llama", "qwen2", "qwen3", "qwen3_moe", "mistral"; static text */
    uint32_t n_layers;   /* L */
    uint32_t d_model;    /* D */
    uint32_t n_heads;    /* H */
    uint32_t n_kv_heads; /* K */
    uint32_t head_dim;   /* Q; need not be D / H */
    uint32_t ffn;        /* F, of the layers without experts */
    uint32_t vocab;      /* V */
    uint32_t max_ctx;    /* max_position_embeddings */
    float norm_eps;
    bool tied; /* lm_head is the embedding */
    bool q_bias, k_bias, v_bias, o_bias, mlp_bias;
    bool qk_norm; /* rmsnorm over each head's Q before rope */
    tw_rope_config rope;
    tw_coded_config coded;
    uint32_t window[TW_LAYERS_MAX]; /* sliding window of each layer, 0: none */
    uint32_t n_experts;             /* E; 0: no layer has any */
    uint32_t experts_per_tok;       /* how many of them compute a token */
    uint32_t expert_ffn;            /* F of one */
    bool norm_topk;                 /* the chosen ones' probabilities are made to sum to 1 */
    bool experts[TW_LAYERS_MAX];    /* layers with experts in the place of one feed-forward */
    uint32_t n_expert_layers;       /* of them */
    enum tw_dtype dtype; /* config's torch_dtype / dtype: the file's tensors say the truth */
    uint32_t eos[TW_EOS_MAX];
    unsigned n_eos;
    int64_t bos; /* -1: none */
} tw_model_config;

/* Some layer has a feed-forward without experts. */
static inline bool tw_model_has_dense(const tw_model_config *c)
{
    return c->n_expert_layers == 0 || c->n_expert_layers < c->n_layers;
}

/* generation_config.json's defaults for sampling; a field that is absent keeps the OpenAI default
 * (do_sample true, temperature and top_p 1, the others off). */
typedef struct tw_gen_config {
    bool do_sample;
    float temperature, top_p, min_p;
    uint32_t top_k; /* 0: off */
} tw_gen_config;

/* json: whole config.json; gen_json may be NULL. Unknown architectures, non-finite or impossible
 * dimensions (0, heads no multiple of KV heads, odd head_dim, ...) are errors that name the key,
 * what was found and what is wanted. name: the path for messages. */
TW_MUST_CHECK int tw_model_config_parse(const char *name, const char *json, size_t n,
                                        const char *gen_json, size_t n_gen, tw_model_config *ret,
                                        tw_gen_config *ret_gen, tw_err *err);

/* Rope's frequencies f, in f32 step by step as the reference implementation computes them: the
 * angle of position pos is (float)pos * f[i] rounded to f32; *ret_scale multiplies cos and sin. */
void tw_rope_freqs(const tw_model_config *c, float *ret_freq /* [Q/2] */, float *ret_scale);

#endif

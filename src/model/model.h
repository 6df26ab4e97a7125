/* SPDX-License-Identifier: Apache-2.0 */
/* A model on disk: a folder in Hugging Face layout, opened and checked; its weights loaded as one
 * rank's shard. Errors name file, tensor, expected and found. */
#ifndef TWINAX_MODEL_MODEL_H
#define TWINAX_MODEL_MODEL_H

#include "model/config.h"
#include "model/shard.h"
#include "model/tokenizer.h"
#include "os/team.h"

typedef struct tw_model tw_model;

/* Parses config, generation_config, safetensors headers (single file or index), checks that every
 * tensor that the family names is there with the right shape and a known dtype. The tokenizer is
 * opened by the first tw_model_tokenizer. Maps the files; touches no weight. */
TW_API TW_MUST_CHECK int tw_model_open(const char *path, tw_model **ret, tw_err *err);
TW_API void tw_model_close(tw_model *m);

const tw_model_config *tw_model_get_config(const tw_model *m);
/* From now on plain matrices are quantised as they are loaded and counted: to TW_Q8_0 or TW_Q4_0 (the
 * head to TW_Q8_0), TW_F32: not. The embedding, routers, and matrices whose sums do not begin at
 * multiples of 32 columns stay as they are. Its id stays too. */
void tw_model_set_quant(tw_model *m, enum tw_dtype to);
const tw_gen_config *tw_model_get_gen(const tw_model *m);
TW_API const char *tw_model_name(const tw_model *m); /* last part of the path */
/* SHA-256, hex, over config.json, tokenizer.json, tensor headers (name, dtype, shape), file sizes
 * and the ids that end a text (generation_config.json may set them): the identity of DESIGN 6. */
TW_API const char *tw_model_id(const tw_model *m);
/* Jinja source from chat_template.jinja or tokenizer_config.json, or NULL; with it the bos and eos
 * token texts ("" when none). */
const char *tw_model_chat_template(const tw_model *m);
const char *tw_model_bos_text(const tw_model *m);
const char *tw_model_eos_text(const tw_model *m);
/* Opened once, owned by the model. -ENOENT when the folder has none. Thread: one at
 * first. */
TW_MUST_CHECK int tw_model_tokenizer(tw_model *m, const tw_tokenizer **ret, tw_err *err);

/* Bytes of weights that one token of decode reads, as the file keeps them. */
uint64_t tw_model_count_token_bytes(const tw_model *m);

/* Lets go of the embedding's pages: every row that is read maps up to a large folio of the file,
 * which would add up to the whole table. Cost: one system call. Any thread; rows may be in use. */
void tw_model_embed_drop(const tw_model *m);

/* Text: see twinax/engine.h, which offers these to serve/ and cmd/. tw_text_free frees. */
TW_API TW_MUST_CHECK int tw_model_tokenize(tw_model *m, const char *text, size_t n,
                                           bool add_special, uint32_t **ret_ids, size_t *ret_n,
                                           tw_err *err);
TW_API TW_MUST_CHECK int tw_model_detokenize(tw_model *m, const uint32_t *ids, size_t n,
                                             bool skip_special, char **ret_text, tw_err *err);
TW_API TW_MUST_CHECK int tw_model_render_chat(tw_model *m, const char *messages_json,
                                              const char *tools_json, bool add_generation_prompt,
                                              char **ret_text, tw_err *err);
/* The same with more variables for the template: kwargs_json, an object, or NULL. -EINVAL: one has a
 * name of ours (messages, tools, ...). */
TW_API TW_MUST_CHECK int tw_model_render_chat_with(tw_model *m, const char *messages_json,
                                                   const char *tools_json, const char *kwargs_json,
                                                   bool add_generation_prompt, char **ret_text,
                                                   tw_err *err);
TW_API void tw_text_free(void *p);

/* Embedding row of token id (below V), as it lies in the file ([D] of *ret_type, a row of blocks
 * too), so at any alignment. The map stays valid while the model is open. */
const void *tw_model_embed_row(const tw_model *m, uint32_t id, enum tw_dtype *ret_type);

/* One expert of a layer, cut as a layer's own feed-forward is. */
typedef struct tw_expert {
    tw_packed gate, up; /* [n_expert_ffn][D] */
    tw_packed down;     /* [D][n_expert_ffn] */
} tw_expert;

/* One layer of a shard. Norm weights and biases are widened to f32. Absent: NULL / data NULL. */
typedef struct tw_layer {
    const float *attn_norm;                         /* [D] */
    tw_packed q, k, v;                              /* [n_heads*Q][D], [n_kv*Q][D], [n_kv*Q][D] */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* [n_heads*Q], [n_kv*Q] x 2, [D] */
    const float *q_norm, *k_norm;                   /* [Q] */
    tw_packed o;                                    /* [D][n_heads*Q] */
    const float *ffn_norm;                          /* [D] */
    tw_packed gate, up;                             /* [n_ffn][D] */
    tw_packed down;                                 /* [D][n_ffn] */
    const float *gate_bias, *up_bias, *down_bias;   /* [n_ffn] x 2, [D] */
    tw_packed router;                               /* [E][D] */
    const tw_expert *experts;                       /* [E], or NULL: gate, up and down are there */
} tw_layer;

typedef struct tw_weights {
    tw_layer *layers;        /* [L] */
    tw_expert *experts;      /* of all layers that have them */
    const float *final_norm; /* [D] */
    tw_packed lm_head;       /* [n_vocab][D] */
    size_t bytes;            /* of packed data */
    bool is_mapped;          /* from the cache of packs */
    void *impl;              /* owner of the memory */
} tw_weights;

/* done of total bytes packed; called from the loading thread. Not 0: the load ends with this code,
 * and the callback has said why. */
typedef int tw_progress_fn(void *ctx, uint64_t done_bytes, uint64_t total_bytes);

/* Packs the shard's part with the team (NULL: in the caller alone). Source pages are let go as it
 * goes, so that the peak RSS stays at the packed bytes plus a few MiB. Reads only the shard's own
 * bytes, and short gaps between them. Errors: -EDOM names tensor, row and column of a number that
 * is not finite; -ENOMEM. */
TW_MUST_CHECK int tw_weights_load(tw_model *m, const tw_shard *s, tw_team *team,
                                  tw_progress_fn *progress, void *ctx, tw_weights *ret,
                                  tw_err *err);
/* Where packed weights are kept for the next start, and looked for at this one. */
typedef struct tw_pack_opts {
    const char *folder;   /* NULL: neither */
    uint64_t limit_bytes; /* of all packs; 0: see tw_pack_make_room */
    uint64_t min_bytes;   /* smaller shards are not kept; 0: TW_PACK_MIN_BYTES */
    bool copy; /* the team copies what it finds: the pages of a map lie wherever they were
                           * written, near one node of memory and far from the others */
} tw_pack_opts;

/* tw_weights_load by way of the cache: what cannot be used or kept is loaded from the model's files,
 * without a word. */
TW_MUST_CHECK int tw_weights_load_cached(tw_model *m, const tw_shard *s, tw_team *team,
                                         tw_progress_fn *progress, void *ctx,
                                         const tw_pack_opts *packs, tw_weights *ret, tw_err *err);
/* What was loaded from the model's files may now be written to the cache, in the background: called once
 * the first token is out. Any later call, and one for weights without a cache, does nothing. */
void tw_weights_keep(tw_weights *w);
bool tw_weights_is_keeping(const tw_weights *w); /* since tw_weights_keep, and not done yet */
/* Waits until that is done, wait_ns at most; it ends unfinished then, and the next start goes on.
 * 0: it is kept; else why not, -ECANCELED: not yet. */
int tw_weights_end_keep(tw_weights *w, uint64_t wait_ns, tw_err *err);
void tw_weights_done(tw_weights *w);
/* What tw_weights_load takes for this shard; reads no weight. */
TW_MUST_CHECK int tw_weights_count_bytes(const tw_model *m, const tw_shard *s, uint64_t *ret,
                                         tw_err *err);
/* Those of them that are an expert's, of which a token reads experts_per_tok of n_experts. */
uint64_t tw_weights_count_expert_bytes(const tw_model *m, const tw_shard *s);
/* The same for the first n_layers alone, without the head. */
TW_MUST_CHECK int tw_weights_count_layer_bytes(const tw_model *m, const tw_shard *s,
                                               uint32_t n_layers, uint64_t *ret, tw_err *err);
/* For a trial: weights in the shape of the shard's first n_layers, matrices of zeros, vectors of ones,
 * routers that spread tokens over the experts. The layers' pages are written, so that reading them
 * costs what it will cost; the head's are not. */
TW_MUST_CHECK int tw_weights_blank(const tw_model *m, const tw_shard *s, uint32_t n_layers,
                                   tw_weights *ret, tw_err *err);
/* The config with its first n_layers alone. */
void tw_model_config_cut(const tw_model_config *c, uint32_t n_layers, tw_model_config *ret);

#endif

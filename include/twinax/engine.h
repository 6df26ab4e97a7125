/* SPDX-License-Identifier: Apache-2.0 */
/* The native engine: one model, one group of ranks, many requests. Rank 0 takes requests; the
 * other ranks run tw_engine_serve_rank. The engine thread alone owns sessions and KV; requests are
 * jobs that are posted to it, events come back on it. */
#ifndef TWINAX_ENGINE_H
#define TWINAX_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/coll.h"
#include "twinax/err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tw_engine tw_engine;

/* WIRE16: the two top-level halves of every exchanged sum are rounded to bf16 before the last
 * addition, at every TP, TP=1 too: other bits than EXACT, the same for every split. */
enum tw_arith { TW_ARITH_EXACT, TW_ARITH_WIRE16 };
enum tw_overlap { TW_OVERLAP_AUTO, TW_OVERLAP_OFF, TW_OVERLAP_ON };
enum tw_kv_type { TW_KV_AUTO, TW_KV_BF16, TW_KV_F32 };

/* Plain matrices quantised as they are loaded: to blocks of 8 or 4 bits (the head to 8). Part of the
 * hello. */
enum tw_quant { TW_QUANT_NONE, TW_QUANT_Q8, TW_QUANT_Q4 };

/* A model on disk, opened and checked: before the group exists, because the hello compares it.
 * (src/model defines these; its own header says more.) */
typedef struct tw_model tw_model;
TW_API TW_MUST_CHECK int tw_model_open(const char *path, tw_model **ret, tw_err *err);
TW_API void tw_model_close(tw_model *m);
TW_API const char *tw_model_name(const tw_model *m);
TW_API const char *tw_model_id(const tw_model *m); /* SHA-256, hex */

typedef struct tw_engine_opts {
    unsigned n_threads;        /* 0: all cores this process may use, shared by n_local_ranks */
    unsigned i_local, n_local; /* this rank among the ranks on this machine: shares out cores */
    uint32_t ctx;              /* positions per sequence; 0: the model's, capped at 8,192 */
    uint32_t max_seqs;         /* sequences at once; 0: 4 */
    uint32_t chunk;            /* prompt tokens per step; 0: 256 */
    enum tw_kv_type kv;        /* AUTO: BF16, F32 for F32 models */
    enum tw_arith arith;       /* part of the hello */
    enum tw_quant quant;       /* part of the hello */
    enum tw_overlap overlap;   /* of rank 0: prompts exchange while they compute; AUTO: where that
                                * is faster. The same bits. */
    /* Packed weights are kept in this folder (borrowed by tw_engine_open) for the next start, which
     * maps them; all together in so many bytes (0: a quarter of what the disk has free). NULL: not. */
    const char *pack_folder;
    uint64_t pack_limit_bytes;
    bool profile;    /* notes where time goes, for tw_engine_profile; on all ranks or none */
    const char *cpu; /* TW_CPU: "ref", "avx2"; NULL: the best */
    void (*progress)(void *ctx, uint64_t done_bytes,
                     uint64_t total_bytes); /* loading; may be NULL */
    void *progress_ctx;
} tw_engine_opts;

/* Facts that the hello must compare: protocol, arithmetic, model id, TP plan, context, dtypes,
 * sequences, chunk. Call before tw_coll_open; *ret is freed by tw_engine_facts_free. */
TW_API TW_MUST_CHECK int tw_engine_facts(tw_model *m, const tw_engine_opts *o, unsigned n_ranks,
                                         tw_coll_fact **ret, size_t *ret_n, tw_err *err);
TW_API void tw_engine_facts_free(tw_coll_fact *f, size_t n);

/* Loads this rank's shard and waits for every rank's "loaded". group: NULL for one rank. Borrows
 * model and group until tw_engine_close. Rank 0: starts the engine thread. */
TW_API TW_MUST_CHECK int tw_engine_open(tw_model *m, tw_coll *group, const tw_engine_opts *o,
                                        tw_engine **ret, tw_err *err);
/* Other ranks: works until rank 0 ends (0) or something fails. */
TW_API TW_MUST_CHECK int tw_engine_serve_rank(tw_engine *e, tw_err *err);
/* Rank 0: cancels what runs (each gets its TW_EVENT_DONE), tells the other ranks to end. Where packed
 * weights are being kept for the next start, waits for that at most 3 s (other ranks: 1 s), and not
 * once somebody has asked to stop. */
TW_API void tw_engine_close(tw_engine *e);

/* Sampling. temperature 0: greedy. Order: penalties, bias, temperature, top-k, top-p, min-p. */
typedef struct tw_sampling {
    float temperature, top_p, min_p; /* 1, 1, 0: no effect */
    uint32_t top_k;                  /* 0: off */
    uint64_t seed;
    uint32_t choice; /* index among the choices of one request: part of the noise's key */
    float presence_penalty, frequency_penalty, repetition_penalty; /* 0, 0, 1: no effect */
} tw_sampling;

TW_API void tw_sampling_defaults(const tw_model *m, tw_sampling *ret); /* the model's own wishes */

enum tw_event_kind { TW_EVENT_TOKEN, TW_EVENT_DONE };
enum tw_finish { TW_FINISH_STOP, TW_FINISH_LENGTH, TW_FINISH_CANCELLED, TW_FINISH_ERROR };

typedef struct tw_event {
    enum tw_event_kind kind;
    uint32_t id;      /* TOKEN: the token; UINT32_MAX: only text that was held back */
    const char *text; /* TOKEN: text that became certain (may be empty); valid in the call */
    size_t text_len;
    enum tw_finish finish;                    /* DONE */
    const tw_err *err;                        /* DONE with TW_FINISH_ERROR */
    uint32_t n_prompt, n_generated;           /* DONE */
    uint64_t queue_ns, prefill_ns, decode_ns; /* DONE: where the time went */
} tw_event;

/* Called on the engine thread; must not block. After DONE the request is gone. */
typedef void tw_event_fn(void *ctx, const tw_event *ev);

typedef struct tw_request {
    const uint32_t *prompt; /* [n_prompt], copied */
    size_t n_prompt;
    uint32_t max_tokens; /* 0: to the end of the context */
    tw_sampling sampling;
    bool ignore_eos;
    bool emit_special;        /* text of special tokens too */
    const char *const *stops; /* [n_stops] stop strings, copied; their text is never emitted */
    size_t n_stops;
    size_t timed_from; /* below n_prompt: prefill_ns counts the prompt from here on */
    float *ret_logits; /* [V] of the last prompt position, or NULL; written before TOKEN 1 */
    tw_event_fn *on_event;
    void *ctx;
} tw_request;

/* Any thread. -E2BIG: the prompt does not fit the context (message names both); -EINVAL. */
TW_API TW_MUST_CHECK int tw_engine_submit(tw_engine *e, const tw_request *r, uint64_t *ret_id,
                                          tw_err *err);
/* Any thread; unknown ids are ignored. A DONE event follows. */
TW_API void tw_engine_cancel(tw_engine *e, uint64_t id);
/* 0 while the engine can serve; else the error that ended it (a rank lost, ...). */
TW_API TW_MUST_CHECK int tw_engine_health(tw_engine *e, tw_err *err);

/* Text. Memory of tw_tokens and of returned strings is freed by tw_text_free. Any thread. */
TW_API TW_MUST_CHECK int tw_model_tokenize(tw_model *m, const char *text, size_t n,
                                           bool add_special, uint32_t **ret_ids, size_t *ret_n,
                                           tw_err *err);
TW_API TW_MUST_CHECK int tw_model_detokenize(tw_model *m, const uint32_t *ids, size_t n,
                                             bool skip_special, char **ret_text, tw_err *err);
/* messages_json: OpenAI's "messages" array as JSON text. tools_json may be NULL. -EINVAL when the
 * template refuses them (its own message). */
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

typedef struct tw_engine_info {
    unsigned n_ranks, n_threads;
    uint32_t ctx, max_seqs, vocab;
    uint64_t weight_bytes, kv_bytes; /* of this rank */
    uint64_t work_bytes;             /* of this rank: activations and what requests need */
    uint64_t n_steps, n_prompt_tokens, n_generated_tokens;
    unsigned n_running, n_waiting;
    bool is_mapped;  /* this rank's weights came from the cache of packs */
    bool is_keeping; /* they are being written to it now: tw_engine_close may wait for that */
    const char *cpu; /* kernel table in use */
} tw_engine_info;

TW_API void tw_engine_get_info(const tw_engine *e, tw_engine_info *ret);

typedef struct tw_engine_stats {
    tw_engine_info info;
    uint64_t n_prompt_10s, n_generated_10s; /* tokens of the last ten seconds */
    uint64_t busy_ns;                       /* inside steps, since the start */
    uint64_t rss_bytes;                     /* of this process */
    bool has_coll;                          /* coll is filled: there is a group */
    bool coll_is_old;                       /* the engine did not answer in time: an earlier one */
    tw_coll_stats coll;
} tw_engine_stats;

/* Rank 0, any thread. The collectives' counters belong to the engine thread, which answers between
 * two steps: waits for it at most wait_ns. */
TW_API void tw_engine_get_stats(tw_engine *e, uint64_t wait_ns, tw_engine_stats *ret);

/* ---- where time goes ---- */

enum tw_profile_kind {
    TW_PROFILE_PREFILL,  /* a whole step, with rows of prompts in it */
    TW_PROFILE_DECODE,   /* a whole step of decode alone */
    TW_PROFILE_EXCHANGE, /* inside a step: a collective was waited for */
    TW_PROFILE_SAMPLE,   /* inside a step: from logits to tokens, exchanges in it */
    TW_PROFILE_SERVER    /* rank 0, between two steps: text, events, the next plan */
};

typedef struct tw_profile_event {
    uint64_t begin_ns, end_ns; /* by rank 0's clock, as far as exchanges tell it */
    uint64_t skew_ns;          /* EXCHANGE: of it, waiting for a rank that came later */
    uint32_t number;           /* of the step, or of the exchange */
    uint16_t kind, n_rows;
} tw_profile_event;

/* Sums over n_steps steps; all but n_tokens in nanoseconds. */
typedef struct tw_profile_part {
    uint64_t n_steps, n_tokens;
    struct {
        uint64_t arith_ns, skew_ns, transport_ns, sample_ns, server_ns;
    } rank[TW_RANKS_MAX];
} tw_profile_part;

/* Of the last steps, as many as were kept. */
typedef struct tw_profile {
    unsigned n_ranks;
    tw_profile_part prefill, decode;
    const tw_profile_event *events[TW_RANKS_MAX]; /* each in order of their ends; the engine's */
    size_t n_events[TW_RANKS_MAX];
} tw_profile;

/* Rank 0, any thread, with opts.profile: brings the ranks' notes together as soon as nothing is being
 * generated. What ret points to is the engine's until the next call or its end. */
TW_API TW_MUST_CHECK int tw_engine_profile(tw_engine *e, tw_profile *ret, tw_err *err);

#ifdef __cplusplus
}
#endif
#endif

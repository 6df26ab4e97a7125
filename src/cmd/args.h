/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that run ranks or a model share: one struct, and tables of its options. A command
 * names the tables that it honours; an option of another table is an error there. */
#ifndef TWINAX_CMD_ARGS_H
#define TWINAX_CMD_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/config.h"
#include "cmd/option.h"
#include "twinax/engine.h"

/* What serve and up are told of the other engine. */
typedef struct tw_vllm_wishes {
    const char *venv, *container; /* where it is; NULL: found */
    unsigned executor;            /* enum tw_vllm_executor */
    unsigned wire;                /* enum tw_vllm_transport */
    float memory;                 /* share of the GPU's; 0: 0.90 */
    bool graphs, trust, print, erase, keep_cache;
    bool ray_only;                               /* Ray without a model: what comes later uses it */
    bool any_versions;                           /* nodes may differ in what is known to break */
    uint32_t stall_s;                            /* 0: by phase */
    uint32_t restart;                            /* so often after a crash */
    const char *attention, *speculative, *extra; /* NULL: none */
} tw_vllm_wishes;

enum tw_engine_kind { TW_ENGINE_AUTO, TW_ENGINE_NATIVE, TW_ENGINE_VLLM };

enum { TW_ARGS_KEY_BYTES = 512 }; /* an API key with its end */

typedef struct tw_args {
    const char *model;
    const char *prompt;           /* -p, NULL: none */
    const char *prompt_ids;       /* "1,2,3", NULL: none */
    const char *logits_path;      /* --logits */
    const char *stop;             /* --stop */
    const char *system;           /* run --system, NULL: none */
    const char *batches, *depths; /* bench -b, -d: lists */
    uint32_t max_tokens;          /* -n */
    bool has_max_tokens;
    unsigned tp; /* ranks */
    bool local, netns, ids, ignore_eos, json, verify, no_auth;
    int verbose;
    enum tw_transport transport;
    const char *rdma_device; /* "mlx5_0", "mlx5_0:1"; NULL: the one that has the address */
    tw_engine_opts engine;
    bool profile;              /* --profile, of run and bench */
    const char *profile_trace; /* --profile-trace; NULL: none */
    bool no_packs;             /* --no-pack-cache */
    uint32_t packs_gib;        /* --pack-cache-gib; 0: see tw_engine_opts */
    bool has_temp, has_top_k, has_top_p, has_min_p, has_seed;
    tw_sampling sampling;
    const char *host; /* serve */
    uint16_t port;
    const char *api_key;
    const char *cors;  /* serve --cors */
    const char *sizes; /* bench coll --sizes */
    bool peers;        /* bench coll --peers */
    const char *job;   /* of the other ranks; NULL: the engine's; else see bench_coll.h */
    const char *fault; /* tests: what to break, see group.c */
    bool has_tp;
    unsigned report_ms; /* ranks elsewhere report that often (rank_report.h); 0: they do not */
    const char *nodes_list, *agent_path;   /* --nodes, --agent-path */
    const char *model_paths[TW_NODES_MAX]; /* --model-path NODE=PATH */
    unsigned n_model_paths;
    const char *model_id;    /* of rank 0, once it is open: others find the model by it */
    bool copy;               /* the model to machines that lack it, a folder too */
    const char *model_asked; /* MODEL, where model has become a path; NULL: the same */
    enum tw_engine_kind engine_kind;
    tw_vllm_wishes vllm;
    bool push;      /* twinax-node to machines that lack it */
    tw_nodes nodes; /* of the ranks, filled by tw_far_find_nodes; n 0: none */
} tw_args;

/* Of a struct that begins with a tw_args; each ends with an empty entry. */
extern const tw_option tw_options_ranks[];    /* --tp, --local, --transport ... */
extern const tw_option tw_options_nodes[];    /* --nodes, --agent-path */
extern const tw_option tw_options_model[];    /* --ctx, --threads, --kv, --model-path ... */
extern const tw_option tw_options_sampling[]; /* --temp ... --seed */
extern const tw_option tw_options_vllm[];     /* vllm_args.c: --venv, --executor ... */
extern const tw_option tw_options_serve[];    /* --host, --port, --api-key ... */

/* The defaults. */
void tw_args_init(tw_args *a);
/* Fills *ret from argv[1..] of c: its options, and one MODEL. A usage error is in *err: exit 2. */
TW_MUST_CHECK int tw_args_parse(const tw_command *c, int argc, char **argv, tw_args *ret,
                                tw_err *err);
/* What options want of each other; part of tw_args_parse. */
TW_MUST_CHECK int tw_args_check_ranks(const tw_args *a, tw_err *err);
/* A copy of the API key, which came as name: where it came from is wiped. */
TW_MUST_CHECK int tw_args_keep_key(tw_args *a, const char *name, const char *key, tw_err *err);
/* Sampling: the model's wishes, overridden by what the command line says. */
void tw_args_sampling(const tw_args *a, const tw_model *m, tw_sampling *ret);
const char *tw_transport_name(enum tw_transport t);
TW_MUST_CHECK int tw_transport_parse(const char *name, enum tw_transport *ret, tw_err *err);

#endif

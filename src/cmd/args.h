/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, parsed once for all commands that run a model. */
#ifndef TWINAX_CMD_ARGS_H
#define TWINAX_CMD_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/config.h"
#include "twinax/engine.h"

enum { TW_EXIT_OK = 0, TW_EXIT_FAILED = 1, TW_EXIT_USAGE = 2, TW_EXIT_INTERRUPTED = 130 };

typedef struct tw_args {
    const char *model;
    const char *prompt;           /* -p, NULL: none */
    const char *prompt_ids;       /* "1,2,3", NULL: none */
    const char *logits_path;      /* --logits */
    const char *stop;             /* --stop */
    const char *batches, *depths; /* bench -b, -d: lists */
    uint32_t max_tokens;          /* -n */
    bool has_max_tokens;
    unsigned tp; /* ranks */
    bool local, netns, ids, ignore_eos, json, verify, no_auth;
    int verbose;
    enum tw_transport transport;
    const char *rdma_device; /* "mlx5_0", "mlx5_0:1"; NULL: the one that has the address */
    tw_engine_opts engine;
    bool has_temp, has_top_k, has_top_p, has_min_p, has_seed;
    tw_sampling sampling;
    const char *host; /* serve */
    uint16_t port;
    const char *api_key;
    const char *sizes; /* bench coll --sizes */
    bool peers;        /* bench coll --peers */
    const char *job;   /* of the other ranks; NULL: the engine's; else see bench_coll.h */
    const char *fault; /* tests: what to break, see group.c */
    bool has_tp;
    const char *nodes_list, *agent_path;   /* --nodes, --agent-path */
    const char *model_paths[TW_NODES_MAX]; /* --model-path NODE=PATH */
    unsigned n_model_paths;
    tw_nodes nodes; /* of the ranks, filled by tw_far_find_nodes; n 0: none */
} tw_args;

/* Fills *ret from argv[1..] of a command. A usage error is in *err: exit 2. */
TW_MUST_CHECK int tw_args_parse(int argc, char **argv, tw_args *ret, tw_err *err);
/* A copy of the API key, which came as name: where it came from is wiped. */
TW_MUST_CHECK int tw_args_keep_key(tw_args *a, const char *name, const char *key, tw_err *err);
/* Sampling: the model's wishes, overridden by what the command line says. */
void tw_args_sampling(const tw_args *a, const tw_model *m, tw_sampling *ret);
const char *tw_transport_name(enum tw_transport t);
TW_MUST_CHECK int tw_transport_parse(const char *name, enum tw_transport *ret, tw_err *err);

#endif

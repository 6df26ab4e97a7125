/* SPDX-License-Identifier: Apache-2.0 */
/* The command lines of Ray and vLLM. A command line is a JSON array of words, as it goes to an agent
 * and as it is shown: one list for both. No word of it is a secret: keys go by environment.
 * Pure. Must not know how a command is started. */
#ifndef TWINAX_VLLM_COMMAND_H
#define TWINAX_VLLM_COMMAND_H

#include "fmt/json.h"

enum tw_vllm_executor { TW_VLLM_RAY, TW_VLLM_MP };

/* Where the programs are. */
enum tw_vllm_where { TW_VLLM_ON_PATH, TW_VLLM_IN_VENV, TW_VLLM_IN_CONTAINER };

typedef struct tw_vllm_place {
    enum tw_vllm_where where;
    char name[256]; /* of the container, or the virtual environment's folder */
    char home[256]; /* container: our own program as it is seen inside */
    bool as_user;   /* container: of toolbox or distrobox, whose user and home are this machine's */
} tw_vllm_place;

typedef struct tw_vllm_serve {
    const char *model; /* NULL: Ray alone */
    const char *served_name;
    const char *host; /* where the API listens */
    uint32_t port;
    uint32_t tp;
    uint32_t ctx;      /* 0: auto */
    uint32_t max_seqs; /* 0: vLLM's own */
    double memory;     /* share of the GPU's memory; 0: 0.90 */
    bool graphs;       /* false: --enforce-eager */
    bool trust_remote_code;
    const char *attention;    /* backend; NULL: vLLM's own */
    const char *speculative;  /* its JSON; NULL: none */
    const char *const *extra; /* more words, NULL-terminated; NULL: none */
    enum tw_vllm_executor executor;
    /* of mp only */
    uint32_t n_nodes, i_node;
    const char *head_ip;
    uint32_t master_port;
} tw_vllm_serve;

/* ray start: head_ip NULL: this is the head. own_ip: this node's cluster address. */
json_t *tw_vllm_ray_start(const char *own_ip, const char *head_ip, uint32_t port);
json_t *tw_vllm_ray_status(const char *head_ip, uint32_t port);
/* All nodes of mp run it, with their i_node; of Ray only the first does. */
json_t *tw_vllm_serve_words(const tw_vllm_serve *s);
/* The same command with its first word as its place knows it. Takes words over. */
json_t *tw_vllm_own_words(const tw_vllm_place *p, json_t *words);
/* What goes before it for a container: podman, and our own program there, which holds it (hold.h). */
json_t *tw_vllm_outer_words(const tw_vllm_place *p);
/* What starts the container, where it does not run. */
json_t *tw_vllm_before_words(const tw_vllm_place *p);

/* All return NULL when out of memory. Owns: the caller. */
#endif

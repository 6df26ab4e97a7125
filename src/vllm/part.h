/* SPDX-License-Identifier: Apache-2.0 */
/* From a plan to what holders are told (hold.h): a node's command with its environment, its secrets and
 * its folder; in a container the holder inside gets it from the one outside. */
#ifndef TWINAX_VLLM_PART_H
#define TWINAX_VLLM_PART_H

#include "fmt/json.h"
#include "vllm/command.h"

/* Of this start. */
typedef struct tw_vllm_secrets {
    const char *run;                /* hex digits; names folders */
    const char *token;              /* of Ray's door */
    const char *api_key, *hf_token; /* NULL: none */
    const char *hf_home,
        *hf_cache; /* the first node's: a container has not its environment; NULL: none */
    bool erase;    /* what vLLM has compiled goes first */
} tw_vllm_secrets;

/* what: "ray", "serve" of node i of the plan, or "status" (of node 0). more: variables {"NAME":"value"}
 * over the node's own, borrowed, NULL: none. Owns: the caller; NULL: no memory. It holds secrets. */
json_t *tw_vllm_part(const json_t *plan, size_t i, const char *what, const json_t *more,
                     const tw_vllm_secrets *s);

/* Of a program that ends by itself and needs no plan; part: {"argv":[...],...} as it is where vLLM is, taken
 * over, NULL is passed on. */
json_t *tw_vllm_short_part(const tw_vllm_place *place, json_t *part);
/* Only removes what vLLM has compiled. */
json_t *tw_vllm_erase_part(const tw_vllm_place *place);

#endif

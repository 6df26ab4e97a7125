/* SPDX-License-Identifier: Apache-2.0 */
/* The environment that Ray, vLLM and RCCL (NCCL) get on one node. Every node has its own: vLLM copies
 * the first node's variables to all its workers, which breaks a node whose card has another name, so
 * those that differ are also listed for vLLM as not to be copied.
 *
 * An environment is a JSON object {"NAME":"value",...} in the order in which it is shown.
 * Pure: a link in, an environment out. Secrets are never in it. */
#ifndef TWINAX_VLLM_ENV_H
#define TWINAX_VLLM_ENV_H

#include "fmt/json.h"
#include "vllm/link.h"

/* Owns: the caller, json_decref; NULL when out of memory. */
json_t *tw_vllm_env(const tw_vllm_link *l);
/* Names of the variables that are a node's own, ["NCCL_SOCKET_IFNAME",...]: the content of
 * ray_non_carry_over_env_vars.json in vLLM's folder of settings. NULL when out of memory. */
json_t *tw_vllm_env_own_names(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What one node has of Python, Ray, vLLM, torch and the library that its GPUs talk by, read from names and
 * small files by the Python that runs vLLM there: nothing heavy is imported (0.1 s, not 10). Nodes that
 * differ in what is known to break are told before anything is started.
 * Pure: makes what a holder runs (hold.h), reads what that says. */
#ifndef TWINAX_VLLM_VERSIONS_H
#define TWINAX_VLLM_VERSIONS_H

#include "twinax/err.h"
#include "vllm/command.h"

enum { TW_VLLM_VERSION_BYTES = 48 };

/* "": it has none, or it is not known. */
typedef struct tw_vllm_versions {
    bool is_known; /* false: why says why not */
    char why[160];
    char python[TW_VLLM_VERSION_BYTES], ray[TW_VLLM_VERSION_BYTES], vllm[TW_VLLM_VERSION_BYTES];
    char torch[TW_VLLM_VERSION_BYTES], hip[TW_VLLM_VERSION_BYTES], cuda[TW_VLLM_VERSION_BYTES];
    char rccl[TW_VLLM_VERSION_BYTES], nccl[TW_VLLM_VERSION_BYTES];
} tw_vllm_versions;

/* A holder's part: it prints the versions and ends. Owns: the caller; NULL: no memory. */
json_t *tw_vllm_versions_part(const tw_vllm_place *place);
/* p[n]: all that it printed. What is no such answer is not known. */
void tw_vllm_versions_parse(const char *p, size_t n, tw_vllm_versions *ret);
/* {"node":"box2","python":"3.11.7",...}; without what is "". NULL: no memory. */
json_t *tw_vllm_versions_print(const char *node, const tw_vllm_versions *v);

/* names[n], v[n]; the first node is what the others are measured by. -ELIBBAD names the first
 * difference that breaks: node, found, wanted, mend. What is not known differs from nothing. */
TW_MUST_CHECK int tw_vllm_versions_agree(const char *const *names, const tw_vllm_versions *v,
                                         size_t n, const tw_vllm_place *place, tw_err *err);
/* Ray 2.52 and later refuse who has no token. What is not known is taken for new. */
bool tw_vllm_versions_ray_has_door(const tw_vllm_versions *v);

#endif

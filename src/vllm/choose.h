/* SPDX-License-Identifier: Apache-2.0 */
/* `--engine auto`: vLLM where every node has a GPU that ROCm drives and a place that has vLLM, else the
 * native engine. Pure: what is known of the nodes in, a choice and its reason out. */
#ifndef TWINAX_VLLM_CHOOSE_H
#define TWINAX_VLLM_CHOOSE_H

#include "host/facts.h"

typedef struct tw_vllm_candidate {
    const char *name;
    const tw_facts *facts; /* NULL: not asked, because an earlier one settles it */
    bool has_vllm;
    const char *lacks; /* where it has no vLLM: what was looked for, "a container vllm" */
} tw_vllm_candidate;

/* The container that `twinax toolbox refresh` makes, or the guide's older name of it; NULL: none. */
const char *tw_vllm_find_box(const tw_facts *f);
/* Only what was asked for: by name. */
bool tw_vllm_has_box(const tw_facts *f, const char *name);
/* True: vLLM. why: "every node has a ROCm GPU (gfx1151) and vLLM", or what which node lacks; the native
 * engine beside a GPU says that it does not use it. */
bool tw_vllm_choose(const tw_vllm_candidate *v, size_t n, char *why, size_t why_bytes);

#endif

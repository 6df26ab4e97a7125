/* SPDX-License-Identifier: Apache-2.0 */
/* Part of cmd/vllm: short held programs on all nodes before anything is started there: what versions they
 * have; the removal of what vLLM has compiled, where Ray is up already. */
#ifndef TWINAX_CMD_VLLM_ASK_H
#define TWINAX_CMD_VLLM_ASK_H

#include "cmd/vllm_run.h"

/* Fills r->versions, all nodes at a time, 20 s at most. What differs and is known to break is an error,
 * with --any-versions a warning; so is a Ray without a token's door where others could knock. */
TW_MUST_CHECK int tw_vllm_check_versions(tw_vllm_run *r, tw_err *err);
/* On all nodes; a start of Ray does it by itself. */
TW_MUST_CHECK int tw_vllm_erase(tw_vllm_run *r, tw_err *err);

/* One node's answer, whatever it is: false: why says why there is none. part: taken over. far: NULL, or
 * of the node that is asked. */
bool tw_vllm_ask_node(tw_remote *far, json_t *part, tw_buf *ret, char *why, size_t why_bytes);

#endif

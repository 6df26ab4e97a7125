/* SPDX-License-Identifier: Apache-2.0 */
/* Part of cmd/vllm: a Ray that was started without a model (`up --engine vllm --ray-only`) and what is
 * served on it later. Its token lies in a file of the private runtime folder while it is up. */
#ifndef TWINAX_CMD_VLLM_RAY_H
#define TWINAX_CMD_VLLM_RAY_H

#include "cmd/vllm_run.h"

/* Looks for one, unless r is it or needs none; waits while it starts. What r->args leaves open (place,
 * wire) is as that Ray has it from then on: a is r->args. */
TW_MUST_CHECK int tw_vllm_ray_find(tw_vllm_run *r, tw_args *a, tw_err *err);
/* Once r has its plan: it must be what that Ray was started as. Then r has its token and count. */
TW_MUST_CHECK int tw_vllm_ray_join(tw_vllm_run *r, tw_err *err);
/* r's own Ray for those who come later; withdraw also where nothing was. */
TW_MUST_CHECK int tw_vllm_ray_offer(tw_vllm_run *r, tw_err *err);
void tw_vllm_ray_withdraw(tw_vllm_run *r);
/* The Ray that r uses, and has not started, has gone. */
bool tw_vllm_ray_is_lost(const tw_vllm_run *r, char *why, size_t why_bytes);
void tw_vllm_ray_done(tw_vllm_run *r);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* `--engine auto`: asks the nodes what vllm/choose.h wants to know. A machine without /dev/kfd settles it
 * in one look; only a head that has a GPU and vLLM asks the other nodes. */
#ifndef TWINAX_CMD_VLLM_AUTO_H
#define TWINAX_CMD_VLLM_AUTO_H

#include "cmd/args.h"

/* Says on stderr which and why. */
TW_MUST_CHECK int tw_vllm_auto(const tw_args *a, bool *ret_vllm, tw_err *err);
/* A command that has the native engine alone: says so where a GPU is not used by it. */
void tw_vllm_say_unused(const tw_args *a, const char *command);

#endif

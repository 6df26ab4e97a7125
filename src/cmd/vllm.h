/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax serve --engine vllm`: real vLLM, on a real Ray cluster or by vLLM's own executor. */
#ifndef TWINAX_CMD_VLLM_H
#define TWINAX_CMD_VLLM_H

#include "cmd/serve_status.h"

/* By --engine and twinax.conf; auto: where every node has a ROCm GPU and vLLM; the choice is said then. */
TW_MUST_CHECK int tw_vllm_is_wanted(const tw_args *a, bool *ret, tw_err *err);
/* status: NULL is allowed. Until ctrl-C, or until one of its programs ends. */
TW_MUST_CHECK int tw_cmd_serve_vllm(tw_args *a, tw_serve_status *status, tw_err *err);

#endif

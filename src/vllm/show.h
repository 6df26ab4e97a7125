/* SPDX-License-Identifier: Apache-2.0 */
/* A node's part as its owner would type it: exports, then commands, in a shell's words. */
#ifndef TWINAX_VLLM_SHOW_H
#define TWINAX_VLLM_SHOW_H

#include "base/buf.h"
#include "fmt/json.h"

/* env: {"NAME":"value"}; words: a command line. */
TW_MUST_CHECK int tw_vllm_show_env(json_t *env, tw_buf *out);
TW_MUST_CHECK int tw_vllm_show_words(const json_t *words, tw_buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* How the tokenizers in GGUF files cut a text before they merge: the names that
 * tokenizer.ggml.pre has, as the stages of a tokenizer.json. */
#ifndef TWINAX_MODEL_GGUF_PRE_H
#define TWINAX_MODEL_GGUF_PRE_H

#include "fmt/tokenizer_json.h"

/* Fills the stages of a byte-level BPE, ignore_merges, and whether bos is added where the file does
 * not say. False: no such name here. */
bool tw_gguf_pre_fill(tw_str name, tw_tokenizer_json *j, bool *ret_add_bos);
const char *tw_gguf_pre_names(void); /* "llama-bpe, qwen2, ..." */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a GGUF header says of its model: dimensions, flags, rope, ids that end a text. Must not know
 * where files lie. */
#ifndef TWINAX_MODEL_GGUF_CONFIG_H
#define TWINAX_MODEL_GGUF_CONFIG_H

#include "fmt/gguf_keys.h"
#include "model/config.h"

/* What only the tensors know; of all files of a split model together. */
typedef struct tw_gguf_facts {
    uint32_t vocab; /* rows of token_embd.weight */
    bool has_output, has_q_bias, has_k_bias, has_v_bias, has_o_bias, has_mlp_bias;
    bool experts[TW_LAYERS_MAX]; /* layers that have a router */
    enum tw_dtype dtype;         /* of the first layer's matrices; BF16 for blocks */
    const float *rope_factors;   /* [n_rope_factors] of rope_freqs.weight; NULL: none */
    size_t n_rope_factors;
} tw_gguf_facts;

/* g: the header that has the metadata (of a split model the first file's). Unknown architectures
 * and impossible values are errors that name the key, what was found and what is wanted. */
TW_MUST_CHECK int tw_gguf_config_read(const char *name, const tw_gguf *g, const tw_gguf_facts *f,
                                      tw_model_config *ret, tw_gen_config *ret_gen, tw_err *err);
/* Whether rows of q and k lie as rope's pairs next to each other ([2i], [2i + 1]), not as halves. */
bool tw_gguf_config_is_turned(const char *arch, size_t n);
/* general.architecture. */
TW_MUST_CHECK int tw_gguf_config_arch(const char *name, const tw_gguf *g, tw_str *ret, tw_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of a model one rank of R owns (DESIGN 5.2): 8/R neighbouring segments of every summed
 * dimension, the KV heads that its query heads need, 8/R segments of the vocabulary. */
#ifndef TWINAX_MODEL_SHARD_H
#define TWINAX_MODEL_SHARD_H

#include "model/config.h"

typedef struct tw_shard {
    unsigned rank, n_ranks, n_seg; /* n_seg = 8 / n_ranks */
    uint32_t head0, n_heads;       /* query heads [head0, head0 + n_heads) */
    /* KV heads that those need. A group may be cut between ranks, so local query head h (global
     * g = head0 + h) reads local KV head g / (H/K) - kv0. */
    uint32_t kv0, n_kv;
    uint32_t ffn0, n_ffn; /* rows of gate and up, columns of down */
    uint32_t expert_ffn0; /* the same of each expert: all ranks have all experts */
    uint32_t n_expert_ffn;
    uint32_t vocab0, n_vocab;        /* rows of lm_head */
    uint32_t seg_d[TW_SEGMENTS + 1]; /* borders over D, always all 8 (column-parallel products) */
    uint32_t seg_o[TW_SEGMENTS + 1]; /* local borders over n_heads * Q, n_seg + 1 entries */
    uint32_t seg_f[TW_SEGMENTS + 1]; /* local borders over n_ffn, n_seg + 1 entries */
    uint32_t seg_e[TW_SEGMENTS + 1]; /* local borders over n_expert_ffn, n_seg + 1 entries */
    uint32_t seg_v[TW_SEGMENTS + 1]; /* GLOBAL borders over V in ids, all 9 */
} tw_shard;

/* Allowed when R is 1, 2, 4 or 8, no rank's heads or ffn or vocabulary are empty. -EINVAL names
 * what is empty and which R are allowed. */
TW_MUST_CHECK int tw_shard_init(const tw_model_config *c, unsigned n_ranks, unsigned rank,
                                tw_shard *ret, tw_err *err);
/* Bit r set: R = 1 << r is allowed. */
unsigned tw_shard_allowed(const tw_model_config *c);

#endif

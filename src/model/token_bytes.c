/* SPDX-License-Identifier: Apache-2.0 */
/* What a token must read of a model, as its file keeps it: how the weights lie in memory may be
 * larger, and a share of the machine's bandwidth must not look better for it. */
#include "model/model_state.h"

static uint64_t part_bytes(const tw_model *m, enum tw_part part, uint32_t i_layer)
{
    const tw_tensor *t = tw_model_tensor(m, part, i_layer);
    return t->name != NULL ? (uint64_t)t->n_rows * t->n_cols * tw_dtype_bytes(t->type) : 0;
}

uint64_t tw_model_count_token_bytes(const tw_model *m)
{
    uint64_t sum = part_bytes(m, TW_PART_FINAL_NORM, 0) +
                   part_bytes(m, m->config.tied ? TW_PART_EMBED : TW_PART_LM_HEAD, 0);
    for (uint32_t i = 0; i < m->config.n_layers; i++)
        for (enum tw_part part = 0; part < TW_PART_LAYER_END; part++)
            sum += part_bytes(m, part, i);
    return sum;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a token must read of a model, as its file keeps it (scales of coded matrices apart): how the
 * weights lie in memory may be larger, and a share of the machine's bandwidth must not look better
 * for it. */
#include "base/scope.h"
#include "model/weights_inside.h"

static uint64_t tensor_bytes(const tw_tensor *t)
{
    return t->name != NULL ? (uint64_t)t->n_rows * tw_tensor_row_bytes(t) : 0;
}

/* Of all experts of a layer, as many as compute a token. */
static uint64_t expert_bytes(const tw_model *m, uint32_t i_layer)
{
    const tw_model_config *c = &m->config;
    uint64_t sum = 0;
    for (uint32_t e = 0; c->experts[i_layer] && e < c->n_experts; e++)
        for (enum tw_expert_part part = 0; part < TW_EXPERT_PARTS; part++)
            sum += tensor_bytes(tw_model_expert(m, part, i_layer, e));
    return sum / TW_MAX(c->n_experts, 1u) * c->experts_per_tok;
}

uint64_t tw_model_count_token_bytes(const tw_model *m)
{
    const enum tw_part head = m->config.tied ? TW_PART_EMBED : TW_PART_LM_HEAD;
    uint64_t sum = tensor_bytes(tw_model_tensor(m, TW_PART_FINAL_NORM, 0)) +
                   tensor_bytes(tw_model_tensor(m, head, 0));
    for (uint32_t i = 0; i < m->config.n_layers; i++) {
        for (enum tw_part part = 0; part < TW_PART_LAYER_END; part++)
            sum += tensor_bytes(tw_model_tensor(m, part, i));
        sum += expert_bytes(m, i);
    }
    return sum;
}

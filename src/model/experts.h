/* SPDX-License-Identifier: Apache-2.0 */
/* Layers with experts: a router, and in the place of one feed-forward a small one an expert, of
 * which each token takes a few. What config.json says of them, what they are called in files.
 * Must not know how they are chosen: engine/moe.h. */
#ifndef TWINAX_MODEL_EXPERTS_H
#define TWINAX_MODEL_EXPERTS_H

#include "fmt/json.h"
#include "model/family.h"

/* What a layer has of each expert. */
enum tw_expert_part { TW_EXPERT_GATE, TW_EXPERT_UP, TW_EXPERT_DOWN, TW_EXPERT_PARTS };

/* layer_name: after "model.layers.N.mlp.experts.E." */
const tw_part_spec *tw_expert_part_get(enum tw_expert_part part);
/* The tensor's name into out. */
void tw_expert_part_name(enum tw_expert_part part, uint32_t i_layer, uint32_t i_expert, char *out,
                         size_t out_bytes);
/* Two tensors that hold all experts of a layer. */
#define TW_EXPERTS_GATE_UP "gate_up_proj"
#define TW_EXPERTS_DOWN    "down_proj"
void tw_expert_joined_name(const char *which, uint32_t i_layer, char *out, size_t out_bytes);
/* tail: what follows "model.layers.N." in a tensor's name; whether it is of one of E experts, or of
 * all. */
bool tw_expert_part_is(const tw_model_config *c, const char *tail);

/* num_experts, num_experts_per_tok, moe_intermediate_size, norm_topk_prob, decoder_sparse_step,
 * mlp_only_layers. */
void tw_experts_config_read(tw_json_obj *o, tw_model_config *c);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "model/family.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"

static const tw_family families[] = {
    {.name = "llama",
     .arch = "LlamaForCausalLM",
     .attn_bias_key = true,
     .mlp_bias_key = true,
     .max_ctx = 2048,
     .window_rule = TW_WINDOW_NEVER,
     .bos = 1,
     .eos = 2},
    {.name = "mistral",
     .arch = "MistralForCausalLM",
     .n_kv = 8,
     .max_ctx = 4096 * 32,
     .window_rule = TW_WINDOW_ALL,
     .window = 4096,
     .bos = 1,
     .eos = 2},
    {.name = "qwen2",
     .arch = "Qwen2ForCausalLM",
     .qkv_bias = true,
     .n_kv = 32,
     .max_ctx = 32768,
     .window_rule = TW_WINDOW_LAYERS,
     .window = 4096,
     .max_window_layers = 28,
     .bos = -1,
     .eos = -1},
    {.name = "qwen3",
     .arch = "Qwen3ForCausalLM",
     .attn_bias_key = true,
     .qk_norm = true,
     .head_dim = 128,
     .n_kv = 32,
     .max_ctx = 32768,
     .window_rule = TW_WINDOW_LAYERS,
     .window = 4096,
     .max_window_layers = 28,
     .bos = -1,
     .eos = -1},
    {.name = "qwen3_moe",
     .arch = "Qwen3MoeForCausalLM",
     .attn_bias_key = true,
     .qk_norm = true,
     .experts = true,
     .n_kv = 4,
     .max_ctx = 32768,
     .window_rule = TW_WINDOW_IF_USED,
     .window = 4096,
     .bos = -1,
     .eos = -1},
};

static const tw_part_spec parts[TW_PART_END] = {
    [TW_PART_ATTN_NORM] = {"input_layernorm.weight", NULL, TW_AXIS_D, TW_AXIS_ONE},
    [TW_PART_Q] = {"self_attn.q_proj.weight", NULL, TW_AXIS_HQ, TW_AXIS_D},
    [TW_PART_K] = {"self_attn.k_proj.weight", NULL, TW_AXIS_KQ, TW_AXIS_D},
    [TW_PART_V] = {"self_attn.v_proj.weight", NULL, TW_AXIS_KQ, TW_AXIS_D},
    [TW_PART_Q_BIAS] = {"self_attn.q_proj.bias", NULL, TW_AXIS_HQ, TW_AXIS_ONE},
    [TW_PART_K_BIAS] = {"self_attn.k_proj.bias", NULL, TW_AXIS_KQ, TW_AXIS_ONE},
    [TW_PART_V_BIAS] = {"self_attn.v_proj.bias", NULL, TW_AXIS_KQ, TW_AXIS_ONE},
    [TW_PART_Q_NORM] = {"self_attn.q_norm.weight", NULL, TW_AXIS_Q, TW_AXIS_ONE},
    [TW_PART_K_NORM] = {"self_attn.k_norm.weight", NULL, TW_AXIS_Q, TW_AXIS_ONE},
    [TW_PART_O] = {"self_attn.o_proj.weight", NULL, TW_AXIS_D, TW_AXIS_HQ},
    [TW_PART_O_BIAS] = {"self_attn.o_proj.bias", NULL, TW_AXIS_D, TW_AXIS_ONE},
    [TW_PART_FFN_NORM] = {"post_attention_layernorm.weight", NULL, TW_AXIS_D, TW_AXIS_ONE},
    [TW_PART_GATE] = {"mlp.gate_proj.weight", NULL, TW_AXIS_F, TW_AXIS_D},
    [TW_PART_UP] = {"mlp.up_proj.weight", NULL, TW_AXIS_F, TW_AXIS_D},
    [TW_PART_GATE_BIAS] = {"mlp.gate_proj.bias", NULL, TW_AXIS_F, TW_AXIS_ONE},
    [TW_PART_UP_BIAS] = {"mlp.up_proj.bias", NULL, TW_AXIS_F, TW_AXIS_ONE},
    [TW_PART_DOWN] = {"mlp.down_proj.weight", NULL, TW_AXIS_D, TW_AXIS_F},
    [TW_PART_DOWN_BIAS] = {"mlp.down_proj.bias", NULL, TW_AXIS_D, TW_AXIS_ONE},
    [TW_PART_ROUTER] = {"mlp.gate.weight", NULL, TW_AXIS_E, TW_AXIS_D},
    [TW_PART_EMBED] = {NULL, "model.embed_tokens.weight", TW_AXIS_V, TW_AXIS_D},
    [TW_PART_FINAL_NORM] = {NULL, "model.norm.weight", TW_AXIS_D, TW_AXIS_ONE},
    [TW_PART_LM_HEAD] = {NULL, "lm_head.weight", TW_AXIS_V, TW_AXIS_D},
};

const tw_family *tw_family_find(const char *model_type)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(families); i++)
        if (strcmp(families[i].name, model_type) == 0)
            return &families[i];
    return NULL;
}

const char *tw_family_names(void)
{
    return "llama, mistral, qwen2, qwen3, qwen3_moe";
}

const tw_part_spec *tw_part_get(enum tw_part part)
{
    return &parts[part];
}

bool tw_part_wanted(const tw_model_config *c, enum tw_part part)
{
    switch ((int)part) {
    case TW_PART_Q_BIAS:
        return c->q_bias;
    case TW_PART_K_BIAS:
        return c->k_bias;
    case TW_PART_V_BIAS:
        return c->v_bias;
    case TW_PART_O_BIAS:
        return c->o_bias;
    case TW_PART_Q_NORM:
    case TW_PART_K_NORM:
        return c->qk_norm;
    case TW_PART_GATE_BIAS:
    case TW_PART_UP_BIAS:
    case TW_PART_DOWN_BIAS:
        return c->mlp_bias;
    case TW_PART_GATE:
    case TW_PART_UP:
    case TW_PART_DOWN:
        return tw_model_has_dense(c);
    case TW_PART_ROUTER:
        return c->n_expert_layers > 0;
    case TW_PART_LM_HEAD:
        return !c->tied;
    default:
        return true;
    }
}

static bool is_feed_forward(enum tw_part part)
{
    return part == TW_PART_GATE || part == TW_PART_UP || part == TW_PART_DOWN ||
           part == TW_PART_GATE_BIAS || part == TW_PART_UP_BIAS || part == TW_PART_DOWN_BIAS;
}

bool tw_part_in_layer(const tw_model_config *c, enum tw_part part, uint32_t i_layer)
{
    if (part == TW_PART_ROUTER)
        return c->experts[i_layer];
    return tw_part_wanted(c, part) && !(is_feed_forward(part) && c->experts[i_layer]);
}

void tw_part_name(enum tw_part part, uint32_t i_layer, char *out, size_t out_bytes)
{
    if (parts[part].layer_name == NULL)
        snprintf(out, out_bytes, "%s", parts[part].name);
    else
        snprintf(out, out_bytes, "model.layers.%u.%s", i_layer, parts[part].layer_name);
}

const char *tw_axis_key(enum tw_axis axis)
{
    static const char *const keys[] = {[TW_AXIS_ONE] = "",
                                       [TW_AXIS_D] = "hidden_size",
                                       [TW_AXIS_HQ] = "num_attention_heads",
                                       [TW_AXIS_KQ] = "num_key_value_heads",
                                       [TW_AXIS_Q] = "head_dim",
                                       [TW_AXIS_F] = "intermediate_size",
                                       [TW_AXIS_E] = "num_experts",
                                       [TW_AXIS_EF] = "moe_intermediate_size",
                                       [TW_AXIS_V] = "vocab_size"};
    return keys[axis];
}

uint64_t tw_axis_size(const tw_model_config *c, enum tw_axis axis)
{
    switch (axis) {
    case TW_AXIS_D:
        return c->d_model;
    case TW_AXIS_HQ:
        return (uint64_t)c->n_heads * c->head_dim;
    case TW_AXIS_KQ:
        return (uint64_t)c->n_kv_heads * c->head_dim;
    case TW_AXIS_Q:
        return c->head_dim;
    case TW_AXIS_F:
        return c->ffn;
    case TW_AXIS_E:
        return c->n_experts;
    case TW_AXIS_EF:
        return c->expert_ffn;
    case TW_AXIS_V:
        return c->vocab;
    case TW_AXIS_ONE:
        break;
    }
    return 1;
}

void tw_axis_cut(const tw_model_config *c, const tw_shard *s, enum tw_axis axis, size_t *ret_from,
                 size_t *ret_n)
{
    *ret_from = 0;
    *ret_n = (size_t)tw_axis_size(c, axis);
    if (axis == TW_AXIS_HQ) {
        *ret_from = (size_t)s->head0 * c->head_dim;
        *ret_n = (size_t)s->n_heads * c->head_dim;
    } else if (axis == TW_AXIS_KQ) {
        *ret_from = (size_t)s->kv0 * c->head_dim;
        *ret_n = (size_t)s->n_kv * c->head_dim;
    } else if (axis == TW_AXIS_F) {
        *ret_from = s->ffn0;
        *ret_n = s->n_ffn;
    } else if (axis == TW_AXIS_EF) {
        *ret_from = s->expert_ffn0;
        *ret_n = s->n_expert_ffn;
    } else if (axis == TW_AXIS_V) {
        *ret_from = s->vocab0;
        *ret_n = s->n_vocab;
    }
}

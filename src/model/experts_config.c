/* SPDX-License-Identifier: Apache-2.0 */
#include "base/scope.h"
#include "model/experts.h"

enum {
    EXPERTS_DEFAULT = 128, /* of Qwen3-MoE, the one family that has them */
    PER_TOK_DEFAULT = 8,
    FFN_DEFAULT = 768,
    FFN_MAX = 1 << 22,
    STEP_MAX = 1 << 20,
};

/* The layers that mlp_only_layers names have one feed-forward. */
static void leave_out(tw_json_obj *o, tw_model_config *c)
{
    const json_t *list = tw_json_get(o, "mlp_only_layers");
    if (list != NULL && !json_is_array(list))
        tw_json_refuse(o, "mlp_only_layers", "a list of layers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        const json_int_t at = json_integer_value(v);
        if (!json_is_integer(v) || at < 0)
            tw_json_refuse(o, "mlp_only_layers", "a list of layers, counted from 0");
        else if (at < (json_int_t)c->n_layers) /* the reference ignores others, too */
            c->experts[at] = false;
    }
}

void tw_experts_config_read(tw_json_obj *o, tw_model_config *c)
{
    const char *key =
        tw_json_get(o, "num_experts") == NULL && tw_json_get(o, "num_local_experts") != NULL
            ? "num_local_experts"
            : "num_experts";
    const uint32_t n = (uint32_t)tw_json_u64(o, key, EXPERTS_DEFAULT, 0, TW_EXPERTS_MAX);
    const uint32_t step = (uint32_t)tw_json_u64(o, "decoder_sparse_step", 1, 1, STEP_MAX);
    for (uint32_t i = 0; i < c->n_layers && o->rc == 0; i++)
        c->experts[i] = n > 0 && (i + 1) % step == 0;
    leave_out(o, c);
    for (uint32_t i = 0; i < c->n_layers; i++)
        c->n_expert_layers += c->experts[i];
    if (c->n_expert_layers == 0)
        return;
    c->n_experts = n;
    c->experts_per_tok = (uint32_t)tw_json_u64(o, "num_experts_per_tok", PER_TOK_DEFAULT, 1,
                                               TW_MIN(n, (uint32_t)TW_EXPERTS_PER_TOK_MAX));
    c->expert_ffn = (uint32_t)tw_json_u64(o, "moe_intermediate_size", FFN_DEFAULT, 1, FFN_MAX);
    c->norm_topk = tw_json_bool(o, "norm_topk_prob", false);
}

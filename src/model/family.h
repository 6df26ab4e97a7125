/* SPDX-License-Identifier: Apache-2.0 */
/* The table of architecture families: defaults, flags, and the name, shape and cut of each tensor.
 * Must not know files or arithmetic. */
#ifndef TWINAX_MODEL_FAMILY_H
#define TWINAX_MODEL_FAMILY_H

#include "model/config.h"
#include "model/shard.h"

/* Which layers slide: none, all when the key sliding_window is there, all when use_sliding_window
 * says so too, or those that use_sliding_window, max_window_layers and layer_types say. */
enum tw_window_rule { TW_WINDOW_NEVER, TW_WINDOW_ALL, TW_WINDOW_IF_USED, TW_WINDOW_LAYERS };

typedef struct tw_family {
    const char *name;   /* model_type */
    const char *arch;   /* the entry that "architectures" must hold, when there */
    bool qkv_bias;      /* always there */
    bool attn_bias_key; /* attention_bias sets q, k, v and o bias */
    bool mlp_bias_key;
    bool qk_norm;
    bool experts;      /* num_experts and its keys say which layers have them */
    uint32_t head_dim; /* default; 0: D / H */
    uint32_t n_kv;     /* default; 0: H */
    uint32_t max_ctx;
    enum tw_window_rule window_rule;
    uint32_t window;            /* default of sliding_window */
    uint32_t max_window_layers; /* default */
    int64_t bos, eos;           /* defaults when the key is absent; -1: none */
} tw_family;

const tw_family *tw_family_find(const char *model_type); /* NULL: unknown */
const char *tw_family_names(void);                       /* "llama, mistral, ..." */

/* An axis of a tensor, as a count of the model's dimensions. */
enum tw_axis {
    TW_AXIS_ONE,
    TW_AXIS_D,
    TW_AXIS_HQ,
    TW_AXIS_KQ,
    TW_AXIS_Q,
    TW_AXIS_F,
    TW_AXIS_E,
    TW_AXIS_EF, /* F of one expert */
    TW_AXIS_V,
};

/* The order of loading, and of the per-layer table. What a layer has of each expert is apart:
 * model/experts.h. */
enum tw_part {
    TW_PART_ATTN_NORM,
    TW_PART_Q,
    TW_PART_K,
    TW_PART_V,
    TW_PART_Q_BIAS,
    TW_PART_K_BIAS,
    TW_PART_V_BIAS,
    TW_PART_Q_NORM,
    TW_PART_K_NORM,
    TW_PART_O,
    TW_PART_O_BIAS,
    TW_PART_FFN_NORM,
    TW_PART_GATE,
    TW_PART_UP,
    TW_PART_GATE_BIAS,
    TW_PART_UP_BIAS,
    TW_PART_DOWN,
    TW_PART_DOWN_BIAS,
    TW_PART_ROUTER,
    TW_PART_LAYER_END, /* from here on one for the whole model */
    TW_PART_EMBED = TW_PART_LAYER_END,
    TW_PART_FINAL_NORM,
    TW_PART_LM_HEAD,
    TW_PART_END,
};

typedef struct tw_part_spec {
    const char *layer_name; /* after "model.layers.N."; NULL: name is the whole */
    const char *name;
    enum tw_axis rows, cols; /* cols ONE: a vector */
} tw_part_spec;

const tw_part_spec *tw_part_get(enum tw_part part);
/* Whether this model has the part at all. */
bool tw_part_wanted(const tw_model_config *c, enum tw_part part);
/* Whether this layer has it: layers with experts have no feed-forward of their own. */
bool tw_part_in_layer(const tw_model_config *c, enum tw_part part, uint32_t i_layer);
/* The tensor's name into out. */
void tw_part_name(enum tw_part part, uint32_t i_layer, char *out, size_t out_bytes);

const char *tw_axis_key(enum tw_axis axis); /* of config.json; "" for ONE */
uint64_t tw_axis_size(const tw_model_config *c, enum tw_axis axis);
/* What of the axis a shard holds: [*ret_from, *ret_from + *ret_n). */
void tw_axis_cut(const tw_model_config *c, const tw_shard *s, enum tw_axis axis, size_t *ret_from,
                 size_t *ret_n);

#endif

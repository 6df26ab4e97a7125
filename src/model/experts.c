/* SPDX-License-Identifier: Apache-2.0 */
#include "model/experts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const tw_part_spec parts[TW_EXPERT_PARTS] = {
    [TW_EXPERT_GATE] = {"gate_proj.weight", NULL, TW_AXIS_EF, TW_AXIS_D},
    [TW_EXPERT_UP] = {"up_proj.weight", NULL, TW_AXIS_EF, TW_AXIS_D},
    [TW_EXPERT_DOWN] = {"down_proj.weight", NULL, TW_AXIS_D, TW_AXIS_EF},
};

static const char prefix[] = "mlp.experts.";

const tw_part_spec *tw_expert_part_get(enum tw_expert_part part)
{
    return &parts[part];
}

void tw_expert_part_name(enum tw_expert_part part, uint32_t i_layer, uint32_t i_expert, char *out,
                         size_t out_bytes)
{
    snprintf(out, out_bytes, "model.layers.%u.%s%u.%s", i_layer, prefix, i_expert,
             parts[part].layer_name);
}

void tw_expert_joined_name(const char *which, uint32_t i_layer, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "model.layers.%u.%s%s", i_layer, prefix, which);
}

bool tw_expert_part_is(const tw_model_config *c, const char *tail)
{
    if (strncmp(tail, prefix, sizeof(prefix) - 1) != 0)
        return false;
    tail += sizeof(prefix) - 1;
    if (strcmp(tail, TW_EXPERTS_GATE_UP) == 0 || strcmp(tail, TW_EXPERTS_DOWN) == 0)
        return true;
    char *dot = NULL;
    const uint64_t i = strtoull(tail, &dot, 10);
    if (dot == tail || *dot != '.' || i >= c->n_experts)
        return false;
    for (enum tw_expert_part p = 0; p < TW_EXPERT_PARTS; p++)
        if (strcmp(dot + 1, parts[p].layer_name) == 0)
            return true;
    return false;
}

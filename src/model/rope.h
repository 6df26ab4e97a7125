/* SPDX-License-Identifier: Apache-2.0 */
/* The rope part of config.json, in its classic form (rope_theta, rope_scaling) and its newer one
 * (rope_parameters). The frequencies are tw_rope_freqs in model/config.h. */
#ifndef TWINAX_MODEL_ROPE_H
#define TWINAX_MODEL_ROPE_H

#include "fmt/json.h"
#include "model/config.h"

/* YaRN's factor of cos and sin. */
double tw_rope_yarn_scale(double factor, double mscale);
/* o: the whole config. Errors stay in o->rc. */
void tw_rope_config_read(tw_json_obj *o, uint32_t max_ctx, tw_rope_config *ret);

#endif

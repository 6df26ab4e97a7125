/* SPDX-License-Identifier: Apache-2.0 */
/* What a Ray was started as, so that who uses it later can be told whether it is what he asks for: where
 * vLLM is, which nodes by which addresses, which wire on each.
 *
 *    {"venv":"/opt/venv",                       or "container":"vllm"; neither: vLLM on PATH
 *     "nodes":[{"node":"box2","ip":"192.168.100.2","transport":"roce","interface":"enp194s0np0",
 *               "hca":"irdma0:1"},...]}
 *
 * Pure. */
#ifndef TWINAX_VLLM_RAY_SHAPE_H
#define TWINAX_VLLM_RAY_SHAPE_H

#include "twinax/err.h"
#include "vllm/command.h"

/* Of a plan (plan.h). Owns: the caller; NULL: no memory. */
json_t *tw_vllm_ray_shape(const json_t *plan, const tw_vllm_place *place);
/* runs: of a Ray that is up, another process' word. -EEXIST names what differs, both values, the mend. */
TW_MUST_CHECK int tw_vllm_ray_same(const json_t *runs, const json_t *wanted, tw_err *err);
/* The wire that all its nodes have: "roce"; "" unknown. */
const char *tw_vllm_ray_wire(const json_t *shape);

#endif

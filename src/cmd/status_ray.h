/* SPDX-License-Identifier: Apache-2.0 */
/* What `twinax status` says of a Ray that was started without a model, and of what vLLM says of itself
 * beside one. */
#ifndef TWINAX_CMD_STATUS_RAY_H
#define TWINAX_CMD_STATUS_RAY_H

#include "cluster/life_state.h"
#include "fmt/json.h"

typedef struct tw_status_ray {
    enum tw_life_state state;
    tw_life_record record; /* unless state is NONE */
    json_t *says;          /* NULL: it does not answer, why says why */
    tw_err why;
} tw_status_ray;

TW_MUST_CHECK int tw_status_ray_read(uint64_t limit_ns, tw_status_ray *ret, tw_err *err);
void tw_status_ray_done(tw_status_ray *r);
/* True: it runs, or is about to. */
bool tw_status_ray_is_up(const tw_status_ray *r);
/* print_ranks: the table of them, of what it says. */
void tw_status_ray_print(const tw_status_ray *r, void (*print_ranks)(const json_t *says));
json_t *tw_status_ray_json(const tw_status_ray *r); /* NULL: no memory */

/* A line for Ray's count, a table of versions: of a vLLM's status, where it has them. */
void tw_status_vllm_print(const json_t *says);

#endif

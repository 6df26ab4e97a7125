/* SPDX-License-Identifier: Apache-2.0 */
/* What `ray status` prints, as numbers. Pure. */
#ifndef TWINAX_VLLM_RAY_STATUS_H
#define TWINAX_VLLM_RAY_STATUS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tw_ray_status {
    unsigned n_nodes, n_pending, n_failed;
    double gpus, gpus_used; /* as Ray counts them */
} tw_ray_status;

/* p[n]: its output. False: it is none. */
bool tw_ray_status_parse(const char *p, size_t n, tw_ray_status *ret);

#endif

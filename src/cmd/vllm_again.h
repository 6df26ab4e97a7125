/* SPDX-License-Identifier: Apache-2.0 */
/* Part of cmd/vllm: a service that has been ready and then crashed (a worker, a node, the engine) is
 * started again, what vLLM has compiled erased first, as often as it was asked for. What never became
 * ready is not tried again: its cause would be the same.
 * Thread: the status is told by another one. */
#ifndef TWINAX_CMD_VLLM_AGAIN_H
#define TWINAX_CMD_VLLM_AGAIN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "fmt/json.h"

/* A crash after so long a life is the first one again. */
#define TW_VLLM_HEALTHY_NS (3600 * UINT64_C(1000000000))

typedef struct tw_vllm_again {
    uint32_t allowed;
    pthread_mutex_t lock; /* guards what follows */
    uint32_t used;        /* since it was healthy */
    uint32_t total;
    bool ends;     /* nothing comes after the life that is ending */
    uint64_t at_s; /* unix time of the last crash */
    char cause[240];
} tw_vllm_again;

void tw_vllm_again_init(tw_vllm_again *g, uint32_t allowed);
void tw_vllm_again_done(tw_vllm_again *g);
/* A life is about to end; crashed: by nobody's wish. served_ns as below. */
void tw_vllm_again_end(tw_vllm_again *g, bool crashed, uint64_t served_ns);
/* A life has ended with err; served_ns: how long it was ready, 0: never. True: it shall be started
 * again, after ret_wait_ns. */
bool tw_vllm_again_take(tw_vllm_again *g, uint64_t served_ns, const tw_err *err,
                        uint64_t *ret_wait_ns);
/* Compiled code may be what it crashed of. */
bool tw_vllm_again_has_crashed(tw_vllm_again *g);
/* {"n":1, "of":3, "left":2, "at":unix, "cause":"..."}; NULL: no crash yet, none is allowed. */
json_t *tw_vllm_again_json(tw_vllm_again *g);
/* What is told while one life ends, and until the next one tells of itself; ctx is the tw_vllm_again. */
json_t *tw_vllm_again_status(void *ctx);

#endif

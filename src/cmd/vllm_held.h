/* SPDX-License-Identifier: Apache-2.0 */
/* A held program of this machine (vllm/hold.h): what it prints goes to stderr behind its node's name and
 * to a function, line by line, from a thread. */
#ifndef TWINAX_CMD_VLLM_HELD_H
#define TWINAX_CMD_VLLM_HELD_H

#include <pthread.h>
#include <stdatomic.h>

#include "fmt/json.h"
#include "os/child.h"

typedef struct tw_vllm_held {
    tw_child child; /* pid 0: none */
    const char *node;
    bool silent; /* nothing to stderr */
    void (*on_line)(void *ctx, const char *line);
    void (*on_end)(void *ctx);
    void *ctx;
    bool has_pump;
    pthread_t pump;
    int stop_fd; /* the pump's: it is to read no more */
    atomic_bool pump_ended;
} tw_vllm_held;

/* part: taken over. What h says beside child, and pump, is the caller's. From the main thread: it dies
 * with it. */
TW_MUST_CHECK int tw_vllm_held_start(tw_vllm_held *h, json_t *part, tw_err *err);
/* Ends its lifeline and waits until nothing of it is left, 5 s at most: what a driver holds stays. Safe on a zeroed one. */
void tw_vllm_held_stop(tw_vllm_held *h);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/vllm_again.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/scope.h"

#define FIRST_WAIT_NS (1 * TW_NS_PER_S)
#define LAST_WAIT_NS  (60 * TW_NS_PER_S)

void tw_vllm_again_init(tw_vllm_again *g, uint32_t allowed)
{
    *g = (tw_vllm_again){.allowed = allowed};
    pthread_mutex_init(&g->lock, NULL);
}

void tw_vllm_again_done(tw_vllm_again *g)
{
    pthread_mutex_destroy(&g->lock);
}

/* 1, 2, 4 ... 60 s: a node that restarts takes its time. */
static uint64_t wait_of(uint32_t used)
{
    uint64_t wait_ns = FIRST_WAIT_NS;
    for (uint32_t i = 1; i < used && wait_ns < LAST_WAIT_NS; i++)
        wait_ns *= 2;
    return TW_MIN(wait_ns, LAST_WAIT_NS);
}

/* Under the lock. */
static bool is_left(const tw_vllm_again *g, uint64_t served_ns)
{
    const uint32_t used = served_ns >= TW_VLLM_HEALTHY_NS ? 0 : g->used;
    return (served_ns > 0 || g->total > 0) && used < g->allowed;
}

void tw_vllm_again_end(tw_vllm_again *g, bool crashed, uint64_t served_ns)
{
    pthread_mutex_lock(&g->lock);
    g->ends = !crashed || !is_left(g, served_ns);
    pthread_mutex_unlock(&g->lock);
}

bool tw_vllm_again_take(tw_vllm_again *g, uint64_t served_ns, const tw_err *err,
                        uint64_t *ret_wait_ns)
{
    pthread_mutex_lock(&g->lock);
    const bool again = is_left(g, served_ns);
    if (served_ns >= TW_VLLM_HEALTHY_NS)
        g->used = 0;
    if (again) {
        g->used++;
        g->total++;
        g->at_s = tw_clock_unix_s();
        snprintf(g->cause, sizeof g->cause, "%s", err->msg);
        *ret_wait_ns = wait_of(g->used);
    }
    pthread_mutex_unlock(&g->lock);
    return again;
}

bool tw_vllm_again_has_crashed(tw_vllm_again *g)
{
    pthread_mutex_lock(&g->lock);
    const bool crashed = g->total > 0;
    pthread_mutex_unlock(&g->lock);
    return crashed;
}

json_t *tw_vllm_again_json(tw_vllm_again *g)
{
    json_t *v = NULL;
    pthread_mutex_lock(&g->lock);
    if (g->allowed > 0)
        v = json_pack("{s:i, s:i, s:i, s:I, s:s}", "n", (int)g->total, "of", (int)g->allowed,
                      "left", (int)(g->allowed - g->used), "at", (json_int_t)g->at_s, "cause",
                      g->cause);
    pthread_mutex_unlock(&g->lock);
    return v;
}

json_t *tw_vllm_again_status(void *ctx)
{
    tw_vllm_again *g = ctx;
    pthread_mutex_lock(&g->lock);
    const bool ends = g->ends;
    pthread_mutex_unlock(&g->lock);
    return json_pack("{s:s, s:s, s:s, s:o*, s:[]}", "engine", "vllm", "state",
                     ends ? "ending" : "restarting", "health",
                     ends ? "it is ending" : "it crashed and is started again", "restarts",
                     tw_vllm_again_json(g), "ranks");
}

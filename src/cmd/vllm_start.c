/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "cmd/vllm_ask.h"
#include "cmd/vllm_ray.h"
#include "cmd/vllm_run.h"
#include "os/signal.h"

enum { STATUS_MAX = 16 * 1024 };
#define RAY_LIMIT_NS    (120 * TW_NS_PER_S)
#define STATUS_LIMIT_NS (30 * TW_NS_PER_S)
#define LOOK_NS         (1 * TW_NS_PER_S)

/* ---- what its programs say ---- */

static void hear(void *ctx, const char *line)
{
    tw_vllm_news_line(&((tw_vllm_run *)ctx)->news, 0, line);
}

static void lose_ray(void *ctx)
{
    tw_vllm_news_gone(&((tw_vllm_run *)ctx)->news, "Ray of this machine has ended");
}

static void lose_serve(void *ctx)
{
    tw_vllm_news_gone(&((tw_vllm_run *)ctx)->news, "vllm serve has ended");
}

static void hear_far(void *ctx, unsigned rank, const char *line)
{
    tw_vllm_news_line(&((tw_vllm_run *)ctx)->news, rank, line);
}

bool tw_vllm_run_lost(tw_vllm_run *r, char *why, size_t why_bytes)
{
    bool by_itself;
    return tw_vllm_news_is_over(&r->news, why, why_bytes) ||
           (r->far != NULL && tw_far_lost(r->far, why, why_bytes, &by_itself) != 0) ||
           tw_vllm_ray_is_lost(r, why, why_bytes);
}

int tw_vllm_run_check(tw_vllm_run *r, tw_err *err)
{
    char why[300];
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -EINTR, "interrupted");
    if (tw_vllm_run_lost(r, why, sizeof why))
        return tw_err_set(err, -ECONNABORTED, "%s", why);
    return 0;
}

/* ---- starting ---- */

static int start_here(tw_vllm_run *r, tw_vllm_held *h, const char *what, const json_t *more,
                      void (*on_end)(void *ctx), tw_err *err)
{
    *h =
        (tw_vllm_held){.node = tw_vllm_run_node(r, 0), .on_line = hear, .on_end = on_end, .ctx = r};
    return tw_vllm_held_start(h, tw_vllm_part(r->plan, 0, what, more, &r->secrets), err);
}

static int start_far(tw_vllm_run *r, const char *what, tw_err *err)
{
    json_t *parts[TW_VLLM_NODES_MAX] = {NULL};
    if (r->far == NULL)
        return 0;
    for (size_t i = 1; i < r->n_nodes; i++)
        parts[i] = tw_vllm_part(r->plan, i, what, NULL, &r->secrets);
    tw_far_on_line(r->far, hear_far, r);
    return tw_far_run(r->far, parts, err);
}

/* ---- Ray ---- */

static int await_rays(tw_vllm_run *r, size_t n_wanted, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + RAY_LIMIT_NS;
    int rc = 0;
    while ((rc = tw_vllm_run_check(r, err)) == 0 && tw_vllm_news_rays(&r->news) < n_wanted) {
        if (tw_clock_now_ns() > until)
            return tw_err_set(err, -ETIMEDOUT,
                              "Ray runs on %zu of %zu nodes after %" PRIu64 " s; the lines above "
                              "say what it waits for",
                              tw_vllm_news_rays(&r->news), n_wanted, RAY_LIMIT_NS / TW_NS_PER_S);
        (void)tw_vllm_news_wait(&r->news, LOOK_NS);
    }
    return rc;
}

typedef struct answer {
    tw_buf text;
    _Atomic bool ended;
} answer;

static void note_line(void *ctx, const char *line)
{
    answer *a = ctx;
    (void)!(tw_buf_puts(&a->text, line) == 0 && tw_buf_puts(&a->text, "\n") == 0);
}

static void note_end(void *ctx)
{
    atomic_store(&((answer *)ctx)->ended, true);
}

/* What Ray itself counts. */
static int ask_ray(tw_vllm_run *r, tw_ray_status *ret, tw_err *err)
{
    answer a = {.text = TW_BUF(STATUS_MAX)};
    tw_vllm_held h = {.node = tw_vllm_run_node(r, 0),
                      .silent = true,
                      .on_line = note_line,
                      .on_end = note_end,
                      .ctx = &a};
    const uint64_t until = tw_clock_now_ns() + STATUS_LIMIT_NS;
    int rc = tw_vllm_held_start(&h, tw_vllm_part(r->plan, 0, "status", NULL, &r->secrets), err);
    while (rc == 0 && !atomic_load(&a.ended) && tw_clock_now_ns() < until &&
           (rc = tw_vllm_run_check(r, err)) == 0)
        (void)tw_vllm_news_wait(&r->news, 50 * TW_NS_PER_MS);
    tw_vllm_held_stop(&h);
    *ret = (tw_ray_status){0};
    if (rc == 0 && a.text.data != NULL)
        (void)tw_ray_status_parse(a.text.data, a.text.len, ret);
    tw_buf_done(&a.text);
    return rc;
}

static void note_count(tw_vllm_run *r, const tw_ray_status *s)
{
    pthread_mutex_lock(&r->news.lock);
    r->counted = *s;
    r->counted_ns = tw_clock_now_ns();
    pthread_mutex_unlock(&r->news.lock);
}

void tw_vllm_run_count(tw_vllm_run *r)
{
    tw_ray_status s;
    tw_err ignored;
    if (atomic_exchange(&r->must_count, false) && ask_ray(r, &s, &ignored) == 0 && s.n_nodes > 0)
        note_count(r, &s);
}

static int await_count(tw_vllm_run *r, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + RAY_LIMIT_NS;
    for (;;) {
        tw_ray_status s;
        const int rc = ask_ray(r, &s, err);
        if (rc != 0)
            return rc;
        if (s.n_nodes >= r->n_nodes && s.gpus + 1e-6 >= (double)r->n_nodes) {
            note_count(r, &s);
            tw_log(TW_LOG_INFO, "vllm", "Ray: %u nodes, %.1f GPU", s.n_nodes, s.gpus);
            return 0;
        }
        if (tw_clock_now_ns() > until)
            return tw_err_set(err, -ETIMEDOUT,
                              "Ray counts %u nodes and %.1f GPU after %" PRIu64
                              " s, wanted %zu of each; twinax doctor looks at addresses and "
                              "firewall",
                              s.n_nodes, s.gpus, RAY_LIMIT_NS / TW_NS_PER_S, r->n_nodes);
        (void)tw_vllm_news_wait(&r->news, LOOK_NS);
    }
}

static int start_ray(tw_vllm_run *r, tw_err *err)
{
    int rc = start_here(r, &r->ray, "ray", NULL, lose_ray, err);
    if (rc == 0)
        rc = await_rays(r, 1, err);
    if (rc == 0)
        rc = start_far(r, "ray", err);
    if (rc == 0)
        rc = await_rays(r, r->n_nodes, err);
    return rc == 0 ? await_count(r, err) : rc;
}

/* ---- vllm serve ---- */

/* Before vLLM; Ray's own words are not the ranks'. */
static int start_serve(tw_vllm_run *r, tw_err *err)
{
    char address[90];
    const bool six = strchr(r->ip, ':') != NULL;
    TW_CLEANUP(tw_json_freep) json_t *more = NULL;
    tw_vllm_run_wires(r, r->count_before);
    if (r->ray.child.pid > 0 || r->shared.is_up) { /* else vLLM would start a Ray of its own */
        snprintf(address, sizeof address, six ? "[%s]:6379" : "%s:6379", r->ip);
        more = json_pack("{s:s}", "RAY_ADDRESS", address);
        return start_here(r, &r->serve, "serve", more, lose_serve, err);
    }
    const int rc = start_here(r, &r->serve, "serve", NULL, lose_serve, err);
    return rc == 0 ? start_far(r, "serve", err) : rc;
}

int tw_vllm_run_start(tw_vllm_run *r, tw_err *err)
{
    const bool uses_ray = r->args->vllm.executor == TW_VLLM_RAY;
    int rc = 0;
    if (r->shared.is_up && r->secrets.erase)
        rc = tw_vllm_erase(r, err);
    if (rc != 0)
        return rc;
    if (r->shared.is_up) { /* what it has on the nodes is that Ray's */
        tw_far_close(r->far);
        r->far = NULL;
    } else if (uses_ray) {
        rc = start_ray(r, err);
    }
    if (rc == 0 && !r->args->vllm.ray_only)
        rc = start_serve(r, err);
    return rc == 0 && !r->args->vllm.ray_only ? tw_vllm_run_await(r, err) : rc;
}

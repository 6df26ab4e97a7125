/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/vllm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/keep.h"
#include "cmd/vllm_ask.h"
#include "cmd/vllm_auto.h"
#include "cmd/vllm_ray.h"
#include "os/secret.h"
#include "os/signal.h"
#include "os/sys.h"

enum { PRINT_MAX = 256 * 1024 };

int tw_vllm_is_wanted(const tw_args *a, bool *ret, tw_err *err)
{
    int rc = 0;
    *ret = a->engine_kind == TW_ENGINE_VLLM;
    if (a->engine_kind == TW_ENGINE_AUTO)
        rc = tw_vllm_auto(a, ret, err);
    if (rc == 0 && !*ret && (a->vllm.venv != NULL || a->vllm.container != NULL || a->vllm.print))
        return tw_err_set(err, -EINVAL,
                          "--venv, --container, --print are vLLM's: with --engine vllm only");
    return rc;
}

/* After a crash by default: what was compiled may be its cause. */
static bool erases(const tw_vllm_run *r)
{
    const bool crashed = tw_vllm_again_has_crashed(r->again) || getenv(TW_CRASHED_ENV) != NULL;
    if (crashed && !r->args->vllm.erase && !r->args->vllm.keep_cache)
        tw_log(TW_LOG_INFO, "vllm",
               "what vLLM has compiled is erased first on all nodes: the last run crashed "
               "(--keep-cache keeps it)");
    return r->args->vllm.erase || (crashed && !r->args->vllm.keep_cache);
}

static int make_secrets(tw_vllm_run *r, tw_err *err)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t bytes[40];
    if (tw_sys_random(bytes, sizeof bytes) != 0)
        return tw_err_set(err, -EIO, "the kernel gives no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++) {
        char *to = i < 8 ? r->run + 2 * i : r->token + 2 * (i - 8);
        to[0] = hex[bytes[i] >> 4];
        to[1] = hex[bytes[i] & 15];
    }
    tw_secret_guard();
    r->secrets = (tw_vllm_secrets){.run = r->run,
                                   .token = r->token,
                                   .api_key = r->args->api_key,
                                   .hf_token = getenv("HF_TOKEN"),
                                   .hf_home = getenv("HF_HOME"),
                                   .hf_cache = getenv("HF_HUB_CACHE"),
                                   .erase = erases(r)};
    return 0;
}

static int find_own_ip(tw_vllm_run *r, tw_err *err)
{
    if (r->n_nodes > 1)
        return tw_far_own_address(r->args, r->ip, sizeof r->ip, err);
    snprintf(r->ip, sizeof r->ip, "127.0.0.1");
    return 0;
}

static int print_plan(const tw_vllm_run *r, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(PRINT_MAX);
    const int rc = tw_vllm_plan_text(r->plan, &text, err);
    if (rc == 0)
        printf("%s", text.data);
    return rc;
}

static int stay(tw_vllm_run *r, tw_err *err)
{
    char why[300] = "";
    while (tw_vllm_news_wait(&r->news, TW_NS_PER_S / 2)) {
        if (tw_vllm_run_lost(r, why, sizeof why))
            return tw_err_set(err, -ECONNABORTED, "%s", why);
        tw_vllm_run_count(r);
    }
    return 0;
}

/* Ray alone: it is up, and what comes later may use it. */
static int stay_as_ray(tw_vllm_run *r, tw_err *err)
{
    const int rc = tw_vllm_ray_offer(r, err);
    if (rc != 0)
        return rc;
    tw_log(TW_LOG_INFO, "vllm", "Ray: %zu nodes, ready after %.1f s", r->n_nodes,
           (double)(tw_clock_now_ns() - r->began_ns) / 1e9);
    atomic_store(&r->ready_ns, tw_clock_now_ns());
    printf(strchr(r->ip, ':') != NULL ? "listening on [%s]:%d\n" : "listening on %s:%d\n", r->ip,
           TW_VLLM_RAY_PORT);
    fflush(stdout);
    return stay(r, err);
}

static int serve(tw_vllm_run *r, tw_err *err)
{
    tw_log(TW_LOG_INFO, "vllm", "transport %s", tw_json_text_at(r->plan, "why"));
    int rc = tw_vllm_run_start(r, err);
    if (rc == 0 && r->args->vllm.ray_only)
        return stay_as_ray(r, err);
    if (rc == 0)
        rc = tw_vllm_run_prove(r, err);
    if (rc != 0)
        return rc;
    tw_log(TW_LOG_INFO, "vllm", "%s: %zu ranks, ready after %.1f s", r->args->model, r->n_nodes,
           (double)(tw_clock_now_ns() - r->began_ns) / 1e9);
    atomic_store(&r->ready_ns, tw_clock_now_ns());
    const bool six = strchr(r->args->host, ':') != NULL;
    printf(six ? "listening on http://[%s]:%u\n" : "listening on http://%s:%u\n", r->args->host,
           (unsigned)r->args->port);
    fflush(stdout);
    return stay(r, err);
}

/* Its workers first: vllm serve has no time to be astonished. */
static void end(tw_vllm_run *r)
{
    tw_vllm_ray_withdraw(r);
    tw_vllm_held_stop(&r->serve);
    tw_far_close(r->far);
    tw_vllm_held_stop(&r->ray);
    tw_vllm_news_done(&r->news);
    json_decref(r->plan);
    tw_vllm_ray_done(r);
    for (size_t i = 0; i < r->n_nodes; i++)
        tw_mem_free(r->facts[i]);
}

/* From the first node that is asked to the last process that is gone. ret_served_ns: 0: it was never
 * ready. */
static int live(const tw_args *given, tw_serve_status *status, tw_vllm_again *again,
                uint64_t *ret_served_ns, tw_err *err)
{
    tw_args own = *given, *a = &own; /* what is found for one life is not the next one's */
    tw_vllm_run r = {.args = a,
                     .again = again,
                     .n_nodes = given->nodes.n > 0 ? given->nodes.n : 1,
                     .began_ns = tw_clock_now_ns()};
    if (a->vllm.ray_only && status == NULL && !a->vllm.print)
        return tw_err_set(err, -EINVAL, "--ray-only: `twinax up` starts it and keeps it");
    int rc = tw_vllm_news_init(&r.news, r.n_nodes, err);
    if (rc == 0 && r.n_nodes > 1)
        rc = tw_far_open(a, &r.far, err);
    if (rc == 0)
        rc = find_own_ip(&r, err);
    if (rc == 0)
        rc = tw_vllm_ray_find(&r, a, err);
    if (rc == 0)
        rc = make_secrets(&r, err);
    if (rc == 0)
        rc = tw_vllm_run_model(&r, err);
    if (rc == 0)
        rc = tw_vllm_run_plan(&r, err);
    if (rc == 0 && a->vllm.print) {
        rc = print_plan(&r, err);
    } else if (rc == 0) {
        rc = tw_vllm_ray_join(&r, err);
        if (rc == 0)
            rc = tw_vllm_check_versions(&r, err);
        if (rc == 0) {
            tw_serve_status_other(status, tw_vllm_run_status, &r);
            rc = serve(&r, err);
        }
    }
    const uint64_t ready_ns = atomic_load(&r.ready_ns);
    *ret_served_ns = ready_ns != 0 ? tw_clock_now_ns() - ready_ns : 0;
    tw_vllm_again_end(again, rc != 0 && !tw_signal_asked_to_stop(), *ret_served_ns);
    tw_serve_status_other(status, tw_vllm_again_status, again);
    end(&r);
    explicit_bzero(r.token, sizeof r.token);
    return rc;
}

/* False: we were asked to stop. */
static bool rest(uint64_t ns)
{
    const uint64_t until = tw_clock_now_ns() + ns;
    for (uint64_t now = tw_clock_now_ns(); now < until && !tw_signal_asked_to_stop();
         now = tw_clock_now_ns()) {
        struct pollfd p = {.fd = tw_signal_fd(), .events = POLLIN};
        (void)poll(&p, 1, (int)((until - now) / TW_NS_PER_MS) + 1);
    }
    return !tw_signal_asked_to_stop();
}

int tw_cmd_serve_vllm(tw_args *a, tw_serve_status *status, tw_err *err)
{
    tw_vllm_again again;
    uint64_t served_ns = 0, wait_ns = 0;
    tw_vllm_again_init(&again, a->vllm.restart);
    int rc = live(a, status, &again, &served_ns, err);
    while (rc != 0 && rc != -EINTR && !tw_signal_asked_to_stop() &&
           tw_vllm_again_take(&again, served_ns, err, &wait_ns)) {
        tw_log(TW_LOG_ERROR, "vllm", "crashed: %s", err->msg);
        tw_log(TW_LOG_WARN, "vllm", "restart %u of %u in %.0f s", again.used, again.allowed,
               (double)wait_ns / 1e9);
        rc = rest(wait_ns) ? live(a, status, &again, &served_ns, err) : -EINTR;
        if (tw_signal_asked_to_stop())
            rc = 0; /* it has served until then */
    }
    tw_serve_status_stop(status);
    tw_vllm_again_done(&again);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/vllm_ask.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "os/signal.h"
#include "vllm/door.h"

enum { OUT_MAX = 32 * 1024, LIMIT_MS = 20 * 1000, LOOK_US = 5000 };
#define LIMIT_NS      (LIMIT_MS * TW_NS_PER_MS)
#define CALL_LIMIT_NS (LIMIT_NS + 5 * TW_NS_PER_S)

/* ---- one node ---- */

typedef struct answer {
    tw_buf *text;
    atomic_bool ended;
} answer;

static void note_line(void *ctx, const char *line)
{
    answer *a = ctx;
    (void)!(tw_buf_puts(a->text, line) == 0 && tw_buf_puts(a->text, "\n") == 0);
}

static void note_end(void *ctx)
{
    atomic_store(&((answer *)ctx)->ended, true);
}

static bool ask_here(json_t *part, tw_buf *ret, char *why, size_t why_bytes)
{
    answer a = {.text = ret};
    tw_vllm_held h = {
        .node = "here", .silent = true, .on_line = note_line, .on_end = note_end, .ctx = &a};
    const uint64_t until = tw_clock_now_ns() + LIMIT_NS;
    tw_err err = {0};
    int rc = tw_vllm_held_start(&h, part, &err);
    while (rc == 0 && !atomic_load(&a.ended) && !tw_signal_asked_to_stop()) {
        if (tw_clock_now_ns() > until)
            rc = tw_err_set(&err, -ETIMEDOUT, "it did not end within %d s", LIMIT_MS / 1000);
        usleep(LOOK_US);
    }
    tw_vllm_held_stop(&h);
    if (rc == 0 && tw_signal_asked_to_stop())
        rc = tw_err_set(&err, -EINTR, "interrupted");
    snprintf(why, why_bytes, "%s", err.msg);
    return rc == 0;
}

static bool ask_far(tw_remote *far, json_t *part, tw_buf *ret, char *why, size_t why_bytes)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err err = {0};
    json_t *request = json_pack("{s:o, s:i}", "part", part, "limit_ms", LIMIT_MS);
    int rc = request == NULL ? tw_err_set(&err, -ENOMEM, "no memory to ask")
                             : tw_remote_call(far, "ask", request, CALL_LIMIT_NS, &got, &err);
    if (rc == 0 && tw_buf_puts(ret, tw_json_text_at(got, "out")) != 0)
        rc = tw_err_set(&err, -E2BIG, "it says too much");
    snprintf(why, why_bytes, "%s", err.msg);
    return rc == 0;
}

bool tw_vllm_ask_node(tw_remote *far, json_t *part, tw_buf *ret, char *why, size_t why_bytes)
{
    return far != NULL ? ask_far(far, part, ret, why, why_bytes)
                       : ask_here(part, ret, why, why_bytes);
}

/* ---- all of them ---- */

typedef struct job {
    tw_remote *far; /* NULL: this machine */
    json_t *part;   /* its */
    tw_buf out;
    char why[200];
    bool good, has_thread;
    pthread_t thread;
} job;

static void *run_job(void *arg)
{
    job *j = arg;
    j->good = tw_vllm_ask_node(j->far, j->part, &j->out, j->why, sizeof j->why);
    return NULL;
}

/* jobs[n]: parts are there. The first one is this machine's: children are the main thread's. */
static void run_jobs(tw_vllm_run *r, job *jobs)
{
    for (size_t i = 0; i < r->n_nodes; i++) {
        jobs[i].out = (tw_buf)TW_BUF(OUT_MAX + 64);
        jobs[i].far = i > 0 ? tw_far_remote(r->far, (unsigned)i) : NULL;
        jobs[i].has_thread = i > 0 && pthread_create(&jobs[i].thread, NULL, run_job, &jobs[i]) == 0;
    }
    for (size_t i = 0; i < r->n_nodes; i++)
        if (!jobs[i].has_thread)
            run_job(&jobs[i]);
    for (size_t i = 0; i < r->n_nodes; i++)
        if (jobs[i].has_thread)
            pthread_join(jobs[i].thread, NULL);
}

/* ---- versions ---- */

static int check_door(const tw_vllm_run *r, tw_err *err)
{
    char why[200];
    for (size_t i = 0; i < r->n_nodes; i++) {
        const char *ip = i == 0 ? r->ip : r->args->nodes.v[i].ip;
        if (r->args->vllm.executor != TW_VLLM_RAY || r->n_nodes < 2 ||
            tw_vllm_versions_ray_has_door(&r->versions[i]))
            continue;
        if (!tw_vllm_link_is_dedicated(r->facts[i], ip, why, sizeof why))
            return tw_err_set(err, -EPERM,
                              "%s: Ray %s asks nobody for a token (2.52 does), and %s: whoever "
                              "reaches it runs what he likes; a newer Ray (twinax toolbox "
                              "refresh), or a cable of its own",
                              tw_vllm_run_node(r, i), r->versions[i].ray, why);
        tw_log(TW_LOG_WARN, "vllm",
               "%s: Ray %s asks nobody for a token (2.52 does): only the cable to the other node "
               "keeps others out",
               tw_vllm_run_node(r, i), r->versions[i].ray);
    }
    return 0;
}

static int judge(const tw_vllm_run *r, tw_err *err)
{
    const char *names[TW_VLLM_NODES_MAX];
    for (size_t i = 0; i < r->n_nodes; i++) {
        names[i] = tw_vllm_run_node(r, i);
        if (!r->versions[i].is_known)
            tw_log(TW_LOG_WARN, "vllm", "%s: versions not known: %s", names[i], r->versions[i].why);
    }
    const int rc = tw_vllm_versions_agree(names, r->versions, r->n_nodes, &r->place, err);
    if (rc == 0 || !r->args->vllm.any_versions)
        return rc;
    tw_log(TW_LOG_WARN, "vllm", "%s", err->msg);
    *err = (tw_err){0};
    return 0;
}

int tw_vllm_check_versions(tw_vllm_run *r, tw_err *err)
{
    job jobs[TW_VLLM_NODES_MAX] = {{.far = NULL}};
    for (size_t i = 0; i < r->n_nodes; i++)
        if ((jobs[i].part = tw_vllm_versions_part(&r->place)) == NULL)
            return tw_err_set(err, -ENOMEM, "no memory to ask for versions");
    run_jobs(r, jobs);
    for (size_t i = 0; i < r->n_nodes; i++) {
        tw_vllm_versions_parse(jobs[i].out.data, jobs[i].out.len, &r->versions[i]);
        if (!jobs[i].good)
            snprintf(r->versions[i].why, sizeof r->versions[i].why, "%.150s", jobs[i].why);
        tw_buf_done(&jobs[i].out);
    }
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -EINTR, "interrupted");
    const int rc = judge(r, err);
    return rc == 0 ? check_door(r, err) : rc;
}

/* ---- erasing ---- */

int tw_vllm_erase(tw_vllm_run *r, tw_err *err)
{
    job jobs[TW_VLLM_NODES_MAX] = {{.far = NULL}};
    int rc = 0;
    for (size_t i = 0; i < r->n_nodes; i++)
        if ((jobs[i].part = tw_vllm_erase_part(&r->place)) == NULL)
            return tw_err_set(err, -ENOMEM, "no memory to erase what is compiled");
    run_jobs(r, jobs);
    for (size_t i = 0; i < r->n_nodes; i++) {
        if (!jobs[i].good && rc == 0)
            rc =
                tw_err_set(err, -EIO, "%s: --erase-cache: %s", tw_vllm_run_node(r, i), jobs[i].why);
        tw_buf_done(&jobs[i].out);
    }
    return rc;
}

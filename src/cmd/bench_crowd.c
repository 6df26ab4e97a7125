/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/bench_crowd.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/scope.h"
#include "os/signal.h"

typedef struct crowd crowd;

typedef struct job {
    crowd *c;
    uint64_t id;
    uint32_t n_tokens;
} job;

/* The engine's thread writes; the caller reads when all are done. */
struct crowd {
    const tw_crowd_ask *ask;
    tw_crowd_got got;
    unsigned n_begun, n_blocks_done;
    const job *last; /* to begin: its tokens mark the blocks */
    uint64_t mark_ns;
    tw_err err;
    sem_t wake;
    _Atomic bool enough;
    _Atomic unsigned n_done;
    job jobs[TW_CROWD_MAX];
};

static void begin_blocks(crowd *c, const job *last)
{
    double sum = 0;
    for (unsigned i = 0; i < c->ask->n_jobs; i++)
        sum += c->jobs[i].n_tokens;
    c->last = last;
    c->got.depth = c->ask->n_prompt + sum / c->ask->n_jobs;
    c->mark_ns = tw_clock_now_ns();
}

static void on_token(crowd *c, job *j)
{
    j->n_tokens++;
    if (j->n_tokens == 1 && ++c->n_begun == c->ask->n_jobs) {
        begin_blocks(c, j);
        return;
    }
    if (c->last != j || c->n_blocks_done == c->ask->n_blocks || (j->n_tokens - 1) % c->ask->n != 0)
        return;
    const uint64_t now = tw_clock_now_ns();
    c->got.block_ns[c->n_blocks_done++] = (double)(now - c->mark_ns);
    c->mark_ns = now;
    if (c->n_blocks_done == c->ask->n_blocks) {
        atomic_store(&c->enough, true);
        sem_post(&c->wake);
    }
}

static void on_event(void *ctx, const tw_event *ev)
{
    job *j = ctx;
    crowd *c = j->c;
    if (ev->kind == TW_EVENT_TOKEN) {
        if (ev->id != UINT32_MAX)
            on_token(c, j);
        return;
    }
    if (j == &c->jobs[0])
        c->got.prefill_ns = ev->prefill_ns;
    if (ev->err != NULL && c->err.code == 0)
        c->err = *ev->err;
    sem_post(&c->wake);
    atomic_fetch_add(&c->n_done, 1); /* the last: whoever has counted all frees c */
}

/* Others begin up to so many steps later than the first one. */
static uint32_t slack(const tw_crowd_ask *a)
{
    return a->n_jobs > 1 ? a->n_jobs * (a->n_prompt / TW_MAX(a->chunk, 1u) + 2) : 0;
}

uint32_t tw_crowd_ctx(const tw_crowd_ask *a)
{
    return a->n_prompt + a->n * a->n_blocks + slack(a) + 2;
}

/* Until n are done. The blocks done, or ctrl-C: what still runs is cancelled. */
static void wait_jobs(crowd *c, tw_engine *e, unsigned n)
{
    bool cancelled = false;
    while (atomic_load(&c->n_done) < n) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50 * 1000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)sem_timedwait(&c->wake, &until);
        if (cancelled || (!atomic_load(&c->enough) && !tw_signal_asked_to_stop()))
            continue;
        cancelled = true;
        for (unsigned i = 0; i < n; i++)
            tw_engine_cancel(e, c->jobs[i].id);
    }
}

static int submit_jobs(crowd *c, tw_engine *e, const uint32_t *prompt, unsigned *ret_n, tw_err *err)
{
    const tw_crowd_ask *a = c->ask;
    for (*ret_n = 0; *ret_n < a->n_jobs; (*ret_n)++) {
        job *j = &c->jobs[*ret_n];
        j->c = c;
        tw_request r = {.prompt = prompt,
                        .n_prompt = a->n_prompt,
                        .timed_from = a->n_before,
                        .max_tokens = 1 + a->n * a->n_blocks + slack(a),
                        .ignore_eos = true,
                        .on_event = on_event,
                        .ctx = j,
                        .sampling = {.top_p = 1, .repetition_penalty = 1}};
        int rc = tw_engine_submit(e, &r, &j->id, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int run(crowd *c, tw_engine *e, const uint32_t *prompt, tw_err *err)
{
    unsigned n_sent = 0;
    int rc = submit_jobs(c, e, prompt, &n_sent, err);
    if (rc != 0)
        atomic_store(&c->enough, true); /* what was sent in vain ends too */
    wait_jobs(c, e, n_sent);
    if (rc == 0 && tw_signal_asked_to_stop())
        return tw_err_set(err, -EINTR, "interrupted");
    if (rc == 0 && c->err.code != 0) {
        *err = c->err;
        return err->code;
    }
    if (rc == 0 && c->n_blocks_done < c->ask->n_blocks)
        return tw_err_set(err, -ENODATA, "the engine ended %u requests after %u of %u blocks of %u",
                          c->ask->n_jobs, c->n_blocks_done, c->ask->n_blocks, c->ask->n);
    return rc;
}

int tw_crowd_run(tw_engine *e, const tw_crowd_ask *a, tw_crowd_got *ret, tw_err *err)
{
    tw_engine_info info;
    tw_engine_get_info(e, &info);
    crowd *c TW_CLEANUP(tw_mem_freep) = tw_mem_calloc(1, sizeof(*c));
    uint32_t *prompt TW_CLEANUP(tw_mem_freep) = tw_mem_alloc(a->n_prompt * sizeof(*prompt));
    if (c == NULL || prompt == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a prompt of %u tokens", a->n_prompt);
    tw_rng rng = tw_rng_seed(a->n_prompt);
    for (uint32_t i = 0; i < a->n_prompt; i++)
        prompt[i] = (uint32_t)tw_rng_below(&rng, info.vocab);
    c->ask = a;
    sem_init(&c->wake, 0, 0);
    int rc = run(c, e, prompt, err);
    sem_destroy(&c->wake);
    if (rc == 0)
        *ret = c->got;
    return rc;
}

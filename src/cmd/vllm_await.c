/* SPDX-License-Identifier: Apache-2.0 */
/* From vllm serve's first word to an API that answers: each phase is told, each silence is explained, and
 * a start that does not go on any more is given up. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/scope.h"
#include "cmd/ask_health.h"
#include "cmd/vllm_run.h"

enum { RECENT_BYTES = 700 };
#define ASK_LIMIT_NS (300 * TW_NS_PER_MS)
#define LOOK_NS      (500 * TW_NS_PER_MS)
#define SILENT_NS    (60 * TW_NS_PER_S) /* then it is told, and again after as long */

/* How long a phase may go on without a sign, and what the field knows of one that does. */
static const struct {
    unsigned limit_s;
    const char *knows; /* NULL: nothing */
} phases[TW_VLLM_PHASES] = {
    [TW_VLLM_STARTING] = {600, "Python reads its libraries from a slow disk for the first time"},
    [TW_VLLM_JOINING] = {300, "a firewall, a wrong interface, a node that lacks a GID, other "
                              "versions of Ray, vLLM or RCCL: twinax doctor, twinax status"},
    [TW_VLLM_DOWNLOADING] = {900, "the hub does not answer, or wants HF_TOKEN"},
    [TW_VLLM_LOADING] = {1800, "a slow disk, or memory that swaps"},
    [TW_VLLM_COMPILING] = {1800, "the first compile of a model takes minutes; one of a run that "
                                 "crashed may wait forever: --erase-cache"},
    [TW_VLLM_CAPTURING] = {600, "capturing graphs over two nodes is known to wait forever: without "
                                "--graphs"},
    [TW_VLLM_SERVING] = {300, "another program has the port, or a proxy is between"},
};

static void tell_phase(const tw_vllm_run *r, size_t i, const tw_vllm_log *l)
{
    if (l->n_all > 0)
        tw_log(TW_LOG_INFO, "vllm", "%s: %s, %u of %u", tw_vllm_run_node(r, i),
               tw_vllm_phase_name(l->phase), l->n_done, l->n_all);
    else
        tw_log(TW_LOG_INFO, "vllm", "%s: %s", tw_vllm_run_node(r, i), tw_vllm_phase_name(l->phase));
}

/* Every rank, for the one that waits is not the one that is missing: its phase, how long it has said
 * nothing, its last words. */
static void tell_ranks(tw_vllm_run *r)
{
    char recent[RECENT_BYTES];
    for (size_t i = 0; i < r->n_nodes; i++) {
        const tw_vllm_log l = tw_vllm_news_log(&r->news, i);
        const uint64_t silent_ns = tw_vllm_news_silent_ns(&r->news, i);
        tw_vllm_news_recent(&r->news, i, recent, sizeof recent);
        tw_log(TW_LOG_WARN, "vllm", "%s (rank %zu): %s, silent for %" PRIu64 " s; last: %s",
               tw_vllm_run_node(r, i), i, tw_vllm_phase_name(l.phase), silent_ns / TW_NS_PER_S,
               recent[0] != '\0' ? recent : "nothing yet");
        if (l.trouble != NULL)
            tw_log(TW_LOG_WARN, "vllm", "%s (rank %zu): its log says: %s; %s",
                   tw_vllm_run_node(r, i), i, l.trouble->what, l.trouble->mend);
    }
}

static void tell_silence(tw_vllm_run *r, const tw_vllm_log *l)
{
    tell_ranks(r);
    if (phases[l->phase].knows != NULL)
        tw_log(TW_LOG_WARN, "vllm", "%s: known causes: %s", tw_vllm_phase_name(l->phase),
               phases[l->phase].knows);
}

static uint64_t limit_of(const tw_vllm_run *r, const tw_vllm_log *l)
{
    const unsigned s = r->args->vllm.stall_s > 0 ? r->args->vllm.stall_s : phases[l->phase].limit_s;
    return s * TW_NS_PER_S;
}

/* What is missing is the phase that the slowest node does not leave. */
static int give_up(tw_vllm_run *r, size_t i, const tw_vllm_log *l, uint64_t stalled_ns, tw_err *err)
{
    char count[40] = "";
    tell_ranks(r);
    if (l->n_all > 0)
        snprintf(count, sizeof count, " (%u of %u)", l->n_done, l->n_all);
    return tw_err_set(err, -ETIMEDOUT,
                      "%.60s (rank %zu) is %s%s and did not go on for %" PRIu64
                      " s; known causes: %s (--stall S waits longer)",
                      tw_vllm_run_node(r, i), i, tw_vllm_phase_name(l->phase), count,
                      stalled_ns / TW_NS_PER_S, phases[l->phase].knows);
}

static bool answers(const tw_vllm_run *r, const tw_vllm_log *l)
{
    tw_err unused;
    return l->phase >= TW_VLLM_CAPTURING &&
           tw_ask_health(r->args->host, r->args->port, tw_clock_now_ns() + ASK_LIMIT_NS, &unused) ==
               0;
}

int tw_vllm_run_await(tw_vllm_run *r, tw_err *err)
{
    tw_vllm_log told = {0};
    uint64_t told_silence = 0;
    const uint64_t began_ns = tw_clock_now_ns();
    int rc;
    while ((rc = tw_vllm_run_check(r, err)) == 0) {
        tw_vllm_log l;
        char last[TW_VLLM_LINE_MAX];
        uint64_t silent_ns;
        tw_vllm_run_wires_first(r);
        const size_t i = tw_vllm_news_slowest(&r->news, &l, last, sizeof last, &silent_ns);
        const uint64_t stalled_ns = tw_vllm_news_stalled_ns(&r->news, began_ns);
        if (l.phase != told.phase || l.n_done != told.n_done)
            tell_phase(r, i, &l);
        told = l;
        if (silent_ns < SILENT_NS)
            told_silence = 0;
        if (silent_ns / SILENT_NS > told_silence) {
            told_silence = silent_ns / SILENT_NS;
            tell_silence(r, &l);
        }
        if (answers(r, &l))
            return 0;
        if (stalled_ns > limit_of(r, &l))
            return give_up(r, i, &l, stalled_ns, err);
        (void)tw_vllm_news_wait(&r->news, LOOK_NS);
    }
    return rc;
}

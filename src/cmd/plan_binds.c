/* SPDX-License-Identifier: Apache-2.0 */
/* Which limit binds, and whose: the link's, this machine's or another's. */
#include <stdio.h>

#include "base/scope.h"
#include "cmd/plan.h"

/* Machines whose times differ less are alike. */
static const double alike = 0.97;

/* One of the two things that all ranks do at the same time. */
typedef struct work {
    const char *limit, *unit; /* "memory bandwidth", "GB/s" */
    const char *of;           /* "a token" */
    const tw_budget_wait *wait;
    double exchange_ms;
    double (*rate)(const tw_peak *p);
} work;

static double read_of(const tw_peak *p)
{
    return p->read_gb_s;
}

static double fma_of(const tw_peak *p)
{
    return p->fma_gflops;
}

static const tw_peak *peak_of(const tw_plan_report *r, unsigned i)
{
    return r->nodes[i].has_peak ? &r->nodes[i].peak.peak : &r->peak.peak;
}

static void say(const tw_plan_report *r, const work *w, char out[200])
{
    const unsigned n = r->args->tp, i = w->wait->i_slowest;
    const double most = w->wait->most_ms, all = most + w->exchange_ms;
    if (w->exchange_ms > most)
        snprintf(out, 200, "the link (%.63s, %.0f us, %.1f Gbit/s): %.2f of %.2f ms %s",
                 r->link.name, r->link.latency_us, r->link.gbit_s, w->exchange_ms, all, w->of);
    else if (n > 1 && w->wait->least_ms > alike * most)
        snprintf(out, 200, "the %s of every node (%.1f %s): %.2f of %.2f ms %s", w->limit,
                 w->rate(peak_of(r, i)), w->unit, most, all, w->of);
    else
        snprintf(out, 200, "the %s of %.40s%s (%.1f %s): %.2f of %.2f ms %s", w->limit,
                 r->nodes[i].name, i == 0 ? " (this machine)" : "", w->rate(peak_of(r, i)), w->unit,
                 most, all, w->of);
}

void tw_plan_binds_fill(tw_plan_report *r)
{
    const tw_budget_speed *s = &r->speeds[r->i_chosen];
    const work by_memory = {"memory bandwidth",    "GB/s", "a token", &s->decode,
                            s->decode_exchange_ms, read_of};
    const work by_fma = {"arithmetic",          "GFLOP/s", "a token", &s->decode,
                         s->decode_exchange_ms, fma_of};
    const work prefill = {"arithmetic",           "GFLOP/s", "a chunk", &s->prefill,
                          s->prefill_exchange_ms, fma_of};
    say(r, s->decode.by_memory ? &by_memory : &by_fma, r->decode_binds);
    say(r, &prefill, r->prefill_binds);
}

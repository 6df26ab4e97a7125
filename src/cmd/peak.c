/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/peak.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "kern/peak.h"
#include "os/file.h"
#include "os/signal.h"
#include "os/sys.h"
#include "os/team.h"

enum { N_SWEEPS = 7, THREADS_MAX = 1024, PIECE_BYTES = 16 << 20 };

/* Each thread has a part of its own, which all read piece by piece at the same time. */
struct sweep {
    unsigned char *p;
    size_t part_bytes; /* per thread */
    size_t at, piece_bytes;
    bool fill;
    double gflops[THREADS_MAX], sums[THREADS_MAX];
};

static void read_job(void *ctx, unsigned i, unsigned n)
{
    struct sweep *s = ctx;
    unsigned char *part = s->p + i * s->part_bytes;
    (void)n;
    if (s->fill)
        memset(part, 1, s->part_bytes); /* first touch by the thread that reads */
    else
        s->sums[i] = tw_peak_sum(part + s->at, s->piece_bytes);
}

static void fma_job(void *ctx, unsigned i, unsigned n)
{
    (void)n;
    ((struct sweep *)ctx)->gflops[i] = tw_peak_fma_gflops();
}

/* Pieces of a millisecond: on a machine that others use too one of them falls between their time
 * slices, which a whole gigabyte never does. Together they are larger than any cache. */
static double best_read(tw_team *team, struct sweep *s, unsigned n)
{
    double best = 0;
    s->fill = true;
    tw_team_run(team, read_job, s);
    s->fill = false;
    s->piece_bytes = TW_MIN((size_t)PIECE_BYTES, s->part_bytes);
    for (unsigned i = 0; i < N_SWEEPS && !tw_signal_asked_to_stop(); i++)
        for (s->at = 0; s->at + s->piece_bytes <= s->part_bytes; s->at += s->piece_bytes) {
            uint64_t t0 = tw_clock_now_ns();
            tw_team_run(team, read_job, s);
            double gb_s = (double)(s->piece_bytes * n) / (double)(tw_clock_now_ns() - t0);
            best = TW_MAX(best, gb_s);
        }
    return best;
}

int tw_peak_measure(unsigned n_threads, tw_peak *ret, tw_err *err)
{
    const unsigned n = TW_MIN(TW_MAX(n_threads, 1u), (unsigned)THREADS_MAX);
    const size_t want = TW_MIN((size_t)1 << 30, (size_t)(tw_sys_mem_available_bytes() / 3));
    struct sweep *s TW_CLEANUP(tw_mem_freep) = tw_mem_calloc(1, sizeof(*s));
    tw_team *team = NULL;
    int cpus[TW_CPU_MAX];
    const bool pin = n <= tw_sys_cpus(cpus, TW_CPU_MAX);
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to measure the machine");
    int rc = tw_team_new(n, pin ? cpus : NULL, &team, err);
    if (rc != 0)
        return rc;
    s->part_bytes = want / n / 4096 * 4096;
    s->p = tw_pages_new(s->part_bytes * n);
    *ret = (tw_peak){.n_threads = n};
    if (s->p != NULL)
        ret->read_gb_s = best_read(team, s, n);
    if (!tw_signal_asked_to_stop())
        tw_team_run(team, fma_job, s);
    for (unsigned i = 0; i < n; i++)
        ret->fma_gflops += s->gflops[i];
    tw_pages_free(s->p, s->part_bytes * n);
    tw_team_free(team);
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -EINTR, "interrupted");
    return s->p != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory to measure read bandwidth");
}

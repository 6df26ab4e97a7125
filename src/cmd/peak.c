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
struct tw_peak_meter {
    tw_team *team;
    unsigned n_threads;
    unsigned char *p;
    size_t part_bytes; /* per thread */
    size_t at, piece_bytes;
    bool fill;
    double gflops[THREADS_MAX], sums[THREADS_MAX];
};

static void read_job(void *ctx, unsigned i, unsigned n)
{
    tw_peak_meter *m = ctx;
    unsigned char *part = m->p + i * m->part_bytes;
    (void)n;
    if (m->fill)
        memset(part, 1, m->part_bytes); /* first touch by the thread that reads */
    else
        m->sums[i] = tw_peak_sum(part + m->at, m->piece_bytes);
}

static void fma_job(void *ctx, unsigned i, unsigned n)
{
    (void)n;
    ((tw_peak_meter *)ctx)->gflops[i] = tw_peak_fma_gflops();
}

static double best_read(tw_peak_meter *m, unsigned n_sweeps, size_t piece_bytes)
{
    double best = 0;
    m->piece_bytes = TW_MIN(piece_bytes, m->part_bytes);
    for (unsigned i = 0; i < n_sweeps && !tw_signal_asked_to_stop(); i++)
        for (m->at = 0; m->at + m->piece_bytes <= m->part_bytes; m->at += m->piece_bytes) {
            uint64_t t0 = tw_clock_now_ns();
            tw_team_run(m->team, read_job, m);
            double gb_s =
                (double)(m->piece_bytes * m->n_threads) / (double)(tw_clock_now_ns() - t0);
            best = TW_MAX(best, gb_s);
        }
    return best;
}

/* sweeps 0: no bandwidth. */
static int measure(tw_peak_meter *m, unsigned n_sweeps, size_t piece_bytes, bool fma, tw_peak *ret,
                   tw_err *err)
{
    tw_peak p = {.n_threads = m->n_threads, .fma_gflops = ret->fma_gflops};
    if (fma) {
        p.fma_gflops = 0;
        tw_team_run(m->team, fma_job, m);
        for (unsigned i = 0; i < m->n_threads; i++)
            p.fma_gflops += m->gflops[i];
    }
    p.read_gb_s = n_sweeps > 0 ? best_read(m, n_sweeps, piece_bytes) : ret->read_gb_s;
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -EINTR, "interrupted");
    *ret = p;
    return 0;
}

int tw_peak_meter_new(unsigned n_threads, tw_peak_meter **ret, tw_err *err)
{
    const unsigned n = TW_MIN(TW_MAX(n_threads, 1u), (unsigned)THREADS_MAX);
    /* Where nobody says what is free it says 0, and pieces of nothing would never end. */
    const uint64_t third = TW_MAX(tw_sys_mem_available_bytes() / 3, (uint64_t)64 << 20);
    const size_t want = (size_t)TW_MIN((uint64_t)1 << 30, third);
    tw_peak_meter *m = tw_mem_calloc(1, sizeof(*m));
    int cpus[TW_CPU_MAX];
    const bool pin = n <= tw_sys_cpus(cpus, TW_CPU_MAX);
    if (m == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to measure the machine");
    m->n_threads = n;
    int rc = tw_team_new(n, pin ? cpus : NULL, &m->team, err);
    m->part_bytes = TW_DIV_UP(want / n, (size_t)4096) * 4096;
    if (rc == 0)
        m->p = tw_pages_new(m->part_bytes * n);
    if (rc == 0 && m->p == NULL)
        rc = tw_err_set(err, -ENOMEM, "no memory to measure read bandwidth");
    if (rc != 0) {
        tw_peak_meter_free(m);
        return rc;
    }
    m->fill = true;
    tw_team_run(m->team, read_job, m);
    m->fill = false;
    *ret = m;
    return 0;
}

int tw_peak_meter_look(tw_peak_meter *m, unsigned what, tw_peak *ret, tw_err *err)
{
    return measure(m, (what & TW_PEAK_READ) != 0, m->part_bytes, (what & TW_PEAK_FMA) != 0, ret,
                   err);
}

size_t tw_peak_meter_bytes(const tw_peak_meter *m)
{
    return m->part_bytes * m->n_threads;
}

void tw_peak_meter_free(tw_peak_meter *m)
{
    if (m == NULL)
        return;
    if (m->p != NULL)
        tw_pages_free(m->p, m->part_bytes * m->n_threads);
    tw_team_free(m->team);
    tw_mem_free(m);
}

/* Pieces of a millisecond: on a machine that others use too one of them falls between their time
 * slices, which a whole gigabyte never does. Together they are larger than any cache. */
int tw_peak_measure(unsigned n_threads, tw_peak *ret, tw_err *err)
{
    tw_peak_meter *m = NULL;
    int rc = tw_peak_meter_new(n_threads, &m, err);
    if (rc != 0)
        return rc;
    tw_peak peak = {.n_threads = n_threads};
    rc = measure(m, N_SWEEPS, PIECE_BYTES, true, &peak, err);
    if (rc == 0)
        *ret = peak;
    tw_peak_meter_free(m);
    return rc;
}

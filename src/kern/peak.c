/* SPDX-License-Identifier: Apache-2.0 */
#include "kern/peak.h"

#include <math.h>
#include <stdint.h>

#include "base/clock.h"
#include "kern/kern.h"
#ifdef __aarch64__
#include "kern/arm/tables.h"
#endif
#ifdef __x86_64__
#include "kern/x86/tables.h"
#endif

static double plain_fma(size_t n_steps, float *ret_sink)
{
    float c[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t i = 0; i < n_steps; i++)
        for (size_t j = 0; j < 8; j++)
            c[j] = fmaf(c[j], 0.5f, 1.0f);
    for (size_t j = 0; j < 8; j++)
        *ret_sink += c[j];
    return 16.0 * (double)n_steps;
}

static double run_fma(const tw_kern *k, size_t n_steps, float *ret_sink)
{
#ifdef __x86_64__
    if (k == tw_kern_avx512() || k == tw_kern_avx512vnni())
        return tw_avx512_peak_fma(n_steps, ret_sink);
    if (k == tw_kern_avx2())
        return tw_avx2_peak_fma(n_steps, ret_sink);
#endif
#ifdef __aarch64__
    if (k != tw_kern_ref())
        return tw_neon_peak_fma(n_steps, ret_sink);
#endif
    (void)k;
    return plain_fma(n_steps, ret_sink);
}

double tw_peak_fma_gflops(void)
{
    return tw_peak_fma_gflops_of(tw_kern_get(NULL));
}

double tw_peak_fma_gflops_of(const tw_kern *k)
{
    double best = 0;
    float sink = 0.0f;
    size_t n = 1000;
    /* Many short runs: one of them falls between the neighbours' time slices. */
    for (int done = 0; done < 100;) {
        uint64_t t0 = tw_clock_now_ns();
        double flops = run_fma(k, n, &sink);
        uint64_t ns = tw_clock_now_ns() - t0;
        if (ns < 300 * TW_NS_PER_US) {
            n *= 2;
            continue;
        }
        best = flops / (double)ns > best ? flops / (double)ns : best;
        done++;
    }
    volatile float keep = sink;
    (void)keep;
    return best;
}

double tw_peak_sum(const void *p, size_t bytes)
{
#ifdef __x86_64__
    if (tw_kern_avx512())
        return tw_avx512_peak_sum(p, bytes);
    if (tw_kern_avx2())
        return tw_avx2_peak_sum(p, bytes);
#endif
#ifdef __aarch64__
    return tw_neon_peak_sum(p, bytes);
#else
    const uint64_t *q = p;
    uint64_t s[4] = {0};
    for (size_t i = 0; i < bytes / 8; i += 4)
        for (size_t j = 0; j < 4; j++)
            s[j] += q[i + j];
    return (double)(s[0] + s[1] + s[2] + s[3]);
#endif
}

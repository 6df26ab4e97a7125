/* SPDX-License-Identifier: Apache-2.0 */
#ifdef __aarch64__
#include "kern/arm/tables.h"
#else
#include "kern/x86/tables.h"
#endif
#include "kern/wide/vec.h"

double TW_FN(peak_fma)(size_t n_steps, float *ret_sink)
{
    enum { N = 12 };
    vf c[N], a = v_set1(0.5f), b = v_set1(1.0f);
    TW_UNROLL
    for (int j = 0; j < N; j++)
        c[j] = v_set1((float)j);
    for (size_t i = 0; i < n_steps; i++) {
        TW_UNROLL
        for (int j = 0; j < N; j++)
            c[j] = v_fma(c[j], a, b);
    }
    for (int j = 0; j < N; j++)
        *ret_sink += v_first(c[j]);
    return 2.0 * N * TW_W * (double)n_steps;
}

/* One forward stream, as the matrix-vector product reads. */
double TW_FN(peak_sum)(const void *p, size_t bytes)
{
    const float *x = p;
    vf s[8];
    for (int j = 0; j < 8; j++)
        s[j] = v_zero();
    for (size_t i = 0; i + 8 * TW_W <= bytes / sizeof *x; i += 8 * TW_W) {
        __builtin_prefetch((const char *)(x + i) + 2048);
        __builtin_prefetch((const char *)(x + i) + 2048 + 64);
        __builtin_prefetch((const char *)(x + i) + 2048 + 128);
        __builtin_prefetch((const char *)(x + i) + 2048 + 192);
        TW_UNROLL
        for (size_t j = 0; j < 8; j++)
            s[j] = v_or_f(s[j], v_load(x + i + j * TW_W));
    }
    for (int j = 1; j < 8; j++)
        s[0] = v_or_f(s[0], s[j]);
    return (double)v_first(s[0]);
}

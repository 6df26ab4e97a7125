/* SPDX-License-Identifier: Apache-2.0 */
/* Test memory that lies flush against a page without access, at its end or at its beginning, and a
 * small generator of numbers. */
#ifndef TWINAX_TESTS_KERN_GUARD_H
#define TWINAX_TESTS_KERN_GUARD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "kern/half.h"
#include "kern/kern.h"

enum { GUARD_MAX = 64, GUARD_PAGE = 4096 };

static struct {
    void *p;
    size_t bytes;
} guard_maps[GUARD_MAX];
static size_t guard_n;
static bool guard_end = true; /* which end is flush */
static uint64_t rng_state;

static inline void guard_reset(void)
{
    while (guard_n > 0) {
        guard_n--;
        munmap(guard_maps[guard_n].p, guard_maps[guard_n].bytes);
    }
}

/* Filled with a pattern that is a large float. */
static inline void *guard_new(size_t bytes)
{
    size_t body = (bytes + GUARD_PAGE - 1) / GUARD_PAGE * GUARD_PAGE, all = body + 2 * GUARD_PAGE;
    char *p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED && guard_n < GUARD_MAX);
    assert_int_equal(mprotect(p + GUARD_PAGE, body, PROT_READ | PROT_WRITE), 0);
    guard_maps[guard_n].p = p;
    guard_maps[guard_n++].bytes = all;
    memset(p + GUARD_PAGE, 0x5a, body);
    return p + GUARD_PAGE + (guard_end ? body - bytes : 0);
}

static inline uint64_t rng_next(void)
{
    uint64_t z = rng_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline size_t rng_below(size_t n)
{
    return (size_t)(rng_next() % n);
}

/* 1 to 8 segments of k columns; their borders are any numbers, and neighbours often meet, so that some
 * are empty. Returns how many; seg [n + 1]. */
static inline unsigned rng_segments(uint32_t seg[9], uint32_t k)
{
    const unsigned n = 1u << rng_below(4);
    seg[0] = 0;
    for (unsigned i = 1; i < n; i++) {
        const uint32_t at = rng_below(3) ? k * i / n : (uint32_t)rng_below(k + 1);
        seg[i] = at > seg[i - 1] ? at : seg[i - 1];
    }
    seg[n] = k;
    return n;
}

static inline float rng_float(void) /* (-1, 1) */
{
    return (float)((double)(int64_t)rng_next() * 0x1p-63);
}

/* TW_SEED or a fresh seed; printed, so that a failure can be replayed. */
static inline void rng_start(void)
{
    const char *s = getenv("TW_SEED");
    rng_state = s ? strtoull(s, NULL, 0) : tw_clock_now_ns() % 1000000007;
    printf("# TW_SEED=%llu\n", (unsigned long long)rng_state);
    fflush(stdout);
}

static inline void fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = rng_float();
}

/* Zeros of both signs, subnormals, powers far apart, and plain numbers. */
static inline void fill_hard(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float v = rng_float();
        switch (rng_below(8)) {
        case 0:
            v = 0.0f;
            break;
        case 1:
            v = -0.0f;
            break;
        case 2:
            v *= 0x1p-130f;
            break;
        case 3:
            v *= 0x1p30f;
            break;
        case 4:
            v *= 0x1p-70f;
            break;
        default:
            break;
        }
        x[i] = v;
    }
}

/* Bit for bit, except that any NaN equals any NaN. */
static inline void assert_same(const float *a, const float *b, size_t n, const char *what)
{
    if (!memcmp(a, b, n * sizeof *a))
        return;
    for (size_t i = 0; i < n; i++) {
        if (tw_f32_bits(a[i]) != tw_f32_bits(b[i]) && !(isnan(a[i]) && isnan(b[i])))
            fail_msg("%s: [%zu] is %a, wanted %a", what, i, (double)a[i], (double)b[i]);
    }
}

#endif

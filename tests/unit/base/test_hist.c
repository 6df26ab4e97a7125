/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/hist.h"
#include "seed.h"

static void test_empty(void **state)
{
    (void)state;
    tw_hist h;
    tw_hist_init(&h);
    assert_int_equal(tw_hist_quantile_ns(&h, 0.5), 0);
    assert_true(tw_hist_mean_ns(&h) == 0.0);
}

/* |got - v| <= v / 16. */
static void check_close(uint64_t got, uint64_t v)
{
    uint64_t diff = got > v ? got - v : v - got;
    if (diff > v / 16)
        fail_msg("%llu was told as %llu", (unsigned long long)v, (unsigned long long)got);
}

/* Every bucket border and its neighbours, as the middle one of three so that min and max do not
 * help. */
static void test_error_bound(void **state)
{
    (void)state;
    for (unsigned e = 0; e < 51; e++) {
        for (uint64_t i = 0; i < 64; i++) {
            uint64_t v = (UINT64_C(1) << e) + ((i / 4) << e) / 16 + i % 4 - 1;
            if (v >= UINT64_C(31) << 46) /* 25 days: the last bucket takes all above */
                break;
            tw_hist h;
            tw_hist_init(&h);
            tw_hist_add(&h, 0);
            tw_hist_add(&h, v);
            tw_hist_add(&h, UINT64_MAX);
            check_close(tw_hist_quantile_ns(&h, 0.5), v);
        }
    }
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

static void test_against_sorted(void **state)
{
    (void)state;
    enum { N = 20000 };
    static uint64_t v[N];
    static tw_hist h;
    tw_rng rng = new_seeded_rng("hist");
    tw_hist_init(&h);
    double sum = 0;
    for (unsigned i = 0; i < N; i++) {
        v[i] = tw_rng_u64(&rng) >> (14 + tw_rng_below(&rng, 50));
        sum += (double)v[i];
        tw_hist_add(&h, v[i]);
    }
    qsort(v, N, sizeof(v[0]), compare_u64);
    for (unsigned i = 1; i < N; i++)
        check_close(tw_hist_quantile_ns(&h, (i - 0.5) / N), v[i - 1]);
    assert_int_equal(tw_hist_quantile_ns(&h, 0.0), v[0]);
    assert_int_equal(tw_hist_quantile_ns(&h, 1.0), v[N - 1]);
    assert_int_equal(h.n, N);
    double mean = tw_hist_mean_ns(&h), want = sum / N;
    assert_true(mean > want * 0.999999 && mean < want * 1.000001);
}

static void test_beyond_the_last_bucket(void **state)
{
    (void)state;
    tw_hist h;
    tw_hist_init(&h);
    tw_hist_add(&h, 5);
    for (int i = 0; i < 3; i++)
        tw_hist_add(&h, UINT64_C(1) << 60);
    assert_int_equal(tw_hist_quantile_ns(&h, 0.5), UINT64_C(1) << 60);
    assert_int_equal(tw_hist_quantile_ns(&h, 0.25), 5);
}

static void test_counts_saturate(void **state)
{
    (void)state;
    tw_hist h;
    tw_hist_init(&h);
    tw_hist_add(&h, 7);
    h.buckets[7] = UINT32_MAX;
    tw_hist_add(&h, 7);
    assert_int_equal(h.buckets[7], UINT32_MAX);
    assert_int_equal(h.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),           cmocka_unit_test(test_error_bound),
        cmocka_unit_test(test_against_sorted),  cmocka_unit_test(test_beyond_the_last_bucket),
        cmocka_unit_test(test_counts_saturate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

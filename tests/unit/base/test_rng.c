/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <math.h>

#include "base/rng.h"
#include "seed.h"

/* Known-answer vectors of Random123 (philox4x32, 10 rounds). */
static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t ctr[4], key[2], want[4];
    } kat[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof(kat) / sizeof(kat[0]); i++) {
        uint32_t out[4];
        tw_rng_philox(kat[i].key, kat[i].ctr, out);
        assert_memory_equal(out, kat[i].want, sizeof(out));
        memcpy(out, kat[i].ctr, sizeof(out));
        tw_rng_philox(kat[i].key, out, out); /* in place */
        assert_memory_equal(out, kat[i].want, sizeof(out));
    }
}

/* All 2^23 values: strictly between 0 and 1, each a step of 2^-23 from the last. */
static void test_unit(void **state)
{
    (void)state;
    float last = 0.0f;
    for (uint32_t i = 0; i < UINT32_C(1) << 23; i++) {
        float u = tw_rng_unit(i << 9 | 0x1ff);
        if (!(u > last && u < 1.0f) || u - last != (i == 0 ? 0x1p-24f : 0x1p-23f))
            fail_msg("unit of %u is %a after %a", i, (double)u, (double)last);
        last = u;
    }
    assert_true(tw_rng_unit(0) == 0x1p-24f);
    assert_true(tw_rng_unit(UINT32_MAX) == 1.0f - 0x1p-24f);
}

static void test_streams_repeat_and_differ(void **state)
{
    (void)state;
    tw_rng a = tw_rng_seed(7), b = tw_rng_seed(7), c = tw_rng_seed(UINT64_C(7) << 32);
    unsigned n_same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = tw_rng_u64(&a);
        assert_int_equal(v, tw_rng_u64(&b));
        n_same += v == tw_rng_u64(&c);
    }
    assert_int_equal(n_same, 0);
}

static void test_below(void **state)
{
    (void)state;
    tw_rng rng = new_seeded_rng("below");
    unsigned n_of[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t v = tw_rng_below(&rng, 7);
        assert_true(v < 7);
        n_of[v]++;
    }
    for (int i = 0; i < 7; i++) /* 10 sigma */
        assert_true(n_of[i] > 9070 && n_of[i] < 10930);
    assert_int_equal(tw_rng_below(&rng, 0), 0);
    assert_int_equal(tw_rng_below(&rng, 1), 0);
    uint64_t big = (UINT64_C(1) << 63) + 1; /* nearly half of all draws are refused */
    for (int i = 0; i < 1000; i++)
        assert_true(tw_rng_below(&rng, big) < big);
}

static void test_f32(void **state)
{
    (void)state;
    tw_rng rng = new_seeded_rng("f32");
    double sum = 0;
    for (int i = 0; i < 100000; i++) {
        float u = tw_rng_f32(&rng);
        assert_true(u > 0.0f && u < 1.0f);
        sum += (double)u;
    }
    assert_true(fabs(sum / 100000 - 0.5) < 0.01);
}

/* Moments, and the share within one and two sigma. */
static void test_normal(void **state)
{
    (void)state;
    enum { N = 200000 };
    tw_rng rng = new_seeded_rng("normal");
    double s1 = 0, s2 = 0, s3 = 0, s4 = 0;
    unsigned n_one = 0, n_two = 0;
    for (int i = 0; i < N; i++) {
        double x = (double)tw_rng_normal(&rng);
        assert_true(isfinite(x));
        s1 += x;
        s2 += x * x;
        s3 += x * x * x;
        s4 += x * x * x * x;
        n_one += fabs(x) < 1.0;
        n_two += fabs(x) < 2.0;
    }
    assert_true(fabs(s1 / N) < 0.02);
    assert_true(fabs(s2 / N - 1.0) < 0.03);
    assert_true(fabs(s3 / N) < 0.06);
    assert_true(fabs(s4 / N - 3.0) < 0.25);
    assert_true(fabs(n_one / (double)N - 0.682689) < 0.01);
    assert_true(fabs(n_two / (double)N - 0.954500) < 0.005);
}

/* Pinned: the same numbers on every machine, compiler and libm. */
static void test_normal_bits(void **state)
{
    (void)state;
    tw_rng rng = tw_rng_seed(42);
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < 1000; i++) {
        float x = tw_rng_normal(&rng);
        uint32_t bits;
        memcpy(&bits, &x, sizeof(bits));
        hash = (hash ^ bits) * UINT64_C(0x100000001b3);
    }
    if (hash != UINT64_C(0x1904f44cff8adcbf))
        fail_msg("hash of 1000 normals is %#llx", (unsigned long long)hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_unit),
        cmocka_unit_test(test_streams_repeat_and_differ),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_normal),
        cmocka_unit_test(test_normal_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

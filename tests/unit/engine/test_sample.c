/* SPDX-License-Identifier: Apache-2.0 */
/* The split choice equals the whole one for every R, and the whole one does what it says. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/scope.h"
#include "engine/sample.h"

enum { V = 1000, N_TRIES = 400 };

/* libc may take memory for itself, which no guard of ours sees. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&       \
    !defined(__clang__)
#define COUNTS_MALLOC 1
void *__libc_malloc(size_t bytes);
static size_t n_malloc;

__attribute__((visibility("default"))) void *malloc(size_t bytes)
{
    n_malloc++;
    return __libc_malloc(bytes);
}
#endif

static uint64_t seed(void)
{
    const char *env = getenv("TW_SEED");
    uint64_t s = env != NULL ? strtoull(env, NULL, 10) : 20261122;
    print_message("# TW_SEED=%llu\n", (unsigned long long)s);
    return s;
}

static tw_seq random_seq(tw_rng *rng)
{
    tw_seq s = {.len = (uint32_t)tw_rng_below(rng, 1000), .state = TW_SEQ_DECODE};
    static const float temps[] = {0.0f, 0.3f, 1.0f, 1.7f};
    static const float top_ps[] = {1.0f, 0.9f, 0.3f};
    static const float min_ps[] = {0.0f, 0.05f};
    static const uint32_t top_ks[] = {0, 1, 20, 100, 5000};
    s.params.temperature = temps[tw_rng_below(rng, TW_ARRAY_LEN(temps))];
    s.params.top_p = top_ps[tw_rng_below(rng, TW_ARRAY_LEN(top_ps))];
    s.params.min_p = min_ps[tw_rng_below(rng, TW_ARRAY_LEN(min_ps))];
    s.params.top_k = top_ks[tw_rng_below(rng, TW_ARRAY_LEN(top_ks))];
    s.params.seed = tw_rng_u64(rng);
    s.params.repetition_penalty = 1.0f;
    return s;
}

/* Peaked rows, flat rows, rows with many ties. */
static void random_logits(tw_rng *rng, float *z)
{
    const float scale = tw_rng_below(rng, 2) ? 4.0f : 0.3f;
    const bool ties = tw_rng_below(rng, 3) == 0;
    for (unsigned i = 0; i < V; i++) {
        z[i] = tw_rng_normal(rng) * scale;
        if (ties)
            z[i] = floorf(z[i]);
    }
}

/* The whole choice with R ranks that see only their own part. */
static uint32_t pick_split(const tw_kern *k, const tw_seq *s, const float *logits, unsigned n_ranks,
                           bool *ret_gathered)
{
    static float z[V];
    static tw_row_best best[TW_RANKS_MAX];
    static tw_candidate order[2 * V];
    const tw_row_best *rows[TW_RANKS_MAX];
    uint32_t seg[TW_SEGMENTS + 1], id;
    tw_segments(V, 64, seg);
    memcpy(z, logits, sizeof(z));
    const unsigned n_seg = TW_SEGMENTS / n_ranks;
    for (unsigned r = 0; r < n_ranks; r++) {
        const uint32_t v0 = seg[r * n_seg], n = seg[(r + 1) * n_seg] - v0;
        tw_sample_shape(s, z + v0, v0, n);
        memset(&best[r], 0xff, sizeof(best[r])); /* what does not travel is not read */
        tw_sample_best(k, s, z + v0, v0, n, seg, &best[r]);
        memset((char *)&best[r] + tw_row_wire_bytes(s), 0xff,
               sizeof(best[r]) - tw_row_wire_bytes(s));
        rows[r] = &best[r];
    }
    int rc = tw_sample_pick(s, rows, n_ranks, &id);
    *ret_gathered = rc == -EAGAIN;
    return rc == -EAGAIN ? tw_sample_pick_full(k, s, z, V, seg, order) : id;
}

static void test_split_equals_whole(void **state)
{
    (void)state;
    tw_rng rng = tw_rng_seed(seed());
    const tw_kern *k = tw_kern_get(NULL);
    static float logits[V];
    unsigned n_gathered = 0, n_certain = 0;
    for (unsigned t = 0; t < N_TRIES; t++) {
        tw_seq s = random_seq(&rng);
        random_logits(&rng, logits);
        static float z[V];
        static tw_candidate order[2 * V];
        uint32_t seg[TW_SEGMENTS + 1];
        tw_segments(V, 64, seg);
        memcpy(z, logits, sizeof(z));
        tw_sample_shape(&s, z, 0, V);
        const uint32_t want = tw_sample_pick_full(k, &s, z, V, seg, order);
        for (unsigned r = 1; r <= TW_RANKS_MAX; r *= 2) {
            bool gathered;
            assert_int_equal(pick_split(k, &s, logits, r, &gathered), want);
            n_gathered += gathered;
            n_certain += !gathered;
        }
    }
    print_message("# %u certain, %u gathered\n", n_certain, n_gathered);
    assert_true(n_gathered > 0); /* both ways were walked */
    assert_true(n_certain > n_gathered);
}

static void test_greedy_ties_go_to_the_lowest_id(void **state)
{
    (void)state;
    static float logits[V];
    bool gathered;
    tw_seq s = {.params = {.temperature = 0, .top_p = 1, .repetition_penalty = 1}};
    logits[999] = logits[130] = logits[700] = 5.0f;
    for (unsigned r = 1; r <= TW_RANKS_MAX; r *= 2)
        assert_int_equal(pick_split(tw_kern_ref(), &s, logits, r, &gathered), 130);
}

/* Frequencies of 20,000 draws against softmax: 4 sigma. */
static void test_frequencies(void **state)
{
    (void)state;
    enum { N = 20000, N_HOT = 5 };
    static float logits[V];
    unsigned counts[N_HOT] = {0};
    bool gathered;
    for (unsigned i = 0; i < V; i++)
        logits[i] = i < N_HOT ? (float)i * 0.5f : -50.0f;
    double sum = 0;
    for (unsigned i = 0; i < N_HOT; i++)
        sum += exp(i * 0.5 / 0.8);
    tw_seq s = {.params = {.temperature = 0.8f, .top_p = 1, .seed = 7, .repetition_penalty = 1}};
    for (unsigned t = 0; t < N; t++) {
        s.len = t;
        uint32_t id = pick_split(tw_kern_ref(), &s, logits, 2, &gathered);
        assert_true(id < N_HOT);
        counts[id]++;
    }
    for (unsigned i = 0; i < N_HOT; i++) {
        const double p = exp(i * 0.5 / 0.8) / sum;
        assert_true(fabs(counts[i] - N * p) < 4 * sqrt(N * p * (1 - p)));
    }
}

/* Ties, both zeros, subnormals, one bin, and the whole range of floats. */
static float odd_float(tw_rng *rng, unsigned kind)
{
    static const float few[] = {0.0f, -0.0f, 1.0f, -1.0f, 1e-42f, -1e-42f, 3.4e38f, -3.4e38f};
    if (kind == 0)
        return few[tw_rng_below(rng, TW_ARRAY_LEN(few))];
    if (kind == 1)
        return tw_rng_normal(rng);
    if (kind == 2)
        return 5.0f + tw_rng_normal(rng) * 1e-6f; /* all in one bin */
    uint32_t bits;
    float z;
    do {
        bits = (uint32_t)tw_rng_u64(rng);
        memcpy(&z, &bits, sizeof(z));
    } while (!isfinite(z));
    return z;
}

static int by_order(const void *pa, const void *pb)
{
    const tw_candidate *a = pa, *b = pb;
    return tw_candidate_before(*a, *b) ? -1 : tw_candidate_before(*b, *a);
}

/* What is taken is the front of the whole, sorted otherwise, bit by bit. */
static void test_order_is_that_of_a_sort(void **state)
{
    (void)state;
    enum { N = 5000 };
    static float z[N];
    static tw_candidate want[N], got[2 * N];
    tw_rng rng = tw_rng_seed(seed());
    for (unsigned t = 0; t < 60; t++) {
        const uint32_t n = t < 4 ? t + 1 : 1 + (uint32_t)tw_rng_below(&rng, N);
        for (uint32_t i = 0; i < n; i++) {
            z[i] = odd_float(&rng, t % 4);
            want[i] = (tw_candidate){.z = z[i], .id = i};
        }
        qsort(want, n, sizeof(*want), by_order);
        tw_order o;
        tw_order_init(&o, z, n);
        for (uint32_t wanted = 1; wanted <= n;
             wanted = wanted < n && wanted * 7 > n ? n : wanted * 7) {
            const uint32_t n_got = tw_order_take(&o, wanted, got);
            assert_in_range(n_got, wanted, n);
            assert_memory_equal(got, want, n_got * sizeof(*got));
        }
    }
}

/* Lists of the ranks that hold all there is need no gathering: another way to the same answer. */
static void test_whole_choice_equals_whole_lists(void **state)
{
    (void)state;
    enum { SMALL = 8 * TW_CANDIDATES };
    static float z[SMALL];
    static tw_candidate order[2 * SMALL];
    static tw_row_best best[TW_RANKS_MAX];
    const tw_row_best *rows[TW_RANKS_MAX];
    const tw_kern *k = tw_kern_get(NULL);
    tw_rng rng = tw_rng_seed(seed());
    unsigned n_late = 0;
    uint32_t seg[TW_SEGMENTS + 1];
    tw_segments(SMALL, 64, seg);
    for (unsigned t = 0; t < 2000; t++) {
        const tw_seq s = random_seq(&rng);
        const float scale = tw_rng_below(&rng, 2) ? 3.0f : 0.1f;
        for (unsigned i = 0; i < SMALL; i++)
            z[i] = t % 3 == 0 ? odd_float(&rng, 0) * 1e-36f : tw_rng_normal(&rng) * scale;
        tw_sample_shape(&s, z, 0, SMALL);
        for (unsigned r = 0; r < TW_RANKS_MAX; r++) {
            tw_sample_best(k, &s, z + seg[r], seg[r], seg[r + 1] - seg[r], seg, &best[r]);
            rows[r] = &best[r];
        }
        uint32_t want = 0;
        assert_int_equal(tw_sample_pick(&s, rows, TW_RANKS_MAX, &want), 0);
        assert_int_equal(tw_sample_pick_full(k, &s, z, SMALL, seg, order), want);
        n_late += s.params.temperature > 0 && s.params.top_p < 1 && scale < 1;
    }
    assert_true(n_late > 100); /* cuts that lie beyond what is sorted at first */
}

static unsigned distinct_picks(tw_seq s, const float *logits, unsigned n_draws)
{
    static bool seen[V];
    unsigned n = 0;
    memset(seen, 0, sizeof(seen));
    for (s.len = 0; s.len < n_draws; s.len++) {
        bool gathered;
        uint32_t id = pick_split(tw_kern_ref(), &s, logits, 4, &gathered);
        n += !seen[id];
        seen[id] = true;
    }
    return n;
}

static void test_cuts(void **state)
{
    (void)state;
    static float logits[V];
    for (unsigned i = 0; i < V; i++)
        logits[i] = logf(i < 4 ? 0.2f : 0.2f / (V - 4)); /* four heavy tokens: 0.8 of the mass */
    tw_seq s = {.params = {.temperature = 1, .top_p = 1, .seed = 3, .repetition_penalty = 1}};
    assert_true(distinct_picks(s, logits, 400) > 20);
    s.params.top_k = 3;
    assert_int_equal(distinct_picks(s, logits, 400), 3);
    s.params.top_k = 0;
    s.params.top_p = 0.5f; /* 0.2 + 0.2 + 0.2 reaches it */
    assert_int_equal(distinct_picks(s, logits, 400), 3);
    s.params.top_p = 1;
    s.params.min_p = 0.5f;
    assert_int_equal(distinct_picks(s, logits, 400), 4);
}

static void test_penalties(void **state)
{
    (void)state;
    uint16_t counts[4] = {0, 2, 0x8000, 0x8001};
    float x[4] = {1.0f, 1.0f, 1.0f, -1.0f};
    tw_seq s = {.has_counts = true, .counts = counts};
    s.params = (tw_seq_params){.temperature = 0,
                               .presence_penalty = 0.5f,
                               .frequency_penalty = 0.25f,
                               .repetition_penalty = 2.0f};
    tw_sample_shape(&s, x, 0, 4);
    assert_true(x[0] == 1.0f);                    /* never seen */
    assert_true(x[1] == 0.5f - 2 * 0.25f - 0.5f); /* generated twice */
    assert_true(x[2] == 0.5f);                    /* only in the prompt */
    assert_true(x[3] == -2.0f - 0.25f - 0.5f);    /* both; negative logits are multiplied */
}

static void test_not_finite_is_told(void **state)
{
    (void)state;
    static float z[V];
    uint32_t seg[TW_SEGMENTS + 1];
    tw_row_best row;
    tw_seq s = {.params = {.temperature = 0, .top_p = 1, .repetition_penalty = 1}};
    tw_segments(V, 64, seg);
    tw_sample_best(tw_kern_ref(), &s, z, 0, V, seg, &row);
    assert_false(row.not_finite);
    z[V - 1] = INFINITY;
    tw_sample_best(tw_kern_ref(), &s, z, 0, V, seg, &row);
    assert_true(row.not_finite);
}

/* Part of decode: nothing is allocated, by us or by libc. */
static void test_whole_choice_allocates_nothing(void **state)
{
    (void)state;
#ifdef COUNTS_MALLOC
    enum { MANY = 1 << 16 };
    static float z[MANY];
    static tw_candidate order[2 * MANY];
    tw_rng rng = tw_rng_seed(seed());
    tw_seq s = random_seq(&rng);
    s.params.temperature = 1.0f;
    s.params.top_p = 0.99f;
    s.params.top_k = 0;
    s.params.min_p = 0.0f;
    for (unsigned i = 0; i < MANY; i++)
        z[i] = tw_rng_normal(&rng);
    uint32_t seg[TW_SEGMENTS + 1];
    tw_segments(MANY, 64, seg);
    const size_t before = n_malloc;
    const uint32_t id = tw_sample_pick_full(tw_kern_get(NULL), &s, z, MANY, seg, order);
    assert_int_equal(n_malloc, before);
    assert_true(id < MANY);
#else
    print_message("# skipped: a sanitizer owns malloc\n");
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_equals_whole),
        cmocka_unit_test(test_order_is_that_of_a_sort),
        cmocka_unit_test(test_whole_choice_equals_whole_lists),
        cmocka_unit_test(test_greedy_ties_go_to_the_lowest_id),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_not_finite_is_told),
        cmocka_unit_test(test_whole_choice_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

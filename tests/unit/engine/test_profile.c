/* SPDX-License-Identifier: Apache-2.0 */
/* Rings that were filled by hand, and what is told of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "engine/profile.h"

enum { US = 1000 };

static tw_profiler *new_profiler(unsigned n_ranks)
{
    tw_profiler *p = tw_mem_calloc(1, sizeof(*p));
    p->n_ranks = n_ranks;
    p->rings = tw_mem_calloc(n_ranks, sizeof(*p->rings));
    p->merged = tw_mem_calloc(n_ranks, sizeof(p->rings->events));
    p->ring = p->rings;
    return p;
}

static void put(tw_profile_ring *r, enum tw_profile_kind kind, uint32_t number, uint32_t n_rows,
                uint64_t begin_ns, uint64_t end_ns)
{
    r->events[r->n++ % TW_PROFILE_EVENTS] =
        (tw_profile_event){.begin_ns = begin_ns,
                           .end_ns = end_ns,
                           .number = kind == TW_PROFILE_EXCHANGE ? r->n_exchanges++ : number,
                           .kind = (uint16_t)kind,
                           .n_rows = (uint16_t)n_rows};
}

/* A step of 1 ms: 300 us until this rank comes to the exchange (late_us more), which ends at 600 us
 * for all; sampling from 800 us with an exchange from 850 to 900. clock_ns: what this rank's clock
 * shows more. */
static void put_step(tw_profile_ring *r, enum tw_profile_kind kind, uint32_t step, uint64_t t0_ns,
                     uint64_t late_us)
{
    put(r, TW_PROFILE_EXCHANGE, 0, 1, t0_ns + (300 + late_us) * US, t0_ns + 600 * US);
    put(r, TW_PROFILE_EXCHANGE, 0, 1, t0_ns + 850 * US, t0_ns + 900 * US);
    put(r, TW_PROFILE_SAMPLE, step, 1, t0_ns + 800 * US, t0_ns + 950 * US);
    put(r, kind, step, kind == TW_PROFILE_DECODE ? 1 : 10, t0_ns, t0_ns + 1000 * US);
}

static void sums_are_right(void **state)
{
    (void)state;
    tw_profiler *p = new_profiler(2);
    tw_profile prof;
    tw_err err;
    const uint64_t clock_ns = 77777777;
    put_step(&p->rings[0], TW_PROFILE_PREFILL, 0, 5000 * US, 0);
    put_step(&p->rings[1], TW_PROFILE_PREFILL, 0, 5000 * US + clock_ns, 0);
    for (uint32_t i = 1; i <= 3; i++) {
        const uint64_t t0 = (5000 + 2000 * i) * US;
        put(&p->rings[0], TW_PROFILE_SERVER, i, 0, t0 - 40 * US, t0);
        put_step(&p->rings[0], TW_PROFILE_DECODE, i, t0, 0);
        put_step(&p->rings[1], TW_PROFILE_DECODE, i, t0 + clock_ns, 200);
    }
    assert_int_equal(tw_profiler_gather(p, &prof, &err), 0);
    assert_int_equal(prof.n_ranks, 2);
    assert_int_equal(prof.prefill.n_steps, 1);
    assert_int_equal(prof.prefill.n_tokens, 10);
    assert_int_equal(prof.prefill.rank[0].skew_ns, 0);
    assert_int_equal(prof.prefill.rank[0].transport_ns, 350 * US);
    assert_int_equal(prof.decode.n_steps, 3);
    assert_int_equal(prof.decode.n_tokens, 3);
    assert_int_equal(prof.decode.rank[0].skew_ns, 3 * 200 * US); /* rank 1 came that much later */
    assert_int_equal(prof.decode.rank[1].skew_ns, 0);
    for (unsigned r = 0; r < 2; r++) {
        assert_int_equal(prof.decode.rank[r].transport_ns, 3 * 150 * US);
        assert_int_equal(prof.decode.rank[r].sample_ns, 3 * 100 * US);
        assert_int_equal(prof.decode.rank[r].server_ns, r == 0 ? 3 * 40 * US : 0);
        assert_int_equal(prof.decode.rank[r].arith_ns + prof.decode.rank[r].skew_ns +
                             prof.decode.rank[r].transport_ns + prof.decode.rank[r].sample_ns,
                         3 * 1000 * US);
    }
    /* Rank 1's events, by rank 0's clock. */
    const tw_profile_event *last = &prof.events[1][prof.n_events[1] - 1];
    assert_int_equal(last->kind, TW_PROFILE_DECODE);
    assert_int_equal(last->begin_ns, 11000 * US);
    tw_profiler_free(p);
}

/* Rings that went round at different places: only steps that all have whole are counted. */
static void a_full_ring_keeps_the_last_steps(void **state)
{
    (void)state;
    tw_profiler *p = new_profiler(2);
    tw_profile prof;
    tw_err err;
    enum { N = TW_PROFILE_EVENTS / 4 + 100 };
    for (uint32_t i = 0; i < N; i++) {
        const uint64_t t0 = (10000 + 2000 * (uint64_t)i) * US;
        put(&p->rings[0], TW_PROFILE_SERVER, i, 0, t0 - 40 * US, t0);
        put_step(&p->rings[0], TW_PROFILE_DECODE, i, t0, 100);
        put_step(&p->rings[1], TW_PROFILE_DECODE, i, t0, 0);
    }
    assert_int_equal(tw_profiler_gather(p, &prof, &err), 0);
    const uint64_t n = TW_PROFILE_EVENTS / 5; /* of rank 0, who notes five events a step */
    assert_true(prof.decode.n_steps >= n - 1 && prof.decode.n_steps <= n);
    assert_int_equal(prof.decode.rank[1].skew_ns, prof.decode.n_steps * 100 * US);
    assert_int_equal(prof.decode.rank[0].skew_ns, 0);
    tw_profiler_free(p);
}

/* What a peer sends is not believed: no number in it leads anywhere. */
static void noise_from_a_peer_does_no_harm(void **state)
{
    (void)state;
    tw_profiler *p = new_profiler(2);
    tw_profile prof;
    tw_err err;
    for (unsigned seed = 0; seed < 20; seed++) {
        memset(p->rings, 0, 2 * sizeof(*p->rings));
        for (uint32_t i = 0; i < 50; i++)
            put_step(&p->rings[0], TW_PROFILE_DECODE, i, (10000 + 2000 * (uint64_t)i) * US, 0);
        uint8_t *bytes = (uint8_t *)&p->rings[1];
        uint64_t x = seed + 1;
        for (size_t i = 0; i < sizeof(*p->rings); i++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
            bytes[i] = (uint8_t)(x >> 56 & (seed % 2 == 0 ? 0xff : 3));
        }
        assert_int_equal(tw_profiler_gather(p, &prof, &err), 0);
        assert_true(prof.n_events[1] <= TW_PROFILE_EVENTS);
    }
    tw_profiler_free(p);
}

static void none_costs_nothing(void **state)
{
    (void)state;
    tw_profiler *p = (tw_profiler *)&p;
    tw_err err;
    assert_int_equal(tw_profiler_new(NULL, false, &p, &err), 0);
    assert_null(p);
    tw_profiler_note(p, TW_PROFILE_DECODE, 1, 1, 0);
    assert_int_equal(tw_profiler_now(p), 0);
    tw_profiler_free(p);
    assert_int_equal(tw_profiler_new(NULL, true, &p, &err), 0);
    tw_mem_guard_begin();
    for (unsigned i = 0; i < 3 * TW_PROFILE_EVENTS; i++)
        tw_profiler_note(p, TW_PROFILE_EXCHANGE, 0, 1, tw_profiler_now(p));
    tw_mem_guard_end();
    tw_profiler_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right),
        cmocka_unit_test(a_full_ring_keeps_the_last_steps),
        cmocka_unit_test(noise_from_a_peer_does_no_harm),
        cmocka_unit_test(none_costs_nothing),
    };
    return cmocka_run_group_tests_name("engine profile", tests, NULL, NULL);
}

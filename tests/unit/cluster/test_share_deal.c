/* SPDX-License-Identifier: Apache-2.0 */
/* Dealing under seeded schedules: whatever fails, whoever is left gets all; nothing is fetched twice
 * where nothing fails, and nobody fetches more than its share. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "base/scope.h"
#include "cluster/share_deal.h"

enum { UNITS = 120, FILES = 5, ROUNDS = 300, BYTES = 1000, NODES = 4 };

static uint32_t file_of[UNITS], bytes_of[UNITS];

static tw_deal *make(unsigned n_nodes, bool from_net)
{
    tw_deal *d = NULL;
    for (unsigned u = 0; u < UNITS; u++) {
        file_of[u] = u * FILES / UNITS;
        bytes_of[u] = BYTES;
    }
    const tw_deal_opts o = {.n_nodes = n_nodes,
                            .n_units = UNITS,
                            .n_files = FILES,
                            .file = file_of,
                            .bytes = bytes_of,
                            .from_net = from_net,
                            .net_window = 12,
                            .peer_window = 4};
    assert_int_equal(tw_deal_new(&o, &d, NULL), 0);
    return d;
}

/* A world of nodes: orders that are under way. */
typedef struct world {
    tw_deal *d;
    unsigned n;
    struct {
        size_t unit[UNITS];
        int from[UNITS]; /* -1: the net */
        size_t n;
        bool has[UNITS], is_dead, no_net;
        unsigned n_net;
    } v[NODES];
} world;

static void take_orders(world *w, unsigned i)
{
    for (;;) {
        const tw_deal_order o = tw_deal_next(w->d, i);
        if (o.what == TW_DEAL_NOTHING)
            return;
        if (o.what == TW_DEAL_FORGET) {
            for (size_t k = 0; k < w->v[i].n; k++)
                if (w->v[i].unit[k] == o.unit && w->v[i].from[k] < 0) {
                    w->v[i].n--;
                    w->v[i].unit[k] = w->v[i].unit[w->v[i].n];
                    w->v[i].from[k] = w->v[i].from[w->v[i].n];
                }
            continue;
        }
        assert_false(w->v[i].has[o.unit]);
        assert_true(w->v[i].n < UNITS);
        if (o.what == TW_DEAL_PEER) {
            assert_true(o.from != i && w->v[o.from].has[o.unit] && !w->v[o.from].is_dead);
        } else {
            assert_false(w->v[i].no_net);
            w->v[i].n_net++;
        }
        w->v[i].unit[w->v[i].n] = o.unit;
        w->v[i].from[w->v[i].n++] = o.what == TW_DEAL_NET ? -1 : (int)o.from;
    }
}

/* The k-th order of node i comes to its end. */
static void finish(world *w, unsigned i, size_t k, bool fails)
{
    const size_t u = w->v[i].unit[k];
    const int from = w->v[i].from[k];
    w->v[i].n--;
    w->v[i].unit[k] = w->v[i].unit[w->v[i].n];
    w->v[i].from[k] = w->v[i].from[w->v[i].n];
    if (fails || (from >= 0 && w->v[from].is_dead)) {
        tw_deal_failed(w->d, i, u, from);
        return;
    }
    w->v[i].has[u] = true;
    tw_deal_has(w->d, i, u);
}

static bool all_full(const world *w)
{
    for (unsigned i = 0; i < w->n; i++)
        if (!w->v[i].is_dead && !tw_deal_is_full(w->d, i))
            return false;
    return true;
}

static void kill_node(world *w, unsigned i)
{
    w->v[i].is_dead = true;
    w->v[i].n = 0;
    tw_deal_gone(w->d, i);
}

static void run(world *w, tw_rng *r, unsigned fault_percent)
{
    for (unsigned step = 0; !all_full(w); step++) {
        const unsigned i = (unsigned)tw_rng_below(r, w->n);
        assert_true(step < 200000);
        if (w->v[i].is_dead)
            continue;
        take_orders(w, i);
        if (w->v[i].n > 0)
            finish(w, i, (size_t)tw_rng_below(r, w->v[i].n), tw_rng_below(r, 100) < fault_percent);
        tw_deal_rate(w->d, i, 1 + (double)tw_rng_below(r, 10000));
    }
}

static tw_rng seeded(void)
{
    const char *s = getenv("TW_SEED");
    const uint64_t seed = s != NULL ? strtoull(s, NULL, 10) : 20261122;
    printf("# TW_SEED=%llu\n", (unsigned long long)seed);
    return tw_rng_seed(seed);
}

static void each_fetches_its_share(void **state)
{
    (void)state;
    tw_rng r = seeded();
    for (unsigned n = 2; n <= NODES; n++) {
        world w = {.d = make(n, false), .n = n};
        unsigned all = 0;
        for (unsigned step = 0; !all_full(&w); step++) { /* at the same speed, no rate known */
            assert_true(step < 10000);
            for (unsigned i = 0; i < n; i++) {
                take_orders(&w, i);
                if (w.v[i].n > 0)
                    finish(&w, i, (size_t)tw_rng_below(&r, w.v[i].n), false);
            }
        }
        for (unsigned i = 0; i < n; i++) {
            all += w.v[i].n_net;
            assert_in_range(w.v[i].n_net, UNITS / n - 1, UNITS / n + 1);
        }
        assert_int_equal(all, UNITS);
        tw_deal_free(w.d);
    }
}

static void whatever_fails_the_rest_gets_all(void **state)
{
    (void)state;
    tw_rng r = seeded();
    for (unsigned round = 0; round < ROUNDS; round++) {
        world w = {.n = 2 + (unsigned)tw_rng_below(&r, NODES - 1)};
        w.d = make(w.n, false);
        for (unsigned i = 0; i < w.n; i++) /* what an earlier run left */
            for (unsigned u = 0; u < UNITS; u++)
                if (tw_rng_below(&r, 5) == 0) {
                    w.v[i].has[u] = true;
                    tw_deal_has(w.d, i, u);
                } else if (tw_rng_below(&r, 9) == 0) {
                    tw_deal_begun(w.d, i, u, 7);
                }
        for (unsigned k = (unsigned)tw_rng_below(&r, 60); k > 0; k--) {
            const unsigned i = (unsigned)tw_rng_below(&r, w.n);
            take_orders(&w, i);
            if (w.v[i].n > 0)
                finish(&w, i, 0, tw_rng_below(&r, 4) == 0);
        }
        const unsigned gone = (unsigned)tw_rng_below(&r, w.n), dry = (gone + 1) % w.n;
        if (tw_rng_below(&r, 2) == 0)
            kill_node(&w, gone);
        if (w.n > 2 && tw_rng_below(&r, 2) == 0) {
            w.v[dry].no_net = true;
            w.v[dry].n = 0;
            tw_deal_no_net(w.d, dry);
            for (unsigned u = 0; u < UNITS; u++) /* what was under way from peers too */
                for (unsigned p = 0; p < w.n; p++)
                    tw_deal_failed(w.d, dry, u, (int)p);
        }
        run(&w, &r, 10);
        tw_deal_free(w.d);
    }
}

static void without_a_net_they_are_stuck_and_it_is_said(void **state)
{
    (void)state;
    world w = {.d = make(2, false), .n = 2};
    size_t unit = 0;
    for (unsigned u = 0; u < UNITS; u++)
        if (u != 17)
            tw_deal_has(w.d, 0, u);
    tw_deal_no_net(w.d, 0);
    assert_false(tw_deal_is_stuck(w.d, 0, &unit));
    tw_deal_no_net(w.d, 1);
    assert_true(tw_deal_is_stuck(w.d, 0, &unit));
    assert_int_equal(unit, 17);
    tw_deal_free(w.d);
}

/* It has it, and does not give it: a failing disk. Somebody else brings it, or the net. */
static void who_never_gives_is_asked_no_more(void **state)
{
    (void)state;
    world w = {.d = make(2, false), .n = 2};
    unsigned n_asked = 0;
    for (unsigned u = 0; u < UNITS; u++) {
        tw_deal_has(w.d, 0, u);
        if (u != 17)
            tw_deal_has(w.d, 1, u);
    }
    while (w.v[1].n_net == 0) {
        const tw_deal_order o = tw_deal_next(w.d, 1);
        w.v[1].n_net += o.what == TW_DEAL_NET;
        if (o.what == TW_DEAL_PEER)
            tw_deal_failed(w.d, 1, o.unit, 0);
        assert_true(n_asked++ < 10000);
    }
    assert_true(n_asked > 100); /* it may have been found to be bad there a moment ago */
    assert_true(tw_deal_is_cut(w.d, 1, 0));
    assert_false(tw_deal_is_cut(w.d, 0, 1));
    tw_deal_free(w.d);
}

static void a_slow_one_is_relieved_of_its_last(void **state)
{
    (void)state;
    world w = {.d = make(2, false), .n = 2};
    for (unsigned u = 0; u < UNITS - 3; u++) {
        tw_deal_has(w.d, 0, u);
        tw_deal_has(w.d, 1, u);
    }
    take_orders(&w, 1); /* the first of three */
    assert_int_equal(w.v[1].n_net, 1);
    w.v[0].n_net = 0;
    take_orders(&w, 0); /* the second one, and is fast */
    for (unsigned k = 0; k < 20; k++) {
        tw_deal_rate(w.d, 1, 1); /* a byte a second: 1000 s for it */
        tw_deal_rate(w.d, 0, 1e6);
    }
    for (unsigned k = 0; k < 10 && !tw_deal_is_full(w.d, 0); k++) {
        take_orders(&w, 0);
        while (w.v[0].n > 0)
            finish(&w, 0, 0, false);
    }
    assert_true(tw_deal_is_full(w.d, 0));
    assert_true(tw_deal_n_taken(w.d, 1) > 0);
    take_orders(&w, 1); /* told to forget it, and to take it from the other */
    assert_true(w.v[1].n > 0 && w.v[1].from[0] == 0);
    tw_deal_free(w.d);
}

static void all_from_the_net_when_asked(void **state)
{
    (void)state;
    tw_rng r = seeded();
    world w = {.d = make(3, true), .n = 3};
    run(&w, &r, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(w.v[i].n_net, UNITS);
    tw_deal_free(w.d);
}

static void a_bad_file_comes_again_but_not_from_who_has_it_unproven(void **state)
{
    (void)state;
    world w = {.d = make(2, false), .n = 2};
    for (unsigned u = 0; u < UNITS; u++) {
        tw_deal_has(w.d, 0, u);
        tw_deal_has(w.d, 1, u);
    }
    tw_deal_bad(w.d, 0, 2);
    tw_deal_order o = tw_deal_next(w.d, 0);
    assert_int_equal(o.what, TW_DEAL_NET);
    assert_int_equal(file_of[o.unit], 2);
    tw_deal_whole(w.d, 1, 2); /* there it is right */
    o = tw_deal_next(w.d, 0);
    assert_int_equal(o.what, TW_DEAL_PEER);
    tw_deal_free(w.d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fetches_its_share),
        cmocka_unit_test(whatever_fails_the_rest_gets_all),
        cmocka_unit_test(without_a_net_they_are_stuck_and_it_is_said),
        cmocka_unit_test(who_never_gives_is_asked_no_more),
        cmocka_unit_test(a_slow_one_is_relieved_of_its_last),
        cmocka_unit_test(all_from_the_net_when_asked),
        cmocka_unit_test(a_bad_file_comes_again_but_not_from_who_has_it_unproven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

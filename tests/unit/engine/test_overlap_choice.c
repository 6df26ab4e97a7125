/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/overlap_choice.h"

/* Runs n steps of 100 rows that take so long a row; how many of them were overlapped. */
static unsigned run(tw_overlap_choice *c, unsigned n, uint64_t plain_ns, uint64_t overlapped_ns)
{
    unsigned n_overlapped = 0;
    for (unsigned i = 0; i < n; i++) {
        const bool overlapped = tw_overlap_choose(c);
        n_overlapped += overlapped;
        tw_overlap_note(c, overlapped, 100, 100 * (overlapped ? overlapped_ns : plain_ns));
    }
    return n_overlapped;
}

static void the_faster_way_is_taken(void **state)
{
    (void)state;
    tw_overlap_choice slow_wire = {.n = 0}, busy_wire = {.n = 0};
    assert_false(tw_overlap_choose(&slow_wire));
    (void)run(&slow_wire, TW_OVERLAP_TRIALS, 1000, 800);
    assert_int_equal(run(&slow_wire, 320, 1000, 800), 310);
    (void)run(&busy_wire, TW_OVERLAP_TRIALS, 1000, 1020);
    assert_int_equal(run(&busy_wire, 320, 1000, 1020), 10);
}

static void it_changes_its_mind(void **state)
{
    (void)state;
    tw_overlap_choice c = {.n = 0};
    (void)run(&c, 100, 1000, 800);
    (void)run(&c, 20 * TW_OVERLAP_RETRY, 1000, 1300); /* the wire has become fast */
    assert_true(run(&c, 320, 1000, 1300) <= 10);
}

static void one_hiccup_is_forgotten(void **state)
{
    (void)state;
    tw_overlap_choice c = {.n = 0};
    (void)run(&c, 100, 1000, 800);
    tw_overlap_note(&c, true, 100, (uint64_t)1 << 40);
    (void)run(&c, 2 * TW_OVERLAP_RETRY, 1000, 800);
    assert_true(run(&c, 320, 1000, 800) >= 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_faster_way_is_taken),
        cmocka_unit_test(it_changes_its_mind),
        cmocka_unit_test(one_hiccup_is_forgotten),
    };
    return cmocka_run_group_tests_name("engine overlap_choice", tests, NULL, NULL);
}

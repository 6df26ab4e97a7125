/* SPDX-License-Identifier: Apache-2.0 */
/* Output of `ray status` of Ray 2.60.0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "vllm/ray_status.h"

static const char two_nodes[] = "======== Autoscaler status: 2026-11-22 21:23:24.000000 ========\n"
                                "Node status\n"
                                "---------------------------------------------------------------\n"
                                "Active:\n"
                                " 1 node_ac457f365a0f3db4f18769620c9269c6e462003fd3b2937549fe8b32\n"
                                " 1 node_6b22716bda0df35750b7545db3811e6f3aa368f3caf694ae313d12b2\n"
                                "Pending:\n"
                                " (no pending nodes)\n"
                                "Recent failures:\n"
                                " (no failures)\n"
                                "\n"
                                "Resources\n"
                                "---------------------------------------------------------------\n"
                                "Total Usage:\n"
                                " 0.0/16.0 CPU\n"
                                " 1.0/2.0 GPU\n"
                                " 0B/20.00GiB memory\n";

static void test_two_nodes(void **state)
{
    tw_ray_status s;
    (void)state;
    assert_true(tw_ray_status_parse(two_nodes, sizeof two_nodes - 1, &s));
    assert_int_equal(s.n_nodes, 2);
    assert_int_equal(s.n_failed, 0);
    assert_true(s.gpus == 2.0 && s.gpus_used == 1.0);
}

static void test_a_failed_one(void **state)
{
    static const char text[] = "Active:\n 1 node_ab\nPending:\n (no pending nodes)\n"
                               "Recent failures:\n node_cd: NodeTerminated (ip: 192.168.100.2)\n"
                               "Resources\nTotal Usage:\n 0.0/1.0 GPU\n";
    tw_ray_status s;
    (void)state;
    assert_true(tw_ray_status_parse(text, sizeof text - 1, &s));
    assert_int_equal(s.n_nodes, 1);
    assert_int_equal(s.n_failed, 1);
    assert_true(s.gpus == 1.0);
}

/* An error of Ray is no status: nothing is counted, the caller's stays. */
static void test_no_status(void **state)
{
    static const char *const texts[] = {"", "\n",
                                        "ConnectionError: Ray cluster is not found at x\n",
                                        " 1 node_ab\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        tw_ray_status s = {.n_nodes = 7};
        assert_false(tw_ray_status_parse(texts[i], strlen(texts[i]), &s));
        assert_int_equal(s.n_nodes, 7);
    }
}

/* Cut anywhere it is read without a step outside. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof two_nodes; n++) {
        tw_ray_status s = {0};
        if (tw_ray_status_parse(two_nodes, n, &s))
            assert_true(s.n_nodes <= 2 && s.gpus <= 2.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_nodes),
                                       cmocka_unit_test(test_a_failed_one),
                                       cmocka_unit_test(test_no_status),
                                       cmocka_unit_test(test_cut)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

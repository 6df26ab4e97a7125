/* SPDX-License-Identifier: Apache-2.0 */
/* A result's way through JSON, and that another machine's word is bounded. (Measuring itself:
 * test_probe.c and tests/cli.) */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/scope.h"
#include "cluster/probe_measure.h"
#include "fmt/json.h"

static tw_probe_result some_result(void)
{
    tw_probe_result r = {.to_gbit = 54.25,
                         .from_gbit = 53.5,
                         .both_to_gbit = 50,
                         .both_from_gbit = 49.125,
                         .moved_bytes = 1234567890123,
                         .counted_bytes = 1234567890999,
                         .device = "mlx5_0:1 ::ffff:10.0.0.1"};
    for (int w = 0; w < TW_PROBE_WAITS; w++)
        for (int i = 0; i < TW_PROBE_SIZES; i++)
            r.lat[w][i] = (tw_probe_lat){.bytes = tw_probe_sizes[i],
                                         .n = 100u + (uint32_t)i,
                                         .min_us = 2.5 + i,
                                         .p50_us = 2.75 + w,
                                         .p99_us = 9.5};
    return r;
}

static void test_there_and_back(void **state)
{
    (void)state;
    const tw_probe_result r = some_result();
    tw_probe_result back;
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = tw_probe_result_print(&r);
    assert_non_null(v);
    assert_int_equal(tw_probe_result_parse(v, &back, &err), 0);
    assert_string_equal(back.device, r.device);
    assert_true(back.to_gbit == r.to_gbit && back.from_gbit == r.from_gbit);
    assert_true(back.both_to_gbit == r.both_to_gbit && back.both_from_gbit == r.both_from_gbit);
    assert_true(back.moved_bytes == r.moved_bytes && back.counted_bytes == r.counted_bytes);
    for (int w = 0; w < TW_PROBE_WAITS; w++)
        for (int i = 0; i < TW_PROBE_SIZES; i++) {
            const tw_probe_lat *a = &r.lat[w][i], *b = &back.lat[w][i];
            assert_true(a->bytes == b->bytes && a->n == b->n && a->min_us == b->min_us &&
                        a->p50_us == b->p50_us && a->p99_us == b->p99_us);
        }
}

/* One value is another one: refused, or made harmless. */
static int parse_with(const char *key, json_t *value, tw_probe_result *ret)
{
    const tw_probe_result r = some_result();
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = tw_probe_result_print(&r);
    assert_non_null(v);
    json_object_set_new(v, key, value);
    int rc = tw_probe_result_parse(v, ret, &err);
    assert_true((rc == 0) == (err.code == 0));
    return rc;
}

static void test_hostile(void **state)
{
    (void)state;
    tw_probe_result r = {.to_gbit = -7};
    assert_int_not_equal(parse_with("to_gbit", json_real(-1), &r), 0);
    assert_int_not_equal(parse_with("to_gbit", json_real(1e12), &r), 0);
    assert_int_not_equal(parse_with("from_gbit", json_string("fast"), &r), 0);
    assert_int_not_equal(parse_with("moved_bytes", json_integer(-5), &r), 0);
    assert_int_not_equal(parse_with("latency", json_array(), &r), 0);
    assert_int_not_equal(parse_with("latency", json_string("x"), &r), 0);
    assert_int_not_equal(parse_with("latency", json_null(), &r), 0);
    assert_true(r.to_gbit == -7); /* untouched */
    assert_int_equal(parse_with("device", json_string("\x1b[2Jmlx\x7f"), &r), 0);
    assert_string_equal(r.device, "?[2Jmlx?");
    char text[200];
    memset(text, 'd', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(parse_with("device", json_string(text), &r), 0);
    assert_int_equal(strlen(r.device), sizeof r.device - 1);
}

static void test_sizes_are_bound(void **state)
{
    (void)state;
    const tw_probe_result r = some_result();
    tw_probe_result back;
    tw_err err = {0};
    TW_CLEANUP(tw_json_freep) json_t *v = tw_probe_result_print(&r);
    json_object_set_new(json_array_get(json_object_get(v, "latency"), 3), "bytes", json_integer(7));
    assert_int_not_equal(tw_probe_result_parse(v, &back, &err), 0);
    assert_non_null(strstr(err.msg, "latency.bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_sizes_are_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

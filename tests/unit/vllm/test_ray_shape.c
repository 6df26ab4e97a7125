/* SPDX-License-Identifier: Apache-2.0 */
/* Two starts of Ray compared: the same ones agree, each difference is named with both its values. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "vllm/ray_shape.h"

static const char plan_text[] =
    "{\"nodes\":["
    "{\"node\":\"box1\",\"transport\":\"roce\",\"interface\":\"enp1\",\"hca\":\"irdma0:1\","
    "\"env\":{\"VLLM_HOST_IP\":\"192.168.100.1\"}},"
    "{\"node\":\"box2\",\"transport\":\"roce\",\"interface\":\"ens1\",\"hca\":\"irdma1:1\","
    "\"env\":{\"VLLM_HOST_IP\":\"192.168.100.2\"}}]}";

static json_t *shape_of(enum tw_vllm_where where, const char *name)
{
    json_t *plan = NULL;
    tw_err err;
    tw_vllm_place place = {.where = where};
    strcpy(place.name, name);
    assert_int_equal(tw_json_parse("plan", plan_text, sizeof plan_text - 1, &plan, &err), 0);
    json_t *v = tw_vllm_ray_shape(plan, &place);
    json_decref(plan);
    assert_non_null(v);
    return v;
}

static void expect_difference(const json_t *runs, const json_t *wanted, const char *found,
                              const char *asked)
{
    tw_err err = {0};
    assert_int_equal(tw_vllm_ray_same(runs, wanted, &err), -EEXIST);
    assert_non_null(strstr(err.msg, found));
    assert_non_null(strstr(err.msg, asked));
    assert_non_null(strstr(err.msg, "twinax down"));
}

static void the_same_ones_agree(void **state)
{
    tw_err err;
    TW_CLEANUP(tw_json_freep) json_t *a = shape_of(TW_VLLM_IN_VENV, "/opt/venv");
    TW_CLEANUP(tw_json_freep) json_t *b = shape_of(TW_VLLM_IN_VENV, "/opt/venv");
    (void)state;
    assert_int_equal(tw_vllm_ray_same(a, b, &err), 0);
    assert_string_equal(tw_vllm_ray_wire(a), "roce");
    assert_string_equal(tw_json_text_at(a, "venv"), "/opt/venv");
}

static void another_place_is_named(void **state)
{
    TW_CLEANUP(tw_json_freep) json_t *a = shape_of(TW_VLLM_IN_VENV, "/opt/venv");
    TW_CLEANUP(tw_json_freep) json_t *b = shape_of(TW_VLLM_IN_CONTAINER, "vllm");
    TW_CLEANUP(tw_json_freep) json_t *c = shape_of(TW_VLLM_ON_PATH, "");
    (void)state;
    expect_difference(a, b, "--venv /opt/venv", "--container vllm");
    expect_difference(c, a, "vllm on PATH", "--venv /opt/venv");
}

static json_t *node(json_t *shape, size_t i)
{
    return json_array_get(json_object_get(shape, "nodes"), i);
}

static void another_wire_is_named(void **state)
{
    TW_CLEANUP(tw_json_freep) json_t *a = shape_of(TW_VLLM_ON_PATH, "");
    TW_CLEANUP(tw_json_freep) json_t *b = shape_of(TW_VLLM_ON_PATH, "");
    (void)state;
    json_object_set_new(node(b, 1), "hca", json_string("irdma0:2"));
    expect_difference(a, b, "wire on box2: roce (ens1 irdma1:1)", "roce (ens1 irdma0:2)");
    json_object_set_new(node(b, 1), "transport", json_string("ethernet"));
    json_object_set_new(node(b, 1), "hca", json_string(""));
    expect_difference(a, b, "roce (ens1 irdma1:1)", "ethernet (ens1)");
}

static void other_nodes_are_named(void **state)
{
    TW_CLEANUP(tw_json_freep) json_t *a = shape_of(TW_VLLM_ON_PATH, "");
    TW_CLEANUP(tw_json_freep) json_t *b = shape_of(TW_VLLM_ON_PATH, "");
    (void)state;
    json_object_set_new(node(b, 1), "ip", json_string("192.168.77.2"));
    expect_difference(a, b, "box2 (192.168.100.2)", "box2 (192.168.77.2)");
    json_array_remove(json_object_get(b, "nodes"), 1);
    expect_difference(a, b, "box2", "asked for: box1 (192.168.100.1)");
}

/* Another process' word: whatever it is, nothing breaks. */
static void words_that_are_none_differ(void **state)
{
    static const char *const texts[] = {
        "{}", "[]", "3", "{\"nodes\":3}", "{\"nodes\":[1,null]}", "{\"nodes\":[{}],\"venv\":7}"};
    TW_CLEANUP(tw_json_freep) json_t *b = shape_of(TW_VLLM_ON_PATH, "");
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(texts); i++) {
        json_error_t je;
        tw_err err;
        TW_CLEANUP(tw_json_freep) json_t *a = json_loads(texts[i], JSON_DECODE_ANY, &je);
        assert_int_equal(tw_vllm_ray_same(a, b, &err), -EEXIST);
        assert_string_equal(tw_vllm_ray_wire(a), "");
    }
    tw_err err;
    assert_int_equal(tw_vllm_ray_same(NULL, b, &err), -EEXIST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_ones_agree),        cmocka_unit_test(another_place_is_named),
        cmocka_unit_test(another_wire_is_named),      cmocka_unit_test(other_nodes_are_named),
        cmocka_unit_test(words_that_are_none_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

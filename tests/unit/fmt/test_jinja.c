/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "fmt/jinja.h"

static const struct tm noon = {.tm_year = 125,
                               .tm_mon = 2,
                               .tm_mday = 9,
                               .tm_hour = 14,
                               .tm_min = 5,
                               .tm_sec = 7,
                               .tm_wday = 0,
                               .tm_yday = 67};

static int render(const char *src, size_t n, const json_t *ctx, tw_buf *out, tw_err *err)
{
    tw_jinja *t = NULL;
    const tw_jinja_opts o = {.now = &noon};
    int r = tw_jinja_parse("template", src, n, &t, err);
    if (r == 0)
        r = tw_jinja_render(t, ctx, &o, out, err);
    tw_jinja_free(t);
    return r;
}

static json_t *load(const char *name)
{
    char path[512];
    json_error_t e;
    const char *data = getenv("TW_TEST_DATA");
    assert_non_null(data);
    snprintf(path, sizeof(path), "%s/jinja/%s", data, name);
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &e);
    if (j == NULL)
        fail_msg("%s:%d: %s", path, e.line, e.text);
    return j;
}

/* One golden case: the same text, or an error where jinja2 has one. */
static unsigned check_case(const json_t *tpl, const json_t *ctx, const json_t *c)
{
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(1 << 20);
    tw_err err = {0};
    const json_t *want = json_object_get(c, "expected");
    const char *name = json_string_value(json_object_get(c, "name"));
    int r = render(json_string_value(tpl), json_string_length(tpl), ctx, &out, &err);
    bool same = r == 0 && want && json_string_length(want) == out.len &&
                (out.len == 0 || memcmp(out.data, json_string_value(want), out.len) == 0);
    if (want == NULL ? r != 0 && err.code == r && err.msg[0] : same)
        return 0;
    print_message("# %s: %.200s\n# wanted: %s\n# found:  %s %s\n", name, json_string_value(tpl),
                  want ? json_string_value(want) : "an error", out.data ? out.data : "",
                  r ? err.msg : "");
    return 1;
}

static unsigned check_groups(const json_t *groups, const json_t *shared, unsigned *n)
{
    unsigned n_bad = 0;
    size_t i, k;
    json_t *g, *c;
    json_array_foreach(groups, i, g)
    {
        json_array_foreach(json_object_get(g, "cases"), k, c)
        {
            const json_t *ctx = json_object_get(c, "context");
            n_bad += check_case(json_object_get(g, "template"), ctx ? ctx : shared, c);
            ++*n;
        }
    }
    return n_bad;
}

static void test_families(void **state)
{
    static const char *const files[] = {"chatml.json", "chatml_tools.json", "headers.json",
                                        "inst.json",   "turns.json",        "macros.json"};
    (void)state;
    unsigned n = 0, n_bad = 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(files); i++) {
        json_t *j = load(files[i]);
        n_bad += check_groups(j, NULL, &n);
        json_decref(j);
    }
    print_message("# %u cases\n", n);
    assert_true(n >= 100);
    assert_int_equal(n_bad, 0);
}

static void test_small(void **state)
{
    (void)state;
    unsigned n = 0;
    json_t *j = load("small.json");
    unsigned n_bad = check_groups(json_object_get(j, "groups"), json_object_get(j, "context"), &n);
    json_decref(j);
    print_message("# %u cases\n", n);
    assert_true(n >= 60);
    assert_int_equal(n_bad, 0);
}

static void expect_error(const char *src, const char *part)
{
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(1 << 16);
    tw_err err = {0};
    int r = render(src, strlen(src), NULL, &out, &err);
    if (r == 0 || strstr(err.msg, part) == NULL)
        fail_msg("%s: wanted \"%s\", found %d \"%s\"", src, part, r, err.msg);
}

static void test_errors_name_line_and_cause(void **state)
{
    (void)state;
    expect_error("a\nb\n{{ nope.x }}", "template:3: \"nope\" is undefined");
    expect_error("\n{% for x in y %}", "template:2: the template ends, wanted one of else|endfor");
    expect_error("{{ raise_exception('roles must alternate') }}", "roles must alternate");
    expect_error("{{ 1 | wobble }}", "\"wobble\"");
    expect_error("{{ 1 is wobble }}", "\"wobble\"");
    expect_error("{% include 'x' %}", "\"include\"");
    expect_error("{{ 2 ** 3 }}", "**");
    expect_error("{{ 'a' + 1 }}", "string and integer");
    expect_error("{{ 9223372036854775807 + 1 }}", "64 bits");
    expect_error("x{{ 'abc }}", "never ends");
}

/* Each would take forever, or all memory, without its bound. */
static void test_bounds(void **state)
{
    (void)state;
    expect_error("{% for i in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}",
                 "ceiling");
    expect_error("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "too deeply");
    expect_error("{% set ns = namespace(s='0123456789') %}{% for i in range(60) %}"
                 "{% set ns.s = ns.s + ns.s %}{% endfor %}",
                 "memory");
    expect_error("{{ 'x' * 100000 }}", "text passes its ceiling");
    expect_error("{{ 'x' * 99999999999 }}", "ceiling");
    expect_error("{{ 'x' | replace('', 'y' * 1000000) | replace('', 'z' * 1000000) | length }}"
                 "{% set l = [1] * 99999999 %}",
                 "ceiling");
    char deep[2048];
    memset(deep, '(', sizeof(deep));
    memset(deep + sizeof(deep) / 2, ')', sizeof(deep) / 2);
    memcpy(deep, "{{(1", 4);
    memcpy(deep + sizeof(deep) - 3, "}}", 3);
    for (size_t i = 3; i < sizeof(deep) / 2; i++)
        deep[i] = i + 1 < sizeof(deep) / 2 ? '(' : '1';
    expect_error(deep, "too deeply");
    for (size_t i = 0; i + 8 < sizeof(deep); i += 4)
        memcpy(deep + 2 + i, "1 + ", 4);
    memcpy(deep + sizeof(deep) - 6, "1 }}", 5);
    deep[0] = deep[1] = '{';
    deep[sizeof(deep) - 1] = 0;
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(1 << 16);
    (void)render(deep, strlen(deep), NULL, &out, NULL); /* long or too long: no crash */
}

static void test_no_context_no_clock(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(64);
    tw_jinja *t = NULL;
    tw_err err = {0};
    assert_int_equal(tw_jinja_parse("t", "{{ strftime_now('%Y') }}", 24, &t, &err), 0);
    assert_int_equal(tw_jinja_render(t, NULL, NULL, &out, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "clock"));
    tw_jinja_free(t);
    tw_jinja_free(NULL);
    assert_int_equal(tw_jinja_parse("t", "", 0, &t, &err), 0);
    assert_int_equal(tw_jinja_render(t, NULL, NULL, &out, &err), 0);
    assert_int_equal(out.len, 0);
    tw_jinja_free(t);
}

/* Zero bytes and bytes that are no UTF-8 pass through; nothing is read past a string's end. */
static void test_odd_bytes(void **state)
{
    (void)state;
    static const char src[] = "{{ 'a\\0bc' | reverse }}{{ '\xff\xc3' | upper }}{{ '\xe3x'[0] }}";
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(64);
    tw_err err = {0};
    assert_int_equal(render(src, sizeof(src) - 1, NULL, &out, &err), 0);
    assert_true(out.len >= 7);
    assert_memory_equal(out.data, "cb\0a\xff\xc3", 6);
    tw_buf_reset(&out);
    static const char bad[] = "{{ '\xff\x80\x80'[::-1] }}";
    assert_int_equal(render(bad, sizeof(bad) - 1, NULL, &out, &err), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_families),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_errors_name_line_and_cause),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_context_no_clock),
        cmocka_unit_test(test_odd_bytes),
    };
    return cmocka_run_group_tests_name("fmt_jinja", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hub/name.h"

static void names(void **state)
{
    tw_hub_name n;
    tw_err err = {0};
    char folder[256];
    (void)state;
    assert_int_equal(tw_hub_name_parse("org/name-1.5_b", &n, &err), 0);
    assert_string_equal(n.repo, "org/name-1.5_b");
    assert_string_equal(n.revision, "main");
    assert_int_equal(tw_hub_name_parse("org/name@refs/pr/1", &n, &err), 0);
    assert_string_equal(n.repo, "org/name");
    assert_string_equal(n.revision, "refs/pr/1");
    tw_hub_name_folder(n.repo, folder, sizeof folder);
    assert_string_equal(folder, "models--org--name");
}

static void no_names(void **state)
{
    static const char *const bad[] = {
        "",
        "name",
        "/name",
        "org/",
        "a/b/c",
        "../name",
        "./name",
        "~/name",
        "org/na me",
        "org/-name",
        "org/name.",
        "org/na--me",
        "org/n..me",
        "org/name@",
        "org/name@../x",
        "org/name@a b",
        "org/name@/x",
        "o@r/name",
        "org/name@a//b",
        "org\\x/name",
    };
    tw_hub_name n;
    tw_err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(tw_hub_name_is(bad[i]));
        assert_int_equal(tw_hub_name_parse(bad[i], &n, &err), -EINVAL);
    }
}

static void paths(void **state)
{
    (void)state;
    assert_true(tw_hub_path_is_safe("a/b c.json"));
    assert_true(tw_hub_path_is_safe("...x"));
    assert_false(tw_hub_path_is_safe(""));
    assert_false(tw_hub_path_is_safe("/a"));
    assert_false(tw_hub_path_is_safe("a/"));
    assert_false(tw_hub_path_is_safe("a/../b"));
    assert_false(tw_hub_path_is_safe("a/./b"));
    assert_false(tw_hub_path_is_safe("a\nb"));
    assert_true(tw_hub_is_etag("0123456789012345678901234567890123456789"));
    assert_false(tw_hub_is_etag("012345678901234567890123456789012345678g"));
    assert_false(tw_hub_is_etag("../x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(no_names),
        cmocka_unit_test(paths),
    };
    return cmocka_run_group_tests_name("hub_name", tests, NULL, NULL);
}

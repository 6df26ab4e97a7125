/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns as Python's fnmatch.fnmatchcase reads them. tests/cli/test_pull.py compares random ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hub/pattern.h"

static void as_python(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool want;
    } v[] = {
        {"*.json", "a/b.json", true},
        {"*.json", "a.jsonl", false},
        {"A*", "a", false},
        {"original/", "original/a/b", true},
        {"original/", "original", false},
        {"original\\*", "original/x", true}, /* a path of another system */
        {"a?c",
         "a\xc3\xa9"
         "c",
         true}, /* one code point, two bytes */
        {"a?c", "ac", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]x", "bx", false},
        {"[^b]x", "^x", true}, /* no negation */
        {"[^b]x", "ax", false},
        {"[]a]", "]", true},
        {"[!]]", "]", false},
        {"[a", "[a", true}, /* no set */
        {"[]", "[]", true},
        {"[z-a]", "b", false},
        {"[a-c-e]", "-", true},
        {"[a-c-e]", "d", false},
        {"[--0]", ".", true},
        {"[[:alpha:]]", "a]", true}, /* no class: a set, then "]" */
        {"*a*b*c", "xaxxbxbxc", true},
        {"*a*b*c", "xaxxbxbx", false},
        {"**", "", true},
        {"", "", true},
        {"", "a", false},
        {"?", "", false},
        {"\xff", "\xff", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (tw_hub_pattern_matches(v[i].pattern, v[i].path) != v[i].want)
            fail_msg("\"%s\" and \"%s\": wanted %d", v[i].pattern, v[i].path, v[i].want);
}

/* What takes time in 2^n is a way to hang a pull. */
static void many_stars(void **state)
{
    char path[1001];
    (void)state;
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_false(tw_hub_pattern_matches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_python), cmocka_unit_test(many_stars)};
    return cmocka_run_group_tests_name("hub_pattern", tests, NULL, NULL);
}

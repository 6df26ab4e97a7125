/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/model_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "hub/pattern.h"

static void test_names(void **state)
{
    static const struct {
        const char *text, *repo, *file; /* repo NULL: no such name */
    } v[] = {
        {"org/name/m.gguf", "org/name", "m.gguf"},
        {"org/name/a/b/m.gguf", "org/name", "a/b/m.gguf"},
        {"org/name@main/m.gguf", "org/name@main", "m.gguf"},
        {"org/name@main/a/m.gguf", "org/name@main", "a/m.gguf"},
        {"org/name@refs/pr/1/m.gguf", "org/name@refs/pr/1", "m.gguf"},
        {"org/name@refs/pr/1/a/m.gguf", "org/name@refs/pr/1", "a/m.gguf"},
        {"org/name@refs/convert/parquet/m.gguf", "org/name@refs/convert/parquet", "m.gguf"},
        {"org/name@feature%2Fx/m.gguf", "org/name@feature/x", "m.gguf"},
        {"org/name@refs%2fpr%2f12/a/m.gguf", "org/name@refs/pr/12", "a/m.gguf"},
        {"org/name/a@refs/pr/m.gguf", "org/name", "a@refs/pr/m.gguf"},
        {"org/name/a%2Fm.gguf", "org/name", "a%2Fm.gguf"},
        {"org/name@refs/pr/m.gguf", NULL, NULL},
        {"org/name@x%2F..%2Fy/m.gguf", NULL, NULL},
        {"org/name@%2F/m.gguf", NULL, NULL},
        {"org%2Fother/name/m.gguf", NULL, NULL},
        {"org/m.gguf", NULL, NULL},
        {"org/name/m.bin", NULL, NULL},
        {"org/name/../m.gguf", NULL, NULL},
        {"m.gguf", NULL, NULL},
    };
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(v); i++) {
        tw_model_file_name got = {.repo = ""};
        if (tw_model_file_parse(v[i].text, &got) != (v[i].repo != NULL))
            fail_msg("%s: wanted %s name", v[i].text, v[i].repo != NULL ? "a" : "no");
        if (v[i].repo == NULL)
            continue;
        assert_string_equal(got.repo, v[i].repo);
        assert_string_equal(got.file, v[i].file);
    }
}

static void test_patterns(void **state)
{
    char pattern[TW_MODEL_PATTERN_BYTES], name[600];
    (void)state;
    tw_model_file_pattern("a[1]*?-00002-of-00003.gguf", pattern);
    assert_true(tw_hub_pattern_matches(pattern, "a[1]*?-00001-of-00003.gguf"));
    assert_false(tw_hub_pattern_matches(pattern, "a1xy-00001-of-00003.gguf"));
    assert_false(tw_hub_pattern_matches(pattern, "a[1]*?-00001-of-00004.gguf"));
    tw_model_file_pattern("a[1].gguf", pattern);
    assert_string_equal(pattern, "a[1].gguf"); /* who chooses takes it as a name first */
    memset(name, '[', sizeof name - 1);
    snprintf(name + TW_MODEL_FILE_BYTES - 30, 60, "-00002-of-00003.gguf");
    tw_model_file_pattern(name, pattern);
    assert_true(tw_hub_pattern_matches(pattern, name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_patterns)};
    return cmocka_run_group_tests_name("cmd_model_file", tests, NULL, NULL);
}

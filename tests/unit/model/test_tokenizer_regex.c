/* SPDX-License-Identifier: Apache-2.0 */
/* What is written differently for PCRE2, and what it then matches. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "model/tok_regex.h"

static tw_tok_regex_env env;

/* The matches of pattern in text, each in brackets; expected values are Oniguruma's. */
static void expect(const char *pattern, const char *text, const char *want)
{
    pcre2_code *code = NULL;
    tw_err err = {0};
    if (tw_tok_regex_compile(&env, "t", tw_str_from(pattern), &code, &err) < 0)
        fail_msg("%s", err.msg);
    pcre2_match_data *data = pcre2_match_data_create(1, env.general);
    tw_tok_finder f = {.env = &env, .data = data, .code = code, .p = text, .n = strlen(text)};
    tw_buf out TW_CLEANUP(tw_buf_done) = TW_BUF(1000);
    size_t start, end;
    while (tw_tok_finder_next(&f, &start, &end) > 0)
        assert_int_equal(tw_buf_printf(&out, "[%.*s]", (int)(end - start), text + start), 0);
    assert_string_equal(out.data != NULL ? out.data : "", want);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
}

static void test_ruby_syntax(void **state)
{
    (void)state;
    expect("\\p{N}{1,3}+", "1234567x8", "[1234567][8]");
    expect("(?:ab|c){2}+x?", "abcabcxab", "[abcabcx]");
    expect("[a-c]{1,2}+", "abcd", "[abc]");
    expect("\\s+",
           "a\u180e"
           "b\xC2\x85"
           "c\u200b d",
           "[\xC2\x85][ ]");
    expect("[^\\s\\p{L}]+", "a1\u180e \u3000-b", "[1\u180e][-]");
    expect("\\S+",
           "a\u3000b\u180e"
           "c",
           "[a][b\u180e"
           "c]");
    expect("\\w+", "a\u0301\u24b6 \u00bd\u203f\u200dz", "[a\u0301\u24b6][\u203f][z]");
    expect("\\h+", "12fg \t", "[12f]");
    expect("\\p{Han}+", "\u4e00\u3001\u30fb\u3007", "[\u4e00][\u3007]");
    expect("\\P{Han}+", "\u4e00\u3001", "[\u3001]");
    expect("^a|b$", "ab\nab", "[a][b][a][b]");
    expect("(?m:.)+", "ab\ncd", "[ab\ncd]");
    expect(".+", "ab\ncd", "[ab][cd]");
    expect("\\u0061+", "aab", "[aa]");
    expect("'(?i:[sdmt]|ll)", "x'\u017f x'S x'LL", "['\u017f]['S]['LL]");
    expect("x*", "axxb", "[][xx][]");
    expect("[[:alpha:]]+", "a\u00e9 1", "[a\u00e9]");
    expect("[]a]+", "]a[", "[]a]");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const patterns[] = {"[a&&b]", "[a[bc]]", "[\\W]", "\\C", "(", "[a"};
    for (size_t i = 0; i < TW_ARRAY_LEN(patterns); i++) {
        pcre2_code *code = NULL;
        tw_err err = {0};
        int rc = tw_tok_regex_compile(&env, "t", tw_str_from(patterns[i]), &code, &err);
        assert_true(rc == -ENOTSUP || rc == -EINVAL);
        assert_non_null(strstr(err.msg, patterns[i]));
    }
}

static int set_up(void **state)
{
    (void)state;
    return tw_tok_regex_env_init(&env);
}

static int tear_down(void **state)
{
    (void)state;
    tw_tok_regex_env_done(&env);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ruby_syntax),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/scope.h"
#include "cmd/option.h"

enum color { RED, GREEN, BLUE };

struct opts {
    bool first; /* not at offset 0 of has_offset */
    bool flag, has_small, has_color;
    int count;
    const char *text, *any, *called;
    uint16_t small;
    uint32_t number;
    uint64_t large;
    float part;
    enum color color;
    unsigned n_calls;
};

static const char *const colors[] = {"red", "green", "blue", NULL};

static int call(void *opts, char *value, tw_err *err)
{
    struct opts *o = opts;
    o->n_calls++;
    o->called = value;
    return value != NULL && strcmp(value, "bad") == 0 ? tw_err_set(err, -EINVAL, "bad indeed") : 0;
}

#define AT(field) .offset = offsetof(struct opts, field)
static const tw_option plain[] = {
    {"flag", 'f', NULL, "a flag", TW_OPT_FLAG, AT(flag)},
    {"count", 'c', NULL, "counts", TW_OPT_COUNT, AT(count)},
    {"text", 't', "TEXT", "a text", TW_OPT_TEXT, AT(text)},
    {"any", .arg = "TEXT", .help = "may be empty", .type = TW_OPT_ANY, AT(any)},
    {NULL, 'x', "TEXT", "by letter alone", TW_OPT_TEXT, AT(any)},
    {"call", .arg = "[WHAT]", .help = "may be left out", .type = TW_OPT_CALL, .call = call},
    {"hidden", .type = TW_OPT_FLAG, AT(flag)},
    {.name = NULL},
};
static const tw_option numbers[] = {
    {"small", 's', "N", "sixteen bits", TW_OPT_U16, AT(small),
     .has_offset = offsetof(struct opts, has_small), .max = 65535},
    {"number", .arg = "N", .help = "from 2 to 10", .type = TW_OPT_U32, AT(number), .min = 2,
     .max = 10},
    {"large", .arg = "N", .help = "sixty-four bits", .type = TW_OPT_U64, AT(large)},
    {"part", .arg = "P", .help = "of one", .type = TW_OPT_F32, AT(part), .max = 1},
    {"color", .arg = "C", .help = "red, green or blue", .type = TW_OPT_CHOICE, AT(color),
     .has_offset = offsetof(struct opts, has_color), .choices = colors},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, plain}, {"numbers", numbers}, {NULL, NULL}};

enum { WORDS_MAX = 12 };

/* words: separated by one space; "_" is an empty word. Parsed from a copy in buf. */
static int parse(const char *words, struct opts *o, char *argv[WORDS_MAX + 2], int *ret_argc,
                 int *ret_first, tw_err *err)
{
    static char buf[512];
    int n = 0;
    argv[n++] = strcpy(buf, "name");
    char *at = stpcpy(buf + 8, words) - strlen(words);
    for (char *save = NULL, *w = strtok_r(at, " ", &save); w != NULL && n <= WORDS_MAX;
         w = strtok_r(NULL, " ", &save)) {
        if (strcmp(w, "_") == 0)
            *w = '\0';
        argv[n++] = w;
    }
    argv[n] = NULL;
    memset(o, 0, sizeof *o);
    memset(err, 0, sizeof *err);
    *ret_argc = n;
    return tw_options_parse(tables, n, argv, o, ret_first, err);
}

static void test_values(void **state)
{
    (void)state;
    struct opts o;
    char *argv[WORDS_MAX + 2];
    int argc, first = -1;
    tw_err err;
    assert_int_equal(parse("one -f -cc --count --text=a -x y --small 7 two -- --flag", &o, argv,
                           &argc, &first, &err),
                     0);
    assert_true(o.flag && o.has_small && !o.has_color && !o.first);
    assert_int_equal(o.count, 3);
    assert_string_equal(o.text, "a");
    assert_int_equal(o.small, 7);
    assert_int_equal(argc - first, 3); /* what is no option stays in order, behind */
    assert_string_equal(argv[first], "one");
    assert_string_equal(argv[first + 1], "two");
    assert_string_equal(argv[first + 2], "--flag");

    assert_int_equal(
        parse("--number 2 --large 18446744073709551615 --part 0.5 --color blue -s 65535", &o, argv,
              &argc, &first, &err),
        0);
    assert_int_equal(o.number, 2);
    assert_true(o.large == UINT64_MAX);
    assert_true(o.part == 0.5f); /* exact: a half */
    assert_int_equal(o.color, BLUE);
    assert_true(o.has_color);
    assert_int_equal(o.small, 65535);

    assert_int_equal(parse("--any _ --call --call=word --hidden", &o, argv, &argc, &first, &err),
                     0);
    assert_string_equal(o.any, "");
    assert_int_equal(o.n_calls, 2);
    assert_string_equal(o.called, "word");
    assert_true(o.flag);
}

/* What is asked, and what the message must be. */
static const struct wrong {
    const char *words, *wanted;
} wrongs[] = {
    {"--text", "--text: its value is missing: wanted TEXT"},
    {"-t", "-t: its value is missing: wanted TEXT"},
    {"-x", "-x: its value is missing: wanted TEXT"},
    {"--text _", "--text is empty: wanted TEXT"},
    {"-x _", "-x is empty: wanted TEXT"},
    {"--flag=1", "--flag takes no value"},
    {"--falg", "--falg: unknown option; did you mean --flag?"},
    {"--colour red", "--colour: unknown option; did you mean --color?"},
    {"--hiden", "--hiden: unknown option; --help lists them"},
    {"--nothing=like", "--nothing: unknown option; --help lists them"},
    {"-Z", "-Z: unknown option; --help lists them"},
    {"-fZ", "-Z: unknown option; --help lists them"},
    {"--number 1", "--number 1: wanted a number from 2 to 10"},
    {"--number 11", "--number 11: wanted a number from 2 to 10"},
    {"--number 4294967298", "--number 4294967298: wanted a number from 2 to 10"},
    {"--number -3", "--number -3: wanted a number from 2 to 10"},
    {"--number 3x", "--number 3x: wanted a number from 2 to 10"},
    {"-s 65536", "-s 65536: wanted a number from 0 to 65535"},
    {"--large 18446744073709551616", "--large 18446744073709551616: wanted a whole number"},
    {"--part 1.5", "--part 1.5: wanted a number from 0 to 1"},
    {"--part nan", "--part nan: wanted a number from 0 to 1"},
    {"--color pink", "--color pink: wanted red, green or blue"},
    {"--call=bad", "bad indeed"},
};

static void test_wrong(void **state)
{
    (void)state;
    struct opts o;
    char *argv[WORDS_MAX + 2];
    int argc, first;
    tw_err err;
    for (size_t i = 0; i < TW_ARRAY_LEN(wrongs); i++) {
        first = -7;
        assert_int_equal(parse(wrongs[i].words, &o, argv, &argc, &first, &err), -EINVAL);
        assert_string_equal(err.msg, wrongs[i].wanted);
        assert_int_equal(first, -7); /* untouched */
    }
}

static bool asks(const char *words)
{
    struct opts o;
    char *argv[WORDS_MAX + 2];
    int argc, first;
    tw_err err;
    (void)!parse(words, &o, argv, &argc, &first, &err); /* cuts it into words */
    return tw_options_ask_help(tables, argc, argv);
}

static void test_ask_help(void **state)
{
    (void)state;
    assert_true(asks("--help"));
    assert_true(asks("-h"));
    assert_true(asks("one -f two --help"));
    assert_true(asks("--no-such --help"));
    assert_true(asks("-fh"));
    assert_false(asks("one two"));
    assert_false(asks("--text --help"));
    assert_false(asks("-x -h"));
    assert_false(asks("-- --help"));
    assert_true(tw_options_ask_help(NULL, 2, (char *[]){(char[]){"name"}, (char[]){"-h"}, NULL}));
}

static void test_too_many(void **state)
{
    (void)state;
    static tw_option many[TW_OPTIONS_MAX + 2];
    for (int i = 0; i <= TW_OPTIONS_MAX; i++)
        many[i] = (tw_option){"flag", .type = TW_OPT_FLAG};
    const tw_option_table t[] = {{NULL, many}, {NULL, NULL}};
    struct opts o = {0};
    tw_err err = {0};
    int first;
    char name[] = "name", *argv[] = {name, NULL};
    assert_int_equal(tw_options_parse(t, 1, argv, &o, &first, &err), -E2BIG);
    many[TW_OPTIONS_MAX] = (tw_option){.name = NULL};
    assert_int_equal(tw_options_parse(t, 1, argv, &o, &first, &err), 0);
}

static char *page_of(const tw_command *c)
{
    static char text[8192];
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_non_null(f);
    tw_command_print(c, f);
    fclose(f);
    return text;
}

static void test_page(void **state)
{
    (void)state;
    const tw_note examples[] = {{"twinax name --flag", "shows it"}, {NULL, NULL}};
    const tw_note env[] = {{"A_NAME_THAT_IS_QUITE_LONG", "it works"}, {NULL, NULL}};
    const tw_command c = {
        .name = "name",
        .args = "WORD",
        .summary = "what it does",
        .about = "A first paragraph that is long enough to need a second line, because it has more "
                 "than eighty characters.\n\nA second one.",
        .tables = tables,
        .examples = examples,
        .env = env,
    };
    const char *page = page_of(&c);
    static const char *const wanted[] = {
        "usage: twinax name WORD\n\nwhat it does\n\nA first",
        "\n\nA second one.\n\noptions:\n",
        "\n  -f, --flag              a flag\n",
        "\n  -x TEXT                 by letter alone\n",
        "\n      --call[=WHAT]       may be left out\n",
        "\n\nnumbers:\n  -s, --small N           sixteen bits\n",
        "\nenvironment:\n  A_NAME_THAT_IS_QUITE_LONG\n                          it works\n",
        "\nexamples:\n  twinax name --flag\n      shows it\n",
        "\nexit codes:\n  0    good\n",
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(wanted); i++)
        if (strstr(page, wanted[i]) == NULL)
            fail_msg("not in the page: %s\n%s", wanted[i], page);
    assert_null(strstr(page, "hidden"));
    for (const char *line = page, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        assert_true(end - line <= TW_OPTION_COLUMNS && (end == line || end[-1] != ' '));
}

static void test_wrap(void **state)
{
    (void)state;
    char text[256] = "", word[90];
    memset(word, 'w', 80);
    word[80] = '\0';
    FILE *f = fmemopen(text, sizeof text, "w");
    assert_non_null(f);
    tw_option_wrap(f, word, 0, 4); /* 80 fit */
    tw_option_wrap(f, "aa bb", 76, 4);
    tw_option_wrap(f, "aa bb", 75, 4);
    fclose(f);
    char wanted[256];
    snprintf(wanted, sizeof wanted, "%s\naa\n    bb\naa bb\n", word);
    assert_string_equal(text, wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_ask_help), cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_page),     cmocka_unit_test(test_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

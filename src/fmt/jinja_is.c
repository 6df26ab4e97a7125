/* SPDX-License-Identifier: Apache-2.0 */
/* Tests: "x is NAME". */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

static const char *const plain_tests[] = {"defined", "undefined", "none",     "string",   "number",
                                          "integer", "float",     "boolean",  "true",     "false",
                                          "mapping", "iterable",  "sequence", "callable", "odd",
                                          "even",    "lower",     "upper"};

/* Tests with one argument, and the operator they stand for. */
static const struct {
    const char *name;
    unsigned op;
} op_tests[] = {{"eq", TW_JOP2('=', '=')}, {"equalto", TW_JOP2('=', '=')},
                {"ne", TW_JOP2('!', '=')}, {"lt", '<'},
                {"lessthan", '<'},         {"gt", '>'},
                {"greaterthan", '>'},      {"le", TW_JOP2('<', '=')},
                {"ge", TW_JOP2('>', '=')}, {"in", 'i'},
                {"sameas", 's'},           {"divisibleby", '%'}};

bool tw_jinja_has_test(tw_str name)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(plain_tests); i++)
        if (tw_str_is(name, plain_tests[i]))
            return true;
    for (size_t i = 0; i < TW_ARRAY_LEN(op_tests); i++)
        if (tw_str_is(name, op_tests[i].name))
            return true;
    return false;
}

static bool is_kind(tw_str name, tw_jval v)
{
    enum tw_jkind k = v.kind;
    bool seq = k == TW_J_STR || tw_jval_is_list(v) || k == TW_J_DICT || k == TW_J_UNDEF;
    bool num = k == TW_J_INT || k == TW_J_FLOAT || k == TW_J_BOOL;
    const struct {
        const char *name;
        bool is;
    } table[] = {{"defined", k != TW_J_UNDEF},
                 {"undefined", k == TW_J_UNDEF},
                 {"none", k == TW_J_NONE},
                 {"string", k == TW_J_STR},
                 {"number", num},
                 {"integer", k == TW_J_INT},
                 {"float", k == TW_J_FLOAT},
                 {"boolean", k == TW_J_BOOL},
                 {"true", k == TW_J_BOOL && v.u.b},
                 {"false", k == TW_J_BOOL && !v.u.b},
                 {"mapping", k == TW_J_DICT},
                 {"iterable", seq || k == TW_J_LOOP},
                 {"sequence", seq},
                 {"callable", k == TW_J_MACRO || k == TW_J_FUNC || k == TW_J_METHOD}};
    for (size_t i = 0; i < TW_ARRAY_LEN(table); i++)
        if (tw_str_is(name, table[i].name))
            return table[i].is;
    return false;
}

static int is_case(tw_jrun *r, tw_str name, tw_jval on, bool *ret)
{
    tw_jval s, cased;
    int e = tw_jrun_to_str(r, on, &s);
    enum tw_jcase c = tw_str_is(name, "upper") ? TW_JCASE_UPPER : TW_JCASE_LOWER;
    if (e == 0)
        e = tw_jstr_case(r, s.u.s, c, &cased);
    bool letters = false; /* Python wants one cased letter at least */
    for (size_t i = 0; e == 0 && i < s.u.s.len; i++)
        letters = letters || ((unsigned char)s.u.s.p[i] | 32) >= 'a';
    *ret = e == 0 && letters && tw_str_eq(s.u.s, cased.u.s);
    return e;
}

static int is_divisible(tw_jrun *r, tw_jval on, tw_jval by, bool *ret)
{
    int64_t a = 0, b = 0;
    if (!tw_jval_integer(on, &a) || !tw_jval_integer(by, &b) || b == 0)
        return tw_jrun_fail(r, "divisibility of a %s by a %s", tw_jval_type(on), tw_jval_type(by));
    *ret = b == -1 || a % b == 0;
    return 0;
}

int tw_jrun_is(tw_jrun *r, tw_str name, tw_jval on, const tw_jargs *a, bool *ret)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(op_tests); i++) {
        if (!tw_str_is(name, op_tests[i].name))
            continue;
        if (a->n != 1)
            return tw_jrun_fail(r, "the test \"%s\" wants one argument", op_tests[i].name);
        if (op_tests[i].op == '%')
            return is_divisible(r, on, a->v[0], ret);
        if (op_tests[i].op == 's' && on.kind != a->v[0].kind) {
            *ret = false;
            return 0;
        }
        unsigned op = op_tests[i].op == 's' ? TW_JOP2('=', '=') : op_tests[i].op;
        return tw_jrun_compare(r, op, on, a->v[0], ret);
    }
    if (tw_str_is(name, "odd") || tw_str_is(name, "even")) {
        tw_jval two = tw_jval_int(2), rest;
        bool zero = false;
        int e = tw_jrun_binary(r, '%', on, two, &rest);
        if (e == 0)
            e = tw_jrun_equal(r, rest, tw_jval_int(0), &zero);
        *ret = zero == tw_str_is(name, "even");
        return e;
    }
    if (tw_str_is(name, "lower") || tw_str_is(name, "upper"))
        return is_case(r, name, on, ret);
    *ret = is_kind(name, on);
    return 0;
}

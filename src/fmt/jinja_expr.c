/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions: tokens to nodes. Each level of the grammar is one function, loosest first. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

static tw_jnode *parse_or(tw_jparser *p);
static tw_jnode *parse_unary(tw_jparser *p, bool with_filter);

int tw_jparser_fail(tw_jparser *p, const char *fmt, ...)
{
    char what[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return tw_err_set(p->err, -EINVAL, "%s:%u: %s", p->name, p->t->line, what);
}

static tw_jnode *fail_here(tw_jparser *p, const char *wanted)
{
    const tw_jtoken *t = p->t;
    switch (t->kind) {
    case TW_JT_NAME:
        (void)tw_jparser_fail(p, "found \"%.*s\", wanted %s", (int)TW_MIN(t->s.len, 40u), t->s.p,
                              wanted);
        break;
    case TW_JT_OP:
        if (t->op > 255)
            (void)tw_jparser_fail(p, "found \"%c%c\", wanted %s", (int)(t->op >> 8),
                                  (int)(t->op & 255), wanted);
        else
            (void)tw_jparser_fail(p, "found \"%c\", wanted %s", (int)t->op, wanted);
        break;
    case TW_JT_STR:
    case TW_JT_INT:
    case TW_JT_FLOAT:
        (void)tw_jparser_fail(p, "found a literal, wanted %s", wanted);
        break;
    case TW_JT_EOF:
    case TW_JT_TEXT:
    case TW_JT_OPEN_VAR:
    case TW_JT_CLOSE_VAR:
    case TW_JT_OPEN_TAG:
    case TW_JT_CLOSE_TAG:
    default:
        (void)tw_jparser_fail(p, "the tag ends, wanted %s", wanted);
        break;
    }
    return NULL;
}

tw_jnode *tw_jparser_node(tw_jparser *p, enum tw_jnode_kind kind)
{
    tw_jnode *n = tw_arena_alloc(p->arena, sizeof(*n));
    if (n == NULL) {
        (void)tw_err_set(p->err, -ENOMEM, "%s: out of memory for the template", p->name);
        return NULL;
    }
    n->kind = kind;
    n->line = p->t->line;
    return n;
}

bool tw_jparser_is_op(const tw_jparser *p, unsigned op)
{
    return p->t->kind == TW_JT_OP && p->t->op == op;
}

bool tw_jparser_is_name(const tw_jparser *p, const char *name)
{
    return p->t->kind == TW_JT_NAME && tw_str_is(p->t->s, name);
}

static bool take_op(tw_jparser *p, unsigned op)
{
    bool is = tw_jparser_is_op(p, op);
    p->t += is;
    return is;
}

static bool take_name(tw_jparser *p, const char *name)
{
    bool is = tw_jparser_is_name(p, name);
    p->t += is;
    return is;
}

static tw_jnode *node2(tw_jparser *p, enum tw_jnode_kind kind, tw_jnode *a, tw_jnode *b)
{
    tw_jnode *n = a && b ? tw_jparser_node(p, kind) : NULL;
    if (n) {
        n->a = a;
        n->b = b;
    }
    return n;
}

static tw_jnode *node1(tw_jparser *p, enum tw_jnode_kind kind, tw_jnode *a)
{
    return node2(p, kind, a, a);
}

/* Elements up to the closing bracket; for a dict two per comma. */
static bool parse_elements(tw_jparser *p, char close, bool dict, tw_jnode **ret_first)
{
    tw_jnode **tail = ret_first;
    while (!take_op(p, (unsigned char)close)) {
        tw_jnode *e = tw_jparser_expr(p);
        if (e == NULL)
            return false;
        *tail = e;
        tail = &e->next;
        if (dict) {
            if (!take_op(p, ':'))
                return fail_here(p, "\":\" after the key of a dict") != NULL;
            if ((e = tw_jparser_expr(p)) == NULL)
                return false;
            *tail = e;
            tail = &e->next;
        }
        if (!tw_jparser_is_op(p, (unsigned char)close) && !take_op(p, ','))
            return fail_here(p, "\",\" or the closing bracket") != NULL;
    }
    return true;
}

/* An element list uses ->next, so an expression must not be in two lists: each is freshly made. */
static tw_jnode *parse_list(tw_jparser *p, enum tw_jnode_kind kind, char close)
{
    tw_jnode *n = tw_jparser_node(p, kind);
    p->t++;
    return n && parse_elements(p, close, kind == TW_JN_DICT, &n->args) ? n : NULL;
}

static tw_jnode *parse_paren(tw_jparser *p)
{
    p->t++;
    tw_jnode *n = tw_jparser_is_op(p, ')') ? tw_jparser_node(p, TW_JN_TUPLE) : tw_jparser_tuple(p);
    if (n && !take_op(p, ')'))
        return fail_here(p, "\")\"");
    return n;
}

static tw_jnode *parse_const(tw_jparser *p)
{
    tw_jnode *n = tw_jparser_node(p, TW_JN_CONST);
    if (n == NULL)
        return NULL;
    const tw_jtoken *t = p->t++;
    if (t->kind == TW_JT_INT) {
        n->lit = tw_jval_int(t->i);
    } else if (t->kind == TW_JT_FLOAT) {
        n->lit.kind = TW_J_FLOAT;
        n->lit.u.f = t->f;
    } else {
        tw_str s = t->s;
        for (; p->t->kind == TW_JT_STR; p->t++) { /* "a" "b" is one string */
            char *j = tw_arena_alloc(p->arena, s.len + p->t->s.len + 1);
            if (j == NULL)
                return fail_here(p, "memory");
            memcpy(j, s.p, s.len);
            memcpy(j + s.len, p->t->s.p, p->t->s.len);
            s = (tw_str){j, s.len + p->t->s.len};
        }
        n->lit = tw_jval_str(s);
    }
    return n;
}

static bool literal_name(tw_str s, tw_jval *ret)
{
    if (tw_str_is(s, "true") || tw_str_is(s, "True"))
        *ret = tw_jval_bool(true);
    else if (tw_str_is(s, "false") || tw_str_is(s, "False"))
        *ret = tw_jval_bool(false);
    else if (tw_str_is(s, "none") || tw_str_is(s, "None"))
        *ret = (tw_jval){.kind = TW_J_NONE};
    else
        return false;
    return true;
}

static bool is_keyword(tw_str s)
{
    static const char *const words[] = {"if",  "else", "elif", "in", "is",
                                        "and", "or",   "not",  "for"};
    for (size_t i = 0; i < TW_ARRAY_LEN(words); i++)
        if (tw_str_is(s, words[i]))
            return true;
    return false;
}

static tw_jnode *parse_primary(tw_jparser *p)
{
    if (p->t->kind == TW_JT_STR || p->t->kind == TW_JT_INT || p->t->kind == TW_JT_FLOAT)
        return parse_const(p);
    if (tw_jparser_is_op(p, '('))
        return parse_paren(p);
    if (tw_jparser_is_op(p, '['))
        return parse_list(p, TW_JN_LIST, ']');
    if (tw_jparser_is_op(p, '{'))
        return parse_list(p, TW_JN_DICT, '}');
    if (p->t->kind != TW_JT_NAME || is_keyword(p->t->s))
        return fail_here(p, "an expression");
    tw_jval lit;
    bool is_lit = literal_name(p->t->s, &lit);
    tw_jnode *n = tw_jparser_node(p, is_lit ? TW_JN_CONST : TW_JN_NAME);
    if (n == NULL)
        return NULL;
    if (is_lit)
        n->lit = lit;
    n->name = p->t->s;
    p->t++;
    return n;
}

static bool parse_args(tw_jparser *p, tw_jnode **ret_first)
{
    tw_jnode **tail = ret_first;
    unsigned n = 0;
    p->t++;
    while (!take_op(p, ')')) {
        tw_jnode *e = NULL;
        bool kw = p->t->kind == TW_JT_NAME && p->t[1].kind == TW_JT_OP && p->t[1].op == '=';
        if (kw) {
            e = tw_jparser_node(p, TW_JN_KWARG);
            if (e == NULL)
                return false;
            e->name = p->t->s;
            p->t += 2;
            e->a = tw_jparser_expr(p);
            e = e->a ? e : NULL;
        } else {
            e = tw_jparser_expr(p);
        }
        if (e == NULL)
            return false;
        if (++n > TW_JINJA_ARGS_MAX)
            return tw_jparser_fail(p, "more than %d arguments", TW_JINJA_ARGS_MAX) == 0;
        *tail = e;
        tail = &e->next;
        if (!tw_jparser_is_op(p, ')') && !take_op(p, ','))
            return fail_here(p, "\",\" or \")\" after an argument") != NULL;
    }
    return true;
}

static tw_jnode *parse_dot(tw_jparser *p, tw_jnode *on)
{
    p->t++;
    tw_jnode *n = node1(p, TW_JN_ATTR, on);
    if (n == NULL)
        return NULL;
    if (p->t->kind == TW_JT_INT) {
        n->kind = TW_JN_ITEM;
        return (n->b = parse_const(p)) ? n : NULL;
    }
    if (p->t->kind != TW_JT_NAME)
        return fail_here(p, "a name after \".\"");
    n->name = p->t->s;
    p->t++;
    return n;
}

/* [expr] or [from:to:step] */
static tw_jnode *parse_subscript(tw_jparser *p, tw_jnode *on)
{
    tw_jnode *part[3] = {NULL, NULL, NULL};
    unsigned i = 0;
    p->t++;
    tw_jnode *n = node1(p, TW_JN_ITEM, on);
    if (n == NULL)
        return NULL;
    while (!take_op(p, ']')) {
        if (take_op(p, ':')) {
            if (++i > 2)
                return fail_here(p, "\"]\"");
            continue;
        }
        if ((part[i] = tw_jparser_expr(p)) == NULL)
            return NULL;
        if (!tw_jparser_is_op(p, ']') && !tw_jparser_is_op(p, ':'))
            return fail_here(p, "\"]\" or \":\"");
    }
    if (i == 0 && part[0] == NULL)
        return fail_here(p, "an index");
    n->kind = i ? TW_JN_SLICE : TW_JN_ITEM;
    n->b = part[0];
    n->c = part[1];
    n->d = part[2];
    return n;
}

static tw_jnode *parse_call(tw_jparser *p, tw_jnode *on)
{
    tw_jnode *n = node1(p, TW_JN_CALL, on);
    return n && parse_args(p, &n->args) ? n : NULL;
}

static tw_jnode *parse_postfix(tw_jparser *p, tw_jnode *n)
{
    while (n) {
        if (tw_jparser_is_op(p, '.'))
            n = parse_dot(p, n);
        else if (tw_jparser_is_op(p, '['))
            n = parse_subscript(p, n);
        else if (tw_jparser_is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

static tw_jnode *parse_filter(tw_jparser *p, tw_jnode *on)
{
    p->t++;
    if (p->t->kind != TW_JT_NAME)
        return fail_here(p, "the name of a filter after \"|\"");
    if (!tw_jinja_has_filter(p->t->s) && !tw_jinja_has_seq_filter(p->t->s)) {
        (void)tw_jparser_fail(p, "no filter is called \"%.*s\"", (int)TW_MIN(p->t->s.len, 60u),
                              p->t->s.p);
        return NULL;
    }
    tw_jnode *n = node1(p, TW_JN_FILTER, on);
    if (n == NULL)
        return NULL;
    n->name = p->t->s;
    p->t++;
    return !tw_jparser_is_op(p, '(') || parse_args(p, &n->args) ? n : NULL;
}

static bool starts_test_arg(const tw_jparser *p)
{
    static const char *const not_one[] = {"else", "or",  "and", "if",
                                          "in",   "not", "is",  "recursive"};
    if (p->t->kind == TW_JT_STR || p->t->kind == TW_JT_INT || p->t->kind == TW_JT_FLOAT)
        return true;
    if (p->t->kind == TW_JT_OP)
        return p->t->op == '(' || p->t->op == '[' || p->t->op == '{';
    for (size_t i = 0; i < TW_ARRAY_LEN(not_one); i++)
        if (tw_jparser_is_name(p, not_one[i]))
            return false;
    return p->t->kind == TW_JT_NAME;
}

static tw_jnode *parse_is(tw_jparser *p, tw_jnode *on)
{
    p->t++;
    bool negated = take_name(p, "not");
    if (p->t->kind != TW_JT_NAME)
        return fail_here(p, "the name of a test after \"is\"");
    if (!tw_jinja_has_test(p->t->s)) {
        (void)tw_jparser_fail(p, "no test is called \"%.*s\"", (int)TW_MIN(p->t->s.len, 60u),
                              p->t->s.p);
        return NULL;
    }
    tw_jnode *n = node1(p, TW_JN_TEST, on);
    if (n == NULL)
        return NULL;
    n->name = p->t->s;
    p->t++;
    if (tw_jparser_is_op(p, '(')) {
        if (!parse_args(p, &n->args))
            return NULL;
    } else if (starts_test_arg(p)) {
        if ((n->args = parse_postfix(p, parse_primary(p))) == NULL)
            return NULL;
    }
    return negated ? node1(p, TW_JN_NOT, n) : n;
}

static tw_jnode *parse_tail(tw_jparser *p, tw_jnode *n)
{
    while (n) {
        if (tw_jparser_is_op(p, '|'))
            n = parse_filter(p, n);
        else if (tw_jparser_is_name(p, "is"))
            n = parse_is(p, n);
        else if (tw_jparser_is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

tw_jnode *tw_jparser_filters(tw_jparser *p, tw_jnode *on)
{
    while (on && tw_jparser_is_op(p, '|'))
        on = parse_filter(p, on);
    return on;
}

static tw_jnode *parse_unary(tw_jparser *p, bool with_filter)
{
    tw_jnode *n;
    if (p->depth++ > TW_JINJA_NEST_MAX) {
        (void)tw_jparser_fail(p, "the expression is nested too deeply");
        return NULL;
    }
    bool neg = tw_jparser_is_op(p, '-');
    if (neg || tw_jparser_is_op(p, '+')) {
        p->t++;
        n = node1(p, neg ? TW_JN_NEG : TW_JN_POS, parse_unary(p, false));
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    if (with_filter)
        n = parse_tail(p, n);
    p->depth--;
    return n;
}

/* a op b op c, left to right. level: 0 + -, 1 ~, 2 * / // % */
static tw_jnode *parse_binary(tw_jparser *p, unsigned level)
{
    static const unsigned ops[3][4] = {{'+', '-', 0, 0},
                                       {'~', 0, 0, 0},
                                       {'*', '/', TW_JOP2('/', '/'), '%'}};
    if (level == 3)
        return parse_unary(p, true);
    tw_jnode *n = parse_binary(p, level + 1);
    while (n && p->t->kind == TW_JT_OP) {
        unsigned op = p->t->op;
        bool known = false;
        for (unsigned i = 0; i < 4; i++)
            known = known || (ops[level][i] && ops[level][i] == op);
        if (!known)
            break;
        p->t++;
        n = node2(p, TW_JN_BINARY, n, parse_binary(p, level + 1));
        if (n)
            n->op = op;
    }
    return n;
}

static unsigned compare_op(tw_jparser *p)
{
    static const unsigned ops[] = {
        TW_JOP2('=', '='), TW_JOP2('!', '='), TW_JOP2('<', '='), TW_JOP2('>', '='), '<', '>'};
    for (size_t i = 0; i < TW_ARRAY_LEN(ops); i++)
        if (take_op(p, ops[i]))
            return ops[i];
    if (take_name(p, "in"))
        return 'i';
    if (tw_jparser_is_name(p, "not") && p->t[1].kind == TW_JT_NAME && tw_str_is(p->t[1].s, "in")) {
        p->t += 2;
        return 'n';
    }
    return 0;
}

static tw_jnode *parse_compare(tw_jparser *p)
{
    tw_jnode *n = parse_binary(p, 0);
    tw_jnode *first = NULL, **tail = &first;
    for (unsigned op; n && (op = compare_op(p)) != 0;) {
        tw_jnode *e = node1(p, TW_JN_OPERAND, parse_binary(p, 0));
        if (e == NULL)
            return NULL;
        e->op = op;
        *tail = e;
        tail = &e->next;
    }
    if (first == NULL || n == NULL)
        return n;
    n = node1(p, TW_JN_COMPARE, n);
    if (n)
        n->args = first;
    return n;
}

static tw_jnode *parse_not(tw_jparser *p)
{
    unsigned n_not = 0;
    while (take_name(p, "not"))
        n_not++;
    tw_jnode *n = parse_compare(p);
    if (n_not % 2 == 0 && n_not)
        n = node1(p, TW_JN_NOT, n);
    return n_not ? node1(p, TW_JN_NOT, n) : n;
}

static tw_jnode *parse_and(tw_jparser *p)
{
    tw_jnode *n = parse_not(p);
    while (n && take_name(p, "and"))
        n = node2(p, TW_JN_AND, n, parse_not(p));
    return n;
}

static tw_jnode *parse_or(tw_jparser *p)
{
    tw_jnode *n = parse_and(p);
    while (n && take_name(p, "or"))
        n = node2(p, TW_JN_OR, n, parse_and(p));
    return n;
}

tw_jnode *tw_jparser_expr_no_cond(tw_jparser *p)
{
    return parse_or(p);
}

tw_jnode *tw_jparser_expr(tw_jparser *p)
{
    if (p->depth++ > TW_JINJA_NEST_MAX) {
        (void)tw_jparser_fail(p, "the expression is nested too deeply");
        return NULL;
    }
    tw_jnode *n = parse_or(p);
    while (n && take_name(p, "if")) {
        n = node2(p, TW_JN_COND, n, parse_or(p));
        if (n && take_name(p, "else") && (n->c = tw_jparser_expr(p)) == NULL)
            return NULL;
    }
    p->depth--;
    return n;
}

tw_jnode *tw_jparser_tuple(tw_jparser *p)
{
    tw_jnode *n = tw_jparser_expr(p);
    if (n == NULL || !tw_jparser_is_op(p, ','))
        return n;
    tw_jnode *tuple = tw_jparser_node(p, TW_JN_TUPLE);
    if (tuple == NULL)
        return NULL;
    tuple->args = n;
    while (n && take_op(p, ',')) {
        if (p->t->kind == TW_JT_CLOSE_VAR || p->t->kind == TW_JT_CLOSE_TAG ||
            tw_jparser_is_op(p, ')'))
            break;
        n = n->next = tw_jparser_expr(p);
    }
    return n ? tuple : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Statements: tokens to a tree of nodes. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

/* Parses statements up to one of the tags in ends ("elif|else|endif"), which is left current as a
 * name. ends NULL: up to the end of the source. */
static bool parse_body(tw_jparser *p, const char *ends, tw_jnode **ret_first);

static bool want_close(tw_jparser *p)
{
    if (p->t->kind != TW_JT_CLOSE_TAG)
        return tw_jparser_fail(p, "more in the tag than belongs there, wanted \"%%}\"") == 0;
    p->t++;
    return true;
}

static bool is_one_of(tw_str s, const char *ends)
{
    for (const char *e = ends; e && *e;) {
        size_t n = strcspn(e, "|");
        if (s.len == n && memcmp(s.p, e, n) == 0)
            return true;
        e += n + (e[n] == '|');
    }
    return false;
}

/* The rest of an opening tag, a body, and its end tag. */
static bool parse_block(tw_jparser *p, const char *end, tw_jnode **ret_body)
{
    if (!want_close(p) || !parse_body(p, end, ret_body))
        return false;
    p->t++;
    if (p->t->kind == TW_JT_NAME) /* {% endmacro name %} */
        p->t++;
    return want_close(p);
}

static tw_jnode *parse_if(tw_jparser *p)
{
    tw_jnode *top = tw_jparser_node(p, TW_JN_IF);
    tw_jnode *n = top;
    for (;;) {
        p->t++;
        if (n == NULL || (n->a = tw_jparser_tuple(p)) == NULL || !want_close(p) ||
            !parse_body(p, "elif|else|endif", &n->body))
            return NULL;
        if (!tw_jparser_is_name(p, "elif"))
            break;
        n = n->orelse = tw_jparser_node(p, TW_JN_IF);
    }
    if (tw_jparser_is_name(p, "else")) {
        p->t++;
        if (!want_close(p) || !parse_body(p, "endif", &n->orelse))
            return NULL;
    }
    p->t++;
    return want_close(p) ? top : NULL;
}

/* a or a, b or (a, b): names to be bound. */
static tw_jnode *parse_target(tw_jparser *p)
{
    bool paren = tw_jparser_is_op(p, '(');
    p->t += paren;
    tw_jnode *first = NULL, **tail = &first;
    unsigned n_names = 0;
    for (;; p->t++) {
        if (p->t->kind != TW_JT_NAME) {
            (void)tw_jparser_fail(p, "wanted a name to be set");
            return NULL;
        }
        tw_jnode *n = tw_jparser_node(p, TW_JN_NAME);
        if (n == NULL)
            return NULL;
        n->name = p->t->s;
        p->t++;
        *tail = n;
        tail = &n->next;
        n_names++;
        if (!tw_jparser_is_op(p, ','))
            break;
    }
    if (paren && !tw_jparser_is_op(p, ')')) {
        (void)tw_jparser_fail(p, "wanted \")\" after the names");
        return NULL;
    }
    p->t += paren;
    if (n_names == 1)
        return first;
    tw_jnode *t = tw_jparser_node(p, TW_JN_TUPLE);
    if (t)
        t->args = first;
    return t;
}

static tw_jnode *parse_for(tw_jparser *p)
{
    tw_jnode *n = tw_jparser_node(p, TW_JN_FOR);
    p->t++;
    if (n == NULL || (n->a = parse_target(p)) == NULL)
        return NULL;
    if (!tw_jparser_is_name(p, "in")) {
        (void)tw_jparser_fail(p, "wanted \"in\" after the names of a for");
        return NULL;
    }
    p->t++;
    if ((n->b = tw_jparser_expr_no_cond(p)) == NULL)
        return NULL;
    if (tw_jparser_is_name(p, "if")) {
        p->t++;
        if ((n->c = tw_jparser_expr(p)) == NULL)
            return NULL;
    }
    if (tw_jparser_is_name(p, "recursive")) {
        (void)tw_jparser_fail(p, "recursive loops are not supported");
        return NULL;
    }
    p->loops++;
    bool ok = want_close(p) && parse_body(p, "else|endfor", &n->body);
    p->loops--;
    if (ok && tw_jparser_is_name(p, "else")) {
        p->t++;
        ok = want_close(p) && parse_body(p, "endfor", &n->orelse);
    }
    if (!ok)
        return NULL;
    p->t++;
    return want_close(p) ? n : NULL;
}

static tw_jnode *parse_set(tw_jparser *p)
{
    tw_jnode *n = tw_jparser_node(p, TW_JN_SET);
    p->t++;
    if (n == NULL || (n->a = parse_target(p)) == NULL)
        return NULL;
    if (tw_jparser_is_op(p, '.') && n->a->kind == TW_JN_NAME) { /* namespace attribute */
        p->t++;
        tw_jnode *attr = tw_jparser_node(p, TW_JN_ATTR);
        if (attr == NULL || p->t->kind != TW_JT_NAME) {
            (void)tw_jparser_fail(p, "wanted a name after \".\"");
            return NULL;
        }
        attr->a = n->a;
        attr->name = p->t->s;
        n->a = attr;
        p->t++;
    }
    if (tw_jparser_is_op(p, '=')) {
        p->t++;
        n->b = tw_jparser_tuple(p);
        return n->b && want_close(p) ? n : NULL;
    }
    n->kind = TW_JN_SETBLOCK;
    n->b = tw_jparser_filters(p, tw_jparser_node(p, TW_JN_CAPTURED));
    return n->b && parse_block(p, "endset", &n->body) ? n : NULL;
}

static bool parse_params(tw_jparser *p, tw_jnode **ret_first)
{
    tw_jnode **tail = ret_first;
    unsigned n_params = 0;
    p->t++;
    while (!tw_jparser_is_op(p, ')')) {
        tw_jnode *n = tw_jparser_node(p, TW_JN_PARAM);
        if (n == NULL || p->t->kind != TW_JT_NAME || ++n_params > TW_JINJA_ARGS_MAX)
            return tw_jparser_fail(p, "wanted the name of a parameter, at most %d",
                                   TW_JINJA_ARGS_MAX) == 0;
        n->name = p->t->s;
        p->t++;
        if (tw_jparser_is_op(p, '=')) {
            p->t++;
            if ((n->a = tw_jparser_expr(p)) == NULL)
                return false;
        }
        *tail = n;
        tail = &n->next;
        if (tw_jparser_is_op(p, ','))
            p->t++;
        else if (!tw_jparser_is_op(p, ')'))
            return tw_jparser_fail(p, "wanted \",\" or \")\" after a parameter") == 0;
    }
    p->t++;
    return true;
}

static tw_jnode *parse_macro(tw_jparser *p)
{
    tw_jnode *n = tw_jparser_node(p, TW_JN_MACRO);
    p->t++;
    if (n == NULL || p->t->kind != TW_JT_NAME) {
        (void)tw_jparser_fail(p, "wanted the name of a macro");
        return NULL;
    }
    n->name = p->t->s;
    p->t++;
    if (!tw_jparser_is_op(p, '(')) {
        (void)tw_jparser_fail(p, "wanted \"(\" after the name of a macro");
        return NULL;
    }
    unsigned loops = p->loops;
    p->loops = 0; /* break inside a macro does not reach a loop around it */
    bool ok = parse_params(p, &n->args) && parse_block(p, "endmacro", &n->body);
    p->loops = loops;
    return ok ? n : NULL;
}

static tw_jnode *parse_flow(tw_jparser *p, enum tw_jnode_kind kind)
{
    tw_jnode *n = tw_jparser_node(p, kind);
    if (p->loops == 0) {
        (void)tw_jparser_fail(p, "break and continue stand only inside a for");
        return NULL;
    }
    p->t++;
    return n && want_close(p) ? n : NULL;
}

static tw_jnode *parse_tag(tw_jparser *p)
{
    if (tw_jparser_is_name(p, "if"))
        return parse_if(p);
    if (tw_jparser_is_name(p, "for"))
        return parse_for(p);
    if (tw_jparser_is_name(p, "set"))
        return parse_set(p);
    if (tw_jparser_is_name(p, "macro"))
        return parse_macro(p);
    if (tw_jparser_is_name(p, "break"))
        return parse_flow(p, TW_JN_BREAK);
    if (tw_jparser_is_name(p, "continue"))
        return parse_flow(p, TW_JN_CONTINUE);
    if (tw_jparser_is_name(p, "generation")) {
        tw_jnode *n = tw_jparser_node(p, TW_JN_BLOCK);
        p->t++;
        return n && parse_block(p, "endgeneration", &n->body) ? n : NULL;
    }
    (void)tw_jparser_fail(p, "the tag \"%.*s\" is unknown, not supported or out of place",
                          (int)TW_MIN(p->t->s.len, 60u), p->t->s.p ? p->t->s.p : "");
    return NULL;
}

static tw_jnode *parse_statement(tw_jparser *p)
{
    tw_jnode *n;
    if (p->t->kind == TW_JT_TEXT) {
        n = tw_jparser_node(p, TW_JN_TEXT);
        if (n)
            n->name = p->t->s;
        p->t++;
        return n;
    }
    if (p->t->kind == TW_JT_OPEN_TAG) {
        p->t++;
        return parse_tag(p);
    }
    n = tw_jparser_node(p, TW_JN_PRINT);
    p->t++;
    if (n == NULL || (n->a = tw_jparser_tuple(p)) == NULL)
        return NULL;
    if (p->t->kind != TW_JT_CLOSE_VAR) {
        (void)tw_jparser_fail(p, "more in the tag than one expression, wanted \"}}\"");
        return NULL;
    }
    p->t++;
    return n;
}

static bool parse_body(tw_jparser *p, const char *ends, tw_jnode **ret_first)
{
    tw_jnode **tail = ret_first;
    if (++p->depth > TW_JINJA_NEST_MAX)
        return tw_jparser_fail(p, "blocks are nested too deeply") == 0;
    for (;;) {
        if (p->t->kind == TW_JT_EOF) {
            if (ends)
                return tw_jparser_fail(p, "the template ends, wanted one of %s", ends) == 0;
            break;
        }
        if (p->t->kind == TW_JT_OPEN_TAG && p->t[1].kind == TW_JT_NAME &&
            is_one_of(p->t[1].s, ends)) {
            p->t++;
            break;
        }
        tw_jnode *n = parse_statement(p);
        if (n == NULL)
            return false;
        *tail = n;
        tail = &n->next;
    }
    p->depth--;
    return true;
}

int tw_jinja_parse(const char *name, const char *src, size_t n, tw_jinja **ret, tw_err *err)
{
    tw_err own = {0};
    if (n > (size_t)4 << 20)
        return tw_err_set(err, -E2BIG, "%s: template of %zu bytes, at most 4 MiB are read", name,
                          n);
    tw_jinja *t = tw_mem_calloc(1, sizeof(*t));
    if (t == NULL)
        return tw_err_set(err, -ENOMEM, "%s: out of memory for the template", name);
    tw_arena_init(&t->arena, (size_t)256 << 20);
    t->name = tw_arena_strndup(&t->arena, name, strlen(name));
    tw_jparser p = {.arena = &t->arena, .name = t->name, .err = &own};
    tw_jtoken *toks = NULL;
    size_t n_toks = 0;
    int r = t->name ? tw_jinja_lex(&t->arena, t->name, (tw_str){src, n}, &toks, &n_toks, &own)
                    : tw_err_set(&own, -ENOMEM, "%s: out of memory for the template", name);
    if (r == 0) {
        p.t = toks;
        if (!parse_body(&p, NULL, &t->body))
            r = own.code ? own.code : -EINVAL;
    }
    if (r) {
        if (err)
            *err = own;
        tw_jinja_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

void tw_jinja_free(tw_jinja *t)
{
    if (t == NULL)
        return;
    tw_arena_done(&t->arena);
    tw_mem_free(t);
}

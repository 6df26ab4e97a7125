/* SPDX-License-Identifier: Apache-2.0 */
/* Statements and expressions at work: walks the tree with scopes, counts steps and depth. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

static int scope_push(tw_jrun *r, tw_jscope *up, tw_jscope **ret)
{
    tw_jscope *s = tw_arena_alloc(&r->arena, sizeof(*s));
    if (s == NULL)
        return tw_jrun_nomem(r);
    s->up = up;
    *ret = s;
    return 0;
}

int tw_jscope_set(tw_jrun *r, tw_str name, tw_jval v)
{
    return tw_jdict_set(r, &r->scope->vars, tw_jval_str(name), v);
}

static int look_up(tw_jrun *r, tw_str name, tw_jval *ret)
{
    tw_jval *v = NULL;
    for (tw_jscope *s = r->scope; s; s = s->up) {
        int e = tw_jdict_find(r, &s->vars, tw_jval_str(name), &v);
        if (e)
            return e;
        if (v) {
            *ret = *v;
            return 0;
        }
    }
    if (tw_jinja_has_func(name))
        *ret = (tw_jval){.kind = TW_J_FUNC, .u.s = name};
    else
        *ret = tw_jval_undef(name);
    return 0;
}

static int eval_elements(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jlist *l = NULL;
    int e = tw_jlist_new(r, 0, &l);
    for (const tw_jnode *c = n->args; e == 0 && c; c = c->next) {
        tw_jval v;
        e = tw_jrun_eval(r, c, &v);
        if (e == 0)
            e = tw_jlist_push(r, l, v);
    }
    *ret = tw_jlist_val(l);
    if (n->kind == TW_JN_TUPLE)
        ret->kind = TW_J_TUPLE;
    return e;
}

static int eval_dict(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jdict *d = tw_arena_alloc(&r->arena, sizeof(*d));
    int e = d ? 0 : tw_jrun_nomem(r);
    for (const tw_jnode *c = n->args; e == 0 && c && c->next; c = c->next->next) {
        tw_jval k, v;
        e = tw_jrun_eval(r, c, &k);
        if (e == 0)
            e = tw_jrun_eval(r, c->next, &v);
        if (e == 0)
            e = tw_jdict_set(r, d, k, v);
    }
    *ret = (tw_jval){.kind = TW_J_DICT, .u.dict = d};
    return e;
}

static int eval_args(tw_jrun *r, const tw_jnode *first, tw_jargs *ret)
{
    ret->n = ret->n_kw = 0; /* the parser has checked that there are not too many */
    for (const tw_jnode *c = first; c; c = c->next) {
        bool kw = c->kind == TW_JN_KWARG;
        int e = tw_jrun_eval(r, kw ? c->a : c, kw ? &ret->kw[ret->n_kw] : &ret->v[ret->n]);
        if (e)
            return e;
        if (kw)
            ret->kw_name[ret->n_kw++] = c->name;
        else
            ret->n++;
    }
    return 0;
}

static int bind_params(tw_jrun *r, const tw_jnode *def, const tw_jargs *a)
{
    unsigned i = 0, n_kw = 0;
    for (const tw_jnode *p = def->args; p; p = p->next, i++) {
        const tw_jval *kw = NULL;
        tw_jval v = tw_jval_undef(p->name);
        int e = 0;
        for (unsigned k = 0; k < a->n_kw; k++)
            if (tw_str_eq(a->kw_name[k], p->name))
                kw = &a->kw[k];
        n_kw += kw != NULL;
        if (i < a->n && kw)
            return tw_jrun_fail(r, "macro %.*s: parameter %.*s is given twice", (int)def->name.len,
                                def->name.p, (int)p->name.len, p->name.p);
        if (i < a->n || kw)
            v = i < a->n ? a->v[i] : *kw;
        else if (p->a)
            e = tw_jrun_eval(r, p->a, &v);
        if (e == 0)
            e = tw_jscope_set(r, p->name, v);
        if (e)
            return e;
    }
    if (a->n > i || n_kw < a->n_kw)
        return tw_jrun_fail(r, "macro %.*s takes %u parameters, and none that it does not name",
                            (int)def->name.len, def->name.p, i);
    return 0;
}

/* Runs a body in a scope of its own and takes what it prints. */
static int capture(tw_jrun *r, const tw_jnode *body, tw_jval *ret)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    tw_buf *out = r->out;
    r->out = &b;
    int e = tw_jrun_body(r, body);
    r->out = out;
    return e ? e : tw_jrun_buf(r, &b, ret);
}

int tw_jrun_call_macro(tw_jrun *r, const tw_jmacro *m, const tw_jargs *a, tw_jval *ret)
{
    tw_jscope *scope = NULL, *caller = r->scope;
    if ((r->depth += 8) > TW_JINJA_DEPTH_MAX)
        return tw_jrun_fail(r, "macro %.*s calls itself too deeply", (int)m->def->name.len,
                            m->def->name.p);
    int e = scope_push(r, m->scope, &scope);
    if (e)
        return e;
    r->scope = scope;
    e = bind_params(r, m->def, a);
    if (e == 0)
        e = capture(r, m->def->body, ret);
    r->scope = caller;
    r->depth -= 8;
    return e;
}

static int eval_call(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval f;
    tw_jargs args;
    int e = tw_jrun_eval(r, n->a, &f);
    if (e == 0)
        e = eval_args(r, n->args, &args);
    if (e)
        return e;
    r->line = n->line;
    switch ((int)f.kind) {
    case TW_J_MACRO:
        return tw_jrun_call_macro(r, f.u.macro, &args, ret);
    case TW_J_METHOD:
        return tw_jrun_method(r, f.u.method, &args, ret);
    case TW_J_FUNC:
        return tw_jrun_func(r, f.u.s, &args, ret);
    case TW_J_UNDEF:
        return tw_jrun_fail(r, "\"%.*s\" is undefined and cannot be called",
                            (int)TW_MIN(f.u.s.len, 60u), f.u.s.p);
    default:
        return tw_jrun_fail(r, "a %s cannot be called", tw_jval_type(f));
    }
}

static int eval_filter(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval on;
    tw_jargs args;
    bool known = false;
    int e = tw_jrun_eval(r, n->a, &on);
    if (e == 0)
        e = eval_args(r, n->args, &args);
    if (e)
        return e;
    r->line = n->line;
    e = tw_jrun_seq_filter(r, n->name, on, &args, ret, &known);
    return known || e ? e : tw_jrun_filter(r, n->name, on, &args, ret);
}

static int eval_test(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval on;
    tw_jargs args;
    bool is = false;
    int e = tw_jrun_eval(r, n->a, &on);
    if (e == 0)
        e = eval_args(r, n->args, &args);
    r->line = n->line;
    if (e == 0)
        e = tw_jrun_is(r, n->name, on, &args, &is);
    *ret = tw_jval_bool(is);
    return e;
}

static int eval_slice(tw_jrun *r, const tw_jnode *n, tw_jval on, tw_jval *ret)
{
    tw_jval bound[3] = {{.kind = TW_J_NONE}, {.kind = TW_J_NONE}, {.kind = TW_J_NONE}};
    const tw_jnode *part[3] = {n->b, n->c, n->d};
    for (unsigned i = 0; i < 3; i++) {
        int e = part[i] ? tw_jrun_eval(r, part[i], &bound[i]) : 0;
        if (e)
            return e;
    }
    r->line = n->line;
    return tw_jrun_slice(r, on, bound, ret);
}

static int eval_access(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval on, key;
    int e = tw_jrun_eval(r, n->a, &on);
    if (e)
        return e;
    if (n->kind == TW_JN_SLICE)
        return eval_slice(r, n, on, ret);
    if (n->kind == TW_JN_ITEM && (e = tw_jrun_eval(r, n->b, &key)) != 0)
        return e;
    r->line = n->line;
    return n->kind == TW_JN_ATTR ? tw_jrun_attr(r, on, n->name, ret)
                                 : tw_jrun_item(r, on, key, ret);
}

static int eval_compare(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval a, b;
    bool is = true;
    int e = tw_jrun_eval(r, n->a, &a);
    for (const tw_jnode *o = n->args; e == 0 && is && o; o = o->next) {
        e = tw_jrun_eval(r, o->a, &b);
        r->line = n->line;
        if (e == 0)
            e = tw_jrun_compare(r, o->op, a, b, &is);
        a = b;
    }
    *ret = tw_jval_bool(is);
    return e;
}

static int eval_binary(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval a, b;
    int e = tw_jrun_eval(r, n->a, &a);
    if (e == 0)
        e = tw_jrun_eval(r, n->b, &b);
    r->line = n->line;
    return e ? e : tw_jrun_binary(r, n->op, a, b, ret);
}

static int eval_sign(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval v;
    int64_t i = 0;
    int e = tw_jrun_eval(r, n->a, &v);
    if (e)
        return e;
    r->line = n->line;
    if (v.kind == TW_J_FLOAT) {
        v.u.f = n->kind == TW_JN_NEG ? -v.u.f : v.u.f;
        *ret = v;
        return 0;
    }
    if (!tw_jval_integer(v, &i) || i == INT64_MIN)
        return tw_jrun_fail(r, "a %s has no sign", tw_jval_type(v));
    *ret = tw_jval_int(n->kind == TW_JN_NEG ? -i : i);
    return 0;
}

static int eval_logic(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    tw_jval v;
    if (n->kind == TW_JN_COND) {
        int e = tw_jrun_eval(r, n->b, &v);
        if (e)
            return e;
        const tw_jnode *pick = tw_jval_truth(v) ? n->a : n->c;
        *ret = tw_jval_undef(TW_STR("the value of an if without else"));
        return pick ? tw_jrun_eval(r, pick, ret) : 0;
    }
    int e = tw_jrun_eval(r, n->a, &v);
    if (e)
        return e;
    if (n->kind == TW_JN_NOT)
        *ret = tw_jval_bool(!tw_jval_truth(v));
    else if (tw_jval_truth(v) == (n->kind == TW_JN_OR))
        *ret = v;
    else
        return tw_jrun_eval(r, n->b, ret);
    return 0;
}

static int eval_kind(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    switch ((int)n->kind) {
    case TW_JN_CONST:
        *ret = n->lit;
        return 0;
    case TW_JN_NAME:
        return look_up(r, n->name, ret);
    case TW_JN_CAPTURED:
        *ret = *r->captured;
        return 0;
    case TW_JN_LIST:
    case TW_JN_TUPLE:
        return eval_elements(r, n, ret);
    case TW_JN_DICT:
        return eval_dict(r, n, ret);
    case TW_JN_ATTR:
    case TW_JN_ITEM:
    case TW_JN_SLICE:
        return eval_access(r, n, ret);
    case TW_JN_CALL:
        return eval_call(r, n, ret);
    case TW_JN_FILTER:
        return eval_filter(r, n, ret);
    case TW_JN_TEST:
        return eval_test(r, n, ret);
    case TW_JN_NOT:
    case TW_JN_AND:
    case TW_JN_OR:
    case TW_JN_COND:
        return eval_logic(r, n, ret);
    case TW_JN_NEG:
    case TW_JN_POS:
        return eval_sign(r, n, ret);
    case TW_JN_BINARY:
        return eval_binary(r, n, ret);
    case TW_JN_COMPARE:
        return eval_compare(r, n, ret);
    default:
        return tw_jrun_fail(r, "a node that is no expression");
    }
}

int tw_jrun_eval(tw_jrun *r, const tw_jnode *n, tw_jval *ret)
{
    int e = tw_jrun_step(r, 1);
    if (e)
        return e;
    r->line = n->line;
    if (++r->depth > TW_JINJA_DEPTH_MAX)
        return tw_jrun_fail(r, "the expression is nested too deeply");
    e = eval_kind(r, n, ret);
    r->depth--;
    return e;
}

/* Binds a name or several names to a value. */
static int assign(tw_jrun *r, const tw_jnode *target, tw_jval v)
{
    const tw_jlist *l = NULL;
    if (target->kind == TW_JN_NAME)
        return tw_jscope_set(r, target->name, v);
    if (target->kind == TW_JN_ATTR) {
        tw_jval ns;
        int e = look_up(r, target->a->name, &ns);
        if (e == 0 && ns.kind != TW_J_NS)
            e = tw_jrun_fail(r, "cannot set an attribute of \"%.*s\": it is no namespace",
                             (int)TW_MIN(target->a->name.len, 60u), target->a->name.p);
        return e ? e : tw_jdict_set(r, ns.u.dict, tw_jval_str(target->name), v);
    }
    int e = tw_jrun_iter(r, v, &l);
    size_t i = 0;
    for (const tw_jnode *t = target->args; e == 0 && t; t = t->next, i++) {
        if (i >= l->n)
            return tw_jrun_fail(r, "more names than the %zu values to be set", l->n);
        e = tw_jscope_set(r, t->name, l->v[i]);
    }
    if (e == 0 && i != l->n)
        e = tw_jrun_fail(r, "%zu values for %zu names", l->n, i);
    return e;
}

/* The elements that pass the filter of a for. */
static int filter_loop(tw_jrun *r, const tw_jnode *n, const tw_jlist **seq)
{
    tw_jlist *kept = NULL;
    int e = tw_jlist_new(r, 0, &kept);
    tw_jscope *outer = r->scope;
    for (size_t i = 0; e == 0 && i < (*seq)->n; i++) {
        tw_jval v;
        e = scope_push(r, outer, &r->scope);
        if (e == 0)
            e = assign(r, n->a, (*seq)->v[i]);
        if (e == 0)
            e = tw_jrun_eval(r, n->c, &v);
        if (e == 0 && tw_jval_truth(v))
            e = tw_jlist_push(r, kept, (*seq)->v[i]);
    }
    r->scope = outer;
    *seq = kept;
    return e;
}

static int run_iterations(tw_jrun *r, const tw_jnode *n, const tw_jlist *seq)
{
    tw_jscope *outer = r->scope;
    tw_jloop *loop = tw_arena_alloc(&r->arena, sizeof(*loop));
    if (loop == NULL)
        return tw_jrun_nomem(r);
    *loop = (tw_jloop){.seq = seq, .depth = ++r->loop_depth};
    int e = 0;
    for (; e == 0 && loop->i < seq->n; loop->i++) {
        e = scope_push(r, outer, &r->scope);
        if (e == 0)
            e = tw_jscope_set(r, TW_STR("loop"), (tw_jval){.kind = TW_J_LOOP, .u.loop = loop});
        if (e == 0)
            e = assign(r, n->a, seq->v[loop->i]);
        if (e == 0)
            e = tw_jrun_body(r, n->body);
        bool stop = r->flow == TW_JFLOW_BREAK;
        r->flow = TW_JFLOW_ON;
        if (stop)
            break;
    }
    r->scope = outer;
    r->loop_depth--;
    return e;
}

static int run_for(tw_jrun *r, const tw_jnode *n)
{
    tw_jval v;
    const tw_jlist *seq = NULL;
    int e = tw_jrun_eval(r, n->b, &v);
    if (e == 0)
        e = tw_jrun_iter(r, v, &seq);
    if (e == 0 && n->c)
        e = filter_loop(r, n, &seq);
    if (e)
        return e;
    return seq->n ? run_iterations(r, n, seq) : tw_jrun_body(r, n->orelse);
}

static int run_set(tw_jrun *r, const tw_jnode *n)
{
    tw_jval v, text;
    int e = 0;
    if (n->kind == TW_JN_SETBLOCK) {
        tw_jscope *outer = r->scope;
        e = scope_push(r, outer, &r->scope);
        if (e == 0)
            e = capture(r, n->body, &text);
        r->scope = outer;
        const tw_jval *before = r->captured;
        r->captured = &text;
        if (e == 0)
            e = tw_jrun_eval(r, n->b, &v);
        r->captured = before;
    } else {
        e = tw_jrun_eval(r, n->b, &v);
    }
    r->line = n->line;
    return e ? e : assign(r, n->a, v);
}

static int run_macro(tw_jrun *r, const tw_jnode *n)
{
    tw_jmacro *m = tw_arena_alloc(&r->arena, sizeof(*m));
    if (m == NULL)
        return tw_jrun_nomem(r);
    *m = (tw_jmacro){.def = n, .scope = r->scope};
    return tw_jscope_set(r, n->name, (tw_jval){.kind = TW_J_MACRO, .u.macro = m});
}

static int run_if(tw_jrun *r, const tw_jnode *n)
{
    tw_jval v;
    for (;;) {
        int e = tw_jrun_eval(r, n->a, &v);
        if (e)
            return e;
        if (tw_jval_truth(v))
            return tw_jrun_body(r, n->body);
        /* an elif is the only statement of its branch: loop instead of recursing */
        if (n->orelse == NULL || n->orelse->kind != TW_JN_IF || n->orelse->next)
            return tw_jrun_body(r, n->orelse);
        n = n->orelse;
    }
}

static int run_scoped(tw_jrun *r, const tw_jnode *n)
{
    tw_jscope *outer = r->scope;
    int e = scope_push(r, outer, &r->scope);
    if (e == 0)
        e = tw_jrun_body(r, n->body);
    r->scope = outer;
    return e;
}

static int run_statement(tw_jrun *r, const tw_jnode *n)
{
    tw_jval v;
    int e = 0;
    switch ((int)n->kind) {
    case TW_JN_TEXT:
        e = tw_buf_append(r->out, n->name.p, n->name.len);
        return e ? tw_jrun_buf_fail(r, e) : 0;
    case TW_JN_PRINT:
        e = tw_jrun_eval(r, n->a, &v);
        return e ? e : tw_jrun_print(r, r->out, v);
    case TW_JN_IF:
        return run_if(r, n);
    case TW_JN_FOR:
        return run_for(r, n);
    case TW_JN_SET:
    case TW_JN_SETBLOCK:
        return run_set(r, n);
    case TW_JN_MACRO:
        return run_macro(r, n);
    case TW_JN_BLOCK:
        return run_scoped(r, n);
    case TW_JN_BREAK:
        r->flow = TW_JFLOW_BREAK;
        return 0;
    case TW_JN_CONTINUE:
        r->flow = TW_JFLOW_CONTINUE;
        return 0;
    default:
        return tw_jrun_fail(r, "a node that is no statement");
    }
}

int tw_jrun_body(tw_jrun *r, const tw_jnode *first)
{
    int e = 0;
    if (++r->depth > TW_JINJA_DEPTH_MAX)
        return tw_jrun_fail(r, "blocks are nested too deeply");
    for (const tw_jnode *n = first; e == 0 && n && r->flow == TW_JFLOW_ON; n = n->next) {
        e = tw_jrun_step(r, 1);
        r->line = n->line;
        if (e == 0)
            e = run_statement(r, n);
    }
    r->depth--;
    return e;
}

int tw_jinja_render(const tw_jinja *t, const json_t *ctx, const tw_jinja_opts *o, tw_buf *out,
                    tw_err *err)
{
    tw_jrun r = {.t = t, .out = out, .err = err, .line = 1};
    tw_jval globals;
    r.steps_left = o && o->max_steps ? o->max_steps : 20 * 1000 * 1000;
    r.now = o ? o->now : NULL;
    tw_arena_init(&r.arena, o && o->max_arena_bytes ? o->max_arena_bytes : (size_t)128 << 20);
    int e = scope_push(&r, NULL, &r.scope);
    if (e == 0 && ctx) {
        e = tw_jrun_from_json(&r, ctx, &globals);
        if (e == 0 && globals.kind != TW_J_DICT)
            e = tw_jrun_fail(&r, "the variables are no JSON object");
        if (e == 0)
            r.scope->vars = *globals.u.dict;
    }
    if (e == 0)
        e = tw_jrun_body(&r, t->body);
    tw_arena_done(&r.arena);
    return e;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Global functions: namespace, dict, range, raise_exception, strftime_now. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

typedef int func_fn(tw_jrun *r, const tw_jargs *a, tw_jval *ret);

/* dict(other, a=1) and namespace(a=1) */
static int make_dict(tw_jrun *r, const tw_jargs *a, tw_jval *ret)
{
    tw_jdict *d = tw_arena_alloc(&r->arena, sizeof(*d));
    int e = d ? 0 : tw_jrun_nomem(r);
    if (e == 0 && a->n && (a->n > 1 || a->v[0].kind != TW_J_DICT))
        e = tw_jrun_fail(r, "dict and namespace want names with values, or one dict");
    for (size_t i = 0; e == 0 && a->n && i < a->v[0].u.dict->n; i++)
        e = tw_jdict_set(r, d, a->v[0].u.dict->e[i].key, a->v[0].u.dict->e[i].val);
    for (unsigned i = 0; e == 0 && i < a->n_kw; i++)
        e = tw_jdict_set(r, d, tw_jval_str(a->kw_name[i]), a->kw[i]);
    *ret = (tw_jval){.kind = TW_J_DICT, .u.dict = d};
    return e;
}

static int make_namespace(tw_jrun *r, const tw_jargs *a, tw_jval *ret)
{
    int e = make_dict(r, a, ret);
    ret->kind = TW_J_NS;
    return e;
}

static int make_range(tw_jrun *r, const tw_jargs *a, tw_jval *ret)
{
    int64_t v[3] = {0, 0, 1};
    tw_jlist *l = NULL;
    if (a->n < 1 || a->n > 3 || a->n_kw)
        return tw_jrun_fail(r, "range wants one to three integers");
    for (unsigned i = 0; i < a->n; i++)
        if (!tw_jval_integer(a->v[i], &v[a->n == 1 ? 1 : i]))
            return tw_jrun_fail(r, "range: argument %u is a %s", i + 1, tw_jval_type(a->v[i]));
    if (v[2] == 0)
        return tw_jrun_fail(r, "range: the step is zero");
    int e = tw_jlist_new(r, 0, &l);
    for (int64_t i = v[0]; e == 0 && (v[2] > 0 ? i < v[1] : i > v[1]);) {
        if (l->n == TW_JINJA_RANGE_MAX)
            return tw_jrun_fail(r, "range: more than %d numbers", TW_JINJA_RANGE_MAX);
        e = tw_jlist_push(r, l, tw_jval_int(i));
        if (__builtin_add_overflow(i, v[2], &i))
            break;
    }
    *ret = tw_jlist_val(l);
    return e;
}

static int raise_exception(tw_jrun *r, const tw_jargs *a, tw_jval *ret)
{
    (void)ret;
    if (a->n != 1 || a->v[0].kind != TW_J_STR)
        return tw_jrun_fail(r, "the template raised an exception without a message");
    return tw_jrun_fail(r, "%.*s", (int)TW_MIN(a->v[0].u.s.len, 190u), a->v[0].u.s.p);
}

static int strftime_now(tw_jrun *r, const tw_jargs *a, tw_jval *ret)
{
    char fmt[128], text[512];
    if (a->n != 1 || a->v[0].kind != TW_J_STR || a->v[0].u.s.len >= sizeof(fmt))
        return tw_jrun_fail(r, "strftime_now wants one short string");
    if (r->now == NULL)
        return tw_jrun_fail(r, "strftime_now: there is no clock here");
    memcpy(fmt, a->v[0].u.s.p, a->v[0].u.s.len);
    fmt[a->v[0].u.s.len] = 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof(text), fmt, r->now);
#pragma GCC diagnostic pop
    return tw_jrun_copy(r, text, n, ret);
}

static const struct {
    const char *name;
    func_fn *fn;
} funcs[] = {{"namespace", make_namespace},
             {"dict", make_dict},
             {"range", make_range},
             {"raise_exception", raise_exception},
             {"strftime_now", strftime_now}};

static func_fn *find_func(tw_str name)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(funcs); i++)
        if (tw_str_is(name, funcs[i].name))
            return funcs[i].fn;
    return NULL;
}

bool tw_jinja_has_func(tw_str name)
{
    return find_func(name) != NULL;
}

int tw_jrun_func(tw_jrun *r, tw_str name, const tw_jargs *a, tw_jval *ret)
{
    func_fn *fn = find_func(name);
    return fn ? fn(r, a, ret) : tw_jrun_fail(r, "no such function");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of sequences and dicts. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

typedef int seq_fn(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret);

/* "a.b.0" on v, as the attribute= of filters means it. */
static int attr_path(tw_jrun *r, tw_jval v, tw_jval path, tw_jval *ret)
{
    if (path.kind != TW_J_STR)
        return tw_jrun_item(r, v, path, ret);
    *ret = v;
    tw_str rest = path.u.s;
    for (int e = 0;;) {
        const char *dot = rest.len ? memchr(rest.p, '.', rest.len) : NULL;
        tw_str part = {rest.p, dot ? (size_t)(dot - rest.p) : rest.len};
        char text[24];
        uint64_t i = 0;
        snprintf(text, sizeof(text), "%.*s", (int)TW_MIN(part.len, 20u), part.p);
        bool index = tw_str_to_u64(text, &i) == 0 && i < INT64_MAX;
        e = index ? tw_jrun_item(r, *ret, tw_jval_int((int64_t)i), ret)
                  : tw_jrun_item(r, *ret, tw_jval_str(part), ret);
        if (e || dot == NULL)
            return e;
        rest = (tw_str){dot + 1, rest.len - part.len - 1};
    }
}

static int seq_length(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    size_t n = 0;
    if (on.kind == TW_J_STR)
        n = tw_jstr_chars(on.u.s);
    else if (tw_jval_is_list(on))
        n = on.u.list->n;
    else if (on.kind == TW_J_DICT)
        n = on.u.dict->n;
    else if (on.kind != TW_J_UNDEF)
        return tw_jrun_fail(r, "a %s has no length", tw_jval_type(on));
    *ret = tw_jval_int((int64_t)n);
    return 0;
}

static int end_of(tw_jrun *r, tw_jval on, bool last, tw_jval *ret)
{
    const tw_jlist *l = NULL;
    int e = tw_jrun_iter(r, on, &l);
    *ret = tw_jval_undef(TW_STR("the end of an empty sequence"));
    if (e == 0 && l->n)
        *ret = l->v[last ? l->n - 1 : 0];
    return e;
}

static int seq_first(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return end_of(r, on, false, ret);
}

static int seq_last(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return end_of(r, on, true, ret);
}

static int seq_join(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    const tw_jval *sep = tw_jargs_get(a, 0, "d"), *attr = tw_jargs_get(a, 1, "attribute");
    const tw_jlist *l = NULL;
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    int e = tw_jrun_iter(r, on, &l);
    for (size_t i = 0; e == 0 && i < l->n; i++) {
        tw_jval v = l->v[i];
        if (i && sep)
            e = tw_jrun_print(r, &b, *sep);
        if (e == 0 && attr)
            e = attr_path(r, v, *attr, &v);
        if (e == 0)
            e = tw_jrun_print(r, &b, v);
    }
    return e ? e : tw_jrun_buf(r, &b, ret);
}

static int seq_list(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    const tw_jlist *l = NULL;
    tw_jlist *copy = NULL;
    int e = tw_jrun_iter(r, on, &l);
    if (e == 0)
        e = tw_jlist_new(r, l->n, &copy);
    for (size_t i = 0; e == 0 && i < l->n; i++)
        e = tw_jlist_push(r, copy, l->v[i]);
    *ret = tw_jlist_val(copy);
    return e;
}

static int seq_reverse(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    const tw_jval back[3] = {{.kind = TW_J_NONE}, {.kind = TW_J_NONE}, tw_jval_int(-1)};
    const tw_jlist *l = NULL;
    if (on.kind == TW_J_STR)
        return tw_jrun_slice(r, on, back, ret);
    int e = tw_jrun_iter(r, on, &l);
    tw_jlist *copy = NULL;
    if (e == 0)
        e = tw_jlist_new(r, l->n, &copy);
    for (size_t i = e == 0 ? l->n : 0; e == 0 && i-- > 0;)
        e = tw_jlist_push(r, copy, l->v[i]);
    *ret = tw_jlist_val(copy);
    return e;
}

static int seq_unique(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    const tw_jval *exact = tw_jargs_get(a, 0, "case_sensitive");
    const tw_jlist *l = NULL;
    tw_jlist *kept = NULL, *keys = NULL;
    int e = tw_jrun_iter(r, on, &l);
    if (e == 0)
        e = tw_jlist_new(r, 0, &kept);
    if (e == 0)
        e = tw_jlist_new(r, 0, &keys);
    for (size_t i = 0; e == 0 && i < l->n; i++) {
        tw_jval key = l->v[i];
        bool seen = false;
        if (key.kind == TW_J_STR && !(exact && tw_jval_truth(*exact)))
            e = tw_jstr_case(r, key.u.s, TW_JCASE_LOWER, &key);
        if (e == 0)
            e = tw_jrun_contains(r, tw_jlist_val(keys), key, &seen);
        if (e == 0 && !seen)
            e = tw_jlist_push(r, keys, key);
        if (e == 0 && !seen)
            e = tw_jlist_push(r, kept, l->v[i]);
    }
    *ret = tw_jlist_val(kept);
    return e;
}

static int seq_items(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    tw_jlist *none = NULL;
    if (on.kind == TW_J_UNDEF) {
        int e = tw_jlist_new(r, 0, &none);
        *ret = tw_jlist_val(none);
        return e;
    }
    if (on.kind != TW_J_DICT)
        return tw_jrun_fail(r, "items of a %s", tw_jval_type(on));
    tw_jmethod m = {.self = on, .name = TW_STR("items")};
    tw_jargs no_args;
    no_args.n = no_args.n_kw = 0;
    return tw_jrun_method(r, &m, &no_args, ret);
}

/* Arguments from the i-th on, for the test or filter that another filter applies. */
static void args_from(const tw_jargs *a, unsigned i, tw_jargs *ret)
{
    ret->n = ret->n_kw = 0;
    for (; i < a->n; i++)
        ret->v[ret->n++] = a->v[i];
}

static int apply_filter(tw_jrun *r, tw_jval v, const tw_jargs *a, tw_jval *ret)
{
    tw_jargs rest;
    bool known = false;
    args_from(a, 1, &rest);
    if (a->v[0].kind != TW_J_STR)
        return tw_jrun_fail(r, "map wants the name of a filter");
    int e = tw_jrun_seq_filter(r, a->v[0].u.s, v, &rest, ret, &known);
    return known || e ? e : tw_jrun_filter(r, a->v[0].u.s, v, &rest, ret);
}

static int seq_map(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    const tw_jval *attr = NULL, *fallback = NULL;
    const tw_jlist *l = NULL;
    tw_jlist *out = NULL;
    if (a->n == 0) {
        attr = tw_jargs_get(a, 0, "attribute");
        fallback = tw_jargs_get(a, 1, "default");
        if (attr == NULL)
            return tw_jrun_fail(r, "map wants attribute= or the name of a filter");
    }
    if (++r->depth > TW_JINJA_DEPTH_MAX)
        return tw_jrun_fail(r, "map is nested too deeply");
    int e = tw_jrun_iter(r, on, &l);
    if (e == 0)
        e = tw_jlist_new(r, l->n, &out);
    for (size_t i = 0; e == 0 && i < l->n; i++) {
        tw_jval v;
        e = attr ? attr_path(r, l->v[i], *attr, &v) : apply_filter(r, l->v[i], a, &v);
        if (e == 0 && v.kind == TW_J_UNDEF && fallback)
            v = *fallback;
        if (e == 0)
            e = tw_jlist_push(r, out, v);
    }
    r->depth--;
    *ret = tw_jlist_val(out);
    return e;
}

/* (select|reject)(attr)?: i_test is the index of the test's name among the arguments. */
static int pick(tw_jrun *r, tw_jval on, const tw_jargs *a, bool attr, bool want, tw_jval *ret)
{
    const tw_jlist *l = NULL;
    tw_jlist *kept = NULL;
    tw_jargs rest;
    unsigned i_test = attr ? 1 : 0;
    if (a->n < i_test)
        return tw_jrun_fail(r, "selectattr and rejectattr want the name of an attribute");
    bool has_test = a->n > i_test;
    if (has_test && (a->v[i_test].kind != TW_J_STR || !tw_jinja_has_test(a->v[i_test].u.s)))
        return tw_jrun_fail(r, "no test has the name that select or reject was given");
    args_from(a, i_test + 1, &rest);
    int e = tw_jrun_iter(r, on, &l);
    if (e == 0)
        e = tw_jlist_new(r, 0, &kept);
    for (size_t i = 0; e == 0 && i < l->n; i++) {
        tw_jval v = l->v[i];
        bool is = false;
        if (attr)
            e = attr_path(r, v, a->v[0], &v);
        if (e == 0 && has_test)
            e = tw_jrun_is(r, a->v[i_test].u.s, v, &rest, &is);
        else if (e == 0)
            is = tw_jval_truth(v);
        if (e == 0 && is == want)
            e = tw_jlist_push(r, kept, l->v[i]);
    }
    *ret = tw_jlist_val(kept);
    return e;
}

static int seq_select(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return pick(r, on, a, false, true, ret);
}

static int seq_reject(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return pick(r, on, a, false, false, ret);
}

static int seq_selectattr(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return pick(r, on, a, true, true, ret);
}

static int seq_rejectattr(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return pick(r, on, a, true, false, ret);
}

static int sort_key(tw_jrun *r, tw_jval v, const tw_jval *attr, bool exact, tw_jval *ret)
{
    int e = 0;
    *ret = v;
    if (attr)
        e = attr_path(r, v, *attr, ret);
    if (e == 0 && ret->kind == TW_J_STR && !exact)
        e = tw_jstr_case(r, ret->u.s, TW_JCASE_LOWER, ret);
    return e;
}

/* Stable; insertion is enough for what templates sort, and the step ceiling bounds it. */
static int sort_list(tw_jrun *r, tw_jval on, const tw_jval *attr, bool exact, bool back,
                     tw_jval *ret)
{
    const tw_jlist *l = NULL;
    tw_jlist *out = NULL, *keys = NULL;
    int e = tw_jrun_iter(r, on, &l);
    if (e == 0)
        e = tw_jlist_new(r, l->n, &out);
    if (e == 0)
        e = tw_jlist_new(r, l->n, &keys);
    for (size_t i = 0; e == 0 && i < l->n; i++) {
        tw_jval key;
        size_t at = i;
        e = sort_key(r, l->v[i], attr, exact, &key);
        if (e == 0)
            e = tw_jlist_push(r, out, l->v[i]);
        if (e == 0)
            e = tw_jlist_push(r, keys, key);
        for (int c = 0; e == 0 && at > 0; at--) {
            e = tw_jrun_order(r, keys->v[at - 1], key, &c);
            if (e || (back ? c >= 0 : c <= 0))
                break;
            keys->v[at] = keys->v[at - 1];
            out->v[at] = out->v[at - 1];
            e = tw_jrun_step(r, 1);
        }
        if (e == 0) {
            keys->v[at] = key;
            out->v[at] = l->v[i];
        }
    }
    *ret = tw_jlist_val(out);
    return e;
}

static int seq_sort(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    const tw_jval *back = tw_jargs_get(a, 0, "reverse");
    const tw_jval *exact = tw_jargs_get(a, 1, "case_sensitive");
    return sort_list(r, on, tw_jargs_get(a, 2, "attribute"), exact && tw_jval_truth(*exact),
                     back && tw_jval_truth(*back), ret);
}

static int seq_dictsort(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    const tw_jval *exact = tw_jargs_get(a, 0, "case_sensitive");
    const tw_jval *by = tw_jargs_get(a, 1, "by"), *back = tw_jargs_get(a, 2, "reverse");
    tw_jval items, i_key = tw_jval_int(by && by->kind == TW_J_STR && tw_str_is(by->u.s, "value"));
    int e = seq_items(r, on, a, &items);
    return e ? e
             : sort_list(r, items, &i_key, exact && tw_jval_truth(*exact),
                         back && tw_jval_truth(*back), ret);
}

static const struct {
    const char *name;
    seq_fn *fn;
} filters[] = {{"length", seq_length},
               {"count", seq_length},
               {"first", seq_first},
               {"last", seq_last},
               {"join", seq_join},
               {"list", seq_list},
               {"reverse", seq_reverse},
               {"unique", seq_unique},
               {"items", seq_items},
               {"map", seq_map},
               {"select", seq_select},
               {"reject", seq_reject},
               {"selectattr", seq_selectattr},
               {"rejectattr", seq_rejectattr},
               {"sort", seq_sort},
               {"dictsort", seq_dictsort}};

bool tw_jinja_has_seq_filter(tw_str name)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(filters); i++)
        if (tw_str_is(name, filters[i].name))
            return true;
    return false;
}

int tw_jrun_seq_filter(tw_jrun *r, tw_str name, tw_jval on, const tw_jargs *a, tw_jval *ret,
                       bool *ret_known)
{
    *ret_known = false;
    for (size_t i = 0; i < TW_ARRAY_LEN(filters); i++)
        if (tw_str_is(name, filters[i].name)) {
            *ret_known = true;
            return filters[i].fn(r, on, a, ret);
        }
    return 0;
}

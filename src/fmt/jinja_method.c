/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of strings and dicts. */
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

typedef int method_fn(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret);

static int str_strip(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return tw_jstr_strip(r, on.u.s, tw_jargs_get(a, 0, "chars"), TW_JSIDE_LEFT | TW_JSIDE_RIGHT,
                         ret);
}

static int str_lstrip(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return tw_jstr_strip(r, on.u.s, tw_jargs_get(a, 0, "chars"), TW_JSIDE_LEFT, ret);
}

static int str_rstrip(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return tw_jstr_strip(r, on.u.s, tw_jargs_get(a, 0, "chars"), TW_JSIDE_RIGHT, ret);
}

static int str_upper(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return tw_jstr_case(r, on.u.s, TW_JCASE_UPPER, ret);
}

static int str_lower(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return tw_jstr_case(r, on.u.s, TW_JCASE_LOWER, ret);
}

static int str_title(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return tw_jstr_case(r, on.u.s, TW_JCASE_TITLE, ret);
}

static int str_capitalize(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return tw_jstr_case(r, on.u.s, TW_JCASE_CAPITAL, ret);
}

static int str_replace(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return tw_jstr_replace(r, on.u.s, a, ret);
}

static int at_end(tw_jrun *r, tw_str s, const tw_jargs *a, bool end, tw_jval *ret)
{
    bool is = false;
    const tw_jval *what = tw_jargs_get(a, 0, "");
    tw_jval one[1] = {what ? *what : tw_jval_undef(TW_STR("prefix"))};
    tw_jlist single = {.v = one, .n = 1, .cap = 1};
    const tw_jlist *l = one[0].kind == TW_J_TUPLE ? one[0].u.list : &single;
    for (size_t i = 0; i < l->n; i++) {
        if (l->v[i].kind != TW_J_STR)
            return tw_jrun_fail(r, "startswith and endswith want a string or a tuple of strings");
        is = is || (end ? tw_str_ends(s, l->v[i].u.s) : tw_str_starts(s, l->v[i].u.s));
    }
    *ret = tw_jval_bool(is);
    return tw_jrun_step(r, 1 + l->n);
}

static int str_startswith(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return at_end(r, on.u.s, a, false, ret);
}

static int str_endswith(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return at_end(r, on.u.s, a, true, ret);
}

/* Splits at runs of white space; n_max < 0: no limit. */
static int split_space(tw_jrun *r, tw_str s, int64_t n_max, tw_jlist *l)
{
    int e = 0;
    for (;;) {
        for (size_t k; (k = tw_jinja_space_front(s)) != 0;)
            s = (tw_str){s.p + k, s.len - k};
        if (s.len == 0 || e)
            return e;
        size_t n = 0;
        bool rest = n_max >= 0 && (int64_t)l->n >= n_max;
        while (n < s.len && (rest || !tw_jinja_space_front((tw_str){s.p + n, s.len - n})))
            n++;
        tw_str part = {s.p, n};
        for (size_t k; rest && (k = tw_jinja_space_back(part)) != 0;)
            part.len -= k;
        e = tw_jlist_push(r, l, tw_jval_str(part));
        s = (tw_str){s.p + n, s.len - n};
    }
}

static int split_at(tw_jrun *r, tw_str s, tw_str sep, int64_t n_max, tw_jlist *l)
{
    int e = 0;
    while (e == 0 && (n_max < 0 || (int64_t)l->n < n_max)) {
        const char *q = s.len ? memmem(s.p, s.len, sep.p, sep.len) : NULL;
        if (q == NULL)
            break;
        size_t n = (size_t)(q - s.p);
        e = tw_jlist_push(r, l, tw_jval_str((tw_str){s.p, n}));
        s = (tw_str){q + sep.len, s.len - n - sep.len};
    }
    return e ? e : tw_jlist_push(r, l, tw_jval_str(s));
}

static int rsplit_at(tw_jrun *r, tw_str s, tw_str sep, int64_t n_max, tw_jlist *l)
{
    int e = 0;
    for (size_t i = s.len; e == 0 && i >= sep.len && (n_max < 0 || (int64_t)l->n < n_max);) {
        if (memcmp(s.p + i - sep.len, sep.p, sep.len) != 0) {
            i--;
            continue;
        }
        e = tw_jlist_push(r, l, tw_jval_str((tw_str){s.p + i, s.len - i}));
        s.len = i - sep.len;
        i = s.len;
    }
    if (e == 0)
        e = tw_jlist_push(r, l, tw_jval_str(s));
    for (size_t i = 0, n = l->n; i < n / 2; i++) {
        tw_jval v = l->v[i];
        l->v[i] = l->v[n - 1 - i];
        l->v[n - 1 - i] = v;
    }
    return e;
}

static int split(tw_jrun *r, tw_jval on, const tw_jargs *a, bool right, tw_jval *ret)
{
    const tw_jval *sep = tw_jargs_get(a, 0, "sep"), *max = tw_jargs_get(a, 1, "maxsplit");
    int64_t n_max = -1;
    tw_jlist *l = NULL;
    bool space = sep == NULL || sep->kind == TW_J_NONE;
    if (max && !tw_jval_integer(*max, &n_max))
        return tw_jrun_fail(r, "split: maxsplit is no integer");
    if (!space && (sep->kind != TW_J_STR || sep->u.s.len == 0))
        return tw_jrun_fail(r, "split: the separator is no string, or empty");
    if (right && space && n_max >= 0)
        return tw_jrun_fail(r, "rsplit with a limit wants a separator");
    int e = tw_jlist_new(r, 0, &l);
    if (e == 0)
        e = tw_jrun_step(r, 1 + on.u.s.len / 16);
    if (e == 0)
        e = space   ? split_space(r, on.u.s, n_max, l)
            : right ? rsplit_at(r, on.u.s, sep->u.s, n_max, l)
                    : split_at(r, on.u.s, sep->u.s, n_max, l);
    *ret = tw_jlist_val(l);
    return e;
}

static int str_split(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return split(r, on, a, false, ret);
}

static int str_rsplit(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    return split(r, on, a, true, ret);
}

static int str_splitlines(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    tw_jlist *l = NULL;
    tw_str s = on.u.s;
    int e = tw_jlist_new(r, 0, &l);
    while (e == 0 && s.len) {
        size_t n = 0;
        while (n < s.len && s.p[n] != '\n' && s.p[n] != '\r')
            n++;
        e = tw_jlist_push(r, l, tw_jval_str((tw_str){s.p, n}));
        n += n + 1 < s.len && s.p[n] == '\r' && s.p[n + 1] == '\n';
        n += n < s.len;
        s = (tw_str){s.p + n, s.len - n};
    }
    *ret = tw_jlist_val(l);
    return e;
}

static int str_find(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    if (a->n != 1 || a->v[0].kind != TW_J_STR)
        return tw_jrun_fail(r, "find wants one string");
    tw_str s = on.u.s, what = a->v[0].u.s;
    const char *q = what.len == 0 ? s.p : memmem(s.p, s.len, what.p, what.len);
    int64_t i = -1;
    if (q)
        i = (int64_t)tw_jstr_chars((tw_str){s.p, (size_t)(q - s.p)});
    *ret = tw_jval_int(i);
    return tw_jrun_step(r, 1 + s.len / 16);
}

static int str_count(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    if (a->n != 1 || a->v[0].kind != TW_J_STR || a->v[0].u.s.len == 0)
        return tw_jrun_fail(r, "count wants one string");
    tw_str s = on.u.s, what = a->v[0].u.s;
    int64_t n = 0;
    for (const char *q; s.len && (q = memmem(s.p, s.len, what.p, what.len)) != NULL; n++)
        s = (tw_str){q + what.len, s.len - (size_t)(q - s.p) - what.len};
    *ret = tw_jval_int(n);
    return tw_jrun_step(r, 1 + on.u.s.len / 16);
}

static int str_join(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    tw_jargs sep;
    bool known = false;
    if (a->n != 1)
        return tw_jrun_fail(r, "join wants one sequence");
    sep.n = 1;
    sep.n_kw = 0;
    sep.v[0] = on;
    return tw_jrun_seq_filter(r, TW_STR("join"), a->v[0], &sep, ret, &known);
}

static int str_isdigit(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    bool is = on.u.s.len != 0;
    for (size_t i = 0; i < on.u.s.len; i++)
        is = is && on.u.s.p[i] >= '0' && on.u.s.p[i] <= '9';
    *ret = tw_jval_bool(is);
    return tw_jrun_step(r, 1 + on.u.s.len / 16);
}

static int dict_get(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    tw_jval *found = NULL;
    if (a->n < 1 || a->n > 2)
        return tw_jrun_fail(r, "get wants a key and, if any, a default");
    int e = tw_jdict_find(r, on.u.dict, a->v[0], &found);
    const tw_jval *fallback = tw_jargs_get(a, 1, "default");
    *ret = found ? *found : fallback ? *fallback : (tw_jval){.kind = TW_J_NONE};
    return e;
}

/* what: 'k' keys, 'v' values, 'i' pairs */
static int dict_list(tw_jrun *r, const tw_jdict *d, char what, tw_jval *ret)
{
    tw_jlist *l = NULL;
    int e = tw_jlist_new(r, d->n, &l);
    for (size_t i = 0; e == 0 && i < d->n; i++) {
        tw_jlist *pair = NULL;
        tw_jval v = what == 'k' ? d->e[i].key : d->e[i].val;
        if (what == 'i') {
            e = tw_jlist_new(r, 2, &pair);
            if (e == 0)
                e = tw_jlist_push(r, pair, d->e[i].key);
            if (e == 0)
                e = tw_jlist_push(r, pair, d->e[i].val);
            v = (tw_jval){.kind = TW_J_TUPLE, .u.list = pair};
        }
        if (e == 0)
            e = tw_jlist_push(r, l, v);
    }
    *ret = tw_jlist_val(l);
    return e;
}

static int dict_items(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return dict_list(r, on.u.dict, 'i', ret);
}

static int dict_keys(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return dict_list(r, on.u.dict, 'k', ret);
}

static int dict_values(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return dict_list(r, on.u.dict, 'v', ret);
}

static int list_index(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    bool same = false;
    if (a->n != 1)
        return tw_jrun_fail(r, "index wants one value");
    for (size_t i = 0; i < on.u.list->n; i++) {
        int e = tw_jrun_equal(r, on.u.list->v[i], a->v[0], &same);
        if (e)
            return e;
        if (same) {
            *ret = tw_jval_int((int64_t)i);
            return 0;
        }
    }
    return tw_jrun_fail(r, "index: the value is not in the list");
}

/* Python's lists and dicts have these too, but the sandbox keeps a template from changing values. */
static int refuse(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    (void)ret;
    return tw_jrun_fail(r, "a template may not change a %s", tw_jval_type(on));
}

static const struct {
    enum tw_jkind kind; /* TW_J_LIST: tuples too */
    const char *name;
    method_fn *fn;
} methods[] = {{TW_J_STR, "strip", str_strip},
               {TW_J_STR, "lstrip", str_lstrip},
               {TW_J_STR, "rstrip", str_rstrip},
               {TW_J_STR, "upper", str_upper},
               {TW_J_STR, "lower", str_lower},
               {TW_J_STR, "title", str_title},
               {TW_J_STR, "capitalize", str_capitalize},
               {TW_J_STR, "replace", str_replace},
               {TW_J_STR, "startswith", str_startswith},
               {TW_J_STR, "endswith", str_endswith},
               {TW_J_STR, "split", str_split},
               {TW_J_STR, "rsplit", str_rsplit},
               {TW_J_STR, "splitlines", str_splitlines},
               {TW_J_STR, "find", str_find},
               {TW_J_STR, "count", str_count},
               {TW_J_STR, "join", str_join},
               {TW_J_STR, "isdigit", str_isdigit},
               {TW_J_DICT, "get", dict_get},
               {TW_J_DICT, "items", dict_items},
               {TW_J_DICT, "keys", dict_keys},
               {TW_J_DICT, "values", dict_values},
               {TW_J_DICT, "update", refuse},
               {TW_J_DICT, "pop", refuse},
               {TW_J_DICT, "setdefault", refuse},
               {TW_J_LIST, "index", list_index},
               {TW_J_LIST, "append", refuse},
               {TW_J_LIST, "insert", refuse},
               {TW_J_LIST, "extend", refuse},
               {TW_J_LIST, "pop", refuse}};

static method_fn *find_method(tw_jval on, tw_str name)
{
    enum tw_jkind kind = on.kind == TW_J_TUPLE ? TW_J_LIST : on.kind;
    for (size_t i = 0; i < TW_ARRAY_LEN(methods); i++)
        if (methods[i].kind == kind && tw_str_is(name, methods[i].name))
            return methods[i].fn;
    return NULL;
}

bool tw_jinja_has_method(tw_jval on, tw_str name)
{
    return find_method(on, name) != NULL;
}

int tw_jrun_method(tw_jrun *r, const tw_jmethod *m, const tw_jargs *a, tw_jval *ret)
{
    method_fn *fn = find_method(m->self, m->name);
    if (fn == NULL)
        return tw_jrun_fail(r, "a %s has no method \"%.*s\"", tw_jval_type(m->self),
                            (int)TW_MIN(m->name.len, 40u), m->name.p);
    return fn(r, m->self, a, ret);
}

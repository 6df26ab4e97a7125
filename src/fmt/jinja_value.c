/* SPDX-License-Identifier: Apache-2.0 */
/* Values: making, truth, equality, order, membership. Python's rules. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

int tw_jrun_fail(tw_jrun *r, const char *fmt, ...)
{
    char what[200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return tw_err_set(r->err, -EINVAL, "%s:%u: %s", r->t->name, r->line, what);
}

int tw_jrun_nomem(tw_jrun *r)
{
    return tw_err_set(r->err, -E2BIG, "%s:%u: rendering needs more memory than its ceiling",
                      r->t->name, r->line);
}

int tw_jrun_step(tw_jrun *r, uint64_t n)
{
    if (r->steps_left < n) {
        r->steps_left = 0;
        return tw_err_set(r->err, -E2BIG, "%s:%u: rendering takes more steps than its ceiling",
                          r->t->name, r->line);
    }
    r->steps_left -= n;
    return 0;
}

int tw_jrun_buf_fail(tw_jrun *r, int code)
{
    if (code == -E2BIG)
        return tw_err_set(r->err, -E2BIG, "%s:%u: the rendered text passes its ceiling", r->t->name,
                          r->line);
    return tw_err_set(r->err, code, "%s:%u: out of memory", r->t->name, r->line);
}

const char *tw_jval_type(tw_jval v)
{
    static const char *const names[] = {
        [TW_J_UNDEF] = "undefined", [TW_J_NONE] = "none",   [TW_J_BOOL] = "boolean",
        [TW_J_INT] = "integer",     [TW_J_FLOAT] = "float", [TW_J_STR] = "string",
        [TW_J_LIST] = "list",       [TW_J_TUPLE] = "tuple", [TW_J_DICT] = "dict",
        [TW_J_NS] = "namespace",    [TW_J_MACRO] = "macro", [TW_J_FUNC] = "function",
        [TW_J_METHOD] = "method",   [TW_J_LOOP] = "loop",
    };
    return names[v.kind];
}

tw_jval tw_jval_undef(tw_str name)
{
    return (tw_jval){.kind = TW_J_UNDEF, .u.s = name};
}

tw_jval tw_jval_bool(bool b)
{
    return (tw_jval){.kind = TW_J_BOOL, .u.b = b};
}

tw_jval tw_jval_int(int64_t i)
{
    return (tw_jval){.kind = TW_J_INT, .u.i = i};
}

tw_jval tw_jval_str(tw_str s)
{
    return (tw_jval){.kind = TW_J_STR, .u.s = s};
}

tw_jval tw_jlist_val(tw_jlist *l)
{
    return (tw_jval){.kind = TW_J_LIST, .u.list = l};
}

bool tw_jval_is_list(tw_jval v)
{
    return v.kind == TW_J_LIST || v.kind == TW_J_TUPLE;
}

bool tw_jval_truth(tw_jval v)
{
    switch (v.kind) {
    case TW_J_UNDEF:
    case TW_J_NONE:
        return false;
    case TW_J_BOOL:
        return v.u.b;
    case TW_J_INT:
        return v.u.i != 0;
    case TW_J_FLOAT:
        return v.u.f != 0;
    case TW_J_STR:
        return v.u.s.len != 0;
    case TW_J_LIST:
    case TW_J_TUPLE:
        return v.u.list->n != 0;
    case TW_J_DICT:
        return v.u.dict->n != 0;
    case TW_J_LOOP:
    case TW_J_NS:
    case TW_J_MACRO:
    case TW_J_FUNC:
    case TW_J_METHOD:
    default:
        return true;
    }
}

bool tw_jval_integer(tw_jval v, int64_t *ret)
{
    if (v.kind != TW_J_INT && v.kind != TW_J_BOOL)
        return false;
    *ret = v.kind == TW_J_INT ? v.u.i : v.u.b;
    return true;
}

bool tw_jval_num(tw_jval v, double *ret)
{
    int64_t i = 0;
    if (v.kind == TW_J_FLOAT)
        *ret = v.u.f;
    else if (tw_jval_integer(v, &i))
        *ret = (double)i;
    else
        return false;
    return true;
}

size_t tw_jstr_chars(tw_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

int tw_jrun_copy(tw_jrun *r, const char *p, size_t n, tw_jval *ret)
{
    char *s = tw_arena_alloc(&r->arena, n + 1); /* no strndup: a string may hold zero bytes */
    if (s == NULL)
        return tw_jrun_nomem(r);
    if (n)
        memcpy(s, p, n);
    *ret = tw_jval_str((tw_str){s, n});
    return 0;
}

tw_buf tw_jrun_tmp(const tw_jrun *r)
{
    return TW_BUF(r->arena.max_bytes);
}

int tw_jrun_buf(tw_jrun *r, const tw_buf *b, tw_jval *ret)
{
    int e = tw_jrun_step(r, b->len / 64);
    return e ? e : tw_jrun_copy(r, b->data, b->len, ret);
}

int tw_jlist_new(tw_jrun *r, size_t cap, tw_jlist **ret)
{
    tw_jlist *l = tw_arena_alloc(&r->arena, sizeof(*l));
    if (l == NULL)
        return tw_jrun_nomem(r);
    if (cap) {
        l->v = tw_arena_array(&r->arena, cap, sizeof(*l->v));
        if (l->v == NULL)
            return tw_jrun_nomem(r);
        l->cap = cap;
    }
    *ret = l;
    return 0;
}

int tw_jlist_push(tw_jrun *r, tw_jlist *l, tw_jval v)
{
    int e = tw_jrun_step(r, 1);
    if (e)
        return e;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        tw_jval *w = tw_arena_array(&r->arena, cap, sizeof(*w));
        if (w == NULL)
            return tw_jrun_nomem(r);
        if (l->n)
            memcpy(w, l->v, l->n * sizeof(*w));
        l->v = w;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return 0;
}

int tw_jdict_find(tw_jrun *r, const tw_jdict *d, tw_jval key, tw_jval **ret)
{
    *ret = NULL;
    int e = tw_jrun_step(r, d->n / 4);
    for (size_t i = 0; e == 0 && i < d->n; i++) {
        bool same = false;
        if (key.kind == TW_J_STR && d->e[i].key.kind == TW_J_STR)
            same = tw_str_eq(key.u.s, d->e[i].key.u.s);
        else
            e = tw_jrun_equal(r, key, d->e[i].key, &same);
        if (same) {
            *ret = &d->e[i].val;
            return e;
        }
    }
    return e;
}

static int dict_push(tw_jrun *r, tw_jdict *d, tw_jval key, tw_jval val)
{
    int e = tw_jrun_step(r, 1);
    if (e)
        return e;
    if (d->n == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 8;
        tw_jpair *w = tw_arena_array(&r->arena, cap, sizeof(*w));
        if (w == NULL)
            return tw_jrun_nomem(r);
        if (d->n)
            memcpy(w, d->e, d->n * sizeof(*w));
        d->e = w;
        d->cap = cap;
    }
    d->e[d->n++] = (tw_jpair){key, val};
    return 0;
}

int tw_jdict_set(tw_jrun *r, tw_jdict *d, tw_jval key, tw_jval val)
{
    tw_jval *old = NULL;
    if (key.kind == TW_J_LIST || key.kind == TW_J_DICT)
        return tw_jrun_fail(r, "a %s cannot be the key of a dict", tw_jval_type(key));
    int e = tw_jdict_find(r, d, key, &old);
    if (e)
        return e;
    if (old == NULL)
        return dict_push(r, d, key, val);
    *old = val;
    return 0;
}

static int from_array(tw_jrun *r, const json_t *j, tw_jval *ret)
{
    tw_jlist *l = NULL;
    int e = tw_jlist_new(r, json_array_size(j), &l);
    for (size_t i = 0; e == 0 && i < json_array_size(j); i++) {
        tw_jval v;
        e = tw_jrun_from_json(r, json_array_get(j, i), &v);
        if (e == 0)
            e = tw_jlist_push(r, l, v);
    }
    if (e == 0)
        *ret = tw_jlist_val(l);
    return e;
}

/* The keys of a JSON object differ already: no look-up for each. */
static int from_object(tw_jrun *r, const json_t *j, tw_jval *ret)
{
    tw_jdict *d = tw_arena_alloc(&r->arena, sizeof(*d));
    json_t *object = (json_t *)(uintptr_t)j; /* the iterator's API has no const */
    int e = d ? 0 : tw_jrun_nomem(r);
    for (void *it = json_object_iter(object); e == 0 && it;
         it = json_object_iter_next(object, it)) {
        tw_jval v;
        e = tw_jrun_from_json(r, json_object_iter_value(it), &v);
        tw_str key = tw_str_from(json_object_iter_key(it));
        if (e == 0)
            e = dict_push(r, d, tw_jval_str(key), v);
    }
    if (e == 0)
        *ret = (tw_jval){.kind = TW_J_DICT, .u.dict = d};
    return e;
}

int tw_jrun_from_json(tw_jrun *r, const json_t *j, tw_jval *ret)
{
    int e = 0;
    if (++r->depth > TW_JINJA_DEPTH_MAX)
        return tw_jrun_fail(r, "the messages are nested too deeply");
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        e = from_object(r, j, ret);
        break;
    case JSON_ARRAY:
        e = from_array(r, j, ret);
        break;
    case JSON_STRING:
        *ret = tw_jval_str((tw_str){json_string_value(j), json_string_length(j)});
        break;
    case JSON_INTEGER:
        *ret = tw_jval_int(json_integer_value(j));
        break;
    case JSON_REAL:
        *ret = (tw_jval){.kind = TW_J_FLOAT, .u.f = json_real_value(j)};
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        *ret = tw_jval_bool(json_is_true(j));
        break;
    case JSON_NULL:
    default:
        *ret = (tw_jval){.kind = TW_J_NONE};
        break;
    }
    r->depth--;
    return e;
}

static int iter_string(tw_jrun *r, tw_str s, tw_jlist *l)
{
    int e = 0;
    for (size_t i = 0; e == 0 && i < s.len;) {
        uint32_t cp = 0;
        unsigned n = tw_utf8_decode(s.p + i, s.len - i, &cp);
        n = n ? n : 1;
        e = tw_jlist_push(r, l, tw_jval_str((tw_str){s.p + i, n}));
        i += n;
    }
    return e;
}

int tw_jrun_iter(tw_jrun *r, tw_jval v, const tw_jlist **ret)
{
    tw_jlist *l = NULL;
    if (tw_jval_is_list(v)) {
        *ret = v.u.list;
        return 0;
    }
    if (v.kind != TW_J_STR && v.kind != TW_J_DICT && v.kind != TW_J_UNDEF)
        return tw_jrun_fail(r, "a %s cannot be iterated over", tw_jval_type(v));
    int e = tw_jlist_new(r, 0, &l);
    if (e == 0 && v.kind == TW_J_STR)
        e = iter_string(r, v.u.s, l);
    if (v.kind == TW_J_DICT)
        for (size_t i = 0; e == 0 && i < v.u.dict->n; i++)
            e = tw_jlist_push(r, l, v.u.dict->e[i].key);
    *ret = l;
    return e;
}

static int equal_lists(tw_jrun *r, const tw_jlist *a, const tw_jlist *b, bool *ret)
{
    int e = 0;
    *ret = a->n == b->n;
    for (size_t i = 0; e == 0 && *ret && i < a->n; i++)
        e = tw_jrun_equal(r, a->v[i], b->v[i], ret);
    return e;
}

static int equal_dicts(tw_jrun *r, const tw_jdict *a, const tw_jdict *b, bool *ret)
{
    int e = 0;
    *ret = a->n == b->n;
    for (size_t i = 0; e == 0 && *ret && i < a->n; i++) {
        tw_jval *other = NULL;
        e = tw_jdict_find(r, b, a->e[i].key, &other);
        *ret = other != NULL;
        if (e == 0 && other)
            e = tw_jrun_equal(r, a->e[i].val, *other, ret);
    }
    return e;
}

int tw_jrun_equal(tw_jrun *r, tw_jval a, tw_jval b, bool *ret)
{
    double x = 0, y = 0;
    int64_t i = 0, j = 0;
    int e = tw_jrun_step(r, 1);
    if (e)
        return e;
    if (tw_jval_integer(a, &i) && tw_jval_integer(b, &j)) {
        *ret = i == j;
    } else if (tw_jval_num(a, &x) && tw_jval_num(b, &y)) {
        *ret = x == y;
    } else if (a.kind != b.kind) {
        *ret = false;
    } else if (a.kind == TW_J_STR) {
        *ret = tw_str_eq(a.u.s, b.u.s);
    } else if (tw_jval_is_list(a) || a.kind == TW_J_DICT) {
        if (++r->depth > TW_JINJA_DEPTH_MAX)
            return tw_jrun_fail(r, "values are nested too deeply to be compared");
        e = a.kind == TW_J_DICT ? equal_dicts(r, a.u.dict, b.u.dict, ret)
                                : equal_lists(r, a.u.list, b.u.list, ret);
        r->depth--;
    } else {
        *ret = a.kind == TW_J_NONE || a.kind == TW_J_UNDEF || a.u.list == b.u.list;
    }
    return e;
}

int tw_jrun_order(tw_jrun *r, tw_jval a, tw_jval b, int *ret)
{
    double x = 0, y = 0;
    int64_t i = 0, j = 0;
    if (tw_jval_integer(a, &i) && tw_jval_integer(b, &j)) {
        *ret = (i > j) - (i < j);
        return 0;
    }
    if (tw_jval_num(a, &x) && tw_jval_num(b, &y)) {
        *ret = (x > y) - (x < y);
        return 0;
    }
    if (a.kind == TW_J_STR && b.kind == TW_J_STR) {
        size_t n = TW_MIN(a.u.s.len, b.u.s.len);
        int c = n ? memcmp(a.u.s.p, b.u.s.p, n) : 0;
        *ret = c ? c : (a.u.s.len > b.u.s.len) - (a.u.s.len < b.u.s.len);
        return tw_jrun_step(r, 1 + n / 64);
    }
    if (!tw_jval_is_list(a) || a.kind != b.kind)
        return tw_jrun_fail(r, "a %s and a %s have no order", tw_jval_type(a), tw_jval_type(b));
    *ret = (a.u.list->n > b.u.list->n) - (a.u.list->n < b.u.list->n);
    for (size_t k = 0; k < a.u.list->n && k < b.u.list->n; k++) {
        bool same = false;
        int e = tw_jrun_equal(r, a.u.list->v[k], b.u.list->v[k], &same);
        if (e)
            return e;
        if (!same)
            return tw_jrun_order(r, a.u.list->v[k], b.u.list->v[k], ret);
    }
    return 0;
}

int tw_jrun_contains(tw_jrun *r, tw_jval in, tw_jval what, bool *ret)
{
    const tw_jlist *l = NULL;
    tw_jval *found = NULL;
    if (in.kind == TW_J_STR) {
        if (what.kind != TW_J_STR)
            return tw_jrun_fail(r, "\"in\" a string wants a string, found %s", tw_jval_type(what));
        *ret = what.u.s.len == 0 || memmem(in.u.s.p, in.u.s.len, what.u.s.p, what.u.s.len) != NULL;
        return tw_jrun_step(r, in.u.s.len / 64);
    }
    int e =
        in.kind == TW_J_DICT ? tw_jdict_find(r, in.u.dict, what, &found) : tw_jrun_iter(r, in, &l);
    *ret = found != NULL;
    for (size_t i = 0; e == 0 && l && !*ret && i < l->n; i++)
        e = tw_jrun_equal(r, l->v[i], what, ret);
    return e;
}

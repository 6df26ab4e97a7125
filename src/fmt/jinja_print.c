/* SPDX-License-Identifier: Apache-2.0 */
/* Values as text: str(), repr() and json.dumps() of Python. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"
#include "fmt/jsonstr.h"

/* Shortest digits that read back as f, in Python's layout. */
static void float_text(double f, char out[40])
{
    char sci[40];
    int digits = 1;
    if (isnan(f) || isinf(f)) {
        snprintf(out, 40, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    for (; digits < 17; digits++) {
        snprintf(sci, sizeof(sci), "%.*e", digits - 1, f);
        if (strtod(sci, NULL) == f)
            break;
    }
    snprintf(sci, sizeof(sci), "%.*e", digits - 1, f);
    const char *e = strchr(sci, 'e');
    int exp10 = e ? atoi(e + 1) : 0;
    if (exp10 < -4 || exp10 >= 16) {
        int n_mantissa = e ? (int)(e - sci) : 0;
        snprintf(out, 40, "%.*se%c%02d", n_mantissa, sci, exp10 < 0 ? '-' : '+', abs(exp10));
    } else {
        int after = digits - 1 - exp10;
        snprintf(out, 40, "%.*f", after > 1 ? after : 1, f);
    }
}

static int append_number(tw_buf *b, tw_jval v, bool json)
{
    char text[40];
    if (v.kind == TW_J_INT)
        return tw_buf_printf(b, "%" PRId64, v.u.i);
    float_text(v.u.f, text);
    if (json && isnan(v.u.f))
        return tw_buf_puts(b, "NaN");
    if (json && isinf(v.u.f))
        return tw_buf_puts(b, v.u.f > 0 ? "Infinity" : "-Infinity");
    return tw_buf_puts(b, text);
}

static int repr_char(tw_buf *b, const char *p, size_t n, char quote, size_t *ret_used)
{
    unsigned char c = (unsigned char)*p;
    uint32_t cp = 0;
    *ret_used = 1;
    if (c == (unsigned char)quote || c == '\\')
        return tw_buf_printf(b, "\\%c", c);
    if (c == '\n' || c == '\r' || c == '\t')
        return tw_buf_puts(b, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
    if (c < 0x20 || c == 0x7f)
        return tw_buf_printf(b, "\\x%02x", c);
    unsigned len = tw_utf8_decode(p, n, &cp);
    *ret_used = len ? len : 1;
    if (cp >= 0x80 && (cp <= 0xa0 || cp == 0xad))
        return tw_buf_printf(b, "\\x%02x", cp);
    return tw_buf_append(b, p, *ret_used);
}

static int repr_string(tw_buf *b, tw_str s)
{
    bool single = s.len && memchr(s.p, '\'', s.len), dbl = s.len && memchr(s.p, '"', s.len);
    char quote = single && !dbl ? '"' : '\'';
    int r = tw_buf_append(b, &quote, 1);
    for (size_t i = 0, used = 0; r == 0 && i < s.len; i += used)
        r = repr_char(b, s.p + i, s.len - i, quote, &used);
    return r ? r : tw_buf_append(b, &quote, 1);
}

/* Makes buffer errors into the run's, which name the line. */
static int named(tw_jrun *r, int code)
{
    return code ? tw_jrun_buf_fail(r, code) : 0;
}

static int repr_list(tw_jrun *r, tw_buf *b, tw_jval v)
{
    bool tuple = v.kind == TW_J_TUPLE;
    int e = named(r, tw_buf_puts(b, tuple ? "(" : "["));
    for (size_t i = 0; e == 0 && i < v.u.list->n; i++) {
        if (i)
            e = named(r, tw_buf_puts(b, ", "));
        if (e == 0)
            e = tw_jrun_repr(r, b, v.u.list->v[i]);
    }
    if (e)
        return e;
    return named(r, tw_buf_puts(b, !tuple ? "]" : v.u.list->n == 1 ? ",)" : ")"));
}

static int repr_dict(tw_jrun *r, tw_buf *b, const tw_jdict *d)
{
    int e = named(r, tw_buf_puts(b, "{"));
    for (size_t i = 0; e == 0 && i < d->n; i++) {
        if (i)
            e = named(r, tw_buf_puts(b, ", "));
        if (e == 0)
            e = tw_jrun_repr(r, b, d->e[i].key);
        if (e == 0)
            e = named(r, tw_buf_puts(b, ": "));
        if (e == 0)
            e = tw_jrun_repr(r, b, d->e[i].val);
    }
    return e ? e : named(r, tw_buf_puts(b, "}"));
}

int tw_jrun_repr(tw_jrun *r, tw_buf *b, tw_jval v)
{
    int e = tw_jrun_step(r, 1);
    if (e)
        return e;
    if (++r->depth > TW_JINJA_DEPTH_MAX)
        return tw_jrun_fail(r, "values are nested too deeply to be printed");
    switch (v.kind) {
    case TW_J_STR:
        e = named(r, repr_string(b, v.u.s));
        break;
    case TW_J_UNDEF:
        e = named(r, tw_buf_puts(b, "Undefined"));
        break;
    case TW_J_LIST:
    case TW_J_TUPLE:
        e = repr_list(r, b, v);
        break;
    case TW_J_DICT:
        e = repr_dict(r, b, v.u.dict);
        break;
    case TW_J_NS:
    case TW_J_NONE:
    case TW_J_BOOL:
    case TW_J_INT:
    case TW_J_FLOAT:
    case TW_J_MACRO:
    case TW_J_FUNC:
    case TW_J_METHOD:
    case TW_J_LOOP:
    default:
        e = tw_jrun_print(r, b, v);
        break;
    }
    r->depth--;
    return e;
}

int tw_jrun_print(tw_jrun *r, tw_buf *b, tw_jval v)
{
    switch (v.kind) {
    case TW_J_UNDEF:
        return 0;
    case TW_J_NONE:
        return named(r, tw_buf_puts(b, "None"));
    case TW_J_BOOL:
        return named(r, tw_buf_puts(b, v.u.b ? "True" : "False"));
    case TW_J_INT:
    case TW_J_FLOAT:
        return named(r, append_number(b, v, false));
    case TW_J_STR:
        return v.u.s.len ? named(r, tw_buf_append(b, v.u.s.p, v.u.s.len)) : 0;
    case TW_J_LIST:
    case TW_J_TUPLE:
    case TW_J_DICT:
        return tw_jrun_repr(r, b, v);
    case TW_J_NS:
    case TW_J_MACRO:
    case TW_J_FUNC:
    case TW_J_METHOD:
    case TW_J_LOOP:
    default:
        return tw_jrun_fail(r, "a %s cannot be printed", tw_jval_type(v));
    }
}

int tw_jrun_to_str(tw_jrun *r, tw_jval v, tw_jval *ret)
{
    if (v.kind == TW_J_STR) {
        *ret = v;
        return 0;
    }
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    int e = tw_jrun_print(r, &b, v);
    return e ? e : tw_jrun_buf(r, &b, ret);
}

static int json_break(tw_buf *b, const tw_jjson *o, unsigned level)
{
    int r = tw_buf_append(b, "\n", 1);
    for (unsigned i = 0; r == 0 && i < level * (unsigned)o->indent; i++)
        r = tw_buf_append(b, " ", 1);
    return r;
}

/* What stands before element i: nothing, a separator, a new line. */
static int json_before(tw_jrun *r, tw_buf *b, const tw_jjson *o, size_t i, unsigned level)
{
    int e = i ? tw_buf_append(b, o->item_sep.p, o->item_sep.len) : 0;
    if (e == 0 && o->indent >= 0)
        e = json_break(b, o, level);
    return named(r, e);
}

static int json_list(tw_jrun *r, tw_buf *b, const tw_jlist *l, const tw_jjson *o, unsigned level)
{
    int e = named(r, tw_buf_puts(b, "["));
    for (size_t i = 0; e == 0 && i < l->n; i++) {
        e = json_before(r, b, o, i, level + 1);
        if (e == 0)
            e = tw_jrun_json(r, b, l->v[i], o, level + 1);
    }
    if (e == 0 && l->n && o->indent >= 0)
        e = named(r, json_break(b, o, level));
    return e ? e : named(r, tw_buf_puts(b, "]"));
}

static int json_key(tw_jrun *r, tw_buf *b, tw_jval k, const tw_jjson *o)
{
    if (k.kind == TW_J_STR)
        return named(r, tw_jsonstr_append(b, k.u.s.p, k.u.s.len, o->ascii_only));
    if (k.kind != TW_J_INT && k.kind != TW_J_FLOAT && k.kind != TW_J_BOOL && k.kind != TW_J_NONE)
        return tw_jrun_fail(r, "a %s cannot be a key in JSON", tw_jval_type(k));
    int e = named(r, tw_buf_puts(b, "\""));
    if (e == 0)
        e = tw_jrun_json(r, b, k, o, 0);
    return e ? e : named(r, tw_buf_puts(b, "\""));
}

static int compare_pairs(const void *a, const void *b)
{
    const tw_jpair *const *x = a, *const *y = b;
    tw_str s = (*x)->key.u.s, t = (*y)->key.u.s;
    size_t n = TW_MIN(s.len, t.len);
    int c = n ? memcmp(s.p, t.p, n) : 0;
    return c ? c : (s.len > t.len) - (s.len < t.len);
}

static int json_dict(tw_jrun *r, tw_buf *b, const tw_jdict *d, const tw_jjson *o, unsigned level)
{
    const tw_jpair **order = tw_arena_array(&r->arena, d->n + 1, sizeof(const tw_jpair *));
    bool all_str = true;
    if (order == NULL)
        return tw_jrun_nomem(r);
    for (size_t i = 0; i < d->n; i++) {
        order[i] = &d->e[i];
        all_str = all_str && d->e[i].key.kind == TW_J_STR;
    }
    if (o->sort_keys && !all_str)
        return tw_jrun_fail(r, "tojson(sort_keys=true) wants keys that are strings");
    if (o->sort_keys)
        qsort(order, d->n, sizeof(*order), compare_pairs);
    int e = named(r, tw_buf_puts(b, "{"));
    for (size_t i = 0; e == 0 && i < d->n; i++) {
        e = json_before(r, b, o, i, level + 1);
        if (e == 0)
            e = json_key(r, b, order[i]->key, o);
        if (e == 0)
            e = named(r, tw_buf_append(b, o->key_sep.p, o->key_sep.len));
        if (e == 0)
            e = tw_jrun_json(r, b, order[i]->val, o, level + 1);
    }
    if (e == 0 && d->n && o->indent >= 0)
        e = named(r, json_break(b, o, level));
    return e ? e : named(r, tw_buf_puts(b, "}"));
}

int tw_jrun_json(tw_jrun *r, tw_buf *b, tw_jval v, const tw_jjson *o, unsigned level)
{
    int e = tw_jrun_step(r, 1);
    if (e)
        return e;
    if (++r->depth > TW_JINJA_DEPTH_MAX)
        return tw_jrun_fail(r, "values are nested too deeply to be printed");
    switch (v.kind) {
    case TW_J_NONE:
        e = named(r, tw_buf_puts(b, "null"));
        break;
    case TW_J_BOOL:
        e = named(r, tw_buf_puts(b, v.u.b ? "true" : "false"));
        break;
    case TW_J_INT:
    case TW_J_FLOAT:
        e = named(r, append_number(b, v, true));
        break;
    case TW_J_STR:
        e = named(r, tw_jsonstr_append(b, v.u.s.p, v.u.s.len, o->ascii_only));
        break;
    case TW_J_LIST:
    case TW_J_TUPLE:
        e = json_list(r, b, v.u.list, o, level);
        break;
    case TW_J_DICT:
        e = json_dict(r, b, v.u.dict, o, level);
        break;
    case TW_J_UNDEF:
    case TW_J_NS:
    case TW_J_MACRO:
    case TW_J_FUNC:
    case TW_J_METHOD:
    case TW_J_LOOP:
    default:
        e = tw_jrun_fail(r, "tojson: a %s cannot be written as JSON", tw_jval_type(v));
        break;
    }
    r->depth--;
    return e;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of single values and strings: "x | NAME(args)". Those of sequences: jinja_seq.c. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

typedef int filter_fn(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret);

const tw_jval *tw_jargs_get(const tw_jargs *a, unsigned i, const char *name)
{
    if (i < a->n)
        return &a->v[i];
    for (unsigned k = 0; k < a->n_kw; k++)
        if (tw_str_is(a->kw_name[k], name))
            return &a->kw[k];
    return NULL;
}

static int filter_trim(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    tw_jval s;
    int e = tw_jrun_to_str(r, on, &s);
    if (e)
        return e;
    return tw_jstr_strip(r, s.u.s, tw_jargs_get(a, 0, "chars"), TW_JSIDE_LEFT | TW_JSIDE_RIGHT,
                         ret);
}

static int cased(tw_jrun *r, tw_jval on, enum tw_jcase c, tw_jval *ret)
{
    tw_jval s;
    int e = tw_jrun_to_str(r, on, &s);
    return e ? e : tw_jstr_case(r, s.u.s, c, ret);
}

static int filter_upper(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return cased(r, on, TW_JCASE_UPPER, ret);
}

static int filter_lower(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return cased(r, on, TW_JCASE_LOWER, ret);
}

static int filter_title(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return cased(r, on, TW_JCASE_TITLE, ret);
}

static int filter_capitalize(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return cased(r, on, TW_JCASE_CAPITAL, ret);
}

static int filter_default(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)r;
    const tw_jval *v = tw_jargs_get(a, 0, "default_value");
    const tw_jval *falsy = tw_jargs_get(a, 1, "boolean");
    bool use = on.kind == TW_J_UNDEF || (falsy && tw_jval_truth(*falsy) && !tw_jval_truth(on));
    *ret = !use ? on : v ? *v : tw_jval_str(TW_STR(""));
    return 0;
}

static int filter_string(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    return tw_jrun_to_str(r, on, ret);
}

static int filter_safe(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)r;
    (void)a;
    *ret = on;
    return 0;
}

static int filter_replace(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    tw_jval s;
    int e = tw_jrun_to_str(r, on, &s);
    return e ? e : tw_jstr_replace(r, s.u.s, a, ret);
}

/* The number in a string, white space around it allowed. */
static bool number_of(tw_str s, double *ret)
{
    char text[64];
    while (s.len && tw_jinja_space_back(s))
        s.len -= tw_jinja_space_back(s);
    for (size_t k; (k = tw_jinja_space_front(s)) != 0;)
        s = (tw_str){s.p + k, s.len - k};
    if (s.len == 0 || s.len >= sizeof(text))
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = 0;
    return tw_str_to_f64(text, ret) == 0;
}

static int filter_int(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)r;
    double f = 0;
    int64_t i = 0;
    const tw_jval *fallback = tw_jargs_get(a, 0, "default");
    if (tw_jval_integer(on, &i))
        *ret = tw_jval_int(i);
    else if ((tw_jval_num(on, &f) || (on.kind == TW_J_STR && number_of(on.u.s, &f))) &&
             fabs(f) < 9e18)
        *ret = tw_jval_int((int64_t)f);
    else
        *ret = fallback ? *fallback : tw_jval_int(0);
    return 0;
}

static int filter_float(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)r;
    double f = 0;
    const tw_jval *fallback = tw_jargs_get(a, 0, "default");
    if (tw_jval_num(on, &f) || (on.kind == TW_J_STR && number_of(on.u.s, &f)))
        *ret = (tw_jval){.kind = TW_J_FLOAT, .u.f = f};
    else
        *ret = fallback ? *fallback : (tw_jval){.kind = TW_J_FLOAT, .u.f = 0};
    return 0;
}

static int filter_abs(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    (void)a;
    int64_t i = 0;
    if (tw_jval_integer(on, &i) && i != INT64_MIN)
        *ret = tw_jval_int(i < 0 ? -i : i);
    else if (on.kind == TW_J_FLOAT)
        *ret = (tw_jval){.kind = TW_J_FLOAT, .u.f = fabs(on.u.f)};
    else
        return tw_jrun_fail(r, "abs of a %s", tw_jval_type(on));
    return 0;
}

static int json_options(tw_jrun *r, const tw_jargs *a, tw_jjson *o)
{
    const tw_jval *ascii = tw_jargs_get(a, 0, "ensure_ascii");
    const tw_jval *indent = tw_jargs_get(a, 1, "indent");
    const tw_jval *sep = tw_jargs_get(a, 2, "separators");
    const tw_jval *sort = tw_jargs_get(a, 3, "sort_keys");
    int64_t n = -1;
    if (indent && indent->kind != TW_J_NONE && (!tw_jval_integer(*indent, &n) || n < 0 || n > 64))
        return tw_jrun_fail(r, "tojson: indent is no integer from 0 to 64");
    o->ascii_only = ascii && tw_jval_truth(*ascii);
    o->sort_keys = sort && tw_jval_truth(*sort);
    o->indent = (int)n;
    o->item_sep = n >= 0 ? TW_STR(",") : TW_STR(", ");
    o->key_sep = TW_STR(": ");
    if (sep == NULL || sep->kind == TW_J_NONE)
        return 0;
    if (!tw_jval_is_list(*sep) || sep->u.list->n != 2 || sep->u.list->v[0].kind != TW_J_STR ||
        sep->u.list->v[1].kind != TW_J_STR)
        return tw_jrun_fail(r, "tojson: separators are no pair of strings");
    o->item_sep = sep->u.list->v[0].u.s;
    o->key_sep = sep->u.list->v[1].u.s;
    return 0;
}

static int filter_tojson(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    tw_jjson o = {0};
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    int e = json_options(r, a, &o);
    if (e == 0)
        e = tw_jrun_json(r, &b, on, &o, 0);
    return e ? e : tw_jrun_buf(r, &b, ret);
}

/* Lines after the first (first=true: all) get width spaces; empty ones only with blank=true. */
static int filter_indent(tw_jrun *r, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    const tw_jval *width = tw_jargs_get(a, 0, "width"), *first = tw_jargs_get(a, 1, "first");
    const tw_jval *blank = tw_jargs_get(a, 2, "blank");
    tw_jval s;
    int64_t n = 4;
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    if (width && (!tw_jval_integer(*width, &n) || n < 0 || n > 1000))
        return tw_jrun_fail(r, "indent: width is no integer from 0 to 1000");
    int e = tw_jrun_to_str(r, on, &s);
    if (e)
        return e;
    bool pad = first && tw_jval_truth(*first), all = blank && tw_jval_truth(*blank);
    for (size_t i = 0; e == 0 && i < s.u.s.len;) {
        const char *line = s.u.s.p + i;
        const char *nl = memchr(line, '\n', s.u.s.len - i);
        size_t len = nl ? (size_t)(nl - line) + 1 : s.u.s.len - i;
        if (pad && (all || *line != '\n'))
            e = tw_buf_printf(&b, "%*s", (int)n, "");
        if (e == 0)
            e = tw_buf_append(&b, line, len);
        pad = true;
        i += len;
    }
    return e ? tw_jrun_buf_fail(r, e) : tw_jrun_buf(r, &b, ret);
}

static const struct {
    const char *name;
    filter_fn *fn;
} filters[] = {{"trim", filter_trim},
               {"upper", filter_upper},
               {"lower", filter_lower},
               {"title", filter_title},
               {"capitalize", filter_capitalize},
               {"default", filter_default},
               {"d", filter_default},
               {"string", filter_string},
               {"safe", filter_safe},
               {"replace", filter_replace},
               {"int", filter_int},
               {"float", filter_float},
               {"abs", filter_abs},
               {"tojson", filter_tojson},
               {"indent", filter_indent}};

bool tw_jinja_has_filter(tw_str name)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(filters); i++)
        if (tw_str_is(name, filters[i].name))
            return true;
    return false;
}

int tw_jrun_filter(tw_jrun *r, tw_str name, tw_jval on, const tw_jargs *a, tw_jval *ret)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(filters); i++)
        if (tw_str_is(name, filters[i].name))
            return filters[i].fn(r, on, a, ret);
    return tw_jrun_fail(r, "no filter is called \"%.*s\"", (int)TW_MIN(name.len, 60u), name.p);
}

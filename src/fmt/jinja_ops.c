/* SPDX-License-Identifier: Apache-2.0 */
/* Operators, attributes, items and slices. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

static int loop_attr(tw_jrun *r, const tw_jloop *l, tw_str name, tw_jval *ret)
{
    int64_t i = (int64_t)l->i, n = (int64_t)l->seq->n;
    *ret = tw_jval_undef(name);
    if (tw_str_is(name, "index"))
        *ret = tw_jval_int(i + 1);
    else if (tw_str_is(name, "index0"))
        *ret = tw_jval_int(i);
    else if (tw_str_is(name, "revindex"))
        *ret = tw_jval_int(n - i);
    else if (tw_str_is(name, "revindex0"))
        *ret = tw_jval_int(n - i - 1);
    else if (tw_str_is(name, "first"))
        *ret = tw_jval_bool(i == 0);
    else if (tw_str_is(name, "last"))
        *ret = tw_jval_bool(i == n - 1);
    else if (tw_str_is(name, "length"))
        *ret = tw_jval_int(n);
    else if (tw_str_is(name, "depth"))
        *ret = tw_jval_int(l->depth);
    else if (tw_str_is(name, "depth0"))
        *ret = tw_jval_int((int64_t)l->depth - 1);
    else if (tw_str_is(name, "previtem") && i > 0)
        *ret = l->seq->v[i - 1];
    else if (tw_str_is(name, "nextitem") && i + 1 < n)
        *ret = l->seq->v[i + 1];
    else if (!tw_str_is(name, "previtem") && !tw_str_is(name, "nextitem"))
        return tw_jrun_fail(r, "loop.%.*s is not supported", (int)TW_MIN(name.len, 40u), name.p);
    return 0;
}

static int undef_access(tw_jrun *r, tw_jval on, tw_str name)
{
    return tw_jrun_fail(r, "\"%.*s\" is undefined and has no \"%.*s\"",
                        (int)TW_MIN(on.u.s.len, 60u), on.u.s.p, (int)TW_MIN(name.len, 60u), name.p);
}

int tw_jrun_attr(tw_jrun *r, tw_jval on, tw_str name, tw_jval *ret)
{
    tw_jval *found = NULL;
    if (on.kind == TW_J_UNDEF)
        return undef_access(r, on, name);
    if (on.kind == TW_J_LOOP)
        return loop_attr(r, on.u.loop, name, ret);
    if (tw_jinja_has_method(on, name)) { /* a method hides a key, as in Python */
        tw_jmethod *m = tw_arena_alloc(&r->arena, sizeof(*m));
        if (m == NULL)
            return tw_jrun_nomem(r);
        *m = (tw_jmethod){.self = on, .name = name};
        *ret = (tw_jval){.kind = TW_J_METHOD, .u.method = m};
        return 0;
    }
    *ret = tw_jval_undef(name);
    if (on.kind != TW_J_DICT && on.kind != TW_J_NS)
        return 0;
    int e = tw_jdict_find(r, on.u.dict, tw_jval_str(name), &found);
    if (found)
        *ret = *found;
    return e;
}

/* Byte offset of code point i (i may be the length). */
static size_t char_offset(tw_str s, size_t i)
{
    size_t off = 0;
    while (off < s.len && i-- > 0) {
        off++;
        while (off < s.len && ((unsigned char)s.p[off] & 0xc0) == 0x80)
            off++;
    }
    return off;
}

static int item_at(tw_jrun *r, tw_jval on, int64_t i, tw_jval *ret)
{
    int64_t n = (int64_t)(on.kind == TW_J_STR ? tw_jstr_chars(on.u.s) : on.u.list->n);
    i = i < 0 ? i + n : i;
    if (i < 0 || i >= n)
        return 0; /* stays undefined */
    if (on.kind != TW_J_STR) {
        *ret = on.u.list->v[i];
        return 0;
    }
    size_t from = char_offset(on.u.s, (size_t)i);
    tw_str rest = {on.u.s.p + from, on.u.s.len - from};
    *ret = tw_jval_str((tw_str){rest.p, char_offset(rest, 1)});
    return tw_jrun_step(r, on.u.s.len / 64);
}

int tw_jrun_item(tw_jrun *r, tw_jval on, tw_jval key, tw_jval *ret)
{
    int64_t i = 0;
    tw_str name = key.kind == TW_J_STR ? key.u.s : TW_STR("an item");
    if (on.kind == TW_J_UNDEF)
        return undef_access(r, on, name);
    *ret = tw_jval_undef(name);
    if ((tw_jval_is_list(on) || on.kind == TW_J_STR) && tw_jval_integer(key, &i))
        return item_at(r, on, i, ret);
    if (on.kind == TW_J_DICT) {
        tw_jval *found = NULL;
        int e = tw_jdict_find(r, on.u.dict, key, &found);
        if (e || found) {
            *ret = found ? *found : *ret;
            return e;
        }
    }
    return key.kind == TW_J_STR ? tw_jrun_attr(r, on, key.u.s, ret) : 0;
}

/* Bounds of a slice as Python resolves them. */
static int slice_bounds(tw_jrun *r, const tw_jval b[3], int64_t n, int64_t ret[3])
{
    int64_t v = 0;
    int64_t step = 1;
    if (b[2].kind != TW_J_NONE && !tw_jval_integer(b[2], &step))
        return tw_jrun_fail(r, "the step of a slice is a %s", tw_jval_type(b[2]));
    if (step == 0 || step == INT64_MIN)
        return tw_jrun_fail(r, "the step of a slice is zero");
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    ret[0] = step > 0 ? low : high;
    ret[1] = step > 0 ? high : low;
    ret[2] = step;
    for (unsigned i = 0; i < 2; i++) {
        if (b[i].kind == TW_J_NONE)
            continue;
        if (!tw_jval_integer(b[i], &v))
            return tw_jrun_fail(r, "a bound of a slice is a %s", tw_jval_type(b[i]));
        v = v < 0 ? v + n : v;
        ret[i] = v < low ? low : v > high ? high : v;
    }
    return 0;
}

static int slice_list(tw_jrun *r, tw_jval on, const int64_t b[3], tw_jval *ret)
{
    tw_jlist *l = NULL;
    int e = tw_jlist_new(r, 0, &l);
    for (int64_t i = b[0]; e == 0 && (b[2] > 0 ? i < b[1] : i > b[1]);) {
        e = tw_jlist_push(r, l, on.u.list->v[i]);
        if (__builtin_add_overflow(i, b[2], &i))
            break;
    }
    *ret = (tw_jval){.kind = on.kind, .u.list = l};
    return e;
}

static int slice_string(tw_jrun *r, tw_str s, const int64_t b[3], tw_jval *ret)
{
    const tw_jlist *chars = NULL;
    if (b[2] == 1) {
        size_t from = char_offset(s, (size_t)b[0]);
        size_t to = b[1] > b[0] ? char_offset(s, (size_t)b[1]) : from;
        *ret = tw_jval_str((tw_str){s.p + from, to - from});
        return tw_jrun_step(r, s.len / 64);
    }
    TW_CLEANUP(tw_buf_done) tw_buf out = tw_jrun_tmp(r);
    int e = tw_jrun_iter(r, tw_jval_str(s), &chars);
    if (e == 0 && tw_jstr_chars(s) != chars->n)
        return tw_jrun_fail(r, "a string that is no UTF-8 cannot be sliced");
    for (int64_t i = b[0]; e == 0 && (b[2] > 0 ? i < b[1] : i > b[1]);) {
        e = tw_buf_append(&out, chars->v[i].u.s.p, chars->v[i].u.s.len);
        if (__builtin_add_overflow(i, b[2], &i))
            break;
    }
    return e ? e : tw_jrun_buf(r, &out, ret);
}

int tw_jrun_slice(tw_jrun *r, tw_jval on, const tw_jval bound[3], tw_jval *ret)
{
    int64_t b[3];
    if (on.kind == TW_J_UNDEF)
        return undef_access(r, on, TW_STR("a slice"));
    if (!tw_jval_is_list(on) && on.kind != TW_J_STR) {
        *ret = tw_jval_undef(TW_STR("a slice"));
        return 0;
    }
    int64_t n = (int64_t)(on.kind == TW_J_STR ? tw_jstr_chars(on.u.s) : on.u.list->n);
    int e = slice_bounds(r, bound, n, b);
    if (e)
        return e;
    return on.kind == TW_J_STR ? slice_string(r, on.u.s, b, ret) : slice_list(r, on, b, ret);
}

static int concat(tw_jrun *r, tw_jval a, tw_jval b, tw_jval *ret)
{
    tw_jval x, y;
    int e = tw_jrun_to_str(r, a, &x);
    if (e == 0)
        e = tw_jrun_to_str(r, b, &y);
    if (e)
        return e;
    size_t n = x.u.s.len + y.u.s.len;
    char *s = tw_arena_alloc(&r->arena, n + 1);
    if (s == NULL)
        return tw_jrun_nomem(r);
    if (x.u.s.len)
        memcpy(s, x.u.s.p, x.u.s.len);
    if (y.u.s.len)
        memcpy(s + x.u.s.len, y.u.s.p, y.u.s.len);
    *ret = tw_jval_str((tw_str){s, n});
    return tw_jrun_step(r, n / 64);
}

static int join_lists(tw_jrun *r, tw_jval a, tw_jval b, tw_jval *ret)
{
    tw_jlist *l = NULL;
    int e = tw_jlist_new(r, a.u.list->n + b.u.list->n, &l);
    for (size_t i = 0; e == 0 && i < a.u.list->n; i++)
        e = tw_jlist_push(r, l, a.u.list->v[i]);
    for (size_t i = 0; e == 0 && i < b.u.list->n; i++)
        e = tw_jlist_push(r, l, b.u.list->v[i]);
    *ret = (tw_jval){.kind = a.kind, .u.list = l};
    return e;
}

/* "ab" * 3, [0] * 3 */
static int repeat(tw_jrun *r, tw_jval what, int64_t times, tw_jval *ret)
{
    int e = 0;
    if (what.kind != TW_J_STR) {
        tw_jlist *l = NULL;
        e = tw_jlist_new(r, 0, &l);
        for (int64_t t = 0; e == 0 && what.u.list->n && t < times; t++)
            for (size_t i = 0; e == 0 && i < what.u.list->n; i++)
                e = tw_jlist_push(r, l, what.u.list->v[i]);
        *ret = (tw_jval){.kind = what.kind, .u.list = l};
        return e;
    }
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    for (int64_t t = 0; e == 0 && what.u.s.len && t < times; t++) {
        e = tw_jrun_step(r, 1);
        if (e)
            return e;
        e = tw_buf_append(&b, what.u.s.p, what.u.s.len);
    }
    return e ? tw_jrun_buf_fail(r, e) : tw_jrun_buf(r, &b, ret);
}

static bool floor_divide(int64_t a, int64_t b, int64_t *ret_q, int64_t *ret_m)
{
    if (b == 0 || (a == INT64_MIN && b == -1))
        return false;
    *ret_q = a / b;
    *ret_m = a % b;
    if (*ret_m != 0 && (*ret_m < 0) != (b < 0)) {
        --*ret_q;
        *ret_m += b;
    }
    return true;
}

static int integers(tw_jrun *r, unsigned op, int64_t a, int64_t b, tw_jval *ret)
{
    int64_t v = 0, other = 0;
    bool bad = false;
    if (op == '+')
        bad = __builtin_add_overflow(a, b, &v);
    else if (op == '-')
        bad = __builtin_sub_overflow(a, b, &v);
    else if (op == '*')
        bad = __builtin_mul_overflow(a, b, &v);
    else if (op == '%')
        bad = !floor_divide(a, b, &other, &v);
    else
        bad = !floor_divide(a, b, &v, &other);
    if (bad)
        return tw_jrun_fail(r, b == 0 ? "division by zero" : "the result passes 64 bits");
    *ret = tw_jval_int(v);
    return 0;
}

static int reals(tw_jrun *r, unsigned op, double a, double b, tw_jval *ret)
{
    double v = 0;
    if (b == 0 && op != '+' && op != '-' && op != '*')
        return tw_jrun_fail(r, "division by zero");
    if (op == '+')
        v = a + b;
    else if (op == '-')
        v = a - b;
    else if (op == '*')
        v = a * b;
    else if (op == '/')
        v = a / b;
    else if (op == '%')
        v = a - floor(a / b) * b;
    else
        v = floor(a / b);
    *ret = (tw_jval){.kind = TW_J_FLOAT, .u.f = v};
    return 0;
}

int tw_jrun_binary(tw_jrun *r, unsigned op, tw_jval a, tw_jval b, tw_jval *ret)
{
    int64_t i = 0, j = 0;
    double x = 0, y = 0;
    bool seq_a = a.kind == TW_J_STR || tw_jval_is_list(a);
    bool seq_b = b.kind == TW_J_STR || tw_jval_is_list(b);
    if (op == '~' || (op == '+' && a.kind == TW_J_STR && b.kind == TW_J_STR))
        return concat(r, a, b, ret);
    if (op == '+' && tw_jval_is_list(a) && a.kind == b.kind)
        return join_lists(r, a, b, ret);
    if (op == '*' && seq_a && tw_jval_integer(b, &j))
        return repeat(r, a, j, ret);
    if (op == '*' && seq_b && tw_jval_integer(a, &i))
        return repeat(r, b, i, ret);
    if (op != '/' && tw_jval_integer(a, &i) && tw_jval_integer(b, &j))
        return integers(r, op, i, j, ret);
    if (tw_jval_num(a, &x) && tw_jval_num(b, &y))
        return reals(r, op, x, y, ret);
    tw_jval odd = a.kind == TW_J_UNDEF ? a : b;
    if (odd.kind == TW_J_UNDEF)
        return tw_jrun_fail(r, "\"%.*s\" is undefined and cannot be an operand",
                            (int)TW_MIN(odd.u.s.len, 60u), odd.u.s.p);
    return tw_jrun_fail(r, "operator %s%c does not go with %s and %s", op > 255 ? "/" : "",
                        (int)(op & 255), tw_jval_type(a), tw_jval_type(b));
}

int tw_jrun_compare(tw_jrun *r, unsigned op, tw_jval a, tw_jval b, bool *ret)
{
    int c = 0, e = 0;
    if (op == 'i' || op == 'n') {
        e = tw_jrun_contains(r, b, a, ret);
        *ret = *ret != (op == 'n');
        return e;
    }
    if (op == TW_JOP2('=', '=') || op == TW_JOP2('!', '=')) {
        e = tw_jrun_equal(r, a, b, ret);
        *ret = *ret != (op == TW_JOP2('!', '='));
        return e;
    }
    e = tw_jrun_order(r, a, b, &c);
    *ret = op == '<' ? c < 0 : op == '>' ? c > 0 : op == TW_JOP2('<', '=') ? c <= 0 : c >= 0;
    return e;
}

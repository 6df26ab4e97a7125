/* SPDX-License-Identifier: Apache-2.0 */
/* Python's string work that filters and methods share: strip, replace, case. */
#include <errno.h>
#include <string.h>
#include <utf8proc.h>

#include "base/scope.h"
#include "fmt/jinja_ast.h"

/* Bytes of the code point at the front (back) of s. */
static size_t char_front(tw_str s)
{
    uint32_t cp = 0;
    unsigned n = tw_utf8_decode(s.p, s.len, &cp);
    return n ? n : 1;
}

static size_t char_back(tw_str s)
{
    size_t i = s.len - 1;
    while (i > 0 && s.len - i < 4 && ((unsigned char)s.p[i] & 0xc0) == 0x80)
        i--;
    return s.len - i;
}

static size_t strip_front(tw_str s, const tw_str *chars)
{
    if (s.len == 0 || chars == NULL)
        return tw_jinja_space_front(s);
    size_t n = char_front(s);
    return memmem(chars->p, chars->len, s.p, n) ? n : 0;
}

static size_t strip_back(tw_str s, const tw_str *chars)
{
    if (s.len == 0 || chars == NULL)
        return tw_jinja_space_back(s);
    size_t n = char_back(s);
    return memmem(chars->p, chars->len, s.p + s.len - n, n) ? n : 0;
}

int tw_jstr_strip(tw_jrun *r, tw_str s, const tw_jval *chars, unsigned sides, tw_jval *ret)
{
    const tw_str *set = chars && chars->kind == TW_J_STR ? &chars->u.s : NULL;
    if (chars && chars->kind != TW_J_STR && chars->kind != TW_J_NONE)
        return tw_jrun_fail(r, "strip wants a string of characters, found %s",
                            tw_jval_type(*chars));
    for (size_t k; sides & TW_JSIDE_LEFT && (k = strip_front(s, set)) != 0;)
        s = (tw_str){s.p + k, s.len - k};
    for (size_t k; sides & TW_JSIDE_RIGHT && (k = strip_back(s, set)) != 0;)
        s.len -= k;
    *ret = tw_jval_str(s);
    return tw_jrun_step(r, s.len / 64);
}

int tw_jstr_replace(tw_jrun *r, tw_str s, const tw_jargs *a, tw_jval *ret)
{
    const tw_jval *from = tw_jargs_get(a, 0, "old"), *to = tw_jargs_get(a, 1, "new");
    const tw_jval *count = tw_jargs_get(a, 2, "count");
    int64_t n_left = -1;
    if (from == NULL || to == NULL || from->kind != TW_J_STR || to->kind != TW_J_STR)
        return tw_jrun_fail(r, "replace wants two strings");
    if (count && count->kind != TW_J_NONE && !tw_jval_integer(*count, &n_left))
        return tw_jrun_fail(r, "replace: count is no integer");
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    tw_str old = from->u.s, new = to->u.s;
    int e = tw_jrun_step(r, 1 + s.len / 16);
    if (e)
        return e;
    for (;;) {
        const char *q = n_left == 0 || (s.len == 0 && old.len) ? NULL
                        : old.len                              ? memmem(s.p, s.len, old.p, old.len)
                                                               : s.p;
        size_t n = q ? (size_t)(q - s.p) : s.len;
        if (n)
            e = tw_buf_append(&b, s.p, n);
        if (e == 0 && q && new.len)
            e = tw_buf_append(&b, new.p, new.len);
        s = (tw_str){s.p + n + (q ? old.len : 0), s.len - n - (q ? old.len : 0)};
        n_left -= q && n_left > 0;
        if (e || q == NULL || (old.len == 0 && s.len == 0))
            break;
        if (old.len == 0) { /* between all characters, as Python does */
            size_t k = char_front(s);
            e = tw_buf_append(&b, s.p, k);
            s = (tw_str){s.p + k, s.len - k};
        }
    }
    return e ? tw_jrun_buf_fail(r, e) : tw_jrun_buf(r, &b, ret);
}

static bool is_letter(uint32_t cp)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT;
}

int tw_jstr_case(tw_jrun *r, tw_str s, enum tw_jcase c, tw_jval *ret)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = tw_jrun_tmp(r);
    bool in_word = false;
    int e = tw_jrun_step(r, 1 + s.len / 16);
    for (size_t i = 0; e == 0 && i < s.len;) {
        uint32_t cp = 0;
        char out[4];
        unsigned n = tw_utf8_decode(s.p + i, s.len - i, &cp);
        bool up = c == TW_JCASE_UPPER || (c == TW_JCASE_TITLE && !in_word) ||
                  (c == TW_JCASE_CAPITAL && i == 0);
        if (n == 0) {
            e = tw_buf_append(&b, s.p + i++, 1);
            continue;
        }
        in_word = is_letter(cp);
        if (cp == 0xdf && up) { /* the one common letter whose capital is two */
            e = tw_buf_puts(&b, c == TW_JCASE_UPPER ? "SS" : "Ss");
            i += n;
            continue;
        }
        utf8proc_int32_t v = (utf8proc_int32_t)cp;
        v = up ? utf8proc_toupper(v) : utf8proc_tolower(v);
        e = tw_buf_append(&b, out, tw_utf8_encode((uint32_t)v, out));
        i += n;
    }
    return e ? tw_jrun_buf_fail(r, e) : tw_jrun_buf(r, &b, ret);
}

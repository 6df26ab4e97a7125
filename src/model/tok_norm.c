/* SPDX-License-Identifier: Apache-2.0 */
/* Normalizers: each reads w->text, writes w->spare, and the two are swapped. */
#include <errno.h>
#include <string.h>

#include <utf8proc.h>

#include "base/scope.h"
#include "base/str.h"
#include "model/tok_text.h"
#include "model/tok_work.h"

static int append_point(tw_buf *b, uint32_t cp)
{
    char bytes[4];
    return tw_buf_append(b, bytes, tw_utf8_encode(cp, bytes));
}

static int form_options(enum tw_tj_type type)
{
    int stable = UTF8PROC_STABLE;
    if (type == TW_TJ_NFC)
        return stable | UTF8PROC_COMPOSE;
    if (type == TW_TJ_NFD)
        return stable | UTF8PROC_DECOMPOSE;
    if (type == TW_TJ_NFKC)
        return stable | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    return stable | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
}

static int combining_class(utf8proc_int32_t cp)
{
    return utf8proc_get_property(cp)->combining_class;
}

enum { MAX_CLASS = 256, SHORT_RUN = 16 };

static void sort_short_run(utf8proc_int32_t *v, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        utf8proc_int32_t cp = v[i];
        size_t to = i;
        for (; to > 0 && combining_class(v[to - 1]) > combining_class(cp); to--)
            v[to] = v[to - 1];
        v[to] = cp;
    }
}

/* Counting sort: text of nothing but marks must not take quadratic time. tmp: [n] */
static void sort_long_run(utf8proc_int32_t *v, size_t n, utf8proc_int32_t *tmp)
{
    size_t at[MAX_CLASS + 1] = {0};
    for (size_t i = 0; i < n; i++)
        at[(combining_class(v[i]) & 0xFF) + 1]++;
    for (size_t c = 0; c < MAX_CLASS; c++)
        at[c + 1] += at[c];
    for (size_t i = 0; i < n; i++)
        tmp[at[combining_class(v[i]) & 0xFF]++] = v[i];
    memcpy(v, tmp, n * sizeof(v[0]));
}

/* Canonical order: every run of marks by class, stable. v has room for 2n. */
static void order_marks(utf8proc_int32_t *v, size_t n)
{
    size_t i = 0;
    while (i < n) {
        size_t end = i;
        while (end < n && combining_class(v[end]) != 0)
            end++;
        if (end - i > SHORT_RUN)
            sort_long_run(v + i, end - i, v + n);
        else if (end - i > 1)
            sort_short_run(v + i, end - i);
        i = end + 1;
    }
}

/* The models' tokenizers normalize by Unicode 10: these got their decompositions later, in newer and
 * older versions of our library alike they must stay as they are. */
static bool is_newer_form(uint32_t cp)
{
    static const uint32_t ranges[][2] = {
        {0x32FF, 0x32FF},   {0xA7F1, 0xA7F4},   {0xAB69, 0xAB69},   {0x105C9, 0x105E4},
        {0x10780, 0x107BF}, {0x11383, 0x113C8}, {0x11938, 0x11938}, {0x16121, 0x16128},
        {0x16D68, 0x16D6A}, {0x1CCD6, 0x1CCF9}, {0x1E030, 0x1E06D}, {0x1F16C, 0x1F16C},
        {0x1FBF0, 0x1FBF9},
    };
    if (cp < ranges[0][0])
        return false;
    for (size_t i = 0; i < TW_ARRAY_LEN(ranges); i++)
        if (cp >= ranges[i][0] && cp <= ranges[i][1])
            return true;
    return false;
}

static int decompose(tw_buf *points, const char *p, size_t n, int options)
{
    tw_buf_reset(points);
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        unsigned len = tw_utf8_decode(p + i, n - i, &cp);
        utf8proc_int32_t to[32];
        int boundary = 0;
        utf8proc_ssize_t got = 1;
        to[0] = (utf8proc_int32_t)cp;
        if (!is_newer_form(cp))
            got = utf8proc_decompose_char((utf8proc_int32_t)cp, to, TW_ARRAY_LEN(to),
                                          (utf8proc_option_t)options, &boundary);
        if (got < 0 || (size_t)got > TW_ARRAY_LEN(to))
            return -EINVAL;
        int rc = tw_buf_append(points, to, (size_t)got * sizeof(to[0]));
        if (rc < 0)
            return rc;
        i += len > 0 ? len : 1;
    }
    return tw_buf_reserve(points, points->len + 1);
}

static int append_form(tw_buf *points, const char *p, size_t n, int options, tw_buf *out)
{
    int rc = decompose(points, p, n, options);
    if (rc < 0)
        return rc;
    utf8proc_int32_t *v = (void *)points->data;
    size_t n_points = points->len / sizeof(v[0]);
    order_marks(v, n_points);
    utf8proc_ssize_t left =
        utf8proc_normalize_utf32(v, (utf8proc_ssize_t)n_points, (utf8proc_option_t)options);
    if (left < 0)
        return -EINVAL;
    for (utf8proc_ssize_t i = 0; i < left && rc == 0; i++)
        rc = append_point(out, (uint32_t)v[i]);
    return rc;
}

static bool is_ascii(char c)
{
    return (unsigned char)c < 0x80;
}

/* ASCII stays, and no ASCII character joins what stands before it: so only runs of other characters,
 * each with the one ASCII character before it (a mark may join that), are worked on. */
static int normal_form(const tw_tok_stage *s, tw_tok_work *w)
{
    const char *p = w->text.data;
    size_t n = w->text.len, i = 0;
    int options = form_options(s->j.type), rc = 0;
    while (i < n && rc == 0) {
        size_t end = i;
        while (end < n && is_ascii(p[end]))
            end++;
        size_t start = end > i && end < n ? end - 1 : end;
        rc = tw_buf_append(&w->spare, p + i, start - i);
        for (i = end; i < n && !is_ascii(p[i]);)
            i++;
        if (rc == 0 && start < i)
            rc = append_form(&w->points, p + start, i - start, options, &w->spare);
    }
    return rc;
}

static int normal_form_zero(const tw_tok_stage *s, tw_tok_work *w)
{
    int rc = normal_form(s, w);
    if (rc < 0 || w->n_zero == 0)
        return rc;
    tw_buf first = TW_BUF(TW_TOK_MAX_SCRATCH);
    rc = append_form(&w->points, w->text.data, w->n_zero, form_options(s->j.type), &first);
    w->n_zero = TW_MIN(first.len, w->spare.len);
    tw_buf_done(&first);
    return rc;
}

static int lowercase(tw_tok_work *w)
{
    const char *p = w->text.data;
    size_t n_zero = 0;
    int rc = 0;
    for (size_t i = 0; i < w->text.len && rc == 0;) {
        uint32_t cp = 0;
        unsigned len = tw_utf8_decode(p + i, w->text.len - i, &cp);
        if (cp == 0x130) /* the one character whose lower case is two */
            rc = tw_buf_puts(&w->spare, "i\xCC\x87");
        else
            rc = append_point(&w->spare, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
        i += len > 0 ? len : 1;
        if (i <= w->n_zero)
            n_zero = w->spare.len;
    }
    w->n_zero = n_zero;
    return rc;
}

static int prepend(const tw_tok_stage *s, tw_tok_work *w)
{
    int rc = w->text.len > 0 ? tw_buf_append(&w->spare, s->j.content.p, s->j.content.len) : 0;
    if (w->n_zero > 0)
        w->n_zero += s->j.content.len;
    return rc < 0 ? rc : tw_buf_append(&w->spare, w->text.data, w->text.len);
}

static size_t n_left_spaces(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint32_t cp = 0;
        unsigned len = tw_utf8_decode(p + i, n - i, &cp);
        if (!tw_tok_is_space(cp))
            break;
        i += len;
    }
    return i;
}

static size_t n_right_spaces(const char *p, size_t n)
{
    size_t end = n;
    while (end > 0) {
        size_t at = end - 1;
        while (at > 0 && ((unsigned char)p[at] & 0xC0) == 0x80)
            at--;
        uint32_t cp = 0;
        (void)tw_utf8_decode(p + at, end - at, &cp);
        if (!tw_tok_is_space(cp))
            break;
        end = at;
    }
    return n - end;
}

static int strip(const tw_tok_stage *s, tw_tok_work *w)
{
    const char *p = w->text.data;
    size_t n = w->text.len;
    size_t left = s->j.strip_left ? n_left_spaces(p, n) : 0;
    size_t right = s->j.strip_right && left < n ? n_right_spaces(p, n) : 0;
    w->n_zero -= TW_MIN(w->n_zero, left);
    return tw_buf_append(&w->spare, p + left, n - left - right);
}

int tw_tok_replace(const tw_tok_stage *s, tw_tok_work *w, const char *p, size_t n, tw_buf *out)
{
    tw_tok_finder f = tw_tok_work_finder(w, s, p, n);
    size_t i = 0, start, end;
    int rc = 0;
    while (n > 0 && (rc = tw_tok_finder_next(&f, &start, &end)) > 0) {
        rc = tw_buf_append(out, p + i, start - i);
        if (rc == 0)
            rc = tw_buf_append(out, s->j.content.p, s->j.content.len);
        if (rc < 0)
            return rc;
        i = end;
    }
    return rc < 0 ? rc : tw_buf_append(out, p + i, n - i);
}

static int replace(const tw_tok_stage *s, tw_tok_work *w)
{
    size_t n_zero = 0;
    if (w->n_zero > 0) { /* of the first character alone: right for patterns of one character */
        int rc = tw_tok_replace(s, w, w->text.data, w->n_zero, &w->spare);
        if (rc < 0)
            return rc;
        n_zero = w->spare.len;
        tw_buf_reset(&w->spare);
    }
    int rc = tw_tok_replace(s, w, w->text.data, w->text.len, &w->spare);
    w->n_zero = TW_MIN(n_zero, w->spare.len);
    return rc;
}

static int normalize_one(const tw_tok_stage *s, tw_tok_work *w)
{
    if (s->j.type == TW_TJ_LOWERCASE)
        return lowercase(w);
    if (s->j.type == TW_TJ_PREPEND)
        return prepend(s, w);
    if (s->j.type == TW_TJ_REPLACE)
        return replace(s, w);
    if (s->j.type == TW_TJ_STRIP)
        return strip(s, w);
    return normal_form_zero(s, w);
}

int tw_tok_normalize(const tw_tok_stages *s, tw_tok_work *w)
{
    for (size_t i = 0; i < s->n && w->text.len > 0; i++) {
        tw_buf_reset(&w->spare);
        int rc = normalize_one(&s->v[i], w);
        if (rc < 0)
            return rc;
        tw_tok_work_swap_text(w);
    }
    return 0;
}

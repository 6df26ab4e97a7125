/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/text.h"

#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "base/scope.h"
#include "base/str.h"

/* The next code point of text, its bytes in *ret_n; what is no UTF-8, or would steer a terminal, is
 * '?' or a space. */
static uint32_t next_point(const char *text, unsigned *ret_n)
{
    uint32_t cp = 0;
    *ret_n = tw_utf8_decode(text, strlen(text), &cp);
    if (*ret_n == 0) {
        *ret_n = 1;
        return '?';
    }
    if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
        return cp == '\t' ? ' ' : '?';
    /* Marks that turn the direction of what follows. */
    if ((cp >= 0x200b && cp <= 0x200f) || (cp >= 0x202a && cp <= 0x202e) ||
        (cp >= 0x2066 && cp <= 0x2069) || cp == 0xfeff)
        return '?';
    return cp;
}

static size_t columns_of(uint32_t cp)
{
    const int n = cp < 0x80 ? 1 : wcwidth((wchar_t)cp);
    return n >= 0 ? (size_t)n : 1;
}

size_t tw_ui_columns(const char *text)
{
    size_t n = 0;
    for (unsigned k; *text != '\0'; text += k)
        n += columns_of(next_point(text, &k));
    return n;
}

static uint32_t ascii_of(uint32_t cp)
{
    static const struct {
        uint32_t from;
        char to;
    } likes[] = {{0xb0, ' '},   {0xb5, 'u'},    {0xb7, '.'},    {0xd7, 'x'},   {0x2013, '-'},
                 {0x2014, '-'}, {0x2018, '\''}, {0x2019, '\''}, {0x201c, '"'}, {0x201d, '"'},
                 {0x2022, '*'}, {0x2026, '~'},  {0x2190, '<'},  {0x2191, '^'}, {0x2192, '>'},
                 {0x2193, 'v'}, {0x2500, '-'},  {0x2502, '|'}};
    if (cp < 0x80)
        return cp;
    for (size_t i = 0; i < TW_ARRAY_LEN(likes); i++)
        if (likes[i].from == cp)
            return (uint32_t)likes[i].to;
    return '?';
}

static size_t put_point(uint32_t cp, char *out)
{
    const unsigned n = tw_utf8_encode(cp, out);
    return n;
}

size_t tw_ui_clip(const char *text, size_t width, bool ascii, char *out)
{
    const bool cut = tw_ui_columns(text) > width;
    const size_t room = cut && width > 0 ? width - 1 : width;
    size_t at = 0, n = 0;
    for (unsigned k; *text != '\0'; text += k) {
        uint32_t cp = next_point(text, &k);
        cp = ascii ? ascii_of(cp) : cp;
        const size_t w = columns_of(cp);
        if (n + w > room || at + 8 >= TW_UI_ROW_BYTES)
            break;
        at += put_point(cp, out + at);
        n += w;
    }
    if (cut && width > 0) {
        at += put_point(ascii ? '~' : 0x2026, out + at);
        n++;
    }
    out[at] = '\0';
    return n;
}

size_t tw_ui_wrap(const char *text, size_t width, size_t *ret_skip)
{
    size_t at = 0, n = 0, space = 0;
    *ret_skip = 0;
    for (unsigned k; text[at] != '\0'; at += k) {
        const size_t w = columns_of(next_point(text + at, &k));
        if (text[at] == ' ')
            space = at;
        if (n + w > width) {
            at = space > 0 ? space : TW_MAX(at, (size_t)k);
            break;
        }
        n += w;
    }
    while (text[at] != '\0' && at > 0 && text[at - 1] == ' ')
        at--; /* the row's own end */
    while (text[at + *ret_skip] == ' ')
        ++*ret_skip;
    return at;
}

/* ---- bars ---- */

void tw_ui_bar(double share, size_t width, bool ascii, char *out)
{
    const double v = share > 1 ? 1 : share > 0 ? share : 0; /* a NaN is empty */
    const size_t eighths = (size_t)(v * (double)width * 8 + 0.5);
    size_t at = 0;
    for (size_t i = 0; i < width && at + 8 < TW_UI_ROW_BYTES; i++) {
        const size_t left = eighths > 8 * i ? eighths - 8 * i : 0;
        if (ascii)
            out[at++] = left >= 4 ? '#' : '.';
        else if (left >= 8)
            at += put_point(0x2588, out + at);
        else if (left > 0) /* from seven eighths down to one */
            at += put_point(0x2590 - (uint32_t)left, out + at);
        else
            at += put_point(0x2591, out + at);
    }
    out[at] = '\0';
}

void tw_ui_spark(const double *v, size_t n, double most, bool ascii, char *out)
{
    static const char levels[] = " .:-=+*#@";
    size_t at = 0;
    for (size_t i = 0; i < n && at + 8 < TW_UI_ROW_BYTES; i++) {
        const double share = most > 0 && v[i] > 0 ? v[i] / most : 0;
        const unsigned k = share > 0 ? TW_MIN(1 + (unsigned)(share * 7.99), 8u) : 0;
        if (ascii || k == 0)
            out[at++] = levels[k];
        else
            at += put_point(0x2580 + k, out + at);
    }
    out[at] = '\0';
}

/* ---- numbers ---- */

static void put_unit(double v, double step, const char *const *units, char out[16])
{
    unsigned i = 0;
    while (v >= step && i < 4) {
        v /= step;
        i++;
    }
    snprintf(out, 16, i == 0 ? "%.0f %s" : v < 100 ? "%.1f %s" : "%.0f %s", v, units[i]);
}

void tw_ui_bytes(double bytes, char out[16])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    put_unit(bytes, 1024, units, out);
}

void tw_ui_disk(double bytes, char out[16])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    put_unit(bytes, 1000, units, out);
}

void tw_ui_span(uint64_t seconds, char out[24])
{
    const unsigned d = (unsigned)TW_MIN(seconds / 86400, UINT64_C(99999));
    const unsigned h = (unsigned)(seconds / 3600 % 24), m = (unsigned)(seconds / 60 % 60);
    const unsigned s = (unsigned)(seconds % 60);
    if (d > 0)
        snprintf(out, 24, "%u d %u h", d, h);
    else if (h > 0)
        snprintf(out, 24, "%u h %u min", h, m);
    else if (m > 0)
        snprintf(out, 24, "%u min %u s", m, s);
    else
        snprintf(out, 24, "%u s", s);
}

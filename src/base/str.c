/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"

tw_str tw_str_from(const char *z)
{
    return (tw_str){.p = z, .len = z == NULL ? 0 : strlen(z)};
}

bool tw_str_eq(tw_str a, tw_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool tw_str_is(tw_str a, const char *z)
{
    return tw_str_eq(a, tw_str_from(z));
}

bool tw_str_starts(tw_str s, tw_str prefix)
{
    return s.len >= prefix.len && tw_str_eq((tw_str){s.p, prefix.len}, prefix);
}

bool tw_str_ends(tw_str s, tw_str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.p + (s.len - suffix.len), suffix.p, suffix.len) == 0);
}

/* What may follow a lead byte (Unicode, table 3-7): length, and the range of the second byte, which
 * alone rules out overlong forms, surrogates and what is above U+10FFFF. */
typedef struct utf8_lead {
    unsigned len; /* 0: no lead byte */
    uint8_t lo, hi;
} utf8_lead;

static utf8_lead find_lead(uint8_t c)
{
    if (c < 0x80)
        return (utf8_lead){1, 0, 0};
    if (c < 0xC2 || c > 0xF4)
        return (utf8_lead){0, 0, 0};
    if (c < 0xE0)
        return (utf8_lead){2, 0x80, 0xBF};
    if (c < 0xF0)
        return (utf8_lead){3, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF};
    return (utf8_lead){4, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF};
}

/* How many of the n bytes at p fit a code point that begins there; *ret_len: how many it wants. */
static unsigned count_fitting(const char *p, size_t n, unsigned *ret_len)
{
    utf8_lead lead = n > 0 ? find_lead((uint8_t)p[0]) : (utf8_lead){0, 0, 0};
    *ret_len = lead.len;
    if (lead.len == 0)
        return 0;
    unsigned i = 1;
    for (; i < lead.len && i < n; i++) {
        uint8_t c = (uint8_t)p[i];
        uint8_t lo = i == 1 ? lead.lo : 0x80, hi = i == 1 ? lead.hi : 0xBF;
        if (c < lo || c > hi)
            break;
    }
    return i;
}

unsigned tw_utf8_decode(const char *p, size_t n, uint32_t *ret_cp)
{
    static const uint8_t lead_bits[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    unsigned len;
    if (count_fitting(p, n, &len) != len || len == 0)
        return 0;
    uint32_t cp = (uint8_t)p[0] & lead_bits[len];
    for (unsigned i = 1; i < len; i++)
        cp = cp << 6 | ((uint8_t)p[i] & 0x3Fu);
    *ret_cp = cp;
    return len;
}

unsigned tw_utf8_encode(uint32_t cp, char out[4])
{
    static const uint8_t lead_mark[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF))
        return 0;
    unsigned len = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (unsigned i = len - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80u | (cp & 0x3Fu));
    out[0] = (char)(lead_mark[len] | cp);
    return len;
}

bool tw_utf8_valid(const char *p, size_t n)
{
    uint32_t cp;
    for (size_t i = 0; i < n;) {
        unsigned len = tw_utf8_decode(p + i, n - i, &cp);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

size_t tw_utf8_complete(const char *p, size_t n)
{
    for (size_t n_back = 1; n_back <= 3 && n_back <= n; n_back++) {
        if (((uint8_t)p[n - n_back] & 0xC0) == 0x80)
            continue;
        unsigned len;
        unsigned n_fit = count_fitting(p + (n - n_back), n_back, &len);
        return n_fit == n_back && n_fit < len ? n - n_back : n;
    }
    return n;
}

int tw_str_to_u64(const char *z, uint64_t *ret)
{
    uint64_t v = 0;
    bool fits = true;
    if (*z == '\0')
        return -EINVAL;
    for (; *z != '\0'; z++) {
        if (*z < '0' || *z > '9')
            return -EINVAL;
        fits = fits && !__builtin_mul_overflow(v, (uint64_t)10, &v) &&
               !__builtin_add_overflow(v, (uint64_t)(*z - '0'), &v);
    }
    if (!fits)
        return -ERANGE;
    *ret = v;
    return 0;
}

static const char *skip_digits(const char *z)
{
    while (*z >= '0' && *z <= '9')
        z++;
    return z;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit before or after the point. */
static bool is_decimal(const char *z)
{
    z += *z == '+' || *z == '-';
    const char *end = skip_digits(z);
    bool has_digits = end > z;
    z = end;
    if (*z == '.') {
        end = skip_digits(z + 1);
        has_digits = has_digits || end > z + 1;
        z = end;
    }
    if (!has_digits)
        return false;
    if (*z == 'e' || *z == 'E') {
        z++;
        z += *z == '+' || *z == '-';
        end = skip_digits(z);
        if (end == z)
            return false;
        z = end;
    }
    return *z == '\0';
}

int tw_str_to_f64(const char *z, double *ret)
{
    if (!is_decimal(z))
        return -EINVAL;
    /* The point is a point, whatever the user's locale says. */
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0)
        return -ENOMEM;
    int errno_kept = errno;
    errno = 0;
    double v = strtod_l(z, NULL, c_locale);
    bool fits = errno != ERANGE || (isfinite(v) && v != 0.0); /* a subnormal is a number */
    errno = errno_kept;
    freelocale(c_locale);
    if (!fits)
        return -ERANGE;
    *ret = v;
    return 0;
}

unsigned tw_str_distance(const char *a, const char *b)
{
    enum { WORD_MAX = 48 };
    unsigned row[WORD_MAX + 1];
    size_t n = strlen(b);
    if (strlen(a) > WORD_MAX || n > WORD_MAX)
        return WORD_MAX;
    for (unsigned k = 0; k <= n; k++)
        row[k] = k;
    for (unsigned i = 0; a[i] != '\0'; i++) {
        unsigned corner = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < n; k++) {
            unsigned change = corner + (a[i] != b[k]), grow = TW_MIN(row[k], row[k + 1]) + 1;
            corner = row[k + 1];
            row[k + 1] = TW_MIN(change, grow);
        }
    }
    return row[n];
}

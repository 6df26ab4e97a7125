/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/pattern.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The code point at *p, which moves on; a byte that is no UTF-8 is one of its own. */
static uint32_t next(const char **p)
{
    const unsigned char *s = (const unsigned char *)*p;
    const unsigned n = s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : s[0] >= 0xc0 ? 1 : 0;
    uint32_t v = n == 0 ? s[0] : s[0] & (0x3fu >> n);
    for (unsigned i = 1; i <= n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            *p += 1;
            return UINT32_C(0xdc00) + s[0]; /* what Python's surrogateescape makes of it */
        }
        v = v << 6 | (s[i] & 0x3fu);
    }
    *p += 1 + n;
    return v == '\\' ? '/' : v;
}

/* The ']' that ends the set which begins behind p's '['; NULL: none, so it is no set. */
static const char *end_of_set(const char *p)
{
    p += *p == '!';
    return *p == '\0' ? NULL : strchr(p + 1, ']'); /* one at its very beginning is a member */
}

static bool is_in_set(const char *p, const char *end, uint32_t c)
{
    const bool negated = *p == '!';
    bool found = false;
    for (p += negated; p < end;) {
        const uint32_t low = next(&p);
        if (*p != '-' || p + 1 >= end) {
            found |= c == low;
            continue;
        }
        p++;
        const uint32_t high = next(&p);
        found |= low <= c && c <= high;
    }
    return found != negated;
}

/* Whether what stands at *p, which is no '*', takes the code point c; *p moves on. */
static bool takes(const char **p, uint32_t c)
{
    const char *end = **p == '[' ? end_of_set(*p + 1) : NULL;
    if (end != NULL) {
        const bool good = is_in_set(*p + 1, end, c);
        *p = end + 1;
        return good;
    }
    const bool any = **p == '?';
    return next(p) == c || any;
}

static bool is_all_below(const char *pattern)
{
    const size_t n = strlen(pattern);
    return n > 0 && (pattern[n - 1] == '/' || pattern[n - 1] == '\\');
}

bool tw_hub_pattern_matches(const char *pattern, const char *path)
{
    const char *p = pattern, *s = path, *star = NULL, *from = NULL;
    const bool all_below = is_all_below(pattern);
    for (;;) {
        if (*p == '*') {
            star = ++p;
            from = s;
            continue;
        }
        if (*p == '\0' && (*s == '\0' || all_below))
            return true;
        if (*s != '\0' && *p != '\0') {
            const uint32_t c = next(&s);
            if (takes(&p, c))
                continue;
        } else if (*s == '\0') {
            return false;
        }
        /* The last '*' takes one more; what earlier ones took need not be tried again. */
        if (star == NULL || *from == '\0')
            return false;
        (void)next(&from);
        p = star;
        s = from;
    }
}

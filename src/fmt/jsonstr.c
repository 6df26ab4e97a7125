/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/jsonstr.h"

#include <string.h>

#include "base/str.h"

static const char *short_escape(unsigned char c)
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    default:
        return NULL;
    }
}

/* One character that cannot be copied as it is; *ret_used bytes of input are done. */
static int append_odd(tw_buf *b, const char *p, size_t n, bool ascii_only, size_t *ret_used)
{
    unsigned char c = (unsigned char)*p;
    *ret_used = 1;
    if (c < 0x80) {
        const char *e = short_escape(c);
        return e ? tw_buf_puts(b, e) : tw_buf_printf(b, "\\u%04x", c);
    }
    uint32_t cp = 0;
    unsigned len = tw_utf8_decode(p, n, &cp);
    if (len == 0)
        return tw_buf_puts(b, ascii_only ? "\\ufffd" : "\xef\xbf\xbd");
    *ret_used = len;
    if (!ascii_only)
        return tw_buf_append(b, p, len);
    if (cp < 0x10000)
        return tw_buf_printf(b, "\\u%04x", cp);
    cp -= 0x10000;
    return tw_buf_printf(b, "\\u%04x\\u%04x", 0xd800 + (cp >> 10), 0xdc00 + (cp & 0x3ff));
}

int tw_jsonstr_append(tw_buf *b, const char *p, size_t n, bool ascii_only)
{
    int r = tw_buf_append(b, "\"", 1);
    for (size_t i = 0; r == 0 && i < n;) {
        size_t plain = i;
        while (plain < n && (unsigned char)p[plain] >= 0x20 && (unsigned char)p[plain] < 0x80 &&
               p[plain] != '"' && p[plain] != '\\')
            plain++;
        if (plain > i) {
            r = tw_buf_append(b, p + i, plain - i);
            i = plain;
            continue;
        }
        size_t used = 0;
        r = append_odd(b, p + i, n - i, ascii_only, &used);
        i += used;
    }
    return r ? r : tw_buf_append(b, "\"", 1);
}

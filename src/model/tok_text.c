/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tok_text.h"

#include <utf8proc.h>

#include "base/str.h"

/* Length of the ill-formed part at p that one U+FFFD stands for; p does not decode. */
static size_t bad_length(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t want = 0;
    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        want = 1;
    else if (p[0] >= 0xE0 && p[0] <= 0xEF)
        want = 2;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        want = 3;
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    size_t len = 1;
    while (len <= want && len < n && p[len] >= low && p[len] <= high) {
        len++;
        low = 0x80;
        high = 0xBF;
    }
    return len;
}

int tw_tok_repair(const char *p, size_t n, tw_buf *out)
{
    size_t i_run = 0, i = 0;
    while (i < n) {
        uint32_t cp;
        unsigned len = (unsigned char)p[i] < 0x80 ? 1 : tw_utf8_decode(p + i, n - i, &cp);
        if (len > 0) {
            i += len;
            continue;
        }
        int rc = tw_buf_append(out, p + i_run, i - i_run);
        if (rc == 0)
            rc = tw_buf_puts(out, "\xEF\xBF\xBD");
        if (rc < 0)
            return rc;
        i += bad_length((const unsigned char *)p + i, n - i);
        i_run = i;
    }
    return tw_buf_append(out, p + i_run, n - i_run);
}

bool tw_tok_is_space(uint32_t cp)
{
    return (cp >= 0x09 && cp <= 0x0D) || cp == 0x20 || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F ||
           cp == 0x205F || cp == 0x3000;
}

static utf8proc_category_t category(uint32_t cp)
{
    return utf8proc_category((utf8proc_int32_t)cp);
}

/* Alphabetic is L, Nl, marks (taken here as a whole) and these circled letters. */
static bool is_circled_letter(uint32_t cp)
{
    return (cp >= 0x24B6 && cp <= 0x24E9) || (cp >= 0x1F130 && cp <= 0x1F149) ||
           (cp >= 0x1F150 && cp <= 0x1F169) || (cp >= 0x1F170 && cp <= 0x1F189);
}

bool tw_tok_is_word(uint32_t cp)
{
    utf8proc_category_t c = category(cp);
    return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NL) || c == UTF8PROC_CATEGORY_PC ||
           cp == 0x200C || cp == 0x200D || is_circled_letter(cp);
}

bool tw_tok_is_numeric(uint32_t cp)
{
    utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool tw_tok_is_punct(uint32_t cp)
{
    utf8proc_category_t c = category(cp);
    if (cp < 0x80)
        return cp > 0x20 && cp < 0x7F && !(c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_NO);
    return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

/* The bytes that stand for themselves are 21-7E, A1-AC and AE-FF; the others follow from 0x100. */
uint32_t tw_tok_byte_to_cp(uint8_t byte)
{
    if (byte <= 0x20)
        return 0x100u + byte;
    if (byte >= 0x7F && byte <= 0xA0)
        return 0x121u + byte - 0x7F;
    return byte == 0xAD ? 0x143 : byte;
}

int tw_tok_cp_to_byte(uint32_t cp)
{
    if ((cp >= 0x21 && cp <= 0x7E) || (cp >= 0xA1 && cp <= 0xFF && cp != 0xAD))
        return (int)cp;
    if (cp >= 0x100 && cp <= 0x120)
        return (int)(cp - 0x100);
    if (cp >= 0x121 && cp <= 0x142)
        return (int)(cp - 0x121 + 0x7F);
    return cp == 0x143 ? 0xAD : -1;
}

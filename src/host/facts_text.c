/* SPDX-License-Identifier: Apache-2.0 */
/* The half of facts_file.h that reads no file. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_file.h"

void tw_text_set(char *out, size_t out_bytes, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(out, out_bytes, fmt, ap);
    va_end(ap);
}

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* One line's value behind key and '=', quotes and blanks at its end taken off. */
static bool take_value(const char *line, const char *key, char *out, size_t out_bytes)
{
    size_t n_key = strlen(key);
    const char *p = skip_blanks(line);
    if (strncmp(p, "export ", 7) == 0)
        p = skip_blanks(p + 7);
    if (strncmp(p, key, n_key) != 0)
        return false;
    p = skip_blanks(p + n_key);
    if (*p != '=')
        return false;
    p = skip_blanks(p + 1);
    size_t len = strcspn(p, "\n");
    char quote = len > 0 && (*p == '"' || *p == '\'') ? *p : '\0';
    if (quote != '\0') {
        const char *end = memchr(p + 1, quote, len - 1);
        p++;
        len = end != NULL ? (size_t)(end - p) : len - 1;
    }
    while (quote == '\0' && len > 0 && strchr(" \t\r", p[len - 1]) != NULL)
        len--;
    tw_text_set(out, out_bytes, "%.*s", (int)TW_MIN(len, out_bytes), p);
    return true;
}

static const char *next_line(const char *p)
{
    const char *end = strchr(p, '\n');
    return end != NULL ? end + 1 : NULL;
}

bool tw_text_value(const char *text, const char *key, char *out, size_t out_bytes)
{
    bool found = false;
    out[0] = '\0';
    for (const char *line = text; line != NULL; line = next_line(line))
        found = take_value(line, key, out, out_bytes) || found;
    return found;
}

bool tw_text_ini(const char *text, const char *section, const char *key, char *out,
                 size_t out_bytes)
{
    size_t n = strlen(section);
    bool inside = false, found = false;
    out[0] = '\0';
    for (const char *line = text; line != NULL; line = next_line(line)) {
        const char *p = skip_blanks(line);
        if (*p == '[')
            inside = strncmp(p + 1, section, n) == 0 && p[1 + n] == ']';
        else if (inside)
            found = take_value(p, key, out, out_bytes) || found;
    }
    return found;
}

bool tw_text_number(const char *text, const char *key, uint64_t *ret)
{
    size_t n_key = strlen(key);
    for (const char *line = text; line != NULL; line = next_line(line)) {
        if (strncmp(line, key, n_key) != 0)
            continue;
        const char *p = line + n_key;
        if (*p != ':' && *p != ' ' && *p != '\t')
            continue; /* a longer key */
        p += strspn(p, " \t:");
        if (*p < '0' || *p > '9')
            return false;
        *ret = strtoull(p, NULL, 10);
        return true;
    }
    return false;
}

char *tw_text_line(char **rest)
{
    return strsep(rest, "\n");
}

bool tw_text_has_word(const char *text, const char *word)
{
    static const char blanks[] = " \t\n";
    for (const char *p = text; *p != '\0';) {
        p += strspn(p, blanks);
        size_t len = strcspn(p, blanks);
        if (len > 0 && len == strlen(word) && strncmp(p, word, len) == 0)
            return true;
        p += len;
    }
    return false;
}

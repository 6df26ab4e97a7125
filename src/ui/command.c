/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void tw_ui_command_add(tw_ui_command *c, const char *word)
{
    const size_t n = strlen(word) + 1;
    if (c->n >= TW_UI_WORDS_MAX || c->used + n > sizeof c->text) {
        c->is_cut = true;
        return;
    }
    memcpy(c->text + c->used, word, n);
    c->at[c->n++] = c->used;
    c->used = (uint16_t)(c->used + n);
}

void tw_ui_command_addf(tw_ui_command *c, const char *fmt, ...)
{
    char word[512];
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(word, sizeof word, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof word)
        c->is_cut = true;
    else
        tw_ui_command_add(c, word);
}

tw_ui_command tw_ui_command_of(const char *word, ...)
{
    tw_ui_command c = {.n = 0};
    va_list ap;
    va_start(ap, word);
    for (const char *w = word; w != NULL; w = va_arg(ap, const char *))
        tw_ui_command_add(&c, w);
    va_end(ap);
    return c;
}

const char *tw_ui_command_word(const tw_ui_command *c, size_t i)
{
    return i < c->n ? c->text + c->at[i] : "";
}

void tw_ui_command_argv(const tw_ui_command *c, const char *program,
                        const char *argv[TW_UI_WORDS_MAX + 2])
{
    argv[0] = program;
    for (size_t i = 0; i < c->n; i++)
        argv[i + 1] = c->text + c->at[i];
    argv[c->n + 1] = NULL;
}

static bool is_plain(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_=+,./:@";
    return word[0] != '\0' && word[strspn(word, plain)] == '\0';
}

/* Appends what fits of s. */
static void put(char *out, size_t out_bytes, size_t *at, const char *s, size_t n)
{
    for (size_t i = 0; i < n && *at + 1 < out_bytes; i++)
        out[(*at)++] = s[i];
    out[*at] = '\0';
}

static void put_quoted(char *out, size_t out_bytes, size_t *at, const char *word)
{
    put(out, out_bytes, at, "'", 1);
    for (const char *p = word; *p != '\0'; p++)
        if (*p == '\'')
            put(out, out_bytes, at, "'\\''", 4);
        else
            put(out, out_bytes, at, p, 1);
    put(out, out_bytes, at, "'", 1);
}

char *tw_ui_command_print(const tw_ui_command *c, char *out, size_t out_bytes)
{
    size_t at = 0;
    put(out, out_bytes, &at, "twinax", 6);
    for (size_t i = 0; i < c->n; i++) {
        const char *word = c->text + c->at[i];
        put(out, out_bytes, &at, " ", 1);
        if (is_plain(word))
            put(out, out_bytes, &at, word, strlen(word));
        else
            put_quoted(out, out_bytes, &at, word);
    }
    return out;
}

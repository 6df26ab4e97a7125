/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/lines.h"

#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"

bool tw_ui_lines_init(tw_ui_lines *l)
{
    *l = (tw_ui_lines){.v = tw_mem_calloc(TW_UI_LINES_MAX, TW_UI_LINE_BYTES)};
    return l->v != NULL;
}

void tw_ui_lines_done(tw_ui_lines *l)
{
    tw_mem_free(l->v);
    *l = (tw_ui_lines){.v = NULL};
}

void tw_ui_lines_clear(tw_ui_lines *l)
{
    *l = (tw_ui_lines){.v = l->v, .take = l->take, .take_ctx = l->take_ctx};
}

void tw_ui_lines_add(tw_ui_lines *l, const char *line)
{
    const size_t i = (l->first + l->n) % TW_UI_LINES_MAX;
    size_t n = strlen(line);
    if (n >= TW_UI_LINE_BYTES)
        n = tw_utf8_complete(line, TW_UI_LINE_BYTES - 1);
    memcpy(l->v[i], line, n);
    l->v[i][n] = '\0';
    if (l->n < TW_UI_LINES_MAX) {
        l->n++;
        return;
    }
    l->first = (l->first + 1) % TW_UI_LINES_MAX;
    l->n_dropped++;
}

/* A byte of a line; what is too much for it is left out. */
static void put_byte(struct tw_ui_open *o, char c)
{
    if (o->state == TW_UI_RETURN) /* what stands there is written over */
        o->len = 0;
    o->state = TW_UI_TEXT;
    if (o->len + 1 < sizeof o->text)
        o->text[o->len++] = c;
    o->text[o->len] = '\0';
}

static void end_line(tw_ui_lines *l, struct tw_ui_open *o)
{
    o->text[o->len] = '\0';
    if (l->take == NULL || !l->take(l->take_ctx, o->text))
        tw_ui_lines_add(l, o->text);
    *o = (struct tw_ui_open){.len = 0};
}

static void feed_text(tw_ui_lines *l, struct tw_ui_open *o, char c)
{
    if (c == '\n')
        end_line(l, o);
    else if (c == '\r')
        o->state = TW_UI_RETURN;
    else if (c == 0x1b) {
        o->len = o->state == TW_UI_RETURN ? 0 : o->len;
        o->state = TW_UI_ESCAPE;
    } else if (c == '\t')
        put_byte(o, ' ');
    else if ((unsigned char)c >= 0x20 && c != 0x7f)
        put_byte(o, c);
}

static void feed_byte(tw_ui_lines *l, struct tw_ui_open *o, char c)
{
    switch (o->state) {
    case TW_UI_TEXT:
    case TW_UI_RETURN:
        feed_text(l, o, c);
        return;
    case TW_UI_ESCAPE:
        o->state = c == '[' ? TW_UI_CSI : c == ']' ? TW_UI_OSC : TW_UI_TEXT;
        return;
    case TW_UI_CSI: /* ends with a letter; "erase the line" is what progress lines begin with */
        if (c == 'K')
            o->len = 0;
        if (c >= 0x40 && c <= 0x7e)
            o->state = TW_UI_TEXT;
        break;
    case TW_UI_OSC:
        if (c == 0x07)
            o->state = TW_UI_TEXT;
        else if (c == 0x1b)
            o->state = TW_UI_ESCAPE;
        break;
    }
    if (c == '\n') /* no sequence goes on over a line's end */
        end_line(l, o);
}

void tw_ui_lines_feed(tw_ui_lines *l, unsigned stream, const char *p, size_t n)
{
    struct tw_ui_open *o = &l->open[stream & 1];
    for (size_t i = 0; i < n; i++)
        feed_byte(l, o, p[i]);
}

size_t tw_ui_lines_n(const tw_ui_lines *l)
{
    return l->n + (l->open[0].len > 0) + (l->open[1].len > 0);
}

const char *tw_ui_lines_at(const tw_ui_lines *l, size_t i)
{
    if (i < l->n)
        return l->v[(l->first + i) % TW_UI_LINES_MAX];
    i -= l->n;
    if (l->open[0].len > 0 && i-- == 0)
        return l->open[0].text;
    return l->open[1].len > 0 && i == 0 ? l->open[1].text : "";
}

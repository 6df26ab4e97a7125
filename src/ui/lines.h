/* SPDX-License-Identifier: Apache-2.0 */
/* What a child printed, as the last lines of it: escape sequences left out, a carriage return begins
 * the line anew as on a terminal. Bounded.
 * Pure: bytes in, lines out. */
#ifndef TWINAX_UI_LINES_H
#define TWINAX_UI_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* A line that is being written may be longer than it is kept: `take` sees all of it. */
enum { TW_UI_LINES_MAX = 2000, TW_UI_LINE_BYTES = 400, TW_UI_OPEN_BYTES = 8192 };

typedef struct tw_ui_lines {
    char (*v)[TW_UI_LINE_BYTES]; /* a ring */
    size_t n, first, n_dropped;
    /* The line that is being written, one for each stream. */
    struct tw_ui_open {
        char text[TW_UI_OPEN_BYTES];
        size_t len;
        enum { TW_UI_TEXT, TW_UI_ESCAPE, TW_UI_CSI, TW_UI_OSC, TW_UI_RETURN } state;
    } open[2];
    /* A whole line first goes to it; true: it is not kept. NULL: all are. */
    bool (*take)(void *ctx, const char *line);
    void *take_ctx;
} tw_ui_lines;

/* False: no memory. */
bool tw_ui_lines_init(tw_ui_lines *l);
void tw_ui_lines_done(tw_ui_lines *l);
void tw_ui_lines_clear(tw_ui_lines *l); /* the lines; `take` stays */
/* Bytes of stream 0 or 1. */
void tw_ui_lines_feed(tw_ui_lines *l, unsigned stream, const char *p, size_t n);
void tw_ui_lines_add(tw_ui_lines *l, const char *line);
/* With those that are being written, when they hold anything. */
size_t tw_ui_lines_n(const tw_ui_lines *l);
const char *tw_ui_lines_at(const tw_ui_lines *l, size_t i);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal: styles, text put into rows, keys. The one file that knows ncurses is screen.c.
 * Texts may hold anything: what reaches the terminal is clean and fits. */
#ifndef TWINAX_UI_SCREEN_H
#define TWINAX_UI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>

#include "twinax/err.h"

/* What it needs at least. */
enum { TW_UI_ROWS = 24, TW_UI_COLS = 80 };

enum tw_ui_style {
    TW_UI_PLAIN,
    TW_UI_DIM,
    TW_UI_BOLD,
    TW_UI_TITLE,  /* the bar at the top */
    TW_UI_PICKED, /* the chosen line */
    TW_UI_FIELD,
    TW_UI_FIELD_PICKED,
    TW_UI_COMMAND, /* a command line */
    TW_UI_KEYS,    /* names of keys */
    TW_UI_BAR,
    TW_UI_GOOD,
    TW_UI_WARNING,
    TW_UI_BAD,
    TW_UI_STYLES
};

/* Code points are keys; these are the others. */
enum tw_ui_key {
    TW_UI_KEY_NONE = 0,
    TW_UI_KEY_CTRL_C = 3,
    TW_UI_KEY_TAB = 9,
    TW_UI_KEY_ENTER = 10,
    TW_UI_KEY_CTRL_U = 21,
    TW_UI_KEY_CTRL_Z = 26,
    TW_UI_KEY_ESC = 27,
    TW_UI_KEY_BACKSPACE = 127,
    TW_UI_KEY_UP = 0x110000,
    TW_UI_KEY_DOWN,
    TW_UI_KEY_LEFT,
    TW_UI_KEY_RIGHT,
    TW_UI_KEY_HOME,
    TW_UI_KEY_END,
    TW_UI_KEY_PAGE_UP,
    TW_UI_KEY_PAGE_DOWN,
    TW_UI_KEY_DELETE,
    TW_UI_KEY_BACKTAB,
    TW_UI_KEY_RESIZE,
    TW_UI_KEY_OTHER
};

typedef struct tw_ui_screen {
    bool is_open, ascii, colour;
    int rows, cols;
    int cursor_row, cursor_col; /* where it is shown; -1: nowhere */
    void *curses;               /* SCREEN */
} tw_ui_screen;

/* Why no menu can be drawn here ("stdout is no terminal"), or NULL. */
const char *tw_ui_screen_why_not(void);
/* ascii: even where the locale has more. */
TW_MUST_CHECK int tw_ui_screen_open(tw_ui_screen *s, bool ascii, tw_err *err);
/* The terminal as it was. Safe on one that is not open. */
void tw_ui_screen_close(tw_ui_screen *s);
/* The terminal is another program's until resume. */
void tw_ui_screen_suspend(tw_ui_screen *s);
void tw_ui_screen_resume(tw_ui_screen *s);

void tw_ui_screen_begin(tw_ui_screen *s); /* empty, its size as it is now */
void tw_ui_screen_end(tw_ui_screen *s);   /* shown */
/* Text from a column on, cut at the right border; returns the column behind it. */
int tw_ui_put(tw_ui_screen *s, int row, int col, enum tw_ui_style style, const char *fmt, ...)
    TW_PRINTF(5, 6);
/* Exactly `width` columns: cut, or filled with spaces. */
int tw_ui_put_width(tw_ui_screen *s, int row, int col, int width, enum tw_ui_style style,
                    const char *text);
/* The same, at the right border of the column `end`. */
void tw_ui_put_right(tw_ui_screen *s, int row, int end, enum tw_ui_style style, const char *text);
void tw_ui_rule(tw_ui_screen *s, int row); /* a line across */
/* A share in [0, 1]. */
void tw_ui_put_bar(tw_ui_screen *s, int row, int col, int width, enum tw_ui_style style,
                   double share);
/* Text over several rows, at most n_rows; returns how many it took. */
int tw_ui_put_wrapped(tw_ui_screen *s, int row, int col, int width, int n_rows,
                      enum tw_ui_style style, const char *text);
/* The next key, TW_UI_KEY_NONE when there is none. Does not wait. */
int tw_ui_screen_key(tw_ui_screen *s);

#endif

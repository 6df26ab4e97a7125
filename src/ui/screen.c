/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/screen.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "ui/text.h"

/* Functions, not macros: a macro hides conversions and knows no -Wshadow. */
#define NCURSES_NOMACROS         1
#define NCURSES_WIDECHAR         1
#define NCURSES_ENABLE_STDBOOL_H 1
#include <curses.h>
#include <term.h>

/* Who sends Esc alone is not kept waiting; a slow line has so long for the rest of an arrow. */
enum { ESC_MS = 60 };

static const struct style {
    short front, back; /* -1: the terminal's own */
    attr_t plain;      /* attributes with colours */
    attr_t mono;       /* and without */
} styles[TW_UI_STYLES] = {
    [TW_UI_PLAIN] = {-1, -1, A_NORMAL, A_NORMAL},
    [TW_UI_DIM] = {-1, -1, A_DIM, A_NORMAL},
    [TW_UI_BOLD] = {-1, -1, A_BOLD, A_BOLD},
    [TW_UI_TITLE] = {COLOR_WHITE, COLOR_BLUE, A_BOLD, A_REVERSE},
    [TW_UI_PICKED] = {COLOR_BLACK, COLOR_CYAN, A_NORMAL, A_REVERSE},
    [TW_UI_FIELD] = {-1, -1, A_UNDERLINE, A_UNDERLINE},
    [TW_UI_FIELD_PICKED] = {COLOR_BLACK, COLOR_CYAN, A_NORMAL, A_REVERSE},
    [TW_UI_COMMAND] = {COLOR_CYAN, -1, A_NORMAL, A_NORMAL},
    [TW_UI_KEYS] = {COLOR_CYAN, -1, A_BOLD, A_BOLD},
    [TW_UI_BAR] = {COLOR_CYAN, -1, A_NORMAL, A_NORMAL},
    [TW_UI_GOOD] = {COLOR_GREEN, -1, A_NORMAL, A_NORMAL},
    [TW_UI_WARNING] = {COLOR_YELLOW, -1, A_NORMAL, A_BOLD},
    [TW_UI_BAD] = {COLOR_RED, -1, A_BOLD, A_BOLD},
};

/* ---- open and close ---- */

const char *tw_ui_screen_why_not(void)
{
    static char why[120];
    const char *term = getenv("TERM");
    int rc = 0;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return isatty(STDIN_FILENO) ? "stdout is no terminal" : "stdin is no terminal";
    if (term == NULL || term[0] == '\0')
        return "TERM is not set: this terminal's abilities are not known";
    if (setupterm(term, STDOUT_FILENO, &rc) != OK) {
        snprintf(why, sizeof why, "TERM=%.40s: that terminal is not known here", term);
        return why;
    }
    const char *cup = tigetstr("cup"); /* no terminal: (char *)-1 */
    const bool can_place = cup != NULL && (intptr_t)cup != -1;
    (void)del_curterm(cur_term);
    if (!can_place) {
        snprintf(why, sizeof why, "TERM=%.40s: that terminal cannot place its cursor", term);
        return why;
    }
    return NULL;
}

static void prepare(tw_ui_screen *s)
{
    (void)raw(); /* ctrl-C is a key: it means the child that runs, or the menu */
    (void)noecho();
    (void)nonl();
    (void)keypad(stdscr, TRUE);
    (void)nodelay(stdscr, TRUE);
    (void)curs_set(0);
    s->cursor_row = -1;
}

static void prepare_colours(tw_ui_screen *s)
{
    const char *no = getenv("NO_COLOR");
    s->colour = has_colors() && (no == NULL || no[0] == '\0') && start_color() == OK;
    if (!s->colour)
        return;
    const bool own = use_default_colors() == OK;
    for (short i = 0; i < TW_UI_STYLES; i++) {
        const short front = styles[i].front >= 0 || own ? styles[i].front : COLOR_WHITE;
        const short back = styles[i].back >= 0 || own ? styles[i].back : COLOR_BLACK;
        (void)init_pair((short)(i + 1), front, back);
    }
}

int tw_ui_screen_open(tw_ui_screen *s, bool ascii, tw_err *err)
{
    *s = (tw_ui_screen){.cursor_row = -1};
    (void)setlocale(LC_CTYPE, "");
    s->ascii = ascii || strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL)
        return tw_err_set(err, -ENODEV, "TERM=%.40s: no screen can be made of this terminal",
                          getenv("TERM") != NULL ? getenv("TERM") : "");
    s->curses = screen;
    s->is_open = true;
    (void)set_escdelay(ESC_MS);
    prepare(s);
    prepare_colours(s);
    return 0;
}

void tw_ui_screen_close(tw_ui_screen *s)
{
    if (!s->is_open)
        return;
    (void)curs_set(1);
    (void)endwin();
    delscreen(s->curses);
    *s = (tw_ui_screen){.is_open = false};
}

void tw_ui_screen_suspend(tw_ui_screen *s)
{
    (void)s;
    (void)def_prog_mode();
    (void)curs_set(1);
    (void)endwin();
}

void tw_ui_screen_resume(tw_ui_screen *s)
{
    (void)reset_prog_mode();
    prepare(s);
    (void)clearok(stdscr, TRUE); /* another program has drawn over it */
    (void)refresh();
}

/* ---- drawing ---- */

static void use_style(const tw_ui_screen *s, enum tw_ui_style style)
{
    const struct style *k = &styles[style];
    if (s->colour)
        (void)attr_set(k->plain, (short)(style + 1), NULL);
    else
        (void)attr_set(k->mono, 0, NULL);
}

void tw_ui_screen_begin(tw_ui_screen *s)
{
    getmaxyx(stdscr, s->rows, s->cols);
    s->cursor_row = -1;
    (void)attr_set(A_NORMAL, 0, NULL);
    (void)erase();
}

void tw_ui_screen_end(tw_ui_screen *s)
{
    (void)attr_set(A_NORMAL, 0, NULL);
    (void)curs_set(s->cursor_row >= 0);
    if (s->cursor_row >= 0)
        (void)move(s->cursor_row, s->cursor_col);
    else /* a cursor that cannot be hidden is out of the way */
        (void)move(s->rows - 1, s->cols - 1);
    (void)refresh();
}

/* Text that is clean, in `width` columns at most. */
static int put_clipped(tw_ui_screen *s, int row, int col, int width, enum tw_ui_style style,
                       const char *text)
{
    char out[TW_UI_ROW_BYTES];
    const int room = TW_MIN(width, s->cols - col);
    if (row < 0 || row >= s->rows || col < 0 || room <= 0)
        return col;
    const size_t n = tw_ui_clip(text, (size_t)room, s->ascii, out);
    use_style(s, style);
    (void)mvaddstr(row, col, out);
    return col + (int)n;
}

int tw_ui_put(tw_ui_screen *s, int row, int col, enum tw_ui_style style, const char *fmt, ...)
{
    char text[TW_UI_ROW_BYTES];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return put_clipped(s, row, col, s->cols, style, text);
}

int tw_ui_put_width(tw_ui_screen *s, int row, int col, int width, enum tw_ui_style style,
                    const char *text)
{
    int at = put_clipped(s, row, col, width, style, text);
    const int end = TW_MIN(col + width, s->cols);
    use_style(s, style);
    for (; at < end && row >= 0 && row < s->rows; at++)
        (void)mvaddch(row, at, ' ');
    return end;
}

void tw_ui_put_right(tw_ui_screen *s, int row, int end, enum tw_ui_style style, const char *text)
{
    const int n = (int)TW_MIN(tw_ui_columns(text), (size_t)s->cols);
    (void)put_clipped(s, row, TW_MAX(end - n, 0), n, style, text);
}

void tw_ui_rule(tw_ui_screen *s, int row)
{
    use_style(s, TW_UI_DIM);
    for (int i = 0; i < s->cols && row >= 0 && row < s->rows; i++)
        (void)mvaddstr(row, i, s->ascii ? "-" : "\u2500");
}

void tw_ui_put_bar(tw_ui_screen *s, int row, int col, int width, enum tw_ui_style style,
                   double share)
{
    char bar[TW_UI_ROW_BYTES];
    if (width <= 0)
        return;
    tw_ui_bar(share, (size_t)width, s->ascii, bar);
    (void)put_clipped(s, row, col, width, style, bar);
}

int tw_ui_put_wrapped(tw_ui_screen *s, int row, int col, int width, int n_rows,
                      enum tw_ui_style style, const char *text)
{
    int i = 0;
    for (; i < n_rows && *text != '\0' && width > 0; i++) {
        char part[TW_UI_ROW_BYTES];
        size_t skip, n = tw_ui_wrap(text, (size_t)width, &skip);
        const bool is_last = i + 1 == n_rows && text[n + skip] != '\0';
        /* The last row shows by its end that there is more. */
        snprintf(part, sizeof part, "%.*s",
                 (int)TW_MIN(is_last ? strlen(text) : n, sizeof part - 1), text);
        (void)put_clipped(s, row + i, col, width, style, part);
        text += n + skip;
    }
    return i;
}

/* ---- keys ---- */

static int key_of(int code)
{
    static const struct {
        int from, to;
    } keys[] = {{KEY_UP, TW_UI_KEY_UP},         {KEY_DOWN, TW_UI_KEY_DOWN},
                {KEY_LEFT, TW_UI_KEY_LEFT},     {KEY_RIGHT, TW_UI_KEY_RIGHT},
                {KEY_HOME, TW_UI_KEY_HOME},     {KEY_END, TW_UI_KEY_END},
                {KEY_PPAGE, TW_UI_KEY_PAGE_UP}, {KEY_NPAGE, TW_UI_KEY_PAGE_DOWN},
                {KEY_DC, TW_UI_KEY_DELETE},     {KEY_BACKSPACE, TW_UI_KEY_BACKSPACE},
                {KEY_BTAB, TW_UI_KEY_BACKTAB},  {KEY_ENTER, TW_UI_KEY_ENTER},
                {KEY_RESIZE, TW_UI_KEY_RESIZE}};
    for (size_t i = 0; i < TW_ARRAY_LEN(keys); i++)
        if (keys[i].from == code)
            return keys[i].to;
    return TW_UI_KEY_OTHER;
}

int tw_ui_screen_key(tw_ui_screen *s)
{
    wint_t w = 0;
    (void)s;
    const int rc = get_wch(&w);
    if (rc == ERR)
        return TW_UI_KEY_NONE;
    if (rc == KEY_CODE_YES)
        return key_of((int)w);
    if (w == '\r')
        return TW_UI_KEY_ENTER;
    if (w == 8)
        return TW_UI_KEY_BACKSPACE;
    return w > 0 && w < 0x110000 ? (int)w : TW_UI_KEY_OTHER;
}

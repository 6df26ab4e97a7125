/* SPDX-License-Identifier: Apache-2.0 */
/* A command that runs: what it says as it says it, how far it is, how it ended. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "ui/app.h"
#include "ui/text.h"

enum { BAR_COLS = 30, COMMAND_ROWS = 4, NODE_COLS = 14 };

/* ---- the model ---- */

void tw_ui_run_prepare(tw_ui_app *a, const char *title, const tw_ui_command *c)
{
    tw_ui_run *r = &a->run;
    const tw_ui_lines lines = r->lines;
    tw_ui_job_done(&r->job, 0); /* a page of an earlier one waits for its end before it goes */
    *r = (tw_ui_run){.n = 1, .v = {*c}, .lines = lines, .share = -1};
    snprintf(r->title, sizeof r->title, "%s", title);
}

/* Progress is a bar, no text; what is for people becomes a line of text. */
static bool take_line(void *ctx, const char *line)
{
    tw_ui_run *r = ctx;
    char text[TW_UI_LINE_BYTES];
    const enum tw_ui_pull_line kind = tw_ui_pull_parse(line, &r->progress, text, sizeof text);
    if (kind == TW_UI_PULL_SAYS)
        tw_ui_lines_add(&r->lines, text);
    return kind != TW_UI_PULL_OTHER;
}

static void start(tw_ui_app *a)
{
    tw_ui_run *r = &a->run;
    tw_err err = {0};
    r->is_over = false;
    r->is_scrolled = false;
    r->share = -1;
    r->progress.n = 0;
    r->fail[0] = '\0';
    r->lines.take = take_line;
    r->lines.take_ctx = r;
    if (tw_ui_job_start(&r->job, a->opts->program, &r->v[r->i], &r->lines, 0, &err) == 0)
        return;
    snprintf(r->fail, sizeof r->fail, "%s", err.msg);
    r->is_over = true;
}

static bool is_good(const tw_ui_run *r)
{
    return r->is_over && r->fail[0] == '\0' && !r->job.was_cancelled &&
           tw_ui_job_exit(&r->job) == 0;
}

static void enter(tw_ui_app *a)
{
    if (a->run.asks == NULL && !a->run.job.is_running && !a->run.is_over)
        start(a);
}

static void tick(tw_ui_app *a)
{
    tw_ui_run *r = &a->run;
    const tw_ui_status *s = &a->status;
    if (!tw_ui_job_pump(&r->job, a->now_ns)) {
        /* `up` says nothing while it loads; what it loads does. */
        if (r->job.is_running && strcmp(tw_ui_command_word(&r->v[r->i], 0), "up") == 0 &&
            strcmp(s->state, "starting") == 0 && s->total_bytes > 0)
            r->share = s->done_bytes / s->total_bytes;
        return;
    }
    r->is_over = true;
    a->q_status.next_ns = a->now_ns; /* what runs may be another now */
    if (is_good(r) && r->i + 1 < r->n) {
        r->i++;
        start(a);
    }
}

/* ---- the view ---- */

static enum tw_ui_style style_of(const char *line)
{
    line += strspn(line, " ");
    if (strncmp(line, "ok ", 3) == 0)
        return TW_UI_GOOD;
    if (strncmp(line, "warn ", 5) == 0)
        return TW_UI_WARNING;
    if (strncmp(line, "FAIL ", 5) == 0 || strncmp(line, "twinax", 6) == 0)
        return TW_UI_BAD;
    return TW_UI_PLAIN;
}

/* Rows that lines need where long ones are wrapped; those of the last lines first. */
static size_t rows_of(const char *line, size_t width)
{
    size_t n = 0, skip;
    do {
        line += tw_ui_wrap(line, width, &skip);
        line += skip;
        n++;
    } while (*line != '\0');
    return n;
}

/* The first line that is seen when the last one is. */
static size_t last_top(const tw_ui_run *r, size_t rows, size_t width)
{
    size_t i = tw_ui_lines_n(&r->lines), used = 0;
    while (i > 0) {
        used += rows_of(tw_ui_lines_at(&r->lines, i - 1), width);
        if (used > rows)
            break;
        i--;
    }
    return i;
}

static void draw_lines(tw_ui_app *a, int row, int end)
{
    tw_ui_run *r = &a->run;
    tw_ui_screen *s = &a->screen;
    const size_t width = (size_t)s->cols - 2, n = tw_ui_lines_n(&r->lines);
    const size_t last = end > row ? last_top(r, (size_t)(end - row), width) : 0;
    if (!r->is_scrolled || r->top > last)
        r->top = last;
    if (r->top == last) /* at the end it goes on with what comes */
        r->is_scrolled = false;
    for (size_t i = r->top; i < n && row < end; i++) {
        const char *line = tw_ui_lines_at(&r->lines, i);
        const int used = tw_ui_put_wrapped(s, row, 1, (int)width, end - row, style_of(line), line);
        row += TW_MAX(used, 1);
    }
    if (r->top < last)
        tw_ui_put_right(s, end - 1, s->cols - 1, TW_UI_KEYS,
                        s->ascii ? " more v " : " more \u2193 ");
}

static void draw_running(tw_ui_app *a, int row)
{
    const tw_ui_run *r = &a->run;
    tw_ui_screen *s = &a->screen;
    char span[24];
    tw_ui_span(tw_ui_job_age_s(&r->job, a->now_ns), span);
    int at = tw_ui_put(s, row, 1, TW_UI_BAR, "%s ", tw_ui_spinner(a));
    if (r->job.was_cancelled) {
        tw_ui_put(s, row, at, TW_UI_WARNING, "asked to stop%s, %s",
                  r->job.n_asked > 1 ? ", insisting" : "", span);
        return;
    }
    at = tw_ui_put(s, row, at, TW_UI_PLAIN, "running, %s", span);
    if (r->share < 0)
        return;
    tw_ui_put_bar(s, row, at + 2, BAR_COLS, TW_UI_BAR, r->share);
    tw_ui_put(s, row, at + 3 + BAR_COLS, TW_UI_PLAIN, "%.0f %%", 100 * r->share);
}

/* A bar for each node. */
static void draw_progress(tw_ui_app *a, int row)
{
    const tw_ui_progress *p = &a->run.progress;
    tw_ui_screen *s = &a->screen;
    for (size_t i = 0; i < p->n; i++, row++) {
        const int at = p->v[i].name[0] != '\0' ? NODE_COLS : 1;
        tw_ui_put_width(s, row, 1, at - 1, TW_UI_BOLD, p->v[i].name);
        tw_ui_put_bar(s, row, at, BAR_COLS, TW_UI_BAR, p->v[i].share);
        tw_ui_put(s, row, at + BAR_COLS + 1, TW_UI_PLAIN, "%3.0f %%  %s", 100 * p->v[i].share,
                  p->v[i].text);
    }
}

static void draw_over(tw_ui_app *a, int row)
{
    const tw_ui_run *r = &a->run;
    char span[24];
    const int code = tw_ui_job_exit(&r->job);
    tw_ui_screen *s = &a->screen;
    tw_ui_span(tw_ui_job_age_s(&r->job, r->job.ended_ns), span);
    if (r->fail[0] != '\0')
        tw_ui_put(s, row, 1, TW_UI_BAD, "it could not be started: %s", r->fail);
    else if (r->job.was_cancelled)
        tw_ui_put(s, row, 1, TW_UI_WARNING, "stopped after %s", span);
    else if (code == 0)
        tw_ui_put(s, row, 1, TW_UI_GOOD, "done after %s", span);
    else if (code > 128)
        tw_ui_put(s, row, 1, TW_UI_BAD, "ended by signal %d after %s", code - 128, span);
    else
        tw_ui_put(s, row, 1, TW_UI_BAD, "failed after %s: exit status %d", span, code);
}

/* What Enter does at a good end; NULL: nothing but going back. */
static const char *next_word(const tw_ui_run *r)
{
    return r->has_then                          ? "do it"
           : r->then_view == &tw_ui_view_status ? "status"
           : r->then_view == &tw_ui_view_menu   ? "menu"
                                                : NULL;
}

static void draw_frame(tw_ui_app *a)
{
    const tw_ui_run *r = &a->run;
    const char *scroll = a->screen.ascii ? "Up/Down" : "\u2191\u2193";
    if (r->asks != NULL)
        tw_ui_frame(a, "Enter", "do it", "Esc", "leave it", NULL);
    else if (!r->is_over)
        tw_ui_frame(a, "Esc", r->job.was_cancelled ? "insist" : "stop it", scroll, "scroll", NULL);
    else if (is_good(r) && next_word(r) != NULL)
        tw_ui_frame(a, "Enter", next_word(r), "r", "again", "Esc", "back", scroll, "scroll", NULL);
    else
        tw_ui_frame(a, "Esc", "back", "r", "again", scroll, "scroll", NULL);
}

static void draw(tw_ui_app *a)
{
    tw_ui_run *r = &a->run;
    tw_ui_screen *s = &a->screen;
    const int end = tw_ui_body_end(a);
    int row = TW_UI_BODY_ROW;
    draw_frame(a);
    for (size_t i = 0; i < r->n; i++) {
        row += tw_ui_put_command(a, row, COMMAND_ROWS, &r->v[i]);
        if (i < r->i)
            tw_ui_put_right(s, row - 1, s->cols - 1, TW_UI_GOOD, " done ");
    }
    if (r->has_then && is_good(r)) {
        tw_ui_put(s, row, 1, TW_UI_PLAIN, "Enter does it, in this terminal:");
        row += 1 + tw_ui_put_command(a, row + 1, 1, &r->then);
    }
    tw_ui_rule(s, row++);
    if (r->asks != NULL) {
        tw_ui_put_wrapped(s, row + 1, 1, s->cols - 2, 3, TW_UI_BOLD, r->asks);
        return;
    }
    const int bars = (int)r->progress.n;
    draw_lines(a, row, end - 2 - bars);
    tw_ui_rule(s, end - 2 - bars);
    draw_progress(a, end - 1 - bars);
    if (r->is_over)
        draw_over(a, end - 1);
    else
        draw_running(a, end - 1);
}

/* ---- keys ---- */

static void go_on(tw_ui_app *a)
{
    tw_ui_run *r = &a->run;
    const tw_ui_view *then = r->then_view;
    if (r->asks != NULL) {
        r->asks = NULL;
        start(a);
    } else if (r->has_then && is_good(r)) {
        const tw_ui_command c = r->then;
        tw_ui_foreground(a, &c);
        tw_ui_pop(a);
    } else if (r->is_over) {
        if (is_good(r) && then != NULL)
            tw_ui_go(a, then);
        else
            tw_ui_pop(a);
    }
}

static bool scroll(tw_ui_run *r, int key)
{
    const size_t page = 10, n = tw_ui_lines_n(&r->lines);
    const size_t up = key == TW_UI_KEY_UP ? 1 : key == TW_UI_KEY_PAGE_UP ? page : 0;
    const size_t down = key == TW_UI_KEY_DOWN ? 1 : key == TW_UI_KEY_PAGE_DOWN ? page : 0;
    if (key == TW_UI_KEY_END)
        r->is_scrolled = false;
    else if (key == TW_UI_KEY_HOME)
        r->top = 0;
    else if (up + down == 0)
        return false;
    r->top = r->top > up ? r->top - up + down : down;
    r->top = TW_MIN(r->top, n);
    r->is_scrolled = key != TW_UI_KEY_END;
    return true;
}

static void key(tw_ui_app *a, int key)
{
    tw_ui_run *r = &a->run;
    const bool stops = key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C || key == 'q';
    if (scroll(r, key))
        return;
    if (key == TW_UI_KEY_ENTER)
        go_on(a);
    else if (stops && r->job.is_running)
        tw_ui_job_cancel(&r->job, a->now_ns);
    else if (stops)
        tw_ui_pop(a);
    else if (key == 'r' && r->is_over) {
        r->i = 0;
        start(a);
    }
}

const tw_ui_view tw_ui_view_run = {
    .title = "", .enter = enter, .draw = draw, .key = key, .tick = tick};

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "ui/app.h"
#include "ui/text.h"

int tw_ui_body_end(const tw_ui_app *a)
{
    return a->screen.rows - 2;
}

const char *tw_ui_spinner(const tw_ui_app *a)
{
    static const char *const turns[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    static const char *const bars[] = {"|", "/", "-", "\\"};
    return a->screen.ascii ? bars[a->frame % TW_ARRAY_LEN(bars)]
                           : turns[a->frame % TW_ARRAY_LEN(turns)];
}

const char *tw_ui_grade_word(enum tw_ui_grade g)
{
    static const char *const words[] = {"-", "ok", "warn", "FAIL"};
    return words[g];
}

enum tw_ui_style tw_ui_grade_style(enum tw_ui_grade g)
{
    static const enum tw_ui_style v[] = {TW_UI_DIM, TW_UI_GOOD, TW_UI_WARNING, TW_UI_BAD};
    return v[g];
}

bool tw_ui_has_ray(const tw_ui_app *a)
{
    return a->has_status && strcmp(a->status.ray.state, "ready") == 0;
}

static void draw_bar(tw_ui_app *a)
{
    char left[120];
    const tw_ui_view *v = tw_ui_top(a);
    if (a->depth > 1)
        snprintf(left, sizeof left, " twinax  %s  %s", a->screen.ascii ? ">" : "\u203a",
                 v == &tw_ui_view_run ? a->run.title : v->title);
    else
        snprintf(left, sizeof left, " twinax");
    tw_ui_put_width(&a->screen, 0, 0, a->screen.cols, TW_UI_TITLE, left);
    tw_ui_put_right(&a->screen, 0, a->screen.cols - 1, TW_UI_TITLE, a->host);
}

/* What runs, in a row: it is seen from every page. */
static void draw_service(tw_ui_app *a)
{
    const tw_ui_status *s = &a->status;
    tw_ui_screen *w = &a->screen;
    const char *full = w->ascii ? "*" : "\u25cf", *empty = w->ascii ? "o" : "\u25cb";
    if (!a->has_status) {
        tw_ui_put(w, 1, 1, TW_UI_DIM, "%s %s", tw_ui_spinner(a),
                  a->q_status.why[0] != '\0' ? a->q_status.why : "asks what runs");
        return;
    }
    if (strcmp(s->state, "ready") == 0) {
        int at = tw_ui_put(w, 1, 1, TW_UI_GOOD, "%s ", full);
        at = tw_ui_put(w, 1, at, TW_UI_BOLD, "%s", s->model);
        at = tw_ui_put(w, 1, at, TW_UI_PLAIN, " at %s", s->url);
        if (s->has_serve && strcmp(s->engine, "vllm") != 0) /* it counts by itself */
            tw_ui_put(w, 1, at, TW_UI_DIM, "   %.1f tok/s, %u running", s->tok_s, s->running);
    } else if (strcmp(s->state, "starting") == 0) {
        const double share = s->total_bytes > 0 ? s->done_bytes / s->total_bytes : 0;
        int at = tw_ui_put(w, 1, 1, TW_UI_WARNING, "%s %s is starting", tw_ui_spinner(a), s->model);
        if (s->total_bytes > 0)
            tw_ui_put(w, 1, at, TW_UI_PLAIN, ", %.0f %% loaded", 100 * share);
    } else if (tw_ui_has_ray(a)) {
        int at = tw_ui_put(w, 1, 1, TW_UI_GOOD, "%s ", full);
        at = tw_ui_put(w, 1, at, TW_UI_BOLD, "Ray");
        at = tw_ui_put(w, 1, at, TW_UI_PLAIN, " at %s", s->ray.address);
        tw_ui_put(w, 1, at, TW_UI_DIM, "   %u nodes, %.1f GPU, no model yet", s->ray.nodes,
                  s->ray.gpus);
    } else if (strcmp(s->ray.state, "starting") == 0) {
        tw_ui_put(w, 1, 1, TW_UI_WARNING, "%s Ray is starting", tw_ui_spinner(a));
    } else if (strcmp(s->state, "none") == 0) {
        tw_ui_put(w, 1, 1, TW_UI_DIM, "%s nothing runs", empty);
    } else {
        tw_ui_put(w, 1, 1, TW_UI_WARNING, "%s nothing runs: %s %s%s%s", empty, s->model, s->state,
                  s->end[0] != '\0' ? ": " : "", s->end);
    }
}

void tw_ui_frame(tw_ui_app *a, ...)
{
    tw_ui_screen *w = &a->screen;
    va_list ap;
    int at = 1;
    draw_bar(a);
    draw_service(a);
    tw_ui_rule(w, 2);
    tw_ui_rule(w, w->rows - 2);
    va_start(ap, a);
    for (const char *key; (key = va_arg(ap, const char *)) != NULL;) {
        const char *what = va_arg(ap, const char *);
        at = tw_ui_put(w, w->rows - 1, at, TW_UI_KEYS, "%s", key);
        at = tw_ui_put(w, w->rows - 1, at, TW_UI_DIM, " %s   ", what);
    }
    va_end(ap);
}

int tw_ui_put_command(tw_ui_app *a, int row, int n_rows, const tw_ui_command *c)
{
    char text[TW_UI_ROW_BYTES];
    tw_ui_put(&a->screen, row, 1, TW_UI_DIM, "$");
    tw_ui_command_print(c, text, sizeof text);
    return tw_ui_put_wrapped(&a->screen, row, 3, a->screen.cols - 4, n_rows, TW_UI_COMMAND, text);
}

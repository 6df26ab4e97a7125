/* SPDX-License-Identifier: Apache-2.0 */
/* 3 Status: what is served, kept fresh. Bars: tok/s against the best seen here, requests against how
 * many fit at once, memory against the rank that takes most, heat from 20 to 100 degrees. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "ui/app.h"
#include "ui/text.h"

enum { LABEL_COLS = 12, BAR_COLS = 20, SMALL_BAR = 8, OLD_S = 10 };

static void enter(tw_ui_app *a)
{
    a->q_status.next_ns = a->now_ns;
}

static double best_speed(const tw_ui_app *a)
{
    double best = a->status.tok_s_since_start;
    for (size_t i = 0; i < a->n_history; i++)
        best = TW_MAX(best, a->history[i]);
    return best;
}

static int draw_head(tw_ui_app *a, int row)
{
    const tw_ui_status *s = &a->status;
    tw_ui_screen *w = &a->screen;
    char span[24];
    tw_ui_span((uint64_t)TW_MAX(s->uptime_s, 0.0), span);
    tw_ui_put(w, row, 2, TW_UI_DIM, "model");
    tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_BOLD, "%s", s->model);
    tw_ui_put(w, ++row, 2, TW_UI_DIM, "address");
    tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_PLAIN, "%s/v1", s->url);
    tw_ui_put(w, ++row, 2, TW_UI_DIM, "engine");
    int at = tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_PLAIN, "%s", s->engine);
    if (s->ctx > 0) /* vLLM finds its own */
        at = tw_ui_put(w, row, at, TW_UI_PLAIN, ", context %u", s->ctx);
    at = tw_ui_put(w, row, at, TW_UI_PLAIN, ", up %s", span);
    if (s->health[0] != '\0' && strcmp(s->health, "ok") != 0)
        tw_ui_put(w, row, at, TW_UI_BAD, "  %s", s->health);
    return row + 2;
}

static int draw_speed(tw_ui_app *a, int row)
{
    const tw_ui_status *s = &a->status;
    tw_ui_screen *w = &a->screen;
    char spark[TW_UI_ROW_BYTES];
    const double best = best_speed(a);
    const size_t n = TW_MIN(a->n_history, (size_t)BAR_COLS);
    const int bar = 2 + LABEL_COLS + 14, more = bar + BAR_COLS + 2;
    tw_ui_put(w, row, 2, TW_UI_DIM, "speed");
    tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_BOLD, "%7.1f tok/s", s->tok_s);
    tw_ui_put_bar(w, row, bar, BAR_COLS, TW_UI_BAR, best > 0 ? s->tok_s / best : 0);
    tw_ui_put(w, row, more, TW_UI_DIM, "%.1f while working", s->tok_s_since_start);
    tw_ui_put(w, ++row, 2, TW_UI_DIM, "prompts");
    tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_PLAIN, "%7.1f tok/s", s->prompt_tok_s);
    tw_ui_spark(a->history + a->n_history - n, n, best, w->ascii, spark);
    tw_ui_put(w, row, bar, TW_UI_BAR, "%s", spark);
    tw_ui_put(w, row, more, TW_UI_DIM, "%.0f tokens so far", s->tokens);
    tw_ui_put(w, ++row, 2, TW_UI_DIM, "requests");
    tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_PLAIN, "%3u of %u", s->running, s->at_once);
    tw_ui_put_bar(w, row, bar, BAR_COLS, TW_UI_BAR,
                  s->at_once > 0 ? (double)s->running / s->at_once : 0);
    tw_ui_put(w, row, more, s->waiting > 0 ? TW_UI_WARNING : TW_UI_DIM, "%u waiting", s->waiting);
    return row + 2;
}

static enum tw_ui_style heat_style(double celsius)
{
    return celsius >= 95 ? TW_UI_BAD : celsius >= 85 ? TW_UI_WARNING : TW_UI_BAR;
}

static void draw_rank(tw_ui_app *a, int row, const tw_ui_rank *r, double most_bytes)
{
    tw_ui_screen *w = &a->screen;
    char memory[16], text[32];
    tw_ui_put_width(w, row, 2, 12, TW_UI_BOLD, r->node);
    tw_ui_put(w, row, 15, TW_UI_PLAIN, "%u", r->rank);
    if (r->rss_bytes > 0) {
        tw_ui_bytes(r->rss_bytes, memory);
        tw_ui_put_right(w, row, 28, TW_UI_PLAIN, memory);
        tw_ui_put_bar(w, row, 29, SMALL_BAR, TW_UI_BAR, r->rss_bytes / most_bytes);
    }
    if (r->celsius >= 0) {
        snprintf(text, sizeof text, w->ascii ? "%.0f C" : "%.0f \u00b0C", r->celsius);
        tw_ui_put_right(w, row, 45, TW_UI_PLAIN, text);
        tw_ui_put_bar(w, row, 46, SMALL_BAR, heat_style(r->celsius), (r->celsius - 20) / 80);
    } else {
        tw_ui_put_right(w, row, 45, TW_UI_DIM, "-");
    }
    if (r->age_s > OLD_S)
        tw_ui_put(w, row, 56, TW_UI_WARNING, "last word %.0f s ago", r->age_s);
    else
        tw_ui_put(w, row, 56, TW_UI_PLAIN, "%s", r->link[0] != '\0' ? r->link : "-");
}

static void draw_ranks(tw_ui_app *a, int row, int end, const tw_ui_rank *ranks, size_t n)
{
    tw_ui_screen *w = &a->screen;
    double most = 1;
    for (size_t i = 0; i < n; i++)
        most = TW_MAX(most, ranks[i].rss_bytes);
    tw_ui_put(w, row, 2, TW_UI_DIM, "node");
    tw_ui_put(w, row, 14, TW_UI_DIM, "rank");
    tw_ui_put_right(w, row, 28, TW_UI_DIM, "memory");
    tw_ui_put_right(w, row, 45, TW_UI_DIM, "heat");
    tw_ui_put(w, row++, 56, TW_UI_DIM, "carried by");
    for (size_t i = 0; i < n && row < end; i++)
        draw_rank(a, row++, &ranks[i], most);
    for (size_t i = 0; i < n && row + 1 < end; i++) {
        char sent[16], got[16];
        if (ranks[i].link[0] == '\0' || ranks[i].tx_bytes + ranks[i].rx_bytes <= 0)
            continue;
        tw_ui_bytes(ranks[i].tx_bytes, sent);
        tw_ui_bytes(ranks[i].rx_bytes, got);
        tw_ui_put(w, row++ + 1, 2, TW_UI_DIM, "to %s: %s out, %s in", ranks[i].node, sent, got);
    }
}

/* As Ray itself counts it: the guide's third step. */
static int draw_ray(tw_ui_app *a, int row)
{
    const tw_ui_status *s = &a->status;
    tw_ui_screen *w = &a->screen;
    tw_ui_put(w, row, 2, TW_UI_DIM, "Ray");
    int at = tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_BOLD, "%u nodes, %.1f GPU", s->ray.nodes,
                       s->ray.gpus);
    tw_ui_put(w, row, at, TW_UI_PLAIN, ", %.1f in use, at %s", s->ray.gpus_used, s->ray.address);
    tw_ui_put(w, ++row, 2, TW_UI_DIM, "wire");
    tw_ui_put(w, row, 2 + LABEL_COLS, TW_UI_PLAIN, "%s", s->ray.wire);
    return row + 2;
}

static void draw_nothing(tw_ui_app *a, int row)
{
    const tw_ui_status *s = &a->status;
    tw_ui_screen *w = &a->screen;
    if (!a->has_status) {
        tw_ui_put(w, row, 2, TW_UI_BAR, "%s %s", tw_ui_spinner(a),
                  a->q_status.why[0] != '\0' ? a->q_status.why : "asks");
    } else if (strcmp(s->ray.state, "starting") == 0 && strcmp(s->state, "none") == 0) {
        tw_ui_put(w, row, 2, TW_UI_BOLD, "%s Ray is starting", tw_ui_spinner(a));
    } else if (strcmp(s->state, "none") == 0 && s->ray.end[0] != '\0') {
        tw_ui_put(w, row, 2, TW_UI_BOLD, "Ray has ended");
        tw_ui_put_wrapped(w, row + 2, 2, w->cols - 4, 4, TW_UI_WARNING, s->ray.end);
    } else if (strcmp(s->state, "none") == 0) {
        tw_ui_put(w, row, 2, TW_UI_PLAIN, "Nothing runs. 4 Launch serve starts a model.");
    } else if (strcmp(s->state, "starting") == 0) {
        const double share = s->total_bytes > 0 ? s->done_bytes / s->total_bytes : 0;
        tw_ui_put(w, row, 2, TW_UI_BOLD, "%s %s is starting", tw_ui_spinner(a), s->model);
        tw_ui_put_bar(w, row + 2, 2, 40, TW_UI_BAR, share);
        tw_ui_put(w, row + 2, 44, TW_UI_PLAIN, "%.0f %% loaded", 100 * share);
    } else if (strcmp(s->state, "ready") == 0) {
        tw_ui_put(w, row, 2, TW_UI_WARNING, "%s is there (%s), but does not answer yet", s->model,
                  s->url);
    } else {
        tw_ui_put(w, row, 2, TW_UI_BOLD, "%s %s", s->model,
                  strcmp(s->state, "ended") == 0 ? "has ended" : s->state);
        tw_ui_put_wrapped(w, row + 2, 2, w->cols - 4, 4, TW_UI_WARNING, s->end);
    }
}

static void draw(tw_ui_app *a)
{
    const int end = tw_ui_body_end(a);
    const tw_ui_command c = tw_ui_command_of("status", "--json", NULL);
    int row = TW_UI_BODY_ROW;
    tw_ui_frame(a, "l", "logs", "x", "stop it", "Esc", "back", NULL);
    row += tw_ui_put_command(a, row, 1, &c) + 1;
    const tw_ui_status *s = &a->status;
    const bool serves = a->has_status && s->has_serve && strcmp(s->state, "ready") == 0;
    if (tw_ui_has_ray(a))
        row = draw_ray(a, row);
    if (serves) {
        row = draw_head(a, row);
        /* vLLM counts its requests itself; what ranks there are is Ray's to say. */
        if (strcmp(s->engine, "vllm") != 0)
            row = draw_speed(a, row);
        if (tw_ui_has_ray(a))
            draw_ranks(a, row, end, s->ray.ranks, s->ray.n_ranks);
        else
            draw_ranks(a, row, end, s->ranks, s->n_ranks);
        return;
    }
    if (!tw_ui_has_ray(a) || strcmp(s->state, "none") != 0)
        draw_nothing(a, row);
    else
        tw_ui_put(&a->screen, row, 2, TW_UI_PLAIN,
                  "No model yet. 4 Launch serve starts one on it.");
    if (tw_ui_has_ray(a))
        draw_ranks(a, row + 4, end, s->ray.ranks, s->ray.n_ranks);
}

static void key(tw_ui_app *a, int key)
{
    const tw_ui_command logs = tw_ui_command_of("logs", "-f", "-n", "200", NULL);
    const tw_ui_command down = tw_ui_command_of("down", NULL);
    if (key == 'l') {
        tw_ui_run_prepare(a, "Logs", &logs);
        tw_ui_push(a, &tw_ui_view_run);
    } else if (key == 'x') {
        tw_ui_run_prepare(a, "Stop", &down);
        a->run.asks = "This ends what is served, for everybody who uses it.";
        tw_ui_push(a, &tw_ui_view_run);
    } else if (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C || key == 'q') {
        tw_ui_pop(a);
    }
}

const tw_ui_view tw_ui_view_status = {.title = "Status", .enter = enter, .draw = draw, .key = key};

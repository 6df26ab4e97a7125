/* SPDX-License-Identifier: Apache-2.0 */
/* 4 Launch serve: which model. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "os/sys.h"
#include "os/file.h"
#include "ui/app.h"
#include "ui/text.h"

enum { NAME_COLS = 42, PARAM_END = 50, SIZE_END = 60, FIT_COL = 62, HERE_COL = 71 };

/* Of the memory that is free, what beside weights takes: KV, work, program. */
#define SPARE 0.9

static size_t rows_of(const tw_ui_app *a)
{
    return (size_t)(tw_ui_body_end(a) - 5 - TW_UI_BODY_ROW - 1);
}

static void enter(tw_ui_app *a)
{
    tw_ui_read_config(a);
    tw_ui_catalogue_load(a);
    a->models.n = a->catalogue.n + 1; /* and "another one" */
}

static void tick(tw_ui_app *a)
{
    tw_ui_query *q = &a->q_models;
    if (tw_ui_query_tick(q, a->opts->program, a->now_ns) && q->job.out.len > 0)
        tw_ui_catalogue_note_cache(&a->catalogue, q->job.out.data, q->job.out.len);
    a->models.n = a->catalogue.n + 1;
}

static unsigned engine_of(const tw_ui_app *a)
{
    return a->vllm ? TW_UI_VLLM : TW_UI_NATIVE;
}

static bool runs(const tw_ui_app *a, const tw_ui_model *m)
{
    return m->engines == 0 || (m->engines & engine_of(a)) != 0;
}

/* Nodes that it takes, if all are like this one; 0: too many, or unknown. */
static unsigned nodes_wanted(const tw_ui_model *m)
{
    const double bytes = (double)tw_ui_model_bytes(m);
    const double has = SPARE * (double)tw_sys_mem_available_bytes();
    for (unsigned n = 1; n <= TW_UI_NODES_MAX && bytes > 0; n *= 2)
        if (bytes / n <= has)
            return n;
    return 0;
}

static void draw_fit(tw_ui_app *a, int row, enum tw_ui_style style, const tw_ui_model *m)
{
    const unsigned n = nodes_wanted(m);
    const size_t have = TW_MAX(a->config.n_nodes, (size_t)1);
    char text[24];
    const bool fits = n > 0 && n <= have;
    if (tw_ui_model_bytes(m) == 0)
        snprintf(text, sizeof text, "?");
    else if (fits && n == 1)
        snprintf(text, sizeof text, "fits");
    else if (n > 0)
        snprintf(text, sizeof text, fits ? "fits x%u" : "wants x%u", n);
    else
        snprintf(text, sizeof text, "too big");
    if (style != TW_UI_PICKED)
        style = tw_ui_model_bytes(m) == 0 ? TW_UI_DIM : fits ? TW_UI_GOOD : TW_UI_WARNING;
    tw_ui_put_width(&a->screen, row, FIT_COL, HERE_COL - FIT_COL, style, text);
}

static bool is_here(const tw_ui_model *m)
{
    char path[1024];
    return m->is_whole || (tw_ui_model_is_folder(m->name) &&
                           tw_file_is_dir(tw_ui_machine_path(m->name, path, sizeof path)));
}

static void draw_model(tw_ui_app *a, int row, const tw_ui_model *m, bool picked)
{
    tw_ui_screen *s = &a->screen;
    const enum tw_ui_style style = picked ? TW_UI_PICKED : runs(a, m) ? TW_UI_PLAIN : TW_UI_DIM;
    const char *slash = strrchr(m->name, '/');
    const bool folder = tw_ui_model_is_folder(m->name);
    char size[16] = "", name[TW_UI_NAME_BYTES + 16];
    if (tw_ui_model_bytes(m) > 0)
        tw_ui_disk((double)tw_ui_model_bytes(m), size);
    snprintf(name, sizeof name, " %s%s",
             folder && slash != NULL && slash[1] != '\0' ? slash + 1 : m->name,
             folder ? " (folder)" : "");
    tw_ui_put_width(s, row, 1, s->cols - 2, style, "");
    tw_ui_put_width(s, row, 1, NAME_COLS, style, name);
    tw_ui_put_right(s, row, PARAM_END, style, m->params);
    tw_ui_put_right(s, row, SIZE_END, style, size);
    draw_fit(a, row, style, m);
    tw_ui_put(s, row, HERE_COL, style, "%s",
              is_here(m)    ? "here"
              : m->is_here  ? "in part"
              : !runs(a, m) ? (a->vllm ? "native" : "vllm only")
              : m->gated    ? "gated"
                            : "");
}

/* The chosen one in words. */
static void draw_about(tw_ui_app *a, int row, const tw_ui_model *m)
{
    tw_ui_screen *s = &a->screen;
    char text[512], size[16] = "";
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < m->n_sizes && n < sizeof text; i++) {
        tw_ui_disk((double)m->sizes[i].bytes, size);
        n += (size_t)snprintf(text + n, sizeof text - n, "%s %s, ", m->sizes[i].dtype, size);
    }
    if (!runs(a, m))
        snprintf(text + n, sizeof text - n, "runs with %s only: e changes the engine. %s",
                 a->vllm ? "the native engine" : "vllm", m->note);
    else if (m->gated && !is_here(m))
        snprintf(text + n, sizeof text - n,
                 "gated: accept its licence at https://huggingface.co/%s; HF_TOKEN is %s. %s",
                 m->name, tw_ui_machine_has_token() ? "set" : "not set, export it first", m->note);
    else
        snprintf(text + n, sizeof text - n, "%s%s%s", is_here(m) ? "downloaded" : "is pulled first",
                 m->note[0] != '\0' ? ": " : "", m->note);
    tw_ui_put_wrapped(s, row, 1, s->cols - 2, 2,
                      m->gated && !is_here(m) && !tw_ui_machine_has_token() ? TW_UI_WARNING
                                                                            : TW_UI_PLAIN,
                      text);
}

static void draw_heading(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const int row = TW_UI_BODY_ROW;
    tw_ui_put(s, row, 2, TW_UI_DIM, "model for the %s engine", a->vllm ? "vllm" : "native");
    tw_ui_put_right(s, row, PARAM_END, TW_UI_DIM, "params");
    tw_ui_put_right(s, row, SIZE_END, TW_UI_DIM, "size");
    tw_ui_put(s, row, FIT_COL, TW_UI_DIM, "memory");
    tw_ui_put(s, row, HERE_COL, TW_UI_DIM, "disk");
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const size_t rows = rows_of(a);
    const int end = tw_ui_body_end(a);
    tw_ui_list *l = &a->models;
    tw_ui_frame(a, s->ascii ? "Up/Down" : "\u2191\u2193", "choose", "Enter", "options", "e",
                "engine", "p", "pull", "Esc", "back", NULL);
    draw_heading(a);
    tw_ui_list_show(l, rows);
    for (size_t k = 0; k < rows && l->top + k < l->n; k++) {
        const size_t i = l->top + k;
        const int row = TW_UI_BODY_ROW + 1 + (int)k;
        if (i < a->catalogue.n)
            draw_model(a, row, &a->catalogue.v[i], i == l->i_picked);
        else
            tw_ui_put_width(s, row, 1, s->cols - 2, i == l->i_picked ? TW_UI_PICKED : TW_UI_PLAIN,
                            " another one: a name of the hub, or a folder");
    }
    tw_ui_rule(s, end - 5);
    if (l->i_picked < a->catalogue.n)
        draw_about(a, end - 4, &a->catalogue.v[l->i_picked]);
    const tw_ui_command c = tw_ui_command_of("models", "--json", NULL);
    if (a->catalogue_why[0] != '\0')
        tw_ui_put_wrapped(s, end - 2, 1, s->cols - 2, 2, TW_UI_BAD, a->catalogue_why);
    else if (tw_ui_query_waits(&a->q_models))
        tw_ui_put(s, end - 2, 1, TW_UI_BAR, "%s looks what is downloaded", tw_ui_spinner(a));
    else
        tw_ui_put_command(a, end - 2, 1, &c);
}

static void key(tw_ui_app *a, int key)
{
    tw_ui_list *l = &a->models;
    if (tw_ui_list_key(l, key, rows_of(a)))
        return;
    if (key == TW_UI_KEY_ENTER) {
        tw_ui_launch_prepare(a,
                             l->i_picked < a->catalogue.n ? a->catalogue.v[l->i_picked].name : "");
        tw_ui_push(a, &tw_ui_view_launch);
    } else if (key == 'e') {
        a->vllm = !a->vllm;
    } else if (key == 'p' && l->i_picked < a->catalogue.n) {
        const tw_ui_command c =
            tw_ui_command_of("pull", a->catalogue.v[l->i_picked].name, "--json", NULL);
        tw_ui_run_prepare(a, "Pull", &c);
        tw_ui_push(a, &tw_ui_view_run);
    } else if (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C || key == 'q') {
        tw_ui_pop(a);
    }
}

static void leave(tw_ui_app *a)
{
    tw_ui_query_drop(&a->q_models);
}

const tw_ui_view tw_ui_view_models = {.title = "Launch serve",
                                      .enter = enter,
                                      .draw = draw,
                                      .key = key,
                                      .tick = tick,
                                      .leave = leave};

/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a cluster: can every node take part? Asked again until all can. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "ui/app.h"

enum { NAME_COLS = 18, IP_COLS = 18 };
#define EVERY_NS (4 * TW_NS_PER_S)
#define LIMIT_NS (90 * TW_NS_PER_S)

static const char *engine(const tw_ui_app *a)
{
    return a->vllm ? "vllm" : "native";
}

static const tw_ui_command *question(const tw_ui_app *a)
{
    static tw_ui_command c;
    c = tw_ui_command_of("doctor", "--json", "--no-load", "--engine", engine(a), NULL);
    return &c;
}

/* Ray first, where it is wanted and not there yet; then a model. */
static bool wants_ray(const tw_ui_app *a)
{
    return a->vllm && !tw_ui_has_ray(a);
}

static tw_ui_command ray_command(void)
{
    return tw_ui_command_of("up", "--engine", "vllm", "--ray-only", NULL);
}

static void ask(tw_ui_app *a)
{
    a->q_checks.limit_ns = LIMIT_NS;
    a->q_checks.every_ns = EVERY_NS;
    a->has_checks = false;
    tw_ui_query_ask(&a->q_checks, question(a), a->now_ns);
}

static void enter(tw_ui_app *a)
{
    tw_ui_read_config(a);
    ask(a);
}

static void leave(tw_ui_app *a)
{
    tw_ui_query_drop(&a->q_checks);
}

static size_t count(const tw_ui_checks *c, const char *node, enum tw_ui_grade g)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        n += c->v[i].grade == g &&
             (strcmp(c->v[i].node, node) == 0 || strcmp(c->v[i].peer, node) == 0);
    return n;
}

static bool all_reached(const tw_ui_app *a)
{
    if (!a->has_checks || a->checks.n_nodes == 0)
        return false;
    for (size_t i = 0; i < a->checks.n_nodes; i++)
        if (!a->checks.nodes[i].reached)
            return false;
    return true;
}

static void tick(tw_ui_app *a)
{
    tw_err err = {0};
    tw_ui_query *q = &a->q_checks;
    if (!tw_ui_query_tick(q, a->opts->program, a->now_ns))
        return;
    if (q->why[0] == '\0' &&
        tw_ui_checks_parse(q->job.out.data, q->job.out.len, &a->checks, &err) != 0)
        snprintf(q->why, sizeof q->why, "%s", err.msg);
    a->has_checks = q->why[0] == '\0';
    if (all_reached(a)) /* it is known: no need to ask on and on */
        q->next_ns = UINT64_MAX;
}

static int draw_node(tw_ui_app *a, int row, size_t i)
{
    tw_ui_screen *s = &a->screen;
    const tw_ui_checks *c = &a->checks;
    const char *name = c->nodes[i].name;
    tw_ui_put_width(s, row, 2, NAME_COLS, TW_UI_BOLD, name);
    tw_ui_put_width(s, row, 2 + NAME_COLS, IP_COLS, TW_UI_PLAIN, c->nodes[i].ip);
    const int at = 2 + NAME_COLS + IP_COLS;
    if (!c->nodes[i].reached) {
        tw_ui_put(s, row, at, TW_UI_BAD, "not reached");
        return 1 + tw_ui_put_wrapped(s, row + 1, 4, s->cols - 6, 3, TW_UI_PLAIN, c->nodes[i].why);
    }
    const size_t n_bad = count(c, name, TW_UI_FAILS), n_warn = count(c, name, TW_UI_WARNS);
    int x = tw_ui_put(s, row, at, TW_UI_GOOD, "ready  ");
    x = tw_ui_put(s, row, x, TW_UI_DIM, "%zu checks ok", count(c, name, TW_UI_OK));
    if (n_warn > 0)
        x = tw_ui_put(s, row, x, TW_UI_WARNING, ", %zu warn", n_warn);
    if (n_bad > 0)
        tw_ui_put(s, row, x, TW_UI_BAD, ", %zu FAIL", n_bad);
    return 1;
}

/* What fails, with its mend, as many as there is room for. */
static void draw_failures(tw_ui_app *a, int row, int end)
{
    const tw_ui_checks *c = &a->checks;
    tw_ui_screen *s = &a->screen;
    for (size_t i = 0; i < c->n && row + 1 < end; i++) {
        const tw_ui_check *k = &c->v[i];
        if (k->grade != TW_UI_FAILS)
            continue;
        const int at = tw_ui_put(s, row, 2, TW_UI_BAD, "FAIL  ");
        tw_ui_put(s, row++, at, TW_UI_PLAIN, "%s %s: %s", k->node, k->title, k->found);
        tw_ui_put(s, row++, at, TW_UI_DIM, "mend: %s", k->mend);
    }
}

static void draw_state(tw_ui_app *a, int row)
{
    tw_ui_screen *s = &a->screen;
    if (a->q_checks.job.is_running) {
        const uint64_t since = tw_ui_job_age_s(&a->q_checks.job, a->now_ns);
        tw_ui_put(s, row, 1, TW_UI_BAR, "%s asks every node, %llu s", tw_ui_spinner(a),
                  (unsigned long long)since);
    } else if (all_reached(a)) {
        tw_ui_put(s, row, 1, TW_UI_GOOD, "every node can be started: %s",
                  wants_ray(a) ? "start Ray" : "choose a model");
    } else if (a->q_checks.why[0] != '\0') {
        tw_ui_put(s, row, 1, TW_UI_BAD, "%s", a->q_checks.why);
    } else {
        tw_ui_put(s, row, 1, TW_UI_WARNING,
                  "%s waits for the nodes that are not reached; asks again", tw_ui_spinner(a));
    }
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const int end = tw_ui_body_end(a);
    int row = TW_UI_BODY_ROW;
    tw_ui_frame(a, "Enter", wants_ray(a) ? "start Ray" : "choose a model", "r", "ask again", "d",
                "doctor", "s", "setup", "Esc", "back", NULL);
    row += tw_ui_put_command(a, row, 1, question(a)) + 1;
    if (a->config.n_nodes < 2)
        tw_ui_put(s, row++, 1, TW_UI_WARNING,
                  "no twinax.conf with two nodes: this machine alone (1 Configure IPs writes one)");
    for (size_t i = 0; a->has_checks && i < a->checks.n_nodes; i++)
        row += draw_node(a, row, i);
    for (size_t i = 0; !a->has_checks && i < a->config.n_nodes; i++, row++) {
        tw_ui_put_width(s, row, 2, NAME_COLS, TW_UI_BOLD, a->config.nodes[i].name);
        tw_ui_put(s, row, 2 + NAME_COLS, TW_UI_DIM, "%s", a->config.nodes[i].ip);
    }
    const int rule = end - 2 - wants_ray(a);
    if (a->has_checks)
        draw_failures(a, row + 1, rule);
    tw_ui_rule(s, rule);
    if (wants_ray(a)) {
        const tw_ui_command c = ray_command();
        tw_ui_put_command(a, rule + 1, 1, &c);
    }
    draw_state(a, end - 1);
}

static void run(tw_ui_app *a, const char *title, const tw_ui_command *c, bool is_setup)
{
    tw_ui_run_prepare(a, title, c);
    a->run.has_then = is_setup;
    a->run.then = tw_ui_command_of("setup", NULL);
    tw_ui_push(a, &tw_ui_view_run);
}

static void key(tw_ui_app *a, int key)
{
    const tw_ui_command doctor = tw_ui_command_of("doctor", "--engine", engine(a), NULL);
    const tw_ui_command setup = tw_ui_command_of("setup", "--dry-run", NULL);
    if (key == TW_UI_KEY_ENTER && wants_ray(a)) {
        const tw_ui_command c = ray_command();
        tw_ui_run_prepare(a, "Start Ray", &c);
        a->run.then_view = &tw_ui_view_status;
        tw_ui_push(a, &tw_ui_view_run);
    } else if (key == TW_UI_KEY_ENTER)
        tw_ui_push(a, &tw_ui_view_models);
    else if (key == 'r')
        ask(a);
    else if (key == 'd')
        run(a, "Doctor", &doctor, false);
    else if (key == 's')
        run(a, "Setup", &setup, true);
    else if (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C || key == 'q')
        tw_ui_pop(a);
}

const tw_ui_view tw_ui_view_head = {
    .title = "Head", .enter = enter, .draw = draw, .key = key, .tick = tick, .leave = leave};

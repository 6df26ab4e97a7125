/* SPDX-License-Identifier: Apache-2.0 */
/* 4 Launch serve: how. The guide's options, the command that they make, and what plan thinks. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/str.h"
#include "os/file.h"
#include "ui/app.h"
#include "ui/text.h"

enum { MODEL, ENGINE, WHERE, TP, CTX, PORT, ERASE, EAGER, GO, FIELDS };
enum { LABEL_COLS = 22 };
#define SETTLE_NS (400 * TW_NS_PER_MS) /* who still types is not planned for */
#define LIMIT_NS  (90 * TW_NS_PER_S)

static const char *const engines[] = {"native", "vllm", NULL};
static const char *const wheres[] = {"nodes of twinax.conf", "this machine alone", NULL};
static const char *const tps[] = {"1", "2", "4", "8", NULL};
static const char *const no_yes[] = {"no", "yes", NULL};

static bool check_any_model(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    char path[1024];
    if (text[0] != '-' && tw_file_is_dir(tw_ui_machine_path(text, path, sizeof path)))
        return true;
    if (text[0] != '-' && tw_str_ends(tw_str_from(text), TW_STR(".gguf")) &&
        tw_file_exists(tw_ui_machine_path(text, path, sizeof path)))
        return true;
    if (!tw_ui_model_is_folder(text) && strchr(text, '/') != NULL)
        return tw_ui_check_model(text, message);
    snprintf(message, TW_UI_MESSAGE_BYTES,
             "no such folder here: wanted org/name, a folder, or a .gguf file");
    return false;
}

/* As the commands take it: they have no shell for "~". */
static const char *model_of(const tw_ui_form *f)
{
    static char path[1024];
    return tw_ui_machine_path(f->v[MODEL].text, path, sizeof path);
}

static bool is_vllm(const tw_ui_form *f)
{
    return f->v[ENGINE].choice == 1;
}

static bool is_alone(const tw_ui_form *f)
{
    return f->v[WHERE].choice == 1;
}

/* The most ranks of 1, 2, 4, 8 that there are nodes for. */
static unsigned usual_tp(const tw_ui_app *a)
{
    unsigned i = 0;
    const size_t n = a->config.tp > 0 ? a->config.tp : a->config.n_nodes;
    while (i < 3 && (size_t)(2u << i) <= n)
        i++;
    return i;
}

static void settle(tw_ui_app *a)
{
    tw_ui_form *f = &a->launch_form;
    f->v[ERASE].is_off = f->v[EAGER].is_off = !is_vllm(f);
    f->v[ERASE].hint = f->v[EAGER].hint = is_vllm(f) ? NULL : "vllm only";
    a->launch_changed_ns = a->now_ns;
    a->has_plan = false;
    tw_ui_query_drop(&a->q_plan);
}

void tw_ui_launch_prepare(tw_ui_app *a, const char *model)
{
    char number[16];
    tw_ui_form *f = &a->launch_form;
    *f = (tw_ui_form){.n = FIELDS,
                      .i_picked = model[0] != '\0' ? TP : MODEL,
                      .v = {[MODEL] = {"Model", NULL, .check = check_any_model},
                            [ENGINE] = {"Engine", NULL, TW_UI_CHOICE_FIELD, .choices = engines,
                                        .choice = a->vllm},
                            [WHERE] = {"Where", NULL, TW_UI_CHOICE_FIELD, .choices = wheres,
                                       .choice = a->config.n_nodes < 2},
                            [TP] = {"Tensor parallelism", NULL, TW_UI_CHOICE_FIELD, .choices = tps,
                                    .choice = usual_tp(a)},
                            [CTX] = {"Context length", "auto, or tokens", .check = tw_ui_check_ctx},
                            [PORT] = {"Port of the API", NULL, .check = tw_ui_check_port},
                            [ERASE] = {"Erase vLLM cache", NULL, TW_UI_CHOICE_FIELD,
                                       .choices = no_yes},
                            [EAGER] = {"Force eager mode", NULL, TW_UI_CHOICE_FIELD,
                                       .choices = no_yes, .choice = 1},
                            [GO] = {"LAUNCH SERVER", .type = TW_UI_BUTTON}}};
    tw_ui_field_set(&f->v[MODEL], model);
    tw_ui_field_set(&f->v[CTX], "auto");
    snprintf(number, sizeof number, "%u", a->config.port > 0 ? a->config.port : 8000);
    tw_ui_field_set(&f->v[PORT], number);
    if (a->config.ctx > 0) {
        snprintf(number, sizeof number, "%u", a->config.ctx);
        tw_ui_field_set(&f->v[CTX], number);
    }
    settle(a);
}

/* What up and plan have in common. */
static void add_split(const tw_ui_form *f, tw_ui_command *c)
{
    if (is_alone(f) && f->v[TP].choice > 0)
        tw_ui_command_add(c, "--local");
    tw_ui_command_add(c, "--tp");
    tw_ui_command_add(c, tps[f->v[TP].choice]);
    if (strcmp(f->v[CTX].text, "auto") != 0) {
        tw_ui_command_add(c, "--ctx");
        tw_ui_command_add(c, f->v[CTX].text);
    }
}

static tw_ui_command up_command(const tw_ui_form *f)
{
    tw_ui_command c =
        tw_ui_command_of("up", model_of(f), "--engine", engines[f->v[ENGINE].choice], NULL);
    add_split(f, &c);
    tw_ui_command_add(&c, "--port");
    tw_ui_command_add(&c, f->v[PORT].text);
    if (is_vllm(f) && f->v[ERASE].choice == 1)
        tw_ui_command_add(&c, "--erase-cache");
    if (is_vllm(f) && f->v[EAGER].choice == 0) /* eager is what it does unasked */
        tw_ui_command_add(&c, "--graphs");
    return c;
}

static tw_ui_command pull_command(const tw_ui_form *f)
{
    tw_ui_command c = tw_ui_command_of("pull", f->v[MODEL].text, "--json", NULL);
    if (is_alone(f))
        tw_ui_command_add(&c, "--local");
    return c;
}

static tw_ui_command plan_command(const tw_ui_form *f)
{
    tw_ui_command c = tw_ui_command_of("plan", model_of(f), "--json", NULL);
    add_split(f, &c);
    return c;
}

/* On this disk: then plan can read it, and nothing is pulled. */
static bool is_here(const tw_ui_app *a)
{
    const char *name = a->launch_form.v[MODEL].text;
    const tw_ui_model *m = tw_ui_catalogue_find(&a->catalogue, name);
    return (m != NULL && m->is_whole) ||
           (name[0] != '\0' && tw_file_is_dir(model_of(&a->launch_form)));
}

static void enter(tw_ui_app *a)
{
    settle(a);
}

static void leave(tw_ui_app *a)
{
    tw_ui_query_drop(&a->q_plan);
}

static void tick(tw_ui_app *a)
{
    tw_err err = {0};
    tw_ui_form *f = &a->launch_form;
    tw_ui_query *q = &a->q_plan;
    char ignored[TW_UI_MESSAGE_BYTES];
    const bool can = !is_vllm(f) && is_here(a) && tw_ui_check_ctx(f->v[CTX].text, ignored);
    if (can && q->next_ns == 0 && a->now_ns - a->launch_changed_ns > SETTLE_NS) {
        const tw_ui_command c = plan_command(f);
        q->every_ns = 0;
        q->limit_ns = LIMIT_NS;
        tw_ui_query_ask(q, &c, a->now_ns);
    }
    if (!tw_ui_query_tick(q, a->opts->program, a->now_ns))
        return;
    if (q->why[0] == '\0' && tw_ui_plan_parse(q->job.out.data, q->job.out.len, &a->plan, &err) != 0)
        snprintf(q->why, sizeof q->why, "%s", err.msg);
    a->has_plan = q->why[0] == '\0';
}

/* ---- the view ---- */

static void draw_plan(tw_ui_app *a, int row)
{
    const tw_ui_plan *p = &a->plan;
    tw_ui_screen *s = &a->screen;
    char needs[16], has[16];
    if (!p->allowed) {
        tw_ui_put_wrapped(s, row, 2, s->cols - 4, 2, TW_UI_BAD, p->why);
        return;
    }
    if (p->needs_bytes > 0) {
        const bool fits = p->needs_bytes <= p->available_bytes;
        tw_ui_bytes(p->needs_bytes, needs);
        tw_ui_bytes(p->available_bytes, has);
        int at =
            tw_ui_put(s, row, 2, fits ? TW_UI_GOOD : TW_UI_BAD, fits ? "fits: " : "does not fit: ");
        at = tw_ui_put(s, row, at, TW_UI_PLAIN, "%s of %s a node ", needs, has);
        tw_ui_put_bar(s, row, at + 1, 16, fits ? TW_UI_BAR : TW_UI_BAD,
                      p->needs_bytes / p->available_bytes);
    } else {
        tw_ui_put(s, row, 2, TW_UI_DIM, "memory of the nodes is not known");
    }
    tw_ui_put(s, row + 1, 2, TW_UI_DIM, "context up to %u, about %.1f tok/s", p->max_ctx,
              p->decode_tok_s);
}

static void draw_about(tw_ui_app *a, int row)
{
    const tw_ui_form *f = &a->launch_form;
    const tw_ui_model *m = tw_ui_catalogue_find(&a->catalogue, f->v[MODEL].text);
    tw_ui_screen *s = &a->screen;
    char size[16] = "";
    if (a->has_plan) {
        draw_plan(a, row);
    } else if (a->q_plan.why[0] != '\0') {
        tw_ui_put_wrapped(s, row, 2, s->cols - 4, 2, TW_UI_WARNING, a->q_plan.why);
    } else if (tw_ui_query_waits(&a->q_plan)) {
        const tw_ui_command c = plan_command(f);
        tw_ui_put(s, row, 2, TW_UI_BAR, "%s plans what it takes", tw_ui_spinner(a));
        tw_ui_put_command(a, row + 1, 1, &c);
    } else if (!is_here(a) && f->v[MODEL].text[0] != '\0') {
        if (m != NULL && tw_ui_model_bytes(m) > 0)
            tw_ui_disk((double)tw_ui_model_bytes(m), size);
        tw_ui_put(s, row, 2, TW_UI_PLAIN, "not on this disk: it is pulled first%s%s",
                  size[0] != '\0' ? ", " : "", size);
        if (m != NULL && m->gated)
            tw_ui_put(s, row + 1, 2, tw_ui_machine_has_token() ? TW_UI_PLAIN : TW_UI_WARNING,
                      "gated: licence at https://huggingface.co/%s, HF_TOKEN is %s", m->name,
                      tw_ui_machine_has_token() ? "set" : "not set");
    }
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const tw_ui_form *f = &a->launch_form;
    const int end = tw_ui_body_end(a);
    tw_ui_frame(a, s->ascii ? "Left/Right" : "\u2190\u2192", "choose", "Tab", "next", "Enter",
                "go on", "Esc", "back", NULL);
    tw_ui_form_draw(s, f, TW_UI_BODY_ROW, 2, LABEL_COLS);
    tw_ui_rule(s, end - 6);
    draw_about(a, end - 5);
    tw_ui_rule(s, end - 3);
    const tw_ui_command up = up_command(f);
    if (is_here(a)) {
        tw_ui_put_command(a, end - 2, 2, &up);
        return;
    }
    const tw_ui_command pull = pull_command(f);
    tw_ui_put_command(a, end - 2, 1, &pull);
    tw_ui_put_command(a, end - 1, 1, &up);
}

static void go(tw_ui_app *a)
{
    const tw_ui_form *f = &a->launch_form;
    const tw_ui_command up = up_command(f);
    const tw_ui_command pull = pull_command(f);
    const bool pulls = !is_here(a);
    a->vllm = is_vllm(f);
    tw_ui_run_prepare(a, "Launch serve", pulls ? &pull : &up);
    if (pulls)
        a->run.v[a->run.n++] = up;
    a->run.then_view = &tw_ui_view_status;
    tw_ui_push(a, &tw_ui_view_run);
}

static void key(tw_ui_app *a, int key)
{
    const enum tw_ui_form_word word = tw_ui_form_key(&a->launch_form, key);
    if (word == TW_UI_FORM_CHANGED)
        settle(a);
    else if (word == TW_UI_FORM_GO)
        go(a);
    else if (word == TW_UI_FORM_NOTHING && (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C))
        tw_ui_pop(a);
}

const tw_ui_view tw_ui_view_launch = {.title = "Launch serve",
                                      .enter = enter,
                                      .draw = draw,
                                      .key = key,
                                      .tick = tick,
                                      .leave = leave};

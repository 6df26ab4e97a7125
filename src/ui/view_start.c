/* SPDX-License-Identifier: Apache-2.0 */
/* 2 Start cluster: which engine, and what this machine is. */
#include <stdio.h>
#include <string.h>

#include "ui/app.h"

enum { ENGINE, ROLE, GO, FIELDS };
enum { HEAD, WORKER, BOTH };

static const char *const engines[] = {"native", "vllm", NULL};
static const char *const roles[] = {"head", "worker", "both", NULL};

static const char *about(const tw_ui_form *f)
{
    if (f->v[ROLE].choice == WORKER)
        return "Worker: the head starts this machine's part over ssh, so nothing is started here. "
               "The page looks whether the head can, and shows the rank once it comes.";
    if (f->v[ENGINE].choice == 1)
        return f->v[ROLE].choice == HEAD
                   ? "Head, vLLM: the page waits until every worker of twinax.conf can take part; "
                     "then it starts Ray, here and on all of them. A model comes after that."
                   : "Both, vLLM: nothing has to be typed on the workers. Looks whether each can "
                     "take part; then Ray is started on all. A model comes after that.";
    return f->v[ROLE].choice == HEAD
               ? "Head, native engine: no daemon is wanted. The page waits until every worker of "
                 "twinax.conf can take part; then a model is chosen."
               : "Both, native engine: nothing has to be typed on the workers. Looks whether each "
                 "can take part; then a model is chosen.";
}

static void enter(tw_ui_app *a)
{
    tw_ui_form *f = &a->start_form;
    f->i_picked = ENGINE;
    if (f->n > 0) /* what was chosen stays */
        return;
    *f =
        (tw_ui_form){.n = FIELDS,
                     .v = {[ENGINE] = {"Engine", NULL, TW_UI_CHOICE_FIELD, .choices = engines,
                                       .choice = a->vllm},
                           [ROLE] = {"This machine is", NULL, TW_UI_CHOICE_FIELD, .choices = roles},
                           [GO] = {"START", .type = TW_UI_BUTTON}}};
}

static tw_ui_command command_of(const tw_ui_form *f)
{
    if (f->v[ROLE].choice == WORKER)
        return tw_ui_command_of("status", "--here", "--json", NULL);
    return tw_ui_command_of("doctor", "--json", "--no-load", "--engine",
                            engines[f->v[ENGINE].choice], NULL);
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const tw_ui_form *f = &a->start_form;
    tw_ui_frame(a, s->ascii ? "Left/Right" : "\u2190\u2192", "choose", "Tab", "next", "Enter",
                "go on", "Esc", "back", NULL);
    tw_ui_form_draw(s, f, TW_UI_BODY_ROW + 1, 2, 20);
    tw_ui_put_wrapped(s, TW_UI_BODY_ROW + 7, 2, s->cols - 4, 4, TW_UI_PLAIN, about(f));
    const int row = tw_ui_body_end(a) - 2;
    const tw_ui_command c = command_of(f);
    tw_ui_rule(s, row - 1);
    tw_ui_put_command(a, row, 2, &c);
}

static void go(tw_ui_app *a)
{
    const tw_ui_form *f = &a->start_form;
    a->vllm = f->v[ENGINE].choice == 1;
    tw_ui_push(a, f->v[ROLE].choice == WORKER ? &tw_ui_view_worker : &tw_ui_view_head);
}

static void key(tw_ui_app *a, int key)
{
    tw_ui_form *f = &a->start_form;
    const enum tw_ui_form_word word = tw_ui_form_key(f, key);
    if (word == TW_UI_FORM_GO)
        go(a);
    else if (word == TW_UI_FORM_NOTHING && (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C))
        tw_ui_pop(a);
    else if (word == TW_UI_FORM_MOVED && key == TW_UI_KEY_ENTER && f->i_picked == GO)
        return; /* Enter on the last choice comes to the button */
}

const tw_ui_view tw_ui_view_start = {.title = "Start cluster",
                                     .enter = enter,
                                     .draw = draw,
                                     .key = key};

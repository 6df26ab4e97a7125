/* SPDX-License-Identifier: Apache-2.0 */
/* Pull: a model by its name. */
#include "ui/app.h"

enum { MODEL, GO, FIELDS };

static void enter(tw_ui_app *a)
{
    if (a->pull_form.n == 0)
        a->pull_form =
            (tw_ui_form){.n = FIELDS,
                         .v = {[MODEL] = {"Model", "org/name", .check = tw_ui_check_model},
                               [GO] = {"PULL", .type = TW_UI_BUTTON}}};
}

static tw_ui_command command_of(const tw_ui_app *a)
{
    return tw_ui_command_of("pull", a->pull_form.v[MODEL].text, "--json", NULL);
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const int end = tw_ui_body_end(a);
    const tw_ui_command c = command_of(a);
    tw_ui_frame(a, "Enter", "go on", "Esc", "back", NULL);
    tw_ui_form_draw(s, &a->pull_form, TW_UI_BODY_ROW + 1, 2, 10);
    tw_ui_put(s, TW_UI_BODY_ROW + 6, 2, TW_UI_DIM,
              "4 Launch serve lists models, and pulls what is not here yet by itself.");
    if (!tw_ui_machine_has_token())
        tw_ui_put(s, TW_UI_BODY_ROW + 7, 2, TW_UI_DIM,
                  "HF_TOKEN is not set: gated models are refused.");
    tw_ui_rule(s, end - 3);
    tw_ui_put_command(a, end - 2, 2, &c);
}

static void key(tw_ui_app *a, int key)
{
    const enum tw_ui_form_word word = tw_ui_form_key(&a->pull_form, key);
    if (word == TW_UI_FORM_GO) {
        const tw_ui_command c = command_of(a);
        tw_ui_run_prepare(a, "Pull", &c);
        tw_ui_push(a, &tw_ui_view_run);
    } else if (word == TW_UI_FORM_NOTHING && (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C)) {
        tw_ui_pop(a);
    }
}

const tw_ui_view tw_ui_view_pull = {.title = "Pull", .enter = enter, .draw = draw, .key = key};

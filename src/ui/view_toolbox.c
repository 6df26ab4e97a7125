/* SPDX-License-Identifier: Apache-2.0 */
/* The container: refresh it, go back, go in. */
#include "base/scope.h"
#include "ui/app.h"

static const struct tool {
    const char *name, *about, *word;
    bool in_terminal; /* at once: it is a shell */
    bool changes;     /* first it shows what it would do; then it asks, in the terminal */
} tools[] = {
    {"Refresh", "the newest image, the same on all nodes", "refresh", false, true},
    {"Enter", "a shell inside it, in this terminal", "enter", true, false},
    {"Roll back", "to the image before", "rollback", false, true},
    {"List", "containers and images on all nodes", "list", false, false},
};

static tw_ui_command command_of(const struct tool *t)
{
    return tw_ui_command_of("toolbox", t->word, t->changes ? "--dry-run" : NULL, NULL);
}

static void enter(tw_ui_app *a)
{
    a->tools.n = TW_ARRAY_LEN(tools);
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const int end = tw_ui_body_end(a);
    tw_ui_frame(a, s->ascii ? "Up/Down" : "\u2191\u2193", "choose", "Enter", "go", "Esc", "back",
                NULL);
    for (size_t i = 0; i < TW_ARRAY_LEN(tools); i++) {
        const bool picked = i == a->tools.i_picked;
        const int row = TW_UI_BODY_ROW + 1 + (int)i;
        tw_ui_put_width(s, row, 2, 14, picked ? TW_UI_PICKED : TW_UI_BOLD, tools[i].name);
        tw_ui_put(s, row, 18, picked ? TW_UI_PLAIN : TW_UI_DIM, "%s", tools[i].about);
    }
    const tw_ui_command c = command_of(&tools[a->tools.i_picked]);
    tw_ui_rule(s, end - 3);
    tw_ui_put_command(a, end - 2, 2, &c);
}

static void key(tw_ui_app *a, int key)
{
    if (tw_ui_list_key(&a->tools, key, TW_ARRAY_LEN(tools)))
        return;
    const struct tool *t = &tools[a->tools.i_picked];
    const tw_ui_command c = command_of(t);
    if (key == TW_UI_KEY_ENTER && t->in_terminal) {
        tw_ui_foreground(a, &c);
    } else if (key == TW_UI_KEY_ENTER) {
        tw_ui_run_prepare(a, "Toolbox", &c);
        a->run.has_then = t->changes;
        a->run.then = tw_ui_command_of("toolbox", t->word, NULL);
        tw_ui_push(a, &tw_ui_view_run);
    } else if (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C || key == 'q') {
        tw_ui_pop(a);
    }
}

const tw_ui_view tw_ui_view_toolbox = {.title = "Toolbox",
                                       .enter = enter,
                                       .draw = draw,
                                       .key = key};

/* SPDX-License-Identifier: Apache-2.0 */
/* The first page: the guide's four choices, then the others. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "ui/app.h"

enum { NAME_COL = 3, ABOUT_COL = 24 };

static const struct choice {
    char key;
    const char *name, *about, *words; /* words: of its command, for who has no menu */
    const char *more;                 /* two rows */
    const tw_ui_view *view;           /* NULL: it runs at once */
} choices[] = {
    {'1', "Configure IPs", "addresses of head and worker", "setup --init --worker NAME",
     "Writes twinax.conf: which machines form the cluster, their addresses on the cable, its "
     "interface.",
     &tw_ui_view_config},
    {'2', "Start cluster", "engine; head, worker or both", "doctor",
     "Looks whether every node can take part; for vLLM it then starts Ray on all of them.",
     &tw_ui_view_start},
    {'3', "Status", "nodes, ranks, speed, memory, heat", "status",
     "What is served, by which nodes, over which transport, how fast; kept fresh.",
     &tw_ui_view_status},
    {'4', "Launch serve", "choose a model, serve it", "up MODEL",
     "Models with their size, whether they fit and are here; then an OpenAI API in the background.",
     &tw_ui_view_models},
    {'d', "Doctor", "check both hosts and the cable", "doctor",
     "Every check: what was found, what is wanted, how to mend it. Changes nothing.", NULL},
    {'s', "Setup", "prepare the hosts, with consent", "setup",
     "First shows each change and how it is undone; then it asks.", NULL},
    {'c', "Compare", "latency and bandwidth of every path", "compare",
     "Measures LAN, RoCE card as TCP, Thunderbolt and RDMA between the nodes.", NULL},
    {'p', "Pull a model", "from the hub into the cache", "pull ORG/NAME",
     "Downloads in parallel ranges, verified; what was broken off goes on where it was.",
     &tw_ui_view_pull},
    {'t', "Toolbox", "the container with vLLM, Ray, ROCm", "toolbox refresh",
     "Refreshes it on all nodes, goes back to the one before, or enters it.", &tw_ui_view_toolbox},
    {'l', "Logs", "what all ranks say", "logs -f", "Follows the log of the service; Esc ends it.",
     NULL},
    {'x', "Stop", "end the service", "down",
     "Ends what is served, on all nodes, and proves that nothing is left.", NULL},
    {'q', "Quit", "what is served goes on", "", "The menu ends; the service does not.", NULL},
};

bool tw_ui_choice(size_t i, const char **ret_name, const char **ret_command)
{
    if (i + 1 >= TW_ARRAY_LEN(choices)) /* quitting needs no command */
        return false;
    *ret_name = choices[i].name;
    *ret_command = choices[i].words;
    return true;
}

static tw_ui_command command_of(char key)
{
    switch (key) {
    case 'd':
        return tw_ui_command_of("doctor", NULL);
    case 's':
        return tw_ui_command_of("setup", "--dry-run", NULL);
    case 'c':
        return tw_ui_command_of("compare", NULL);
    case 'l':
        return tw_ui_command_of("logs", "-f", "-n", "200", NULL);
    case 'x':
        return tw_ui_command_of("down", NULL);
    default:
        return (tw_ui_command){.n = 0};
    }
}

static void start(tw_ui_app *a, const struct choice *k)
{
    if (k->key == 'q') {
        a->must_quit = true;
        return;
    }
    if (k->view != NULL) {
        tw_ui_push(a, k->view);
        return;
    }
    const tw_ui_command c = command_of(k->key);
    tw_ui_run_prepare(a, k->name, &c);
    if (k->key == 's') { /* sudo asks for a password: on the terminal itself */
        a->run.has_then = true;
        a->run.then = tw_ui_command_of("setup", NULL);
    }
    if (k->key == 'x')
        a->run.asks = "This ends what is served, for everybody who uses it.";
    tw_ui_push(a, &tw_ui_view_run);
}

static void enter(tw_ui_app *a)
{
    a->menu.n = TW_ARRAY_LEN(choices);
    tw_ui_read_config(a);
}

static void draw_config(tw_ui_app *a, int row)
{
    tw_ui_screen *s = &a->screen;
    if (a->config_why[0] != '\0')
        tw_ui_put_wrapped(s, row, 1, s->cols - 2, 2, TW_UI_BAD, a->config_why);
    else if (a->config.path[0] == '\0')
        tw_ui_put(s, row, 1, TW_UI_DIM, "no twinax.conf yet: 1 writes one");
    else
        tw_ui_put(s, row, 1, TW_UI_DIM, "%s: %zu nodes", a->config.path, a->config.n_nodes);
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const struct choice *picked = &choices[a->menu.i_picked];
    int row = TW_UI_BODY_ROW;
    tw_ui_frame(a, a->screen.ascii ? "Up/Down" : "\u2191\u2193", "choose", "Enter", "go",
                "1-4 d s ...", "at once", "q", "quit", NULL);
    for (size_t i = 0; i < TW_ARRAY_LEN(choices); i++, row++) {
        const struct choice *k = &choices[i];
        char text[64];
        row += k->key == 'd'; /* the guide's own stand apart */
        snprintf(text, sizeof text, " %c  %s", k->key, k->name);
        tw_ui_put_width(s, row, NAME_COL - 1, ABOUT_COL - NAME_COL - 1,
                        k == picked ? TW_UI_PICKED : TW_UI_BOLD, text);
        tw_ui_put(s, row, ABOUT_COL, k == picked ? TW_UI_PLAIN : TW_UI_DIM, "%s", k->about);
    }
    const tw_ui_command c = command_of(picked->key);
    row = tw_ui_body_end(a) - 5;
    tw_ui_rule(s, row - 1);
    row += tw_ui_put_wrapped(s, row, 1, s->cols - 2, 2, TW_UI_PLAIN, picked->more);
    if (c.n > 0)
        tw_ui_put_command(a, row, 2, &c);
    else if (picked->words[0] != '\0') /* the page fills in the rest */
        tw_ui_put(s, row, 1, TW_UI_COMMAND, "$ twinax %s ...", picked->words);
    draw_config(a, tw_ui_body_end(a) - 2);
}

static void key(tw_ui_app *a, int key)
{
    if (tw_ui_list_key(&a->menu, key, TW_ARRAY_LEN(choices)))
        return;
    if (key == TW_UI_KEY_ENTER) {
        start(a, &choices[a->menu.i_picked]);
        return;
    }
    if (key == TW_UI_KEY_CTRL_C || key == TW_UI_KEY_ESC)
        key = TW_UI_KEY_CTRL_C == key ? 'q' : 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(choices); i++)
        if (key == choices[i].key) {
            a->menu.i_picked = i;
            start(a, &choices[i]);
            return;
        }
}

const tw_ui_view tw_ui_view_menu = {.title = "", .enter = enter, .draw = draw, .key = key};

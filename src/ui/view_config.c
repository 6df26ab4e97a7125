/* SPDX-License-Identifier: Apache-2.0 */
/* 1 Configure IPs: the fields of `twinax setup --init`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "ui/app.h"

enum { ROLE, HEAD_IP, WORKER_IP, WORKER_SSH, INTERFACE, TRANSPORT, AGENT, GO, FIELDS };
enum { LABEL_COLS = 20 };

static const char *const roles[] = {"the head", "the worker", NULL};
static const char *const transports[] = {"auto", "rdma", "tcp", NULL};

static bool is_worker(const tw_ui_form *f)
{
    return f->v[ROLE].choice == 1;
}

/* ssh's name may be left out: the address is one. */
static bool check_worker(const char *text, char message[TW_UI_MESSAGE_BYTES])
{
    return text[0] == '\0' || tw_ui_check_host(text, message);
}

static void choose(tw_ui_field *f, const char *value)
{
    for (unsigned i = 0; f->choices[i] != NULL; i++)
        if (strcmp(f->choices[i], value) == 0)
            f->choice = i;
}

static void take_config(tw_ui_form *f, const tw_ui_config *c)
{
    if (c->n_nodes < 2)
        return;
    tw_ui_field_set(&f->v[HEAD_IP], c->nodes[0].ip);
    tw_ui_field_set(&f->v[WORKER_IP], c->nodes[1].ip);
    tw_ui_field_set(&f->v[WORKER_SSH], c->nodes[1].ssh);
    tw_ui_field_set(&f->v[INTERFACE],
                    c->interface[0] != '\0' ? c->interface : c->nodes[0].interface);
    tw_ui_field_set(&f->v[AGENT], c->nodes[1].agent_path);
    choose(&f->v[TRANSPORT], c->transport);
}

static void set_role(tw_ui_form *f)
{
    static const int of_head[] = {HEAD_IP, WORKER_SSH, TRANSPORT, AGENT};
    for (size_t i = 0; i < sizeof of_head / sizeof of_head[0]; i++)
        f->v[of_head[i]].is_off = is_worker(f);
    f->v[GO].label = is_worker(f) ? "GO ON AS WORKER" : "WRITE IT";
}

static void enter(tw_ui_app *a)
{
    tw_ui_form *f = &a->config_form;
    tw_ui_read_config(a);
    if (f->n > 0) /* back from a run: what was typed stays */
        return;
    *f = (tw_ui_form){
        .n = FIELDS,
        .v = {[ROLE] = {"This machine is", NULL, TW_UI_CHOICE_FIELD, .choices = roles},
              [HEAD_IP] = {"Head IP", "empty: is found", .check = tw_ui_check_ip},
              [WORKER_IP] = {"Worker IP", "empty: is found", .check = tw_ui_check_ip},
              [WORKER_SSH] = {"Worker's ssh name", "empty: its IP", .check = check_worker},
              [INTERFACE] = {"Interface", "empty: is found", .check = tw_ui_check_if},
              [TRANSPORT] = {"Transport", NULL, TW_UI_CHOICE_FIELD, .choices = transports},
              [AGENT] = {"twinax on worker", .hint = "empty: looked for"},
              [GO] = {"WRITE IT", .type = TW_UI_BUTTON}}};
    take_config(f, &a->config);
    set_role(f);
}

/* The file that counts now, else the user's own. */
static void file_of(const tw_ui_app *a, char *out, size_t out_bytes)
{
    const char *folder = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (a->config.path[0] != '\0' && strncmp(a->config.path, "/etc/", 5) != 0)
        snprintf(out, out_bytes, "%s", a->config.path);
    else if (folder != NULL && folder[0] == '/')
        snprintf(out, out_bytes, "%s/twinax/twinax.conf", folder);
    else
        snprintf(out, out_bytes, "%s/.config/twinax/twinax.conf", home != NULL ? home : "");
}

static bool has_worker(const tw_ui_form *f)
{
    return f->v[WORKER_IP].text[0] != '\0' || f->v[WORKER_SSH].text[0] != '\0';
}

static tw_ui_command command_of(const tw_ui_app *a)
{
    const tw_ui_field *v = a->config_form.v;
    char file[600];
    file_of(a, file, sizeof file);
    tw_ui_command c = tw_ui_command_of("setup", "--init", "--yes", NULL);
    if (tw_file_exists(file))
        tw_ui_command_add(&c, "--force");
    if (v[HEAD_IP].text[0] != '\0') {
        tw_ui_command_add(&c, "--head");
        tw_ui_command_addf(&c, "%s/%s", a->host, v[HEAD_IP].text);
    }
    tw_ui_command_add(&c, "--worker");
    if (v[WORKER_SSH].text[0] != '\0' && v[WORKER_IP].text[0] != '\0')
        tw_ui_command_addf(&c, "%s/%s", v[WORKER_SSH].text, v[WORKER_IP].text);
    else if (!has_worker(&a->config_form))
        tw_ui_command_add(&c, "NAME"); /* shown, never run */
    else
        tw_ui_command_add(&c,
                          v[WORKER_SSH].text[0] != '\0' ? v[WORKER_SSH].text : v[WORKER_IP].text);
    if (v[INTERFACE].text[0] != '\0') {
        tw_ui_command_add(&c, "--interface");
        tw_ui_command_add(&c, v[INTERFACE].text);
    }
    if (v[TRANSPORT].choice > 0) {
        tw_ui_command_add(&c, "--transport");
        tw_ui_command_add(&c, transports[v[TRANSPORT].choice]);
    }
    if (v[AGENT].text[0] != '\0') {
        tw_ui_command_add(&c, "--agent-path");
        tw_ui_command_add(&c, v[AGENT].text);
    }
    tw_ui_command_add(&c, "--output");
    tw_ui_command_add(&c, file);
    return c;
}

static void draw(tw_ui_app *a)
{
    tw_ui_screen *s = &a->screen;
    const tw_ui_form *f = &a->config_form;
    int row = TW_UI_BODY_ROW;
    tw_ui_frame(a, "Tab", "next field", s->ascii ? "Left/Right" : "\u2190\u2192", "choose", "Enter",
                "go on", "Esc", "back", NULL);
    row += tw_ui_put_wrapped(
        s, row, 1, s->cols - 2, 2, TW_UI_DIM,
        is_worker(f)
            ? "The head writes the configuration for both. This machine needs none of its "
              "own: it only looks whether the head can use it."
            : "Addresses on the cable, such as 192.168.100.1 and 192.168.100.2 (RDMA card) "
              "or 192.168.2.1 and .2 (Thunderbolt). The worker is asked over ssh.");
    tw_ui_form_draw(s, f, row + 1, 2, LABEL_COLS);
    row = tw_ui_body_end(a) - 5;
    if (a->config.n_nodes > 2)
        tw_ui_put(s, row, 1, TW_UI_WARNING,
                  "%s has %zu nodes: this page writes two; see docs/nodes.md", a->config.path,
                  a->config.n_nodes);
    else if (a->config_why[0] != '\0')
        tw_ui_put(s, row, 1, TW_UI_BAD, "%s", a->config_why);
    tw_ui_rule(s, row + 1);
    if (is_worker(f))
        return;
    const tw_ui_command c = command_of(a);
    tw_ui_put_command(a, row + 2, 3, &c);
}

static void go(tw_ui_app *a)
{
    tw_ui_form *f = &a->config_form;
    if (is_worker(f)) {
        snprintf(a->worker_ip, sizeof a->worker_ip, "%.63s", f->v[WORKER_IP].text);
        tw_ui_push(a, &tw_ui_view_worker);
        return;
    }
    if (!has_worker(f)) {
        f->i_picked = WORKER_IP;
        snprintf(f->v[WORKER_IP].message, TW_UI_MESSAGE_BYTES,
                 "wanted: the worker's address, or its ssh name below");
        return;
    }
    if (strcmp(f->v[HEAD_IP].text, f->v[WORKER_IP].text) == 0 && f->v[HEAD_IP].text[0] != '\0') {
        f->i_picked = WORKER_IP;
        snprintf(f->v[WORKER_IP].message, TW_UI_MESSAGE_BYTES, "that is the head's address");
        return;
    }
    const tw_ui_command c = command_of(a);
    tw_ui_run_prepare(a, "Configure IPs", &c);
    a->run.then_view = &tw_ui_view_menu;
    tw_ui_push(a, &tw_ui_view_run);
}

static void key(tw_ui_app *a, int key)
{
    tw_ui_form *f = &a->config_form;
    const enum tw_ui_form_word word = tw_ui_form_key(f, key);
    if (word == TW_UI_FORM_CHANGED)
        set_role(f);
    else if (word == TW_UI_FORM_GO)
        go(a);
    else if (word == TW_UI_FORM_NOTHING && (key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C)) {
        f->n = 0;
        tw_ui_pop(a);
    }
}

const tw_ui_view tw_ui_view_config = {.title = "Configure IPs",
                                      .enter = enter,
                                      .draw = draw,
                                      .key = key};

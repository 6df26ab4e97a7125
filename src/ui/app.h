/* SPDX-License-Identifier: Apache-2.0 */
/* The menu's state (model), its pages (views), and the children that they wait for (jobs). One page
 * is on top; the loop in app.c gives it keys and has it drawn; children are read beside, never
 * waited for. */
#ifndef TWINAX_UI_APP_H
#define TWINAX_UI_APP_H

#include "ui/answers.h"
#include "ui/catalogue.h"
#include "ui/form.h"
#include "ui/job.h"
#include "ui/screen.h"
#include "ui/ui.h"

enum { TW_UI_DEPTH = 8, TW_UI_HISTORY = 60, TW_UI_BODY_ROW = 3 };

typedef struct tw_ui_app tw_ui_app;

typedef struct tw_ui_view {
    const char *title;
    void (*enter)(tw_ui_app *a); /* it comes on top, again too; NULL: nothing */
    void (*draw)(tw_ui_app *a);
    void (*key)(tw_ui_app *a, int key);
    void (*tick)(tw_ui_app *a); /* a turn of the loop, on top; NULL: nothing */
    void (*leave)(tw_ui_app *a);
} tw_ui_view;

/* A question that is asked of a child again and again, or once. */
typedef struct tw_ui_query {
    tw_ui_job job;
    tw_ui_command command;
    uint64_t every_ns; /* 0: once */
    uint64_t limit_ns;
    uint64_t next_ns;     /* when it is asked (again); 0: not wanted */
    uint64_t answered_ns; /* the last answer; 0: none yet */
    char why[240];        /* why the last one was none; empty: it was one */
} tw_ui_query;

/* A list with a chosen line, which stays in sight. */
typedef struct tw_ui_list {
    size_t n, i_picked, top;
} tw_ui_list;

/* What the page "run" runs. */
typedef struct tw_ui_run {
    char title[60];
    tw_ui_command v[2]; /* the second one when the first one is good */
    size_t n, i;
    const char *asks;            /* a question before it; NULL: none */
    const tw_ui_view *then_view; /* Enter at the good end; NULL: back */
    bool has_then;               /* Enter at the good end runs `then` in the terminal */
    tw_ui_command then;
    bool is_over;
    char fail[240]; /* it could not be started */
    size_t top;     /* of the lines */
    bool is_scrolled;
    double share;            /* done; < 0: not known */
    tw_ui_progress progress; /* of a pull */
    tw_ui_job job;
    tw_ui_lines lines;
} tw_ui_run;

struct tw_ui_app {
    const tw_ui_opts *opts;
    tw_ui_screen screen;
    tw_ui_config config;
    char config_why[240]; /* why it cannot be read */
    char host[64];
    uint64_t now_ns;
    unsigned frame; /* of what turns */
    bool must_quit;
    const tw_ui_view *views[TW_UI_DEPTH];
    size_t depth;

    tw_ui_query q_status, q_models, q_plan, q_checks, q_here;
    tw_ui_status status;
    bool has_status;
    double history[TW_UI_HISTORY]; /* tok/s, the latest last */
    size_t n_history;
    tw_ui_catalogue catalogue;
    char catalogue_why[240];
    tw_ui_plan plan;
    bool has_plan;
    tw_ui_checks checks;
    bool has_checks;
    tw_ui_here here;

    bool vllm;          /* the engine that was chosen last */
    char worker_ip[64]; /* of this machine as a worker; empty: not said */
    tw_ui_list menu, models, tools;
    tw_ui_form config_form, start_form, launch_form, pull_form;
    uint64_t launch_changed_ns;
    tw_ui_run run;
};

extern const tw_ui_view tw_ui_view_menu, tw_ui_view_config, tw_ui_view_start, tw_ui_view_head,
    tw_ui_view_worker, tw_ui_view_status, tw_ui_view_models, tw_ui_view_launch, tw_ui_view_pull,
    tw_ui_view_toolbox, tw_ui_view_run;

/* app.c */
void tw_ui_push(tw_ui_app *a, const tw_ui_view *v);
void tw_ui_pop(tw_ui_app *a);
/* Over the first page alone: there is no way back to what led to it. */
void tw_ui_go(tw_ui_app *a, const tw_ui_view *v);
const tw_ui_view *tw_ui_top(const tw_ui_app *a);
void tw_ui_read_config(tw_ui_app *a);
/* Runs it in the terminal, in the foreground: what asks for a password, or talks with its user. */
void tw_ui_foreground(tw_ui_app *a, const tw_ui_command *c);

/* query.c */
void tw_ui_query_ask(tw_ui_query *q, const tw_ui_command *c, uint64_t now_ns);
void tw_ui_query_drop(tw_ui_query *q); /* not wanted any more */
/* True when an answer, or none (why), came in this turn. */
bool tw_ui_query_tick(tw_ui_query *q, const char *program, uint64_t now_ns);
bool tw_ui_query_waits(const tw_ui_query *q);

/* list.c: keys up and down, page, home, end; true when it was one of these. rows: in sight. */
bool tw_ui_list_key(tw_ui_list *l, int key, size_t rows);
void tw_ui_list_show(tw_ui_list *l, size_t rows);

/* frame.c: what is around every page. keys: "Enter", "start", ..., NULL. */
void tw_ui_frame(tw_ui_app *a, ...) __attribute__((sentinel));
int tw_ui_body_end(const tw_ui_app *a); /* the row behind the last one of a page */
/* "$ twinax ..." over at most n_rows; returns how many it took. */
int tw_ui_put_command(tw_ui_app *a, int row, int n_rows, const tw_ui_command *c);
const char *tw_ui_spinner(const tw_ui_app *a);
bool tw_ui_has_ray(const tw_ui_app *a); /* vLLM's, up without a model or under one */
/* "ok", "warn", "FAIL" and their styles. */
const char *tw_ui_grade_word(enum tw_ui_grade g);
enum tw_ui_style tw_ui_grade_style(enum tw_ui_grade g);

/* view_run.c: a run of c, on a page of its own; the fields after title may be set before push. */
void tw_ui_run_prepare(tw_ui_app *a, const char *title, const tw_ui_command *c);

/* view_launch.c */
void tw_ui_launch_prepare(tw_ui_app *a, const char *model);

/* catalogue_load.c: the files, then what the cache holds (q_models). */
void tw_ui_catalogue_load(tw_ui_app *a);

/* machine.c */
void tw_ui_machine_host(char *out, size_t out_bytes); /* its short name */
/* name with a leading "~/" as this user's home. Returns out. */
char *tw_ui_machine_path(const char *name, char *out, size_t out_bytes);
bool tw_ui_machine_has_ip(const char *ip);
/* Where a head's ssh would find twinax here; "" when it would not. */
void tw_ui_machine_twinax(char *out, size_t out_bytes);
/* Whether somebody listens on ssh's port. */
bool tw_ui_machine_has_sshd(void);
bool tw_ui_machine_has_token(void); /* of Hugging Face */

#endif

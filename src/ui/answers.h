/* SPDX-License-Identifier: Apache-2.0 */
/* What twinax's commands say in JSON, as structs that the menu draws. Keys that are not there leave
 * zeros (numbers that may be unknown: -1); texts are cut to their field.
 * Pure: text in, structs out. Must not know children or a screen. */
#ifndef TWINAX_UI_ANSWERS_H
#define TWINAX_UI_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_UI_RANKS_MAX = 8, TW_UI_CHECKS_MAX = 400, TW_UI_HERE_MAX = 8 };

/* `twinax status --json` */
typedef struct tw_ui_rank {
    char node[64], link[160]; /* "rdma irdma0, mtu 4096"; rank 0 has no link */
    unsigned rank;
    int pid;
    double rss_bytes, celsius, watts, age_s; /* -1: not said */
    double tx_bytes, rx_bytes;
} tw_ui_rank;

typedef struct tw_ui_status {
    char state[12]; /* none, starting, ready, ended, crashed, elsewhere */
    char model[160], url[160], end[240], health[160], engine[12];
    double since_s, ready_s;
    bool has_serve; /* serve itself answered */
    double done_bytes, total_bytes;
    double tok_s, prompt_tok_s, tok_s_since_start, tokens, uptime_s;
    unsigned running, waiting, at_once, ctx;
    size_t n_ranks;
    tw_ui_rank ranks[TW_UI_RANKS_MAX];
    struct {            /* a Ray without a model, or under one */
        char state[12]; /* "": none was started; starting, ready, ended, crashed, elsewhere */
        char address[80], wire[120], end[240];
        unsigned nodes; /* as Ray itself counts; 0: not said */
        double gpus, gpus_used;
        size_t n_ranks;
        tw_ui_rank ranks[TW_UI_RANKS_MAX];
    } ray;
} tw_ui_status;

TW_MUST_CHECK int tw_ui_status_parse(const char *p, size_t n, tw_ui_status *ret, tw_err *err);

/* `twinax status --here --json` */
typedef struct tw_ui_here {
    char host[64];
    size_t n;
    struct {
        int pid;
        double rss_bytes, up_s;
        char from[64]; /* the head's address, as ssh knows it */
    } v[TW_UI_HERE_MAX];
} tw_ui_here;

TW_MUST_CHECK int tw_ui_here_parse(const char *p, size_t n, tw_ui_here *ret, tw_err *err);

/* `twinax doctor --json` */
enum tw_ui_grade { TW_UI_NOT_ASKED, TW_UI_OK, TW_UI_WARNS, TW_UI_FAILS };

typedef struct tw_ui_check {
    char id[32], title[40], node[64], peer[64], found[200], wanted[160], mend[240];
    enum tw_ui_grade grade;
} tw_ui_check;

typedef struct tw_ui_checks {
    size_t n_nodes, n;
    struct {
        char name[64], ip[64], interface[16], why[240];
        bool reached;
    } nodes[TW_UI_RANKS_MAX];
    tw_ui_check *v;
} tw_ui_checks;

void tw_ui_checks_done(tw_ui_checks *c);
TW_MUST_CHECK int tw_ui_checks_parse(const char *p, size_t n, tw_ui_checks *ret, tw_err *err);

/* `twinax plan MODEL --json` */
typedef struct tw_ui_plan {
    unsigned tp, max_ctx;
    bool allowed;                                      /* this split */
    char why[200];                                     /* why not */
    char limited[200];                                 /* what the context is limited by */
    double decode_tok_s, needs_bytes, available_bytes; /* of the node that has the least left; -1 */
} tw_ui_plan;

TW_MUST_CHECK int tw_ui_plan_parse(const char *p, size_t n, tw_ui_plan *ret, tw_err *err);

/* A line of `twinax pull --json`. */
typedef struct tw_ui_progress {
    size_t n; /* nodes */
    struct {
        char name[64]; /* empty: this machine alone */
        double share;  /* done, in [0, 1] */
        char text[100];
    } v[TW_UI_RANKS_MAX];
} tw_ui_progress;

enum tw_ui_pull_line {
    TW_UI_PULL_OTHER,    /* none of its lines */
    TW_UI_PULL_PROGRESS, /* *ret is how far it is */
    TW_UI_PULL_SAYS      /* text is what it says to people */
};

/* *ret and text are only written where their kind of line was read. */
enum tw_ui_pull_line tw_ui_pull_parse(const char *line, tw_ui_progress *ret, char *text,
                                      size_t text_bytes);

#endif

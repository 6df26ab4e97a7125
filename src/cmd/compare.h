/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax compare`: what every path between two machines gives. Shared by its files. */
#ifndef TWINAX_CMD_COMPARE_H
#define TWINAX_CMD_COMPARE_H

#include "cluster/config.h"
#include "cluster/cross.h"
#include "cluster/path.h"
#include "cluster/probe_measure.h"
#include "cluster/remote.h"
#include "cluster/verdict.h"

enum { COMPARE_SCHEMA = 1, COMPARE_PAIRS_MAX = TW_NODES_MAX * (TW_NODES_MAX - 1) / 2 };

typedef struct compare_opts {
    bool asked[TW_PATHS]; /* by flag */
    bool any_asked;
    const char *given[TW_PATHS]; /* addresses */
    const char *node, *nodes_list, *agent_path;
    bool listen;
    const char *listen_ip, *connect;
    bool json, quick, cross_check, push;
    const char *svg, *model;
    tw_nodes nodes; /* whom to compare, the first is this machine; tw_compare_find_nodes */
} compare_opts;

enum compare_status { ROW_OK, ROW_MISSING, ROW_FAILED };

typedef struct compare_row {
    enum tw_path_kind kind;
    enum compare_status status;
    bool asked, has_path, has_cross;
    char name[32];
    char label[136];  /* the same for progress */
    char reason[400]; /* when not ROW_OK */
    tw_path path;     /* with has_path */
    tw_probe_result got;
    tw_verdict verdict;
    tw_cross_result cross;
    char cross_note[240];
} compare_row;

/* One machine. */
typedef struct compare_node {
    const tw_node_spec *spec;
    char name[128];    /* as it is listed, or its own name */
    tw_remote *remote; /* NULL: this machine, or one that cannot be had */
    tw_err why;        /* why it cannot be had; code 0: it can */
    tw_net net;
} compare_node;

/* Two of them: `here` asks, `there` answers. */
typedef struct compare_report {
    const compare_opts *opts;
    const compare_node *here, *there;
    const char *via;            /* "ssh", "local", "by hand" */
    uint32_t n_layers, d_model; /* of --model, or of the example */
    unsigned n_rows;
    compare_row rows[TW_PATHS];
} compare_report;

/* All of them; with more than two nodes a matrix. */
typedef struct compare_all {
    const compare_opts *opts;
    uint32_t n_layers, d_model;
    size_t n_nodes, n_pairs;
    compare_node *nodes;    /* [n_nodes] */
    compare_report **pairs; /* [n_pairs]: 0-1, 0-2, ... 1-2, ... */
} compare_all;

int tw_compare_run(int argc, char **argv); /* the command */
TW_MUST_CHECK int tw_compare_parse(int argc, char **argv, compare_opts *ret, tw_err *err);

/* Fills o->nodes: --node, --nodes, --connect, else twinax.conf. A usage error is in *err. */
TW_MUST_CHECK int tw_compare_find_nodes(compare_opts *o, tw_err *err);
/* Connects to all at a time and takes their facts. Of two nodes, the other one must be had; of more,
 * one that cannot be keeps its reason. */
TW_MUST_CHECK int tw_compare_open(compare_all *c, const compare_opts *o, tw_err *err);
void tw_compare_close(compare_all *c); /* zeroed is fine */

/* Fills r->rows; a failing path is a row with its reason. Only an interrupt, or a node that is gone,
 * is an error. */
TW_MUST_CHECK int tw_compare_measure(compare_report *r, tw_err *err);
/* A path that was asked for is there, and at least one is. */
bool tw_compare_is_good(const compare_report *r);

/* The p50 of the better way to wait: where cores are shared, spinning is the worse one. */
double tw_compare_best_us(const compare_row *row, int i_size);
/* Latency at bytes by the measured sizes around it, us. */
double tw_compare_latency_at(const compare_row *row, uint32_t bytes);
/* Exchanges a token, bytes and time of each. */
typedef struct compare_decode {
    uint32_t n_exchanges, bytes;
    double us, ms_a_token, most_tok_s;
} compare_decode;
compare_decode tw_compare_decode(uint32_t n_layers, uint32_t d_model, const compare_row *row);
/* n_layers and d_model of a folder's config.json. */
TW_MUST_CHECK int tw_compare_model(const char *folder, compare_all *ret, tw_err *err);

void tw_compare_print(const compare_report *r);
TW_MUST_CHECK int tw_compare_print_json(const compare_report *r, tw_err *err);
TW_MUST_CHECK int tw_compare_write_svg(const compare_report *r, const char *path, tw_err *err);
/* The same of all pairs. */
void tw_compare_matrix_print(const compare_all *c);
TW_MUST_CHECK int tw_compare_matrix_json(const compare_all *c, tw_err *err);
TW_MUST_CHECK int tw_compare_matrix_svg(const compare_all *c, const char *path, tw_err *err);
json_t *tw_compare_rows_json(const compare_report *r);
json_t *tw_compare_model_json(const compare_opts *o, uint32_t n_layers, uint32_t d_model);
/* "2.61 us", "1.20 ms". */
void tw_compare_latency_text(double us, char *out, size_t n);
/* The rate of the slower way, Gbit/s. */
double tw_compare_gbit(const compare_row *row);
/* One line on stderr: replaced by the next one on a terminal, "" ends it. */
void tw_compare_progress(const char *path, const char *doing);

/* By hand: one end listens and serves, the other connects. */
TW_MUST_CHECK int tw_compare_listen(const compare_opts *o, tw_err *err);
TW_MUST_CHECK int tw_compare_connect(const compare_opts *o, tw_remote **ret, tw_err *err);

#endif

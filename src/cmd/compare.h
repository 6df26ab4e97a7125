/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax compare`: what every path between two machines gives. Shared by its files. */
#ifndef TWINAX_CMD_COMPARE_H
#define TWINAX_CMD_COMPARE_H

#include "cluster/cross.h"
#include "cluster/remote.h"
#include "cluster/path.h"
#include "cluster/probe.h"
#include "cluster/verdict.h"

enum { COMPARE_SIZES = 6, COMPARE_SCHEMA = 1 };
extern const uint32_t tw_compare_sizes[COMPARE_SIZES];

typedef struct compare_opts {
    bool asked[TW_PATHS]; /* by flag */
    bool any_asked;
    const char *given[TW_PATHS]; /* addresses */
    const char *node, *agent_path;
    bool listen;
    const char *listen_ip, *connect;
    bool json, quick, cross_check;
    const char *svg, *model;
} compare_opts;

enum compare_status { ROW_OK, ROW_MISSING, ROW_FAILED };

typedef struct compare_row {
    enum tw_path_kind kind;
    enum compare_status status;
    bool asked, has_path, has_cross;
    char name[32];
    char reason[400]; /* when not ROW_OK */
    tw_path path;     /* with has_path */
    tw_probe_lat lat[TW_PROBE_WAITS][COMPARE_SIZES];
    double to_gbit, from_gbit, both_to_gbit, both_from_gbit;
    uint64_t moved_bytes, counted_bytes; /* by us; by the interface, 0: unknown */
    tw_verdict verdict;
    tw_cross_result cross;
    char cross_note[240];
    char device[64]; /* RDMA: device and port as the link proved it */
} compare_row;

typedef struct compare_report {
    const compare_opts *opts;
    tw_net here, there;
    const char *via; /* "ssh", "local", "hand" */
    char peer[256];
    uint32_t n_layers, d_model; /* of --model, or of the example */
    unsigned n_rows;
    compare_row rows[TW_PATHS];
} compare_report;

int tw_compare_run(int argc, char **argv); /* the command */
TW_MUST_CHECK int tw_compare_parse(int argc, char **argv, compare_opts *ret, tw_err *err);

/* Fills r->rows; a failing path is a row with its reason. Only an interrupt, or a node that is gone,
 * is an error. */
TW_MUST_CHECK int tw_compare_measure(compare_report *r, tw_remote *n, tw_err *err);

/* The p50 of the better way to wait: where cores are shared, spinning is the worse one. */
double tw_compare_best_us(const compare_row *row, int i_size);
/* Latency at bytes by the measured sizes around it, us. */
double tw_compare_latency_at(const compare_row *row, uint32_t bytes);
/* Exchanges a token, bytes and time of each. */
typedef struct compare_decode {
    uint32_t n_exchanges, bytes;
    double us, ms_a_token, most_tok_s;
} compare_decode;
compare_decode tw_compare_decode(const compare_report *r, const compare_row *row);
/* n_layers and d_model of a folder's config.json. */
TW_MUST_CHECK int tw_compare_model(const char *folder, compare_report *ret, tw_err *err);

void tw_compare_print(const compare_report *r);
TW_MUST_CHECK int tw_compare_print_json(const compare_report *r, tw_err *err);
TW_MUST_CHECK int tw_compare_write_svg(const compare_report *r, const char *path, tw_err *err);
/* One line on stderr: replaced by the next one on a terminal, "" ends it. */
void tw_compare_progress(const char *path, const char *doing);

/* By hand: one end listens and serves, the other connects. */
TW_MUST_CHECK int tw_compare_listen(const compare_opts *o, tw_err *err);
TW_MUST_CHECK int tw_compare_connect(const compare_opts *o, tw_remote **ret, tw_err *err);

#endif

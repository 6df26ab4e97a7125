/* SPDX-License-Identifier: Apache-2.0 */
/* One path after the other: find it, have the far side listen, measure, judge. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/compare.h"
#include "fmt/agent_frame.h"
#include "os/rdma.h"
#include "os/signal.h"
#include "os/sys.h"

enum { CROSS_SECONDS = 2, CROSS_STREAMS = 4 };
#define CALL_NS    (10 * TW_NS_PER_S)
#define MEASURE_NS (60 * TW_NS_PER_S) /* by another machine; it takes ten seconds */
#define CROSS_NS   (30 * TW_NS_PER_S)

static bool stop_asked(void *ctx)
{
    (void)ctx;
    return tw_signal_asked_to_stop();
}

static const tw_probe_stop by_signal = {.asked = stop_asked};

void tw_compare_progress(const char *path, const char *doing)
{
    static bool open_line;
    bool tty = isatty(STDERR_FILENO);
    if (tty && doing[0] == '\0' && open_line)
        fputs("\r\x1b[K", stderr);
    else if (tty && doing[0] != '\0')
        fprintf(stderr, "\r\x1b[K%s: %s ...", path, doing);
    else if (doing[0] != '\0')
        fprintf(stderr, "%s: %s\n", path, doing);
    open_line = tty && doing[0] != '\0';
    fflush(stderr);
}

/* Short steps are shown where they replace one another. */
static void show_step(void *ctx, const char *doing, bool is_detail)
{
    const compare_row *row = ctx;
    if (!is_detail || isatty(STDERR_FILENO))
        tw_compare_progress(row->label, doing);
}

static void show_event(void *ctx, const json_t *event)
{
    const char *kind = json_string_value(json_object_get(event, "event"));
    const char *doing = json_string_value(json_object_get(event, "doing"));
    char text[64];
    if (kind == NULL || strcmp(kind, "progress") != 0 || doing == NULL)
        return;
    snprintf(text, sizeof text, "%.63s", doing);
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    show_step(ctx, text, json_is_true(json_object_get(event, "detail")));
}

/* The far side's listener: address, one-time token, port. */
static int ask_listener(tw_remote *n, const compare_row *row, uint8_t token[TW_PROBE_TOKEN_BYTES],
                        uint16_t *ret_port, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    char text[2 * TW_PROBE_TOKEN_BYTES + 1];
    int rc = tw_sys_random(token, TW_PROBE_TOKEN_BYTES);
    if (rc != 0)
        return tw_err_set(err, rc, "no random token: %s", strerror(-rc));
    tw_agent_token_print(token, text);
    rc = tw_remote_call(n, "probe",
                        json_pack("{s:s, s:s}", "address", row->path.there_ip, "token", text),
                        CALL_NS, &got, err);
    if (rc != 0)
        return rc;
    json_int_t port = json_integer_value(json_object_get(got, "port"));
    if (port <= 0 || port > UINT16_MAX)
        return tw_err_set(err, -EPROTO, "%s: its listener has no port", tw_remote_name(n));
    *ret_port = (uint16_t)port;
    return 0;
}

/* This process asks. */
static int measure_here(const compare_report *r, compare_row *row, const uint8_t *token,
                        uint16_t port, tw_err *err)
{
    const tw_probe_job j = {.ip = row->path.to_ip,
                            .bind_ip = row->path.here_ip,
                            .port = port,
                            .token = token,
                            .by_rdma = row->kind == TW_PATH_RDMA,
                            .quick = r->opts->quick,
                            .interface = row->path.here->name,
                            .rdma = row->path.here->rdma,
                            .rdma_port = row->path.here->rdma_port,
                            .stop = by_signal,
                            .progress = show_step,
                            .ctx = row};
    return tw_probe_measure(&j, &row->got, err);
}

/* The agent of `here` asks. */
static int measure_there(const compare_report *r, compare_row *row, const uint8_t *token,
                         uint16_t port, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    char text[2 * TW_PROBE_TOKEN_BYTES + 1];
    tw_agent_token_print(token, text);
    json_t *args = json_pack("{s:s, s:s, s:i, s:s, s:b, s:b, s:s, s:s, s:i}", "to", row->path.to_ip,
                             "from", row->path.here_ip, "port", (int)port, "token", text, "by_rdma",
                             row->kind == TW_PATH_RDMA, "quick", r->opts->quick, "interface",
                             row->path.here->name, "rdma", row->path.here->rdma, "rdma_port",
                             (int)row->path.here->rdma_port);
    tw_remote_on_event(r->here->remote, show_event, row);
    int rc = tw_remote_call(r->here->remote, "measure", args, MEASURE_NS, &got, err);
    tw_remote_on_event(r->here->remote, NULL, NULL);
    return rc == 0 ? tw_probe_result_parse(got, &row->got, err) : rc;
}

static int measure_path(const compare_report *r, compare_row *row, tw_err *err)
{
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    uint16_t port = 0;
    tw_compare_progress(row->label, "connecting");
    int rc = ask_listener(r->there->remote, row, token, &port, err);
    if (rc != 0)
        return rc;
    return r->here->remote == NULL ? measure_here(r, row, token, port, err)
                                   : measure_there(r, row, token, port, err);
}

/* ---- iperf3 and perftest beside ours ---- */

static int cross_there(tw_remote *asks, const tw_cross_job *j, tw_cross_result *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    json_t *args =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:b}", "name", j->name, "to", j->ip, "from",
                  j->bind_ip, "device", j->device, "port", (int)j->port, "seconds", (int)j->seconds,
                  "streams", (int)j->n_streams, "reverse", j->reverse);
    int rc = tw_remote_call(asks, "tool-client", args, CROSS_NS, &got, err);
    if (rc != 0)
        return rc;
    tw_json_obj o = {.file = "tool-client", .prefix = "", .v = got, .err = err};
    ret->to_gbit += tw_json_f64(&o, "to_gbit", 0, 0, 1e6);
    ret->from_gbit += tw_json_f64(&o, "from_gbit", 0, 0, 1e6);
    ret->lat_us += tw_json_f64(&o, "lat_us", 0, 0, 1e9);
    return o.rc;
}

static int cross_one(const compare_report *r, compare_row *row, tw_cross_job *j, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_remote *answers = r->there->remote;
    json_t *args = json_pack("{s:s, s:s, s:s}", "name", j->name, "address", row->path.there_ip,
                             "device", row->path.there->rdma);
    int rc = tw_remote_call(answers, "tool", args, CALL_NS, &got, err);
    if (rc == 0) {
        j->port = (uint16_t)json_integer_value(json_object_get(got, "port"));
        rc = r->here->remote == NULL ? tw_cross_client_run(j, &row->cross, err)
                                     : cross_there(r->here->remote, j, &row->cross, err);
    }
    tw_err ignored;
    (void)!tw_remote_call(answers, "stop", NULL, CALL_NS, NULL, &ignored);
    return rc;
}

static void cross_check(const compare_report *r, compare_row *row)
{
    static const char *const tcp[] = {"iperf3", "iperf3"}, *const rdma[] = {"ib_write_lat",
                                                                            "ib_write_bw"};
    tw_cross_job j = {.ip = row->path.to_ip,
                      .bind_ip = row->path.here_ip,
                      .device = row->path.here->rdma,
                      .seconds = CROSS_SECONDS,
                      .n_streams = CROSS_STREAMS};
    for (int i = 0; i < 2; i++) {
        tw_err err = {0};
        j.name = row->kind == TW_PATH_RDMA ? rdma[i] : tcp[i];
        j.reverse = row->kind != TW_PATH_RDMA && i == 1;
        tw_compare_progress(row->label, j.name);
        if (cross_one(r, row, &j, &err) == 0)
            row->has_cross = true;
        else
            snprintf(row->cross_note, sizeof row->cross_note, "%s", err.msg);
    }
}

/* ---- rows ---- */

static void judge(compare_row *row)
{
    tw_measured m = {.path = &row->path,
                     .lat_us = tw_compare_best_us(row, 0),
                     .min_gbit = tw_compare_gbit(row)};
    tw_verdict_judge(&m, &row->verdict);
}

static bool is_this_machine(const compare_node *n)
{
    return n->remote == NULL || tw_remote_is_local(n->remote);
}

/* Where there are several pairs, progress says which. */
static void name_row(const compare_report *r, compare_row *row, const tw_net_if *here)
{
    tw_path_name(row->kind, here, row->name, sizeof row->name);
    if (r->opts->nodes.n > 2)
        snprintf(row->label, sizeof row->label, "%.48s - %.48s: %s", r->here->name, r->there->name,
                 row->name);
    else
        snprintf(row->label, sizeof row->label, "%s", row->name);
}

static int measure_row(const compare_report *r, compare_row *row, tw_err *err)
{
    tw_path_ask ask = {.kind = row->kind,
                       .given = r->opts->given[row->kind],
                       .here = &r->here->net,
                       .there = &r->there->net,
                       .here_cluster_ip = r->here->spec->ip,
                       .there_cluster_ip = r->there->spec->ip,
                       .same_machine = is_this_machine(r->here) && is_this_machine(r->there)};
    row->status = ROW_MISSING;
    int rc = tw_path_find(&ask, &row->path, err);
    if (rc != 0)
        return rc;
    row->has_path = true;
    row->status = ROW_FAILED;
    name_row(r, row, row->path.here);
    rc = measure_path(r, row, err);
    if (rc != 0)
        return rc;
    row->status = ROW_OK;
    judge(row);
    if (r->opts->cross_check)
        cross_check(r, row);
    return 0;
}

/* Ends the far side's part and adds what it says to our reason. */
static int end_row(const compare_report *r, compare_row *row, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_remote_call(r->there->remote, "stop", NULL, CALL_NS, &got, err);
    const char *theirs = json_string_value(json_object_get(got, "probe"));
    size_t len = strlen(row->reason);
    if (rc == 0 && row->status == ROW_FAILED && theirs != NULL && theirs[0] != '\0')
        snprintf(row->reason + len, sizeof row->reason - len, "; %s says: %.150s",
                 tw_remote_name(r->there->remote), theirs);
    return rc;
}

/* Nobody to ask: every path that is wanted has that reason. */
static const tw_err *why_not(const compare_report *r)
{
    if (r->here->why.code != 0)
        return &r->here->why;
    return r->there->why.code != 0 ? &r->there->why : NULL;
}

int tw_compare_measure(compare_report *r, tw_err *err)
{
    int rc = 0;
    const tw_err *never = why_not(r);
    for (int k = 0; k < TW_PATHS && rc == 0; k++) {
        if (r->opts->any_asked && !r->opts->asked[k])
            continue;
        compare_row *row = &r->rows[r->n_rows++];
        tw_err why = {0};
        row->kind = (enum tw_path_kind)k;
        row->asked = r->opts->asked[k];
        name_row(r, row, NULL);
        if (never != NULL) {
            row->status = ROW_FAILED;
            snprintf(row->reason, sizeof row->reason, "%s", never->msg);
            continue;
        }
        if (measure_row(r, row, &why) != 0)
            snprintf(row->reason, sizeof row->reason, "%s", why.msg);
        if (tw_signal_asked_to_stop())
            rc = tw_err_set(err, -ECANCELED, "interrupted");
        else
            rc = end_row(r, row, err);
    }
    tw_compare_progress("", "");
    return rc;
}

bool tw_compare_is_good(const compare_report *r)
{
    unsigned n_ok = 0;
    for (unsigned i = 0; i < r->n_rows; i++) {
        n_ok += r->rows[i].status == ROW_OK;
        if (r->rows[i].asked && r->rows[i].status != ROW_OK)
            return false;
    }
    return n_ok > 0;
}

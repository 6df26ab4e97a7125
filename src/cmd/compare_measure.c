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

const uint32_t tw_compare_sizes[COMPARE_SIZES] = {2,        8 << 10,  16 << 10,
                                                  20 << 10, 48 << 10, 1 << 20};

enum { STREAMS = 4, CROSS_SECONDS = 2 };
#define PING_NS        (250 * TW_NS_PER_MS)
#define PING_QUICK_NS  (30 * TW_NS_PER_MS)
#define FLOOD_NS       (2 * TW_NS_PER_S)
#define FLOOD_QUICK_NS (200 * TW_NS_PER_MS)
#define CONNECT_NS     (5 * TW_NS_PER_S)
#define CALL_NS        (10 * TW_NS_PER_S)

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

static void size_text(uint32_t bytes, char *out, size_t n)
{
    if (bytes < 1024)
        snprintf(out, n, "%u B", bytes);
    else if (bytes < 1 << 20)
        snprintf(out, n, "%u KiB", bytes >> 10);
    else
        snprintf(out, n, "%u MiB", bytes >> 20);
}

static int measure_latency(const compare_report *r, compare_row *row, tw_probe *p, tw_err *err)
{
    uint64_t ns = r->opts->quick ? PING_QUICK_NS : PING_NS;
    bool tty = isatty(STDERR_FILENO);
    int rc = 0;
    for (int wait = 0; wait < TW_PROBE_WAITS && rc == 0; wait++)
        for (int i = 0; i < COMPARE_SIZES && rc == 0; i++) {
            char size[16], doing[64];
            size_text(tw_compare_sizes[i], size, sizeof size);
            snprintf(doing, sizeof doing, "round trips of %s, %s", size,
                     wait == TW_PROBE_SPIN ? "spinning" : "sleeping");
            if (tty || (wait == 0 && i == 0))
                tw_compare_progress(row->name, tty ? doing : "latency");
            rc = tw_probe_ping(p, (enum tw_probe_wait)wait, tw_compare_sizes[i], ns,
                               &row->lat[wait][i], err);
        }
    return rc;
}

static int measure_bandwidth(const compare_report *r, compare_row *row, tw_probe *p, tw_err *err)
{
    uint64_t ns = r->opts->quick ? FLOOD_QUICK_NS : FLOOD_NS;
    double none;
    tw_compare_progress(row->name, "bandwidth to the peer");
    int rc = tw_probe_flood(p, true, false, ns, &row->to_gbit, &none, err);
    if (rc == 0) {
        tw_compare_progress(row->name, "bandwidth from the peer");
        rc = tw_probe_flood(p, false, true, ns, &none, &row->from_gbit, err);
    }
    if (rc == 0) {
        tw_compare_progress(row->name, "bandwidth both ways at once");
        rc = tw_probe_flood(p, true, true, ns, &row->both_to_gbit, &row->both_from_gbit, err);
    }
    return rc;
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

static int connect_path(const compare_row *row, const uint8_t *token, uint16_t port, tw_probe **ret,
                        tw_err *err)
{
    unsigned n_cpus = tw_sys_cpus(NULL, 0);
    tw_probe_to to = {.ip = row->path.to_ip,
                      .bind_ip = row->path.here_ip,
                      .port = port,
                      .token = token,
                      .n_streams = TW_MIN(n_cpus, (unsigned)STREAMS),
                      .limit_ns = CONNECT_NS,
                      .stop = by_signal};
    return tw_probe_connect(&to, ret, err);
}

/* Sums of what the port or the interface itself counted; 0: unknown. */
static uint64_t counted(const compare_row *row)
{
    tw_rdma_counters c = {0};
    if (row->kind != TW_PATH_RDMA)
        return tw_net_counted_bytes(row->path.here->name);
    tw_rdma_counters_read(NULL, row->path.here->rdma, row->path.here->rdma_port, &c);
    return c.known_bytes ? c.tx_bytes + c.rx_bytes : 0;
}

static int measure_path(compare_report *r, compare_row *row, tw_remote *n, tw_err *err)
{
    TW_CLEANUP(tw_probe_closep) tw_probe *p = NULL;
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    uint16_t port = 0;
    tw_compare_progress(row->name, "connecting");
    int rc = ask_listener(n, row, token, &port, err);
    if (rc == 0)
        rc = connect_path(row, token, port, &p, err);
    uint64_t before = counted(row);
    if (rc == 0 && row->kind == TW_PATH_RDMA)
        rc = tw_probe_link_open(p, TW_PROBE_LINK_VERBS, row->device, sizeof row->device, err);
    if (rc == 0)
        rc = measure_latency(r, row, p, err);
    if (rc == 0)
        rc = measure_bandwidth(r, row, p, err);
    if (rc != 0)
        return rc;
    uint64_t after = counted(row);
    row->moved_bytes = tw_probe_bytes(p);
    row->counted_bytes = before > 0 && after > before ? after - before : 0;
    return 0;
}

/* ---- iperf3 and perftest beside ours ---- */

static int cross_one(compare_row *row, tw_remote *n, tw_cross_job *j, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    json_t *args = json_pack("{s:s, s:s, s:s}", "name", j->name, "address", row->path.there_ip,
                             "device", row->path.there->rdma);
    int rc = tw_remote_call(n, "tool", args, CALL_NS, &got, err);
    if (rc == 0) {
        j->port = (uint16_t)json_integer_value(json_object_get(got, "port"));
        rc = tw_cross_client_run(j, &row->cross, err);
    }
    tw_err ignored;
    (void)!tw_remote_call(n, "stop", NULL, CALL_NS, NULL, &ignored);
    return rc;
}

static void cross_check(compare_row *row, tw_remote *n)
{
    static const char *const tcp[] = {"iperf3", "iperf3"}, *const rdma[] = {"ib_write_lat",
                                                                            "ib_write_bw"};
    tw_cross_job j = {.ip = row->path.to_ip,
                      .bind_ip = row->path.here_ip,
                      .device = row->path.here->rdma,
                      .seconds = CROSS_SECONDS,
                      .n_streams = STREAMS};
    for (int i = 0; i < 2; i++) {
        tw_err err = {0};
        j.name = row->kind == TW_PATH_RDMA ? rdma[i] : tcp[i];
        j.reverse = row->kind != TW_PATH_RDMA && i == 1;
        tw_compare_progress(row->name, j.name);
        if (cross_one(row, n, &j, &err) == 0)
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
                     .min_gbit = TW_MIN(row->to_gbit, row->from_gbit)};
    tw_verdict_judge(&m, &row->verdict);
}

static int measure_row(compare_report *r, compare_row *row, tw_remote *n, tw_err *err)
{
    tw_path_ask ask = {.kind = row->kind,
                       .given = r->opts->given[row->kind],
                       .here = &r->here,
                       .there = &r->there,
                       .same_machine = tw_remote_is_local(n)};
    row->status = ROW_MISSING;
    int rc = tw_path_find(&ask, &row->path, err);
    if (rc != 0)
        return rc;
    row->has_path = true;
    row->status = ROW_FAILED;
    tw_path_name(row->kind, row->path.here, row->name, sizeof row->name);
    rc = measure_path(r, row, n, err);
    if (rc != 0)
        return rc;
    row->status = ROW_OK;
    judge(row);
    if (r->opts->cross_check)
        cross_check(row, n);
    return 0;
}

/* Ends the far side's part and adds what it says to our reason. */
static int end_row(compare_row *row, tw_remote *n, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_remote_call(n, "stop", NULL, CALL_NS, &got, err);
    const char *theirs = json_string_value(json_object_get(got, "probe"));
    size_t len = strlen(row->reason);
    if (rc == 0 && row->status == ROW_FAILED && theirs != NULL && theirs[0] != '\0')
        snprintf(row->reason + len, sizeof row->reason - len, "; %s says: %.150s",
                 tw_remote_name(n), theirs);
    return rc;
}

int tw_compare_measure(compare_report *r, tw_remote *n, tw_err *err)
{
    int rc = 0;
    for (int k = 0; k < TW_PATHS && rc == 0; k++) {
        if (r->opts->any_asked && !r->opts->asked[k])
            continue;
        compare_row *row = &r->rows[r->n_rows++];
        tw_err why = {0};
        row->kind = (enum tw_path_kind)k;
        row->asked = r->opts->asked[k];
        tw_path_name(row->kind, NULL, row->name, sizeof row->name);
        if (measure_row(r, row, n, &why) != 0)
            snprintf(row->reason, sizeof row->reason, "%s", why.msg);
        if (tw_signal_asked_to_stop())
            rc = tw_err_set(err, -ECANCELED, "interrupted");
        else
            rc = end_row(row, n, err);
    }
    tw_compare_progress("", "");
    return rc;
}

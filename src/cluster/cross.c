/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/cross.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"
#include "fmt/json.h"
#include "os/fd.h"
#include "os/signal.h"
#include "os/sock.h"

enum { ARGS_MAX = 24, OUTPUT_MAX = 1 << 20, START_LIMIT_S = 5, MORE_S = 15 };

static bool is_perftest(const char *name)
{
    return strcmp(name, "ib_write_lat") == 0 || strcmp(name, "ib_write_bw") == 0;
}

/* Reads what the child says until `until` is seen, its end, or the deadline. */
static int read_until(tw_child *c, const char *until, uint64_t deadline, tw_buf *b)
{
    for (;;) {
        if (until != NULL && b->data != NULL && strstr(b->data, until) != NULL)
            return 0;
        if (tw_clock_now_ns() > deadline)
            return -ETIMEDOUT;
        if (tw_signal_asked_to_stop())
            return -ECANCELED;
        struct pollfd pfd = {.fd = c->out_fd, .events = POLLIN};
        if (poll(&pfd, 1, 100) <= 0)
            continue;
        if (tw_buf_reserve(b, 4096) != 0)
            return -ENOMEM;
        ssize_t n = read(c->out_fd, b->data + b->len, 4096);
        if (n == 0)
            return until == NULL ? 0 : -ECHILD;
        if (n > 0) {
            b->len += (size_t)n;
            b->data[b->len] = '\0';
        }
    }
}

/* A port that is free now; the tool takes it in a moment. */
static int free_port(const char *ip, uint16_t *ret, tw_err *err)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    return tw_sock_listen(ip, 0, &fd, ret, err);
}

int tw_cross_server_start(tw_cross_server *s, const char *name, const char *ip, const char *device,
                          uint16_t *ret_port, tw_err *err)
{
    char port_text[8];
    uint16_t port = 0;
    tw_cross_server_stop(s);
    if (strcmp(name, "iperf3") != 0 && !is_perftest(name))
        return tw_err_set(err, -EINVAL, "%.32s: no tool to compare with", name);
    int rc = free_port(ip, &port, err);
    if (rc != 0)
        return rc;
    snprintf(port_text, sizeof port_text, "%u", port);
    const char *iperf[] = {"iperf3", "-s", "-1", "-B", ip, "-p", port_text, "--forceflush", NULL};
    const char *perf[] = {name, "-d", device, "-F", "-p", port_text, NULL};
    rc = tw_child_spawn(is_perftest(name) ? perf : iperf,
                        TW_CHILD_NULL_IN | TW_CHILD_PIPE_OUT | TW_CHILD_ERR_TO_OUT, -1, &s->child,
                        err);
    if (rc != 0)
        return rc;
    TW_CLEANUP(tw_buf_done) tw_buf said = TW_BUF(OUTPUT_MAX);
    rc = read_until(&s->child, is_perftest(name) ? "Waiting for client" : "listening",
                    tw_clock_now_ns() + START_LIMIT_S * TW_NS_PER_S, &said);
    if (rc != 0) {
        tw_cross_server_stop(s);
        return tw_err_set(err, rc, "%s does not listen: %.100s", name,
                          said.data != NULL ? said.data : strerror(-rc));
    }
    *ret_port = port;
    return 0;
}

void tw_cross_server_stop(tw_cross_server *s)
{
    tw_child_stop(&s->child, 200 * TW_NS_PER_MS);
    s->child = (tw_child){0};
}

static int take_iperf(const tw_cross_job *j, const char *text, size_t n, tw_cross_result *ret,
                      tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    v = json_loadb(text, n, 0, NULL); /* not by fmt/json.h: iperf3 repeats keys */
    if (v == NULL)
        return tw_err_set(err, -EIO, "iperf3: its answer is no JSON");
    const char *wrong = json_string_value(json_object_get(v, "error"));
    const json_t *sum = json_object_get(json_object_get(v, "end"), "sum_received");
    double bits = json_number_value(json_object_get(sum, "bits_per_second"));
    if (wrong != NULL || bits <= 0)
        return tw_err_set(err, -EIO, "iperf3: %.120s", wrong != NULL ? wrong : "no result");
    *(j->reverse ? &ret->from_gbit : &ret->to_gbit) = bits / 1e9;
    return 0;
}

/* perftest's only row of numbers: bytes, iterations, then
 * lat: min max typical avg ...; bw with --report_gbits: peak average ... */
static int take_perftest(const tw_cross_job *j, const char *text, tw_cross_result *ret, tw_err *err)
{
    bool is_lat = strcmp(j->name, "ib_write_lat") == 0;
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        unsigned bytes, n;
        double a, b, c;
        int got = sscanf(line, " %u %u %lf %lf %lf", &bytes, &n, &a, &b, &c);
        if (got == 5 && is_lat)
            ret->lat_us = c;
        if (got >= 4 && !is_lat)
            ret->to_gbit = b;
        if (got >= 4)
            return 0;
    }
    return tw_err_set(err, -EIO, "%s: no row of numbers in what it says", j->name);
}

int tw_cross_client_run(const tw_cross_job *j, tw_cross_result *ret, tw_err *err)
{
    char port[8], seconds[8], streams[8];
    snprintf(port, sizeof port, "%u", j->port);
    snprintf(seconds, sizeof seconds, "%u", j->seconds);
    snprintf(streams, sizeof streams, "%u", j->n_streams);
    const char *iperf[ARGS_MAX] = {"iperf3", "-J", "-c", j->ip,   "-B", j->bind_ip,
                                   "-p",     port, "-t", seconds, "-P", streams};
    const char *lat[] = {j->name, "-d", j->device, "-F", "-s", "2", "-p", port, j->ip, NULL};
    const char *bw[] = {j->name,          "-d", j->device, "-F",  "-s", "1048576",
                        "--report_gbits", "-p", port,      j->ip, NULL};
    if (j->reverse)
        iperf[12] = "-R";
    const char *const *argv = !is_perftest(j->name)                  ? iperf
                              : strcmp(j->name, "ib_write_lat") == 0 ? lat
                                                                     : bw;
    TW_CLEANUP(tw_buf_done) tw_buf said = TW_BUF(OUTPUT_MAX);
    tw_child c = {0};
    int rc = tw_child_spawn(argv, TW_CHILD_NULL_IN | TW_CHILD_PIPE_OUT, -1, &c, err);
    if (rc != 0)
        return rc;
    rc = read_until(&c, NULL, tw_clock_now_ns() + (j->seconds + MORE_S) * TW_NS_PER_S, &said);
    tw_child_stop(&c, 200 * TW_NS_PER_MS);
    if (rc != 0 || said.len == 0)
        return tw_err_set(err, rc != 0 ? rc : -EIO, "%s: %s", j->name,
                          rc != 0 ? strerror(-rc) : "says nothing");
    return is_perftest(j->name) ? take_perftest(j, said.data, ret, err)
                                : take_iperf(j, said.data, said.len, ret, err);
}

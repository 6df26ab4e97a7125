/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/agent.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/agent_rank.h"
#include "cluster/cross.h"
#include "cluster/facts.h"
#include "cluster/probe.h"
#include "fmt/agent_frame.h"
#include "host/net.h"
#include "os/fd.h"
#include "os/signal.h"
#include "twinax/version.h"

enum { READ_BYTES = 16 * 1024, ACCEPT_LIMIT_S = 20 };

/* A rank that was lost leaves the head little to say: a connection that no longer carries anything
 * (a pulled cable) must not keep us for hours. */
#define AFTER_RANK_NS (5 * TW_NS_PER_S)

typedef struct agent {
    int in_fd, out_fd;
    tw_buf in;
    /* The measurement under way, in its own thread. */
    bool has_thread;
    pthread_t thread;
    atomic_bool stop;
    int listen_fd;
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    tw_err probe_err;
    tw_cross_server tool;
    tw_agent_rank rank;
} agent;

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = write(fd, p, n);
        if (got < 0 && errno == EAGAIN) {
            struct pollfd pfd = {.fd = fd, .events = POLLOUT};
            (void)poll(&pfd, 1, 1000);
        } else if (got < 0 && errno != EINTR) {
            return -errno;
        }
        p += got > 0 ? got : 0;
        n -= got > 0 ? (size_t)got : 0;
    }
    return 0;
}

/* Takes v over. */
static int send_reply(agent *a, json_t *v, uint64_t id, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *reply = v;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_AGENT_FRAME_MAX + 64);
    if (reply == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a reply");
    json_object_set_new(reply, "id", json_integer((json_int_t)id));
    int rc = tw_agent_frame_put(&b, reply, err);
    if (rc == 0 && write_all(a->out_fd, b.data, b.len) != 0)
        rc = tw_err_set(err, -ECONNRESET, "the head has gone");
    return rc;
}

static json_t *refusal(const tw_err *why)
{
    return json_pack("{s:b, s:i, s:s}", "ok", 0, "code", why->code, "error", why->msg);
}

static json_t *do_hello(void)
{
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    return json_pack("{s:b, s:s, s:i, s:i, s:s}", "ok", 1, "version", tw_version(), "protocol",
                     TW_PROTOCOL_VERSION, "arithmetic", TW_ARITH_VERSION, "host", host);
}

static int do_facts(json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_net *net = tw_mem_alloc(sizeof *net);
    if (net == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_net_read(NULL, net, err);
    if (rc == 0)
        *ret = json_pack("{s:b, s:o}", "ok", 1, "net", tw_facts_net_print(net));
    return rc;
}

/* ---- measuring ---- */

static bool is_stopped(void *ctx)
{
    agent *a = ctx;
    return atomic_load_explicit(&a->stop, memory_order_relaxed);
}

static void *serve_probe(void *arg)
{
    agent *a = arg;
    tw_probe_stop stop = {.asked = is_stopped, .ctx = a};
    a->probe_err = (tw_err){0};
    (void)!tw_probe_serve(a->listen_fd, a->token, ACCEPT_LIMIT_S * TW_NS_PER_S, stop,
                          &a->probe_err);
    return NULL;
}

static void stop_probe(agent *a)
{
    if (!a->has_thread)
        return;
    atomic_store(&a->stop, true);
    pthread_join(a->thread, NULL);
    a->has_thread = false;
    atomic_store(&a->stop, false);
}

/* The head names an address as the wire sees it; a link-local one gets this host's own zone. */
static int own_address(const char *ip, char *out, size_t out_bytes, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_net *net = tw_mem_alloc(sizeof *net);
    if (net == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_net_read(NULL, net, err);
    if (rc != 0)
        return rc;
    const tw_net_addr *a = NULL;
    const tw_net_if *f = tw_net_find_ip(net, ip, &a);
    if (f == NULL)
        return tw_err_set(err, -EADDRNOTAVAIL, "%.64s is no address of %s", ip, net->host);
    tw_net_addr_format(a, f->name, out, out_bytes);
    return 0;
}

static int do_probe(agent *a, const json_t *v, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "probe", .prefix = "", .v = v, .err = err};
    const char *ip = tw_json_text(&o, "address", ""), *token = tw_json_text(&o, "token", "");
    char own[96];
    uint16_t port = 0;
    if (o.rc == 0 && !tw_agent_token_parse(token, a->token))
        return tw_err_set(err, -EINVAL, "probe: the token is no 64 hex digits");
    int rc = o.rc != 0 ? o.rc : own_address(ip, own, sizeof own, err);
    if (rc != 0)
        return rc;
    stop_probe(a);
    rc = tw_probe_listen(own, 0, &a->listen_fd, &port, err);
    if (rc != 0)
        return rc;
    rc = -pthread_create(&a->thread, NULL, serve_probe, a);
    if (rc != 0) {
        tw_fd_closep(&a->listen_fd);
        return tw_err_set(err, rc, "no thread to measure with: %s", strerror(-rc));
    }
    a->has_thread = true;
    *ret = json_pack("{s:b, s:i, s:s}", "ok", 1, "port", port, "address", own);
    return 0;
}

static int do_stop(agent *a, json_t **ret)
{
    stop_probe(a);
    tw_cross_server_stop(&a->tool);
    *ret = json_pack("{s:b, s:s}", "ok", 1, "probe", a->probe_err.msg);
    return 0;
}

static int do_tool(agent *a, const json_t *v, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "tool", .prefix = "", .v = v, .err = err};
    const char *name = tw_json_text(&o, "name", ""), *ip = tw_json_text(&o, "address", "");
    const char *device = tw_json_text(&o, "device", "");
    char own[96];
    int rc = o.rc != 0 ? o.rc : own_address(ip, own, sizeof own, err);
    uint16_t port = 0;
    if (rc == 0)
        rc = tw_cross_server_start(&a->tool, name, own, device, &port, err);
    if (rc == 0)
        *ret = json_pack("{s:b, s:i}", "ok", 1, "port", port);
    return rc;
}

/* ---- a rank ---- */

static int do_run_rank(agent *a, const json_t *v, json_t **ret, tw_err *err)
{
    int rc = tw_agent_rank_start(&a->rank, v, err);
    if (rc == 0)
        *ret = json_pack("{s:b, s:i}", "ok", 1, "pid", (int)a->rank.child.pid);
    return rc;
}

static int pass_on(agent *a, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(TW_AGENT_FRAME_MAX);
    int rc = tw_agent_rank_read(&a->rank, &out, err);
    if (rc == 0 && out.len > 0 && write_all(a->out_fd, out.data, out.len) != 0)
        rc = tw_err_set(err, -ECONNRESET, "the head has gone");
    return rc;
}

/* ---- frames ---- */

static int dispatch(agent *a, const tw_agent_request *r, const json_t *v, tw_err *err)
{
    json_t *out = NULL;
    tw_err why = {0};
    int rc = 0;
    if (strcmp(r->op, "hello") == 0)
        out = do_hello();
    else if (strcmp(r->op, "facts") == 0)
        rc = do_facts(&out, &why);
    else if (strcmp(r->op, "probe") == 0)
        rc = do_probe(a, v, &out, &why);
    else if (strcmp(r->op, "stop") == 0)
        rc = do_stop(a, &out);
    else if (strcmp(r->op, "tool") == 0)
        rc = do_tool(a, v, &out, &why);
    else if (strcmp(r->op, "run-rank") == 0)
        rc = do_run_rank(a, v, &out, &why);
    else
        rc = tw_err_set(&why, -ENOSYS, "%s: this agent (twinax %s) does not know that", r->op,
                        tw_version());
    return send_reply(a, rc != 0 ? refusal(&why) : out, r->id, err);
}

static int take_frames(agent *a, tw_err *err)
{
    for (;;) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        size_t used = 0;
        int rc = tw_agent_frame_take(a->in.data, a->in.len, &v, &used, err);
        if (rc != 0)
            return rc == -EAGAIN ? 0 : rc;
        tw_buf_drop(&a->in, used);
        tw_agent_request r;
        rc = tw_agent_request_read(v, &r, err);
        if (rc == 0)
            rc = dispatch(a, &r, v, err);
        if (rc != 0)
            return rc;
    }
}

/* 1: there may be more; 0: the head has gone. */
static int read_more(agent *a, tw_err *err)
{
    struct pollfd pfds[3] = {{.fd = a->in_fd, .events = POLLIN},
                             {.fd = tw_signal_fd(), .events = POLLIN},
                             {.fd = tw_agent_rank_fd(&a->rank), .events = POLLIN}};
    const bool last = a->rank.ended_ns != 0 && tw_agent_rank_fd(&a->rank) < 0;
    int n_ready = poll(pfds, 3, last ? (int)(AFTER_RANK_NS / TW_NS_PER_MS) : -1);
    if (n_ready < 0)
        return errno == EINTR ? 1 : tw_err_set(err, -errno, "agent: poll: %s", strerror(errno));
    if (tw_signal_asked_to_stop() || n_ready == 0)
        return 0;
    if (pfds[2].revents != 0) {
        int rc = pass_on(a, err);
        if (rc != 0)
            return rc;
    }
    if (pfds[0].revents == 0)
        return 1;
    if (tw_buf_reserve(&a->in, READ_BYTES) != 0)
        return tw_err_set(err, -ENOMEM, "agent: no memory for the head's words");
    ssize_t n = read(a->in_fd, a->in.data + a->in.len, READ_BYTES);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 1 : 0;
    a->in.len += (size_t)n;
    return n > 0;
}

int tw_agent_run(int in_fd, int out_fd, tw_err *err)
{
    agent a = {.in_fd = in_fd,
               .out_fd = out_fd,
               .in = TW_BUF(TW_AGENT_FRAME_MAX + 2 * READ_BYTES),
               .listen_fd = -1};
    int rc = write_all(out_fd, TW_AGENT_GREETING, sizeof TW_AGENT_GREETING - 1) == 0;
    while (rc > 0) {
        rc = read_more(&a, err);
        if (rc > 0) {
            int rc_take = take_frames(&a, err);
            rc = rc_take != 0 ? rc_take : 1;
        }
    }
    tw_agent_rank_stop(&a.rank);
    stop_probe(&a);
    tw_cross_server_stop(&a.tool);
    tw_buf_done(&a.in);
    return rc == -ECONNRESET ? 0 : rc;
}

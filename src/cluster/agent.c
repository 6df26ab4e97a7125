/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/agent.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/agent_inside.h"
#include "cluster/facts.h"
#include "fmt/agent_frame.h"
#include "host/net.h"
#include "os/signal.h"
#include "twinax/version.h"

enum { READ_BYTES = 16 * 1024 };

/* A rank that was lost leaves the head little to say: a connection that no longer carries anything
 * (a pulled cable) must not keep us for hours. */
#define AFTER_RANK_NS (5 * TW_NS_PER_S)

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
static int send_reply(tw_agent *a, json_t *v, uint64_t id, tw_err *err)
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

static int say_hello(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    char host[64] = "";
    (void)a;
    (void)request;
    (void)err;
    (void)gethostname(host, sizeof host - 1);
    *ret = json_pack("{s:s, s:i, s:i, s:s}", "version", tw_version(), "protocol",
                     TW_PROTOCOL_VERSION, "arithmetic", TW_ARITH_VERSION, "host", host);
    return 0;
}

static int tell_facts(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    (void)a;
    (void)request;
    TW_CLEANUP(tw_mem_freep) tw_net *net = tw_mem_alloc(sizeof *net);
    if (net == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    int rc = tw_net_read(NULL, net, err);
    if (rc == 0)
        *ret = json_pack("{s:o}", "net", tw_facts_net_print(net));
    return rc;
}

/* ---- a rank ---- */

static int run_rank(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    int rc = tw_agent_rank_start(&a->rank, request, err);
    if (rc == 0)
        *ret = json_pack("{s:i}", "pid", (int)a->rank.child.pid);
    return rc;
}

static int pass_on(tw_agent *a, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(TW_AGENT_FRAME_MAX);
    int rc = tw_agent_rank_read(&a->rank, &out, err);
    if (rc == 0 && out.len > 0 && write_all(a->out_fd, out.data, out.len) != 0)
        rc = tw_err_set(err, -ECONNRESET, "the head has gone");
    return rc;
}

/* ---- frames ---- */

static const struct op {
    const char *name;
    tw_agent_op run;
} ops[] = {
    {"hello", say_hello},    {"facts", tell_facts},   {"probe", tw_agent_probe},
    {"stop", tw_agent_stop}, {"tool", tw_agent_tool}, {"run-rank", run_rank},
};

static tw_agent_op find_op(const char *name)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(ops); i++)
        if (strcmp(ops[i].name, name) == 0)
            return ops[i].run;
    return NULL;
}

static int dispatch(tw_agent *a, const tw_agent_request *r, const json_t *v, tw_err *err)
{
    json_t *out = NULL;
    tw_err why = {0};
    const tw_agent_op run = find_op(r->op);
    int rc = run != NULL
                 ? run(a, v, &out, &why)
                 : tw_err_set(&why, -ENOSYS, "%s: this agent (twinax %s) does not know that", r->op,
                              tw_version());
    if (rc == 0 && out == NULL)
        out = json_object();
    if (rc == 0)
        json_object_set_new(out, "ok", json_true());
    return send_reply(a, rc != 0 ? refusal(&why) : out, r->id, err);
}

bool tw_agent_is_cut(const tw_agent *a)
{
    (void)a;
    return tw_signal_asked_to_stop();
}

void tw_agent_tell(tw_agent *a, json_t *event)
{
    TW_CLEANUP(tw_json_freep) json_t *v = event;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_AGENT_FRAME_MAX + 64);
    tw_err ignored;
    if (v != NULL && tw_agent_frame_put(&b, v, &ignored) == 0)
        (void)!write_all(a->out_fd, b.data, b.len);
}

static int take_frames(tw_agent *a, tw_err *err)
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
static int read_more(tw_agent *a, tw_err *err)
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
    tw_agent a = {.in_fd = in_fd,
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
    tw_agent_probe_end(&a);
    tw_cross_server_stop(&a.tool);
    tw_buf_done(&a.in);
    return rc == -ECONNRESET ? 0 : rc;
}

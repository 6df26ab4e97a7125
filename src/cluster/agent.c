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

/* A rank that was lost leaves the head little to say: a connection that no longer carries anything
 * (a pulled cable) must not keep us for hours. */
#define AFTER_RANK_NS (5 * TW_NS_PER_S)

static struct overdue {
    void (*fn)(void *ctx);
    void *ctx;
} on_overdue;

void tw_agent_on_overdue(void (*fn)(void *ctx), void *ctx)
{
    on_overdue = (struct overdue){fn, ctx};
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
    if (rc == 0 && tw_agent_life_send(&a->life, b.data, b.len) != 0)
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
    (void)err;
    if (json_is_true(json_object_get(request, "beat")))
        tw_agent_life_beat(&a->life);
    (void)gethostname(host, sizeof host - 1);
    *ret = json_pack("{s:s, s:i, s:i, s:s, s:b}", "version", tw_version(), "protocol",
                     TW_PROTOCOL_VERSION, "arithmetic", TW_ARITH_VERSION, "host", host, "beat", 1);
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
        tw_agent_life_limit(&a->life, TW_SILENCE_RANK_NS);
    if (rc == 0)
        *ret = json_pack("{s:i}", "pid", (int)a->rank.child.pid);
    return rc;
}

static int pass_on(tw_agent *a, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(TW_AGENT_FRAME_MAX);
    int rc = tw_agent_rank_read(&a->rank, &out, err);
    if (rc == 0 && out.len > 0 && tw_agent_life_send(&a->life, out.data, out.len) != 0)
        rc = tw_err_set(err, -ECONNRESET, "the head has gone");
    return rc;
}

/* ---- frames ---- */

/* One line an operation. */
static const struct op {
    const char *name;
    tw_agent_op run;
    bool keeps; /* it is finished even when the head dies: half of it would do harm */
} ops[] = {
    {"hello", say_hello, false},
    {"facts", tell_facts, false},
    {"probe", tw_agent_probe, false},
    {"stop", tw_agent_stop, false},
    {"tool", tw_agent_tool, false},
    {"run-rank", run_rank, false},
    {"ask", tw_agent_ask, false},
    {"host-facts", tw_agent_host_facts, false},
    {"counters", tw_agent_counters, false},
    {"heat", tw_agent_heat, false},
    {"life-end", tw_agent_life_end, false},
    {"measure", tw_agent_measure, false},
    {"tool-client", tw_agent_tool_client, false},
    {"proof", tw_agent_proof, false},
    {"peak", tw_agent_peak, false},
    {"pull", tw_agent_pull_op, false},
    {"models", tw_agent_models, false},
    {"setup-open", tw_agent_setup_open, false},
    {"setup-plan", tw_agent_setup_pass, false},
    {"setup-apply", tw_agent_setup_pass, true},
    {"setup-confirm", tw_agent_setup_pass, true},
    {"setup-undo", tw_agent_setup_pass, true},
    {"setup-keys", tw_agent_setup_pass, false},
    {"setup-mend", tw_agent_setup_pass, true},
    {"setup-status", tw_agent_setup_pass, false},
    {"setup-reboot", tw_agent_setup_pass, true},
    {"toolbox", tw_agent_toolbox, false},
    {"toolbox-swap", tw_agent_toolbox, true},
    {"traces", tw_agent_traces, false},
    {"traces-remove", tw_agent_traces_remove, true},
    {"upgrade-look", tw_agent_upgrade_look, false},
    {"upgrade-keep", tw_agent_upgrade_keep, true},
    {"upgrade-back", tw_agent_upgrade_back, true},
};

static int run_op(tw_agent *a, const char *name, const json_t *v, json_t **ret, tw_err *err)
{
    for (size_t i = 0; i < TW_ARRAY_LEN(ops); i++)
        if (strcmp(ops[i].name, name) == 0) {
            atomic_store(&a->life.keeps, ops[i].keeps);
            int rc = ops[i].run(a, v, ret, err);
            atomic_store(&a->life.keeps, false);
            return rc;
        }
    return tw_err_set(err, -ENOSYS, "%s: this agent (twinax %s) does not know that", name,
                      tw_version());
}

static int dispatch(tw_agent *a, const tw_agent_request *r, const json_t *v, tw_err *err)
{
    json_t *out = NULL;
    tw_err why = {0};
    const int rc = run_op(a, r->op, v, &out, &why);
    if (rc == 0 && out == NULL)
        out = json_object();
    if (rc == 0)
        json_object_set_new(out, "ok", json_true());
    return send_reply(a, rc != 0 ? refusal(&why) : out, r->id, err);
}

bool tw_agent_is_cut(const tw_agent *a)
{
    return tw_signal_asked_to_stop() || atomic_load(&a->life.cut);
}

void tw_agent_tell(tw_agent *a, json_t *event)
{
    TW_CLEANUP(tw_json_freep) json_t *v = event;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_AGENT_FRAME_MAX + 64);
    tw_err ignored;
    if (v != NULL && tw_agent_frame_put(&b, v, &ignored) == 0)
        (void)!tw_agent_life_send(&a->life, b.data, b.len);
}

static int take_frames(tw_agent *a, tw_err *err)
{
    for (;;) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        int rc = tw_agent_life_take(&a->life, &v, err);
        if (rc != 0)
            return rc == -EAGAIN ? 0 : rc;
        tw_agent_request r;
        rc = tw_agent_request_read(v, &r, err);
        if (rc == 0)
            rc = dispatch(a, &r, v, err);
        if (rc != 0)
            return rc;
    }
}

/* 1: there may be more; 0: nothing more is wanted. */
static int wait_more(tw_agent *a, tw_err *err)
{
    struct pollfd pfds[3] = {{.fd = a->life.news_fd, .events = POLLIN},
                             {.fd = tw_signal_fd(), .events = POLLIN},
                             {.fd = tw_agent_rank_fd(&a->rank), .events = POLLIN}};
    const bool last = a->rank.ended_ns != 0 && tw_agent_rank_fd(&a->rank) < 0;
    int n_ready = poll(pfds, 3, last ? (int)(AFTER_RANK_NS / TW_NS_PER_MS) : -1);
    if (n_ready < 0)
        return errno == EINTR ? 1 : tw_err_set(err, -errno, "agent: poll: %s", strerror(errno));
    if (tw_signal_asked_to_stop() || n_ready == 0)
        return 0;
    int rc = pfds[2].revents != 0 ? pass_on(a, err) : 0;
    return rc != 0 ? rc : 1;
}

int tw_agent_run(int in_fd, int out_fd, tw_err *err)
{
    tw_agent a = {.listen_fd = -1,
                  .life = {.overdue = on_overdue.fn, .overdue_ctx = on_overdue.ctx}};
    static const char greeting[] = TW_AGENT_GREETING;
    const ssize_t n = sizeof greeting - 1;
    /* Before anybody listens: the input's end may be here already, and ends all sending. */
    if (write(out_fd, greeting, (size_t)n) != n)
        return 0;
    int rc = tw_agent_life_start(&a.life, in_fd, out_fd, err);
    if (rc != 0)
        return rc;
    rc = 1;
    while (rc > 0) {
        rc = wait_more(&a, err);
        if (rc > 0) {
            int rc_take = take_frames(&a, err);
            rc = rc_take != 0 ? rc_take : 1;
        }
    }
    tw_agent_rank_stop(&a.rank);
    tw_agent_probe_end(&a);
    tw_agent_proof_end(&a);
    tw_agent_setup_end(&a);
    tw_agent_pull_end(&a);
    tw_cross_server_stop(&a.tool);
    tw_agent_life_stop(&a.life);
    return rc == -ECONNRESET ? 0 : rc;
}

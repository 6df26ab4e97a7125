/* SPDX-License-Identifier: Apache-2.0 */
/* A node's part in live proofs between nodes: opens a door, knocks at another one's, carries load,
 * reads its counters and clock, tries ssh. The head says who does what to whom. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent_inside.h"
#include "cluster/agent_proof.h"
#include "cluster/proof_door.h"
#include "cluster/ssh.h"
#include "fmt/agent_frame.h"
#include "host/facts.h"
#include "host/proof.h"
#include "os/sys.h"

enum { STREAMS = 2, SSH_CONNECT_S = 5, SLICE_MS = 50, FLOOD_MS_MAX = 10000, SAYS_MAX = 4096 };
#define DOOR_LIFE_NS  (60 * TW_NS_PER_S)
#define KNOCK_NS      (2 * TW_NS_PER_S)
#define FLOOD_OPEN_NS (3 * TW_NS_PER_S)
#define SSH_NS        (8 * TW_NS_PER_S)

static tw_agent_identify identify; /* set once, before the agent runs */

void tw_agent_on_identify(tw_agent_identify fn)
{
    identify = fn;
}

static bool is_cut(void *ctx)
{
    return tw_agent_is_cut(ctx);
}

void tw_agent_proof_end(tw_agent *a)
{
    tw_proof_door_close(a->door);
    a->door = NULL;
}

static int read_token(tw_json_obj *o, uint8_t token[TW_PROBE_TOKEN_BYTES], tw_err *err)
{
    const char *text = tw_json_text(o, "token", "");
    if (o->rc == 0 && !tw_agent_token_parse(text, token))
        return tw_err_set(err, -EINVAL, "proof: the token is no 64 hex digits");
    return o->rc;
}

static int open_door(tw_agent *a, tw_json_obj *o, json_t **ret, tw_err *err)
{
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    char own[96];
    uint16_t port = 0;
    const char *ip = tw_json_text(o, "address", "");
    int rc = read_token(o, token, err);
    if (rc == 0)
        rc = tw_agent_own_address(ip, own, sizeof own, err);
    tw_agent_proof_end(a);
    if (rc == 0)
        rc = tw_proof_door_open(own, token, DOOR_LIFE_NS, &a->door, &port, err);
    if (rc == 0)
        *ret = json_pack("{s:i}", "port", port);
    return rc;
}

/* Ours, to bind to; a link-local address there needs our zone too. */
static int both_ends(tw_json_obj *o, char own[96], char to[128], tw_err *err)
{
    const char *from = tw_json_text(o, "from", ""), *ip = tw_json_text(o, "to", "");
    int rc = o->rc != 0 ? o->rc : tw_agent_own_address(from, own, 96, err);
    if (rc != 0)
        return rc;
    const char *zone = strchr(own, '%');
    snprintf(to, 128, "%.64s%s", ip, zone != NULL && strchr(ip, '%') == NULL ? zone : "");
    return 0;
}

static int knock(tw_agent *a, tw_json_obj *o, json_t **ret, tw_err *err)
{
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    char own[96], to[128];
    int rc = read_token(o, token, err);
    tw_proof_knock k = {.token = token, .limit_ns = KNOCK_NS, .asked_to_stop = is_cut, .ctx = a};
    k.port = (uint16_t)tw_json_u64_needed(o, "port", 1, UINT16_MAX);
    k.mtu = (uint32_t)tw_json_u64(o, "mtu", 0, 0, TW_PROOF_MTU_MAX);
    if (rc == 0)
        rc = both_ends(o, own, to, err);
    if (rc != 0)
        return rc;
    tw_proof_way w;
    k.ip = to;
    k.from_ip = own;
    tw_proof_door_knock(&k, &w);
    *ret = json_pack("{s:s, s:i, s:i, s:s}", "port", tw_proof_port_name(w.port), "mtu", (int)w.mtu,
                     "mtu_tried", (int)w.mtu_tried, "why", w.why);
    return 0;
}

/* At once both ways, to a "probe" of the other node. */
static int flood(tw_agent *a, tw_json_obj *o, json_t **ret, tw_err *err)
{
    TW_CLEANUP(tw_probe_closep) tw_probe *p = NULL;
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    char own[96], to[128];
    double to_gbit = 0, from_gbit = 0;
    int rc = read_token(o, token, err);
    tw_probe_to t = {.token = token,
                     .n_streams = STREAMS,
                     .limit_ns = FLOOD_OPEN_NS,
                     .stop = {.asked = is_cut, .ctx = a}};
    t.port = (uint16_t)tw_json_u64_needed(o, "port", 1, UINT16_MAX);
    uint64_t ms = tw_json_u64_needed(o, "ms", 1, FLOOD_MS_MAX);
    if (rc == 0)
        rc = both_ends(o, own, to, err);
    t.ip = to;
    t.bind_ip = own;
    if (rc == 0)
        rc = tw_probe_connect(&t, &p, err);
    if (rc == 0)
        rc = tw_probe_flood(p, true, true, ms * TW_NS_PER_MS, &to_gbit, &from_gbit, err);
    if (rc == 0)
        *ret = json_pack("{s:f, s:f}", "to_gbit", to_gbit, "from_gbit", from_gbit);
    return rc;
}

static int read_counters(tw_json_obj *o, json_t **ret, tw_err *err)
{
    const char *name = tw_json_text(o, "interface", "");
    tw_facts_counters c = {0};
    if (o->rc != 0)
        return o->rc;
    if (name[0] == '\0' || strlen(name) >= sizeof c.name || strchr(name, '/') != NULL)
        return tw_err_set(err, -EINVAL, "proof: \"%.32s\" is no interface", name);
    tw_facts_counters_read(NULL, name, &c);
    *ret = json_pack("{s:o}", "counters", tw_facts_counters_print(&c));
    return 0;
}

static int tell_clock(json_t **ret)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    *ret = json_pack("{s:I, s:I}", "s", (json_int_t)t.tv_sec, "ns", (json_int_t)t.tv_nsec);
    return 0;
}

static int identify_model(tw_json_obj *o, json_t **ret, tw_err *err)
{
    const char *path = tw_json_text(o, "path", "");
    tw_agent_model m = {.id = ""};
    if (o->rc != 0)
        return o->rc;
    if (identify == NULL)
        return tw_err_set(err, -ENOSYS, "this program knows nothing of models");
    int rc = identify(path, &m, err);
    if (rc == 0)
        *ret = json_pack("{s:s, s:s}", "model_id", m.id, "content", m.content);
    return rc;
}

/* ---- ssh to the head ---- */

/* What is there of its stderr; false when there will be no more. */
static bool hear_ssh(const tw_child *child, int wait_ms, char *says, size_t says_bytes)
{
    struct pollfd p = {.fd = child->err_fd, .events = POLLIN};
    char chunk[512];
    if (poll(&p, 1, wait_ms) <= 0)
        return false;
    const ssize_t got = read(child->err_fd, chunk, sizeof chunk - 1);
    if (got <= 0)
        return false;
    const size_t n = strlen(says);
    snprintf(says + n, says_bytes - n, "%.*s", (int)got, chunk);
    return true;
}

/* 0: it has ended, as *ret_status says. */
static int wait_ssh(tw_agent *a, tw_child *child, char *says, size_t says_bytes, int *ret_status)
{
    const uint64_t until = tw_clock_now_ns() + SSH_NS;
    while (!tw_child_poll(child, ret_status)) {
        if (tw_agent_is_cut(a) || tw_clock_now_ns() > until)
            return -ETIMEDOUT;
        if (!hear_ssh(child, SLICE_MS, says, says_bytes))
            (void)poll(NULL, 0, 5); /* its stderr is closed, it ends in a moment */
    }
    while (hear_ssh(child, 0, says, says_bytes)) /* its last words came with its end */
        ;
    return 0;
}

static enum tw_proof_ssh cause_of(const char *says)
{
    if (strstr(says, "HOST IDENTIFICATION HAS CHANGED") != NULL)
        return TW_SSH_KEY_CHANGED;
    if (strstr(says, "Host key verification failed") != NULL)
        return TW_SSH_KEY_UNKNOWN;
    return strstr(says, "Permission denied") != NULL ? TW_SSH_DENIED : TW_SSH_OTHER;
}

static int try_ssh(tw_agent *a, tw_json_obj *o, json_t **ret, tw_err *err)
{
    const char *to = tw_json_text(o, "to", "");
    char says[SAYS_MAX] = "", limit[32];
    int status = -1, rc = o->rc != 0 ? o->rc : tw_ssh_name_check(to, err);
    if (rc != 0)
        return rc;
    snprintf(limit, sizeof limit, "ConnectTimeout=%d", SSH_CONNECT_S);
    const char *argv[] = {"ssh",  "-T",
                          "-o",   "BatchMode=yes",
                          "-o",   limit,
                          "-o",   "StrictHostKeyChecking=yes",
                          "-o",   "ControlMaster=no",
                          "-o",   "ClearAllForwardings=yes",
                          "--",   to,
                          "true", NULL};
    tw_child child = {0};
    tw_err why = {0};
    rc = tw_child_spawn(argv, TW_CHILD_NULL_IN | TW_CHILD_PIPE_OUT | TW_CHILD_PIPE_ERR, -1, &child,
                        &why);
    const bool spawned = rc == 0;
    if (spawned)
        rc = wait_ssh(a, &child, says, sizeof says, &status);
    if (spawned)
        tw_child_stop(&child, 100 * TW_NS_PER_MS);
    const bool reached = rc == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const tw_ssh_end end = {.name = to, .says = says, .status = rc == 0 ? status : -1};
    if (rc == -ETIMEDOUT)
        tw_err_set(&why, rc, "%s: no answer within %d s", to, (int)(SSH_NS / TW_NS_PER_S));
    else if (spawned && !reached)
        tw_ssh_explain(&end, &why);
    const char *cause = tw_proof_ssh_name(reached ? TW_SSH_OTHER : cause_of(says));
    *ret = json_pack("{s:b, s:s, s:s}", "reached", reached, "cause", cause, "why",
                     reached ? "" : why.msg);
    if (*ret == NULL) /* what it said is no UTF-8 */
        *ret =
            json_pack("{s:b, s:s, s:s}", "reached", reached, "cause", cause, "why", "ssh failed");
    return 0;
}

int tw_agent_proof(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "proof", .prefix = "", .v = request, .err = err};
    const char *what = tw_json_text(&o, "do", "");
    if (strcmp(what, "open") == 0)
        return open_door(a, &o, ret, err);
    if (strcmp(what, "knock") == 0)
        return knock(a, &o, ret, err);
    if (strcmp(what, "flood") == 0)
        return flood(a, &o, ret, err);
    if (strcmp(what, "counters") == 0)
        return read_counters(&o, ret, err);
    if (strcmp(what, "clock") == 0)
        return tell_clock(ret);
    if (strcmp(what, "model") == 0)
        return identify_model(&o, ret, err);
    if (strcmp(what, "ssh") == 0)
        return try_ssh(a, &o, ret, err);
    if (strcmp(what, "close") != 0)
        return tw_err_set(err, -ENOSYS, "proof: %.32s: this agent does not know that", what);
    tw_agent_proof_end(a);
    return 0;
}

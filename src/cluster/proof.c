/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/proof.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/probe.h"
#include "cluster/push.h"
#include "fmt/agent_frame.h"
#include "os/signal.h"
#include "os/sys.h"

enum { CLOCK_TRIES = 5 };
#define FACTS_NS (30 * TW_NS_PER_S)
#define MODEL_NS (30 * TW_NS_PER_S)
#define CALL_NS  (6 * TW_NS_PER_S)
#define KNOCK_NS (12 * TW_NS_PER_S)
#define SSH_NS   (12 * TW_NS_PER_S)
#define FLOOD_NS (20 * TW_NS_PER_S)

/* One thread's work: a node, or a pair of nodes that no other thread has at the time. */
typedef struct worker {
    pthread_t thread;
    bool started;
    tw_proof_job *job;
    tw_proofs *proofs;
    const json_t *request;
    tw_facts *const *facts;
    size_t i, j;
} worker;

static void tell(const tw_proof_job *j, const char *what)
{
    if (j->progress != NULL)
        j->progress(j->ctx, what);
}

/* A remote whose conversation is out of step is of no more use. */
static void lose(tw_proof_target *t, const tw_err *why)
{
    t->why = *why;
    tw_remote_close(t->remote);
    t->remote = NULL;
}

static int run_all(worker *w, size_t n, void *(*fn)(void *), tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = -pthread_create(&w[i].thread, NULL, fn, &w[i]);
        w[i].started = rc == 0;
    }
    for (size_t i = 0; i < n; i++)
        if (w[i].started)
            pthread_join(w[i].thread, NULL);
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -ECANCELED, "interrupted");
    return rc == 0 ? 0 : tw_err_set(err, rc, "no thread for a node: %s", strerror(-rc));
}

static size_t for_nodes(tw_proof_job *j, tw_proofs *p, size_t first, worker *w)
{
    size_t n = 0;
    for (size_t i = first; i < j->n; i++)
        if (j->v[i].remote != NULL)
            w[n++] = (worker){.job = j, .proofs = p, .i = i};
    return n;
}

/* ---- connecting ---- */

static void *greet_one(void *arg)
{
    worker *w = arg;
    tw_proof_target *t = &w->job->v[w->i];
    tw_err why = {0};
    if (tw_remote_push_greet(w->job->push, t->remote, &why) != 0)
        lose(t, &why);
    return NULL;
}

static void push_to(const tw_proof_job *j, tw_proof_target *t)
{
    tw_err why = t->why;
    if (tw_remote_push_mend(j->push, t->name, t->ssh, why.code, &t->remote, &why) != 0)
        lose(t, &why);
    else
        t->why = (tw_err){0};
}

int tw_proof_connect(tw_proof_job *j, tw_err *err)
{
    worker w[TW_PROOF_NODES_MAX];
    tell(j, "connecting");
    for (size_t i = 0; i < j->n; i++) {
        tw_proof_target *t = &j->v[i];
        /* The head is this machine, whatever its ssh name is. */
        const char *ssh = i == 0 ? "local" : t->ssh;
        const char *path = i != 0 && t->agent_path[0] != '\0' ? t->agent_path : NULL;
        if (tw_remote_start(ssh, path, &t->remote, &t->why) != 0)
            t->remote = NULL;
    }
    size_t n = for_nodes(j, NULL, 0, w);
    int rc = run_all(w, n, greet_one, err);
    for (size_t i = 1; i < j->n && rc == 0; i++) {
        tw_proof_target *t = &j->v[i];
        if (t->remote == NULL && tw_push_mends(t->why.code) && j->push != NULL)
            push_to(j, t);
        if (tw_signal_asked_to_stop())
            rc = tw_err_set(err, -ECANCELED, "interrupted");
    }
    return rc;
}

void tw_proof_close(tw_proof_job *j)
{
    for (size_t i = 0; i < j->n; i++) {
        tw_remote_close(j->v[i].remote);
        j->v[i].remote = NULL;
    }
}

/* ---- facts ---- */

static void copy_text(char *out, size_t out_bytes, const char *from)
{
    size_t n = 0;
    for (; from != NULL && from[n] != '\0' && n + 1 < out_bytes; n++)
        out[n] = (unsigned char)from[n] < 0x20 || from[n] == 0x7f ? ' ' : from[n];
    out[n] = '\0';
}

/* A node that has not the model has no id; that is a fact. */
static void fetch_model(tw_proof_target *t, tw_facts_model *ret)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err ignored;
    json_t *args = json_pack("{s:s, s:s}", "do", "model", "path", t->model);
    copy_text(ret->path, sizeof ret->path, t->model);
    if (tw_remote_call(t->remote, "proof", args, MODEL_NS, &got, &ignored) != 0)
        return;
    copy_text(ret->id, sizeof ret->id, json_string_value(json_object_get(got, "model_id")));
    copy_text(ret->content, sizeof ret->content,
              json_string_value(json_object_get(got, "content")));
}

static void *fetch_facts(void *arg)
{
    worker *w = arg;
    tw_proof_target *t = &w->job->v[w->i];
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err why = {0};
    json_t *args = json_deep_copy(w->request);
    if (args != NULL && t->interface[0] != '\0')
        json_object_set_new(args, "interface", json_string(t->interface));
    if (args != NULL && t->model[0] != '\0')
        json_object_set_new(args, "model", json_string(t->model));
    int rc = tw_remote_call(t->remote, "host-facts", args, FACTS_NS, &got, &why);
    if (rc == 0)
        rc = tw_facts_parse(json_object_get(got, "facts"), w->facts[w->i], &why);
    if (rc != 0)
        lose(t, &why);
    else if (t->model[0] != '\0')
        fetch_model(t, &w->facts[w->i]->model);
    return NULL;
}

int tw_proof_facts(tw_proof_job *j, const json_t *request, tw_facts *const *facts, tw_err *err)
{
    worker w[TW_PROOF_NODES_MAX];
    tell(j, "facts of all nodes");
    size_t n = for_nodes(j, NULL, 0, w);
    for (size_t i = 0; i < n; i++) {
        w[i].request = request;
        w[i].facts = facts;
    }
    return run_all(w, n, fetch_facts, err);
}

/* ---- each node: clock and ssh ---- */

static double real_now(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The quickest answer has the least doubt in it. */
static void compare_clock(tw_remote *r, tw_proof_node *ret)
{
    double best = 1e9;
    for (unsigned k = 0; k < CLOCK_TRIES; k++) {
        TW_CLEANUP(tw_json_freep) json_t *got = NULL;
        tw_err why;
        const double before = real_now();
        if (tw_remote_call(r, "proof", json_pack("{s:s}", "do", "clock"), CALL_NS, &got, &why) != 0)
            return;
        const double after = real_now();
        const double there = (double)json_integer_value(json_object_get(got, "s")) +
                             (double)json_integer_value(json_object_get(got, "ns")) * 1e-9;
        if (after < before || after - before >= best)
            continue;
        best = after - before;
        ret->clock = TW_YES;
        ret->clock_ahead_s = there - (before + after) / 2;
        ret->round_trip_ms = best * 1e3;
    }
}

static void *prove_node(void *arg)
{
    worker *w = arg;
    tw_proof_target *t = &w->job->v[w->i];
    tw_proof_node *ret = &w->proofs->nodes[w->i];
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err why = {0};
    compare_clock(t->remote, ret);
    if (w->job->back_to[0] == '\0' || tw_remote_is_local(t->remote))
        return NULL;
    json_t *args = json_pack("{s:s, s:s}", "do", "ssh", "to", w->job->back_to);
    if (tw_remote_call(t->remote, "proof", args, SSH_NS, &got, &why) == 0) {
        ret->ssh_back = tw_tri_of(json_is_true(json_object_get(got, "reached")));
        ret->ssh_back_cause = tw_proof_ssh_parse(tw_json_text_at(got, "cause"));
        copy_text(ret->ssh_back_why, sizeof ret->ssh_back_why,
                  json_string_value(json_object_get(got, "why")));
    }
    return NULL;
}

/* ---- each pair ---- */

static int make_token(char text[2 * TW_PROBE_TOKEN_BYTES + 1], tw_err *err)
{
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    int rc = tw_sys_random(token, sizeof token);
    if (rc != 0)
        return tw_err_set(err, rc, "no random token: %s", strerror(-rc));
    tw_agent_token_print(token, text);
    return 0;
}

static int ask_port(tw_proof_target *t, const char *op, json_t *args, json_int_t *ret_port,
                    tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_remote_call(t->remote, op, args, CALL_NS, &got, err);
    *ret_port = rc == 0 ? json_integer_value(json_object_get(got, "port")) : 0;
    if (rc == 0 && (*ret_port <= 0 || *ret_port > UINT16_MAX))
        return tw_err_set(err, -EPROTO, "%s: its listener has no port", t->name);
    return rc;
}

static void read_way(const json_t *got, tw_proof_way *ret)
{
    const char *port = json_string_value(json_object_get(got, "port"));
    for (int k = 0; k < TW_PORTS && port != NULL; k++)
        if (strcmp(port, tw_proof_port_name((enum tw_proof_port)k)) == 0)
            ret->port = (enum tw_proof_port)k;
    const json_int_t mtu = json_integer_value(json_object_get(got, "mtu"));
    const json_int_t tried = json_integer_value(json_object_get(got, "mtu_tried"));
    ret->mtu_tried = tried > 0 && tried <= TW_MIN(INT32_MAX, 1 << 20) ? (uint32_t)tried : 0;
    ret->mtu = mtu > 0 && mtu <= tried ? (uint32_t)mtu : 0;
    copy_text(ret->why, sizeof ret->why, json_string_value(json_object_get(got, "why")));
}

/* `to` opens a door, `from` knocks. */
static void prove_way(worker *w, size_t from, size_t to)
{
    tw_proof_target *a = &w->job->v[from], *b = &w->job->v[to];
    tw_proof_way *ret = &w->proofs->ways[from][to];
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    char token[2 * TW_PROBE_TOKEN_BYTES + 1];
    tw_err why = {0}, ignored;
    json_int_t port = 0;
    int rc = make_token(token, &why);
    if (rc == 0)
        rc = ask_port(b, "proof",
                      json_pack("{s:s, s:s, s:s}", "do", "open", "address", b->ip, "token", token),
                      &port, &why);
    if (rc == 0) {
        json_t *args =
            json_pack("{s:s, s:s, s:s, s:I, s:s, s:i}", "do", "knock", "from", a->ip, "to", b->ip,
                      "port", port, "token", token, "mtu", (int)TW_MAX(a->mtu, b->mtu));
        rc = tw_remote_call(a->remote, "proof", args, KNOCK_NS, &got, &why);
    }
    if (rc == 0)
        read_way(got, ret);
    else
        copy_text(ret->why, sizeof ret->why, why.msg);
    (void)!tw_remote_call(b->remote, "proof", json_pack("{s:s}", "do", "close"), CALL_NS, NULL,
                          &ignored);
}

static bool read_counters(tw_proof_target *t, tw_facts_counters *ret)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err ignored;
    if (t->interface[0] == '\0')
        return false;
    json_t *args = json_pack("{s:s, s:s}", "do", "counters", "interface", t->interface);
    return tw_remote_call(t->remote, "proof", args, CALL_NS, &got, &ignored) == 0 &&
           tw_facts_counters_parse(json_object_get(got, "counters"), ret, &ignored) == 0;
}

static int carry_load(worker *w, tw_proof_target *a, tw_proof_target *b, tw_proof_load *ret,
                      tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    char token[2 * TW_PROBE_TOKEN_BYTES + 1];
    json_int_t port = 0;
    int rc = make_token(token, err);
    if (rc == 0)
        rc = ask_port(b, "probe", json_pack("{s:s, s:s}", "address", b->ip, "token", token), &port,
                      err);
    if (rc != 0)
        return rc;
    json_t *args =
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:i}", "do", "flood", "from", a->ip, "to", b->ip,
                  "port", port, "token", token, "ms", (int)(w->job->load_s * 1000));
    rc = tw_remote_call(a->remote, "proof", args, FLOOD_NS, &got, err);
    if (rc == 0) {
        ret->seconds = w->job->load_s;
        ret->to_gbit = json_number_value(json_object_get(got, "to_gbit"));
        ret->from_gbit = json_number_value(json_object_get(got, "from_gbit"));
    }
    return rc;
}

static void prove_load(worker *w)
{
    tw_proof_target *ends[2] = {&w->job->v[w->i], &w->job->v[w->j]};
    tw_proof_load *ret = &w->proofs->loads[w->i][w->j];
    tw_facts_counters before[2], after[2];
    bool known[2];
    tw_err why = {0}, ignored;
    for (int k = 0; k < 2; k++)
        known[k] = read_counters(ends[k], &before[k]);
    if (carry_load(w, ends[0], ends[1], ret, &why) != 0)
        copy_text(ret->why, sizeof ret->why, why.msg);
    (void)!tw_remote_call(ends[1]->remote, "stop", NULL, CALL_NS, NULL, &ignored);
    for (int k = 0; k < 2; k++)
        if (known[k] && read_counters(ends[k], &after[k]))
            tw_proof_growth(&before[k], &after[k], &ret->ends[k]);
}

static void *prove_pair(void *arg)
{
    worker *w = arg;
    prove_way(w, w->i, w->j);
    prove_way(w, w->j, w->i);
    if (w->job->load_s > 0 && w->proofs->ways[w->i][w->j].port == TW_PORT_PASSES)
        prove_load(w);
    return NULL;
}

static bool can_prove(const tw_proof_job *j, size_t i)
{
    return i < j->n && j->v[i].remote != NULL && j->v[i].ip[0] != '\0';
}

/* A tournament: in each round every node meets one other, so that no cable carries two loads. */
static size_t make_round(tw_proof_job *j, tw_proofs *p, size_t round, worker *w)
{
    const size_t n = j->n + j->n % 2;
    size_t k = 0;
    for (size_t i = 0; i < n / 2; i++) {
        const size_t a = i == 0 ? n - 1 : (round + i) % (n - 1);
        const size_t b = (round + n - 1 - i) % (n - 1);
        if (can_prove(j, a) && can_prove(j, b))
            w[k++] = (worker){.job = j, .proofs = p, .i = TW_MIN(a, b), .j = TW_MAX(a, b)};
    }
    return k;
}

int tw_proofs_make(tw_proof_job *j, tw_proofs *ret, tw_err *err)
{
    worker w[TW_PROOF_NODES_MAX];
    memset(ret, 0, sizeof *ret);
    ret->n_nodes = j->n;
    tell(j, "clocks, ssh both ways");
    int rc = run_all(w, for_nodes(j, ret, 1, w), prove_node, err);
    const size_t rounds = j->n + j->n % 2 - 1;
    for (size_t round = 0; round < rounds && rc == 0 && j->n > 1; round++) {
        char what[64];
        snprintf(what, sizeof what, "ports, packets, cables (%zu of %zu)", round + 1, rounds);
        tell(j, what);
        rc = run_all(w, make_round(j, ret, round, w), prove_pair, err);
    }
    return rc;
}

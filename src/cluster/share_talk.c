/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent_pull.h"
#include "cluster/share_run_inside.h"

enum { FILES_A_FRAME = 2000, ORDERS_A_TURN = 256, IDLE_MS = 20, BUSY_MS = 200 };
#define OPEN_LIMIT_NS (3600 * TW_NS_PER_S)
#define VERIFY_TIMES  24 /* hashing what is there takes longer */
#define CALL_LIMIT_NS (30 * TW_NS_PER_S)
#define RATE_NS       (TW_NS_PER_S / 2)
#define END_LIMIT_NS  (60 * TW_NS_PER_S)

static int call(run_node *n, json_t *args, uint64_t limit_ns, json_t **ret, tw_err *err)
{
    if (args == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for a request", n->state.name);
    int rc = tw_remote_call(n->remote, "pull", args, limit_ns, ret, err);
    if (rc == -ENOSYS)
        return tw_err_set(err, rc,
                          "%s: its twinax is older and does not share downloads: install "
                          "this version there too",
                          n->state.name);
    return rc;
}

/* Another's words: no control characters. */
static void copy_text(const json_t *v, const char *key, char *out, size_t out_bytes)
{
    const char *s = json_string_value(json_object_get(v, key));
    snprintf(out, out_bytes, "%s", s != NULL ? s : "");
    for (char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

static uint64_t number(const json_t *v, const char *key)
{
    const json_int_t n = json_integer_value(json_object_get(v, key));
    return n > 0 ? (uint64_t)n : 0;
}

/* v[i], as an index below n; false: it is none. */
static bool index_of(const json_t *v, size_t i, size_t n, size_t *ret)
{
    const json_t *x = json_array_get(v, i);
    const json_int_t k = json_integer_value(x);
    if (!json_is_integer(x) || k < 0 || (uint64_t)k >= n)
        return false;
    *ret = (size_t)k;
    return true;
}

/* ---- open ---- */

static int send_files(run_node *n, size_t *ret_rest, tw_err *err)
{
    const tw_hub_list *l = n->r->job->list;
    size_t at = 0;
    int rc = 0;
    for (; l->n - at > FILES_A_FRAME && rc == 0; at += FILES_A_FRAME)
        rc = call(n,
                  json_pack("{s:s, s:o}", "do", "files", "files",
                            tw_pull_files_print(l, at, at + FILES_A_FRAME)),
                  CALL_LIMIT_NS, NULL, err);
    *ret_rest = at;
    return rc;
}

/* It hashes what is there before it says so. */
static void on_hashed(void *ctx, const json_t *event)
{
    run_node *n = ctx;
    pthread_mutex_lock(&n->r->lock);
    n->state.done_bytes = number(event, "bytes");
    n->state.is_checking = true;
    pthread_mutex_unlock(&n->r->lock);
}

int tw_share_talk_open(run_node *n, tw_err *err)
{
    const share_run *r = n->r;
    const tw_share_job *j = r->job;
    const bool shares = j->n > 1 && !j->from_net;
    size_t rest = 0;
    int rc = send_files(n, &rest, err);
    if (rc != 0)
        return rc;
    json_t *args =
        json_pack("{s:s, s:s, s:s, s:o, s:I, s:i, s:i, s:s, s:s, s:b, s:s}", "do", "open", "model",
                  j->model, "sha", j->list->commit, "files",
                  tw_pull_files_print(j->list, rest, j->list->n), "range",
                  (json_int_t)r->map.range_bytes, "self", (int)n->i, "n", (int)j->n, "address",
                  shares ? j->nodes[n->i].ip : "", "token", shares ? r->token : "", "verify",
                  j->verify, "source", n->i == 0 && j->source != NULL ? j->source : "");
    tw_remote_on_event(n->remote, on_hashed, n);
    rc = call(n, args, j->verify ? VERIFY_TIMES * OPEN_LIMIT_NS : OPEN_LIMIT_NS, &n->opened, err);
    tw_remote_on_event(n->remote, NULL, NULL);
    if (rc == 0) {
        n->has_token = json_is_true(json_object_get(n->opened, "has_token"));
        n->port = (uint16_t)TW_MIN(number(n->opened, "port"), (uint64_t)UINT16_MAX);
    }
    pthread_mutex_lock(&n->r->lock);
    n->state.is_checking = false;
    if (rc == 0)
        copy_text(n->opened, "path", n->state.path, sizeof n->state.path);
    pthread_mutex_unlock(&n->r->lock);
    return rc;
}

/* Lock held, or before the threads: what is there of files that were opened, and their states. */
static void take_files(run_node *n, const json_t *v)
{
    share_run *r = n->r;
    const json_t *have = json_object_get(v, "have"), *begun = json_object_get(v, "begun");
    const json_t *whole = json_object_get(v, "whole"), *busy = json_object_get(v, "busy");
    const json_t *open = json_object_get(v, "open"), *bad = json_object_get(v, "bad");
    size_t f = 0, u = 0, k = 0;
    for (size_t i = 0; i < json_array_size(bad); i++)
        if (index_of(bad, i, r->map.n_files, &f))
            tw_deal_bad(r->deal, n->i, f);
    for (size_t i = 0; i < json_array_size(busy); i++)
        if (index_of(busy, i, r->map.n_files, &f))
            tw_deal_hold(r->deal, n->i, f);
    for (size_t i = 0; i < json_array_size(open); i++)
        if (index_of(open, i, r->map.n_files, &f))
            tw_deal_unhold(r->deal, n->i, f);
    for (size_t i = 0; i < json_array_size(have); i++) {
        const json_t *run = json_array_get(have, i);
        if (index_of(run, 0, r->map.n_units, &u) && index_of(run, 1, r->map.n_units + 1, &k))
            for (size_t x = u; x < u + k && x < r->map.n_units; x++)
                tw_deal_has(r->deal, n->i, x);
    }
    for (size_t i = 0; i < json_array_size(begun); i++) {
        const json_t *one = json_array_get(begun, i);
        if (index_of(one, 0, r->map.n_units, &u) && index_of(one, 1, UINT32_MAX, &k))
            tw_deal_begun(r->deal, n->i, u, (uint32_t)k);
    }
    for (size_t i = 0; i < json_array_size(whole); i++)
        if (index_of(whole, i, r->map.n_files, &f)) {
            tw_deal_whole(r->deal, n->i, f);
            n->n_whole++;
        }
    n->state.is_whole = n->n_whole >= r->map.n_files;
}

void tw_share_talk_take_open(run_node *n)
{
    take_files(n, n->opened);
    n->state.done_bytes = 0;
    for (size_t u = 0; u < n->r->map.n_units; u++)
        n->state.done_bytes += tw_deal_bytes_of(n->r->deal, n->i, u);
    json_decref(n->opened);
    n->opened = NULL;
}

/* ---- begin ---- */

int tw_share_talk_begin(run_node *n, tw_err *err)
{
    const share_run *r = n->r;
    const tw_share_job *j = r->job;
    json_t *peers = json_array();
    for (unsigned i = 0; i < j->n; i++) {
        const run_node *p = &r->nodes[i];
        const bool meets = i != n->i && p->port != 0 && !p->state.is_gone && !j->from_net;
        (void)!json_array_append_new(peers, meets ? json_pack("{s:s, s:i}", "ip", j->nodes[i].ip,
                                                              "port", (int)p->port)
                                                  : json_null());
    }
    const bool wants_token =
        !n->has_token && j->hub_token != NULL && j->hub_token[0] != '\0' && n->i > 0;
    return call(n,
                json_pack("{s:s, s:o, s:s, s:s, s:i, s:b}", "do", "begin", "peers", peers,
                          "endpoint", j->hub, "hf_token", wants_token ? j->hub_token : "",
                          "connections", (int)j->n_connections, "net", !j->no_net),
                CALL_LIMIT_NS, NULL, err);
}

/* ---- turns ---- */

/* Lock held. */
static json_t *make_turn(run_node *n)
{
    share_run *r = n->r;
    json_t *net = json_array(), *peer = json_array(), *forget = json_array();
    json_t *drop = json_array();
    for (unsigned k = 0; k < ORDERS_A_TURN; k++) {
        const tw_deal_order o = tw_deal_next(r->deal, n->i);
        if (o.what == TW_DEAL_NOTHING)
            break;
        if (o.what == TW_DEAL_PEER)
            (void)!json_array_append_new(peer,
                                         json_pack("[I, i]", (json_int_t)o.unit, (int)o.from));
        else
            (void)!json_array_append_new(o.what == TW_DEAL_NET ? net : forget,
                                         json_integer((json_int_t)o.unit));
    }
    for (unsigned i = 0; i < r->job->n; i++)
        if (i != n->i && r->nodes[i].state.is_gone && !n->dropped[i]) {
            n->dropped[i] = true;
            (void)!json_array_append_new(drop, json_integer((json_int_t)i));
        }
    const bool waits = !n->state.is_whole && tw_deal_is_idle(r->deal, n->i);
    return json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "do", "turn", "wait_ms",
                     waits ? IDLE_MS : BUSY_MS, "net", net, "peer", peer, "forget", forget, "drop",
                     drop);
}

/* Lock held. */
static void take_units(run_node *n, const json_t *v)
{
    share_run *r = n->r;
    const json_t *came = json_object_get(v, "came"), *failed = json_object_get(v, "failed");
    size_t u = 0;
    for (size_t i = 0; i < json_array_size(came); i++)
        if (index_of(json_array_get(came, i), 0, r->map.n_units, &u))
            tw_deal_has(r->deal, n->i, u);
    for (size_t i = 0; i < json_array_size(failed); i++) {
        const json_t *one = json_array_get(failed, i);
        if (index_of(one, 0, r->map.n_units, &u))
            tw_deal_failed(r->deal, n->i, u, (int)json_integer_value(json_array_get(one, 1)));
    }
}

/* Lock held. */
static void take_rate(run_node *n, uint64_t now)
{
    if (n->rate_ns == 0) {
        n->rate_ns = now;
        n->rate_bytes = n->state.net_bytes;
    }
    if (now - n->rate_ns < RATE_NS)
        return;
    const double s = (double)(now - n->rate_ns) * 1e-9;
    tw_deal_rate(n->r->deal, n->i, (double)(n->state.net_bytes - n->rate_bytes) / s);
    n->rate_ns = now;
    n->rate_bytes = n->state.net_bytes;
}

/* What is to be said of it: after the lock. */
typedef struct sayings {
    char text[TW_SHARE_NODES_MAX + 3][400];
    unsigned n;
} sayings;

static void add_saying(sayings *s, const char *text)
{
    if (s->n < TW_ARRAY_LEN(s->text))
        snprintf(s->text[s->n++], sizeof s->text[0], "%s", text);
}

/* Lock held: who is connected, but does not give what it has. */
static void tell_cuts(run_node *n, sayings *say)
{
    const share_run *r = n->r;
    char text[400];
    for (unsigned p = 0; p < r->job->n; p++) {
        const run_node *x = &r->nodes[p];
        if (p == n->i || n->told_cut[p] || x->state.is_gone || !tw_deal_is_cut(r->deal, n->i, p))
            continue;
        n->told_cut[p] = true;
        snprintf(text, sizeof text,
                 "gets nothing more from %s, which does not give what it said it has: a disk that "
                 "fails there, or a file that was removed: `twinax models verify`",
                 x->state.name);
        add_saying(say, text);
    }
}

/* Lock held. */
static void take_troubles(run_node *n, const json_t *v, sayings *say)
{
    share_run *r = n->r;
    const json_t *lost = json_object_get(v, "lost");
    char text[400], why[240];
    size_t p = 0;
    for (size_t i = 0; i < json_array_size(lost); i++) {
        const json_t *one = json_array_get(lost, i);
        if (!index_of(one, 0, r->job->n, &p) || p == n->i)
            continue;
        tw_deal_cut(r->deal, n->i, (unsigned)p);
        n->told_cut[p] = true;
        const char *words = json_string_value(json_array_get(one, 1));
        snprintf(text, sizeof text, "gets nothing from %s: %.200s", r->nodes[p].state.name,
                 words != NULL ? words : "?");
        if (!r->nodes[p].state.is_gone && !r->nodes[p].has_ended)
            add_saying(say, text);
    }
    tell_cuts(n, say);
    copy_text(v, "net_error", why, sizeof why);
    if (why[0] != '\0') {
        snprintf(n->net_error, sizeof n->net_error, "%s", why);
        tw_deal_no_net(r->deal, n->i);
        snprintf(text, sizeof text, "fetches nothing: %s", why);
        if (!n->state.is_whole)
            add_saying(say, text);
    }
    const unsigned n_taken = tw_deal_n_taken(r->deal, n->i);
    if (n_taken > 0 && n->n_taken == 0)
        add_saying(say, "is slow: others take over a part of its share");
    n->n_taken = n_taken;
    if (n->state.n_refused > 0 && !n->told_refused) {
        n->told_refused = true;
        add_saying(say, "got a damaged block over the link: refused, and asked for again");
    }
}

int tw_share_talk_turn(run_node *n, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    share_run *r = n->r;
    sayings say = {.n = 0};
    char failure[240];
    size_t unit = 0;
    pthread_mutex_lock(&r->lock);
    json_t *args = make_turn(n);
    pthread_mutex_unlock(&r->lock);
    int rc = call(n, args, CALL_LIMIT_NS, &v, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&r->lock);
    take_units(n, v);
    take_files(n, v);
    n->state.done_bytes = number(v, "done_bytes");
    n->state.net_bytes = number(v, "net_bytes");
    n->state.peer_bytes = number(v, "peer_bytes");
    n->state.given_bytes = number(v, "given_bytes");
    n->state.n_refused = (unsigned)number(v, "refused");
    copy_text(v, "waits", n->state.waits, sizeof n->state.waits);
    take_rate(n, tw_clock_now_ns());
    take_troubles(n, v, &say);
    copy_text(v, "failure", failure, sizeof failure);
    if (failure[0] != '\0')
        rc = tw_err_set(err, -EIO, "%s: %.200s", n->state.name, failure);
    else if (tw_deal_is_stuck(r->deal, n->i, &unit))
        rc = tw_err_set(err, -EIO, "%s: %s", n->state.name,
                        n->net_error[0] != '\0' ? n->net_error
                                                : "nobody has all of it, and no node has a net");
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < say.n; i++)
        tw_share_say(n, say.text[i]);
    return rc;
}

int tw_share_talk_end(run_node *n, bool finish, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    int rc = call(n, json_pack("{s:s, s:b}", "do", "end", "finish", finish), END_LIMIT_NS, &v, err);
    pthread_mutex_lock(&n->r->lock);
    if (rc == 0)
        copy_text(v, "path", n->state.path, sizeof n->state.path);
    pthread_mutex_unlock(&n->r->lock);
    return rc;
}

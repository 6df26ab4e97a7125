/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/agent_pull_inside.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/agent_inside.h"
#include "cluster/share.h"
#include "fmt/agent_frame.h"
#include "hub/cache.h"
#include "hub/fetch.h"
#include "hub/range_fetch.h"
#include "os/secret.h"

enum { LOOK_MS = 10, WAIT_MS_MAX = 2000, RANGE_MAX_BYTES = 1 << 30, ANY_ADDRESS = 96 };
#define TELL_NS (200 * TW_NS_PER_MS)

/* What became of an order. */
typedef struct pull_news {
    size_t unit;
    int from; /* -1: the net */
    int rc;
} pull_news;

typedef struct tw_agent_pull {
    json_t *files; /* parts of the list that came ahead; NULL: none */
    tw_hub_place place;
    tw_hub_name name;
    tw_hub_list list;
    tw_hub_store *store;
    tw_share *share;
    tw_hub_getter *getter;
    bool has_zone;
    char address[ANY_ADDRESS], source[TW_HUB_PATH_BYTES];
    uint8_t *told_state; /* [n_files] enum tw_hub_store_state */
    unsigned *told_bad;  /* [n_files] */
    bool told_net, told_failure;
    uint64_t hashed_bytes, told_ns; /* while it opens */
    tw_err failure;                 /* of the store's, once told */
    pthread_mutex_t lock;           /* of all below */
    pthread_cond_t more;
    pull_news *news;
    size_t n_news, news_cap;
    bool lost[TW_SHARE_NODES_MAX];
    char lost_why[TW_SHARE_NODES_MAX][160];
} tw_agent_pull;

/* ---- opening ---- */

void tw_agent_pull_end(tw_agent *a)
{
    tw_agent_pull *p = a->pull;
    if (p == NULL)
        return;
    a->pull = NULL;
    tw_hub_getter_stop(p->getter);
    tw_share_close(p->share);
    tw_hub_store_close(p->store);
    tw_hub_list_done(&p->list);
    tw_hub_place_done(&p->place);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    json_decref(p->files);
    tw_mem_free(p->told_state);
    tw_mem_free(p->told_bad);
    tw_mem_free(p->news);
    tw_mem_free(p);
}

static int new_pull(tw_agent *a, tw_err *err)
{
    pthread_condattr_t attr;
    if (a->pull != NULL && a->pull->store == NULL)
        return 0; /* files came ahead */
    tw_agent_pull_end(a);
    a->pull = tw_mem_calloc(1, sizeof *a->pull);
    if (a->pull == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to pull");
    pthread_mutex_init(&a->pull->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&a->pull->more, &attr);
    pthread_condattr_destroy(&attr);
    return 0;
}

static int add_files(tw_agent *a, const json_t *request, tw_err *err)
{
    json_t *files = json_object_get(request, "files");
    int rc = new_pull(a, err);
    if (rc != 0)
        return rc;
    if (a->pull->files == NULL)
        a->pull->files = json_array();
    if (!json_is_array(files) ||
        json_array_size(a->pull->files) + json_array_size(files) > TW_HUB_FILES_MAX)
        return tw_err_set(err, -EINVAL, "pull: no list of files, or too many");
    return json_array_extend(a->pull->files, files) == 0
               ? 0
               : tw_err_set(err, -ENOMEM, "no memory for the list of files");
}

/* From threads of the exchange and of the net. */
static void note(tw_agent_pull *p, size_t unit, int from, int rc)
{
    pthread_mutex_lock(&p->lock);
    if (p->n_news == p->news_cap) {
        const size_t cap = TW_MAX(2 * p->news_cap, (size_t)64);
        pull_news *v = tw_mem_realloc(p->news, cap * sizeof *v);
        if (v != NULL) {
            p->news = v;
            p->news_cap = cap;
        }
    }
    if (p->n_news < p->news_cap)
        p->news[p->n_news++] = (pull_news){unit, from, rc};
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
}

static void on_net_unit(void *arg, size_t unit, bool is_there)
{
    note(arg, unit, -1, is_there ? 0 : -EBUSY);
}

static void on_peer_unit(void *arg, size_t unit, unsigned from, int rc, const char *why)
{
    tw_agent_pull *p = arg;
    if (rc == -ENOTCONN) {
        pthread_mutex_lock(&p->lock);
        if (!p->lost[from])
            snprintf(p->lost_why[from], sizeof p->lost_why[from], "%s", why);
        p->lost[from] = true;
        pthread_mutex_unlock(&p->lock);
    }
    if (unit != SIZE_MAX)
        note(p, unit, (int)from, rc);
}

/* What is there is hashed first: the head is told how far. */
static bool on_bytes(void *arg, uint64_t n)
{
    tw_agent *a = arg;
    const uint64_t now = tw_clock_now_ns();
    a->pull->hashed_bytes += n;
    if (now - a->pull->told_ns >= TELL_NS) {
        a->pull->told_ns = now;
        tw_agent_tell(a, json_pack("{s:s, s:I}", "event", "hashed", "bytes",
                                   (json_int_t)a->pull->hashed_bytes));
    }
    return !tw_agent_is_cut(a);
}

static int open_store(tw_agent *a, tw_json_obj *o, tw_err *err)
{
    tw_agent_pull *p = a->pull;
    const char *source = tw_json_text(o, "source", "");
    const uint64_t range = tw_json_u64_needed(o, "range", 1024, RANGE_MAX_BYTES);
    const bool verify = tw_json_bool(o, "verify", false);
    if (o->rc != 0)
        return o->rc;
    int rc = tw_hub_path(p->source, err, "%s", source);
    const tw_hub_store_opts so = {.place = &p->place,
                                  .name = &p->name,
                                  .list = &p->list,
                                  .range_bytes = range,
                                  .source = source[0] != '\0' ? p->source : NULL,
                                  .verify = verify,
                                  .on_bytes = on_bytes,
                                  .arg = a};
    if (rc == 0)
        rc = tw_hub_store_open(&so, &p->store, err);
    if (rc != 0)
        return rc;
    p->told_state = tw_mem_calloc(TW_MAX(p->list.n, 1u), sizeof *p->told_state);
    p->told_bad = tw_mem_calloc(TW_MAX(p->list.n, 1u), sizeof *p->told_bad);
    return p->told_state != NULL && p->told_bad != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory");
}

static int open_share(tw_agent *a, tw_json_obj *o, uint16_t *ret_port, tw_err *err)
{
    tw_agent_pull *p = a->pull;
    tw_share_opts so = {.store = p->store, .ip = p->address, .on_unit = on_peer_unit, .arg = p};
    const char *address = tw_json_text(o, "address", ""), *token = tw_json_text(o, "token", "");
    so.self = (unsigned)tw_json_u64(o, "self", 0, 0, TW_SHARE_NODES_MAX - 1);
    so.n_nodes = (unsigned)tw_json_u64(o, "n", 1, 1, TW_SHARE_NODES_MAX);
    *ret_port = 0;
    if (o->rc != 0 || address[0] == '\0')
        return o->rc;
    if (!tw_agent_token_parse(token, so.token))
        return tw_err_set(err, -EINVAL, "pull: the token is no 64 hex digits");
    tw_secret_guard();
    int rc = tw_agent_own_address(address, p->address, sizeof p->address, err);
    if (rc == 0)
        rc = tw_share_open(&so, &p->share, ret_port, err);
    explicit_bzero(so.token, sizeof so.token);
    return rc;
}

/* Units of [from, to) that are there, in runs, and what was begun of others. */
static void print_have(tw_agent_pull *p, size_t from, size_t to, json_t *have, json_t *begun)
{
    size_t n = 0;
    for (size_t u = from; u <= to; u++) {
        const uint64_t done = u < to ? tw_hub_store_done(p->store, u) : 0;
        const bool full = u < to && done == tw_hub_map_bytes(tw_hub_store_map(p->store), u);
        if (!full && n > 0)
            (void)!json_array_append_new(have,
                                         json_pack("[I, I]", (json_int_t)(u - n), (json_int_t)n));
        n = full ? n + 1 : 0;
        if (!full && done > 0)
            (void)!json_array_append_new(begun,
                                         json_pack("[I, I]", (json_int_t)u, (json_int_t)done));
    }
}

/* What changed of files since the last time, all of it the first time. */
static bool print_files(tw_agent_pull *p, bool all, json_t *ret)
{
    static const char *const keys[] = {[TW_HUB_STORE_BUSY] = "busy",
                                       [TW_HUB_STORE_OPEN] = "open",
                                       [TW_HUB_STORE_WHOLE] = "whole",
                                       [TW_HUB_STORE_STUCK] = "stuck"};
    const tw_hub_map *m = tw_hub_store_map(p->store);
    json_t *lists[4], *have = json_array(), *begun = json_array(), *bad = json_array();
    bool any = false;
    for (unsigned k = 0; k < 4; k++)
        lists[k] = json_array();
    for (size_t f = 0; f < m->n_files; f++) {
        const unsigned n_bad = tw_hub_store_n_bad(p->store, f);
        const enum tw_hub_store_state st = tw_hub_store_state(p->store, f);
        if (n_bad != p->told_bad[f]) {
            (void)!json_array_append_new(bad, json_integer((json_int_t)f));
            p->told_bad[f] = n_bad;
            any = true;
        }
        if (!all && st == p->told_state[f])
            continue;
        p->told_state[f] = (uint8_t)st;
        any = true;
        (void)!json_array_append_new(lists[st], json_integer((json_int_t)f));
        if (st == TW_HUB_STORE_OPEN)
            print_have(p, m->first[f], m->first[f + 1], have, begun);
    }
    for (unsigned k = 0; k < 4; k++)
        json_object_set_new(ret, keys[k], lists[k]);
    json_object_set_new(ret, "have", have);
    json_object_set_new(ret, "begun", begun);
    json_object_set_new(ret, "bad", bad);
    return any;
}

static int open_pull(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "pull", .prefix = "", .v = request, .err = err};
    const char *model = tw_json_text(&o, "model", ""), *sha = tw_json_text(&o, "sha", "");
    uint64_t need = 0, room = 0;
    uint16_t port = 0;
    int rc = o.rc != 0 ? o.rc : add_files(a, request, err);
    if (rc != 0)
        return rc;
    tw_agent_pull *p = a->pull;
    rc = tw_hub_name_parse(model, &p->name, err);
    if (rc == 0)
        rc = tw_hub_place_get(&p->place, err);
    if (rc == 0)
        rc = tw_pull_files_parse(model, sha, p->files, &p->list, err);
    json_decref(p->files);
    p->files = NULL;
    if (rc == 0)
        rc = open_store(a, &o, err);
    if (rc == 0)
        rc = open_share(a, &o, &port, err);
    if (rc != 0) {
        tw_agent_pull_end(a);
        return rc;
    }
    tw_hub_store_room(p->store, &need, &room);
    *ret =
        json_pack("{s:s, s:I, s:I, s:i, s:b, s:s}", "path", tw_hub_store_path(p->store), "need",
                  (json_int_t)need, "free", (json_int_t)TW_MIN(room, (uint64_t)INT64_MAX), "port",
                  port, "has_token", p->place.token[0] != '\0', "endpoint", p->place.endpoint);
    (void)print_files(p, true, *ret);
    return 0;
}

/* ---- beginning ---- */

static int meet_peers(tw_agent_pull *p, const json_t *peers, tw_err *err)
{
    int rc = 0;
    const char *zone = strchr(p->address, '%');
    for (size_t i = 0; i < json_array_size(peers) && rc == 0 && p->share != NULL; i++) {
        char ip[128];
        const json_t *v = json_array_get(peers, i);
        tw_json_obj o = {.file = "pull", .prefix = "peers.", .v = v, .err = err};
        if (!json_is_object(v))
            continue;
        const char *theirs = tw_json_text(&o, "ip", "");
        const uint16_t port = (uint16_t)tw_json_u64_needed(&o, "port", 1, UINT16_MAX);
        snprintf(ip, sizeof ip, "%.64s%s", theirs,
                 zone != NULL && strchr(theirs, '%') == NULL ? zone : "");
        rc = o.rc != 0 ? o.rc : tw_share_meet(p->share, (unsigned)i, ip, port, err);
    }
    return rc;
}

static int begin_pull(tw_agent *a, const json_t *request, tw_err *err)
{
    tw_agent_pull *p = a->pull;
    tw_json_obj o = {.file = "pull", .prefix = "", .v = request, .err = err};
    if (p == NULL || p->store == NULL || p->getter != NULL)
        return tw_err_set(err, -EINVAL, "pull: nothing is open");
    tw_hub_getter_opts go = {.place = &p->place,
                             .name = &p->name,
                             .commit = p->list.commit,
                             .store = p->store,
                             .on_unit = on_net_unit,
                             .arg = p};
    go.n_connections = (unsigned)tw_json_u64(&o, "connections", 0, 0, TW_HUB_CONNECTIONS_MAX);
    const bool with_net = tw_json_bool(&o, "net", true);
    int rc = tw_pull_take_hub(&p->place, &o, err);
    if (rc == 0)
        rc = meet_peers(p, json_object_get(request, "peers"), err);
    if (rc == 0 && p->share != NULL)
        tw_share_begin(p->share);
    if (rc != 0 || !with_net)
        return rc;
    tw_err why = {0};
    if (p->place.offline)
        (void)!tw_err_set(&why, -ENETDOWN, "HF_HUB_OFFLINE is set there");
    else
        (void)!tw_hub_getter_start(&go, &p->getter, &why);
    p->failure = why; /* without a net it takes from the others: the head is told */
    return 0;
}

/* ---- turns ---- */

static int take_orders(tw_agent_pull *p, const json_t *request, tw_err *err)
{
    const size_t n_units = tw_hub_store_map(p->store)->n_units;
    const json_t *net = json_object_get(request, "net"), *peer = json_object_get(request, "peer");
    const json_t *forget = json_object_get(request, "forget");
    const json_t *drop = json_object_get(request, "drop");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(drop) && p->share != NULL; i++) {
        const json_int_t who = json_integer_value(json_array_get(drop, i));
        if (who >= 0 && who < TW_SHARE_NODES_MAX)
            tw_share_drop(p->share, (unsigned)who);
    }
    for (size_t i = 0; i < json_array_size(forget) && p->getter != NULL; i++)
        tw_hub_getter_forget(p->getter, (size_t)json_integer_value(json_array_get(forget, i)));
    for (size_t i = 0; i < json_array_size(net) && rc == 0; i++) {
        const json_int_t u = json_integer_value(json_array_get(net, i));
        if (u < 0 || (size_t)u >= n_units || p->getter == NULL)
            return tw_err_set(err, -EINVAL, "pull: unit %lld from the net: there is none",
                              (long long)u);
        rc = tw_hub_getter_order(p->getter, (size_t)u, err);
    }
    for (size_t i = 0; i < json_array_size(peer) && rc == 0; i++) {
        const json_t *v = json_array_get(peer, i);
        const json_int_t u = json_integer_value(json_array_get(v, 0));
        const json_int_t from = json_integer_value(json_array_get(v, 1));
        if (u < 0 || (size_t)u >= n_units || from < 0 || from >= TW_SHARE_NODES_MAX ||
            p->share == NULL)
            return tw_err_set(err, -EINVAL, "pull: unit %lld of node %lld: there is none",
                              (long long)u, (long long)from);
        rc = tw_share_order(p->share, (size_t)u, (unsigned)from, err);
    }
    return rc;
}

/* Lock held: units that came or did not, peers that were lost. */
static bool print_news(tw_agent_pull *p, json_t *ret)
{
    json_t *came = json_array(), *failed = json_array(), *lost = json_array();
    const bool any = p->n_news > 0;
    for (size_t i = 0; i < p->n_news; i++) {
        const pull_news *n = &p->news[i];
        /* Its file may have been found to be bad since. */
        const bool is_there =
            n->rc == 0 && tw_hub_store_done(p->store, n->unit) ==
                              tw_hub_map_bytes(tw_hub_store_map(p->store), n->unit);
        (void)!json_array_append_new(is_there ? came : failed,
                                     json_pack("[I, i, i]", (json_int_t)n->unit, n->from, n->rc));
    }
    p->n_news = 0;
    for (unsigned i = 0; i < TW_SHARE_NODES_MAX; i++)
        if (p->lost[i] && p->lost_why[i][0] != '\0') {
            (void)!json_array_append_new(lost, json_pack("[i, s]", (int)i, p->lost_why[i]));
            p->lost_why[i][0] = '\0';
        }
    json_object_set_new(ret, "came", came);
    json_object_set_new(ret, "failed", failed);
    json_object_set_new(ret, "lost", lost);
    return any || json_array_size(lost) > 0;
}

static bool print_net(tw_agent_pull *p, json_t *ret)
{
    tw_hub_getter_news n = {.why = p->failure};
    tw_share_news s = {0};
    tw_err failure = {0};
    if (p->getter != NULL)
        tw_hub_getter_look(p->getter, &n);
    if (p->share != NULL)
        tw_share_look(p->share, &s);
    const bool new_net = n.why.code != 0 && !p->told_net;
    const bool new_failure = !p->told_failure && tw_hub_store_failure(p->store, &failure) != 0;
    if (new_net)
        json_object_set_new(ret, "net_error", json_string(n.why.msg));
    if (new_failure)
        json_object_set_new(ret, "failure", json_string(failure.msg));
    p->told_net |= new_net;
    p->told_failure |= new_failure;
    if (n.waits[0] != '\0')
        json_object_set_new(ret, "waits", json_string(n.waits));
    json_object_set_new(ret, "done_bytes",
                        json_integer((json_int_t)tw_hub_store_done_bytes(p->store)));
    json_object_set_new(ret, "net_bytes", json_integer((json_int_t)n.bytes));
    json_object_set_new(ret, "peer_bytes", json_integer((json_int_t)s.taken_bytes));
    json_object_set_new(ret, "given_bytes", json_integer((json_int_t)s.given_bytes));
    json_object_set_new(ret, "refused", json_integer((json_int_t)s.n_refused));
    return new_net || new_failure;
}

static void wait_for_news(tw_agent_pull *p)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&p->lock);
    if (p->n_news == 0)
        (void)pthread_cond_timedwait(&p->more, &p->lock, &until);
    pthread_mutex_unlock(&p->lock);
}

static int turn(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_agent_pull *p = a->pull;
    tw_json_obj o = {.file = "pull", .prefix = "", .v = request, .err = err};
    const uint64_t ms = tw_json_u64(&o, "wait_ms", 100, 0, WAIT_MS_MAX);
    if (o.rc != 0)
        return o.rc;
    if (p == NULL || p->store == NULL)
        return tw_err_set(err, -EINVAL, "pull: nothing is open");
    const uint64_t until = tw_clock_now_ns() + ms * TW_NS_PER_MS;
    int rc = take_orders(p, request, err);
    if (rc != 0)
        return rc;
    for (;;) {
        json_t *v = json_object();
        if (v == NULL)
            return tw_err_set(err, -ENOMEM, "no memory for the news");
        tw_hub_store_look(p->store);
        pthread_mutex_lock(&p->lock);
        bool any = print_news(p, v);
        pthread_mutex_unlock(&p->lock);
        any = print_files(p, false, v) || any;
        any = print_net(p, v) || any;
        if (any || tw_clock_now_ns() >= until || tw_agent_is_cut(a)) {
            *ret = v;
            return 0;
        }
        json_decref(v);
        wait_for_news(p);
    }
}

static int end_pull(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    int rc = 0;
    if (a->pull == NULL || a->pull->store == NULL)
        return tw_err_set(err, -EINVAL, "pull: nothing is open");
    if (json_is_true(json_object_get(request, "finish")))
        rc = tw_hub_store_finish(a->pull->store, err);
    if (rc == 0)
        *ret = json_pack("{s:s}", "path", tw_hub_store_path(a->pull->store));
    tw_agent_pull_end(a);
    return rc;
}

int tw_agent_pull_op(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    const char *what = json_string_value(json_object_get(request, "do"));
    what = what != NULL ? what : "";
    if (strcmp(what, "turn") == 0)
        return turn(a, request, ret, err);
    if (strcmp(what, "list") == 0)
        return tw_pull_tell_list(request, ret, err);
    if (strcmp(what, "has") == 0)
        return tw_pull_tell_has(request, ret, err);
    if (strcmp(what, "files") == 0)
        return add_files(a, request, err);
    if (strcmp(what, "open") == 0)
        return open_pull(a, request, ret, err);
    if (strcmp(what, "begin") == 0)
        return begin_pull(a, request, err);
    if (strcmp(what, "end") == 0)
        return end_pull(a, request, ret, err);
    return tw_err_set(err, -ENOSYS, "pull: %.40s: this agent does not know that", what);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/share_run.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/share_run_inside.h"
#include "fmt/agent_frame.h"
#include "hub/fetch.h"
#include "os/signal.h"
#include "os/sys.h"

enum { SHOW_US = 20 * 1000, PEER_WINDOW = 8 };

_Static_assert((int)TW_SHARE_NODES_MAX == (int)TW_DEAL_NODES_MAX, "the same nodes");

void tw_share_say(run_node *n, const char *text)
{
    const tw_share_job *j = n->r->job;
    if (j->say == NULL)
        return;
    pthread_mutex_lock(&n->r->say_lock);
    j->say(j->arg, n->state.name, text);
    pthread_mutex_unlock(&n->r->say_lock);
}

/* It does no more; the others go on. */
static void lose(run_node *n, const tw_err *why)
{
    share_run *r = n->r;
    pthread_mutex_lock(&r->lock);
    const bool news = !n->state.is_gone;
    n->state.is_gone = true;
    n->err = *why;
    snprintf(n->state.why, sizeof n->state.why, "%s", why->msg);
    if (r->deal != NULL)
        tw_deal_gone(r->deal, n->i);
    pthread_mutex_unlock(&r->lock);
    if (news && why->code != -ECANCELED)
        tw_share_say(n, why->msg);
}

/* ---- connecting and opening ---- */

static void greet(run_node *n)
{
    const tw_share_job *j = n->r->job;
    const tw_push_face *push = n->i > 0 ? j->push : NULL;
    tw_err why = {0};
    if (n->own == NULL || n->state.is_gone)
        return;
    int rc = tw_remote_push_greet(push, n->own, &why);
    rc = tw_remote_push_mend(push, n->state.name, j->nodes[n->i].ssh, rc, &n->own, &why);
    n->remote = n->own;
    if (rc != 0)
        lose(n, &why);
}

static int connect_all(share_run *r, tw_err *err)
{
    int rc = 0;
    for (unsigned i = 0; i < r->job->n; i++) {
        run_node *n = &r->nodes[i];
        const tw_share_spec *s = &r->job->nodes[i];
        tw_err why = {0};
        n->remote = s->remote;
        if (n->remote != NULL)
            continue;
        rc = tw_remote_start(i == 0 ? "local" : s->ssh, i == 0 ? NULL : s->agent_path, &n->own,
                             &why);
        n->remote = n->own;
        if (rc != 0)
            lose(n, &why);
    }
    for (unsigned i = 0; i < r->job->n; i++)
        greet(&r->nodes[i]);
    if (r->nodes[0].state.is_gone) {
        *err = r->nodes[0].err;
        return err->code;
    }
    return 0;
}

static void *open_node(void *arg)
{
    run_node *n = arg;
    tw_err why = {0};
    if (tw_share_talk_open(n, &why) != 0)
        lose(n, &why);
    pthread_mutex_lock(&n->r->lock);
    n->has_ended = true;
    pthread_mutex_unlock(&n->r->lock);
    return NULL;
}

/* fn on each node that is there, each in a thread of its own. */
static void start_each(share_run *r, void *(*fn)(void *node))
{
    for (unsigned i = 0; i < r->job->n; i++) {
        run_node *n = &r->nodes[i];
        if (n->state.is_gone)
            continue;
        n->has_ended = false;
        const int rc = pthread_create(&n->thread, NULL, fn, n);
        n->has_thread = rc == 0;
        if (rc != 0) {
            tw_err why = {0};
            (void)!tw_err_set(&why, -rc, "no thread for %s: %s", n->state.name, strerror(rc));
            lose(n, &why);
        }
    }
}

static void join_each(share_run *r)
{
    for (unsigned i = 0; i < r->job->n; i++)
        if (r->nodes[i].has_thread) {
            pthread_join(r->nodes[i].thread, NULL);
            r->nodes[i].has_thread = false;
        }
}

static int check_room(const share_run *r, tw_err *err)
{
    for (unsigned i = 0; i < r->job->n; i++) {
        const run_node *n = &r->nodes[i];
        if (n->state.is_gone)
            continue;
        const json_int_t need = json_integer_value(json_object_get(n->opened, "need"));
        const json_int_t room = json_integer_value(json_object_get(n->opened, "free"));
        if (need == 0 || need + (64 << 20) <= room)
            continue;
        return tw_err_set(err, -ENOSPC,
                          "%s: %.2f GB are still to come and %.2f GB are free at %.60s: make room "
                          "(`twinax models`), or set HF_HOME there to a larger disk",
                          n->state.name, (double)need / 1e9, (double)room / 1e9, n->state.path);
    }
    return 0;
}

static int make_deal(share_run *r, tw_err *err)
{
    const tw_share_job *j = r->job;
    const unsigned n_net = j->n_connections != 0 ? j->n_connections : TW_HUB_CONNECTIONS;
    r->unit_bytes = tw_mem_calloc(TW_MAX(r->map.n_units, 1u), sizeof *r->unit_bytes);
    if (r->unit_bytes == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    for (size_t u = 0; u < r->map.n_units; u++)
        r->unit_bytes[u] = (uint32_t)tw_hub_map_bytes(&r->map, u);
    const tw_deal_opts o = {.n_nodes = j->n,
                            .n_units = r->map.n_units,
                            .n_files = r->map.n_files,
                            .file = r->map.file,
                            .bytes = r->unit_bytes,
                            .from_net = j->from_net,
                            .net_window = n_net + n_net / 2,
                            .peer_window = PEER_WINDOW};
    int rc = tw_deal_new(&o, &r->deal, err);
    for (unsigned i = 0; i < j->n && rc == 0; i++) {
        run_node *n = &r->nodes[i];
        if (n->state.is_gone)
            tw_deal_gone(r->deal, i);
        else
            tw_share_talk_take_open(n);
        if (j->no_net && rc == 0)
            tw_deal_no_net(r->deal, i);
    }
    return rc;
}

/* ---- the work ---- */

/* Whether nobody needs anything of anybody. */
static bool all_have_it(share_run *r)
{
    bool all = true;
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->job->n; i++)
        all = all && (r->nodes[i].state.is_whole || r->nodes[i].state.is_gone);
    pthread_mutex_unlock(&r->lock);
    return all;
}

static void *work(void *arg)
{
    run_node *n = arg;
    tw_err why = {0};
    int rc = tw_share_talk_begin(n, &why);
    while (rc == 0 && !(n->state.is_whole && all_have_it(n->r)))
        rc = tw_share_talk_turn(n, &why);
    pthread_mutex_lock(&n->r->lock);
    n->has_ended = true;
    pthread_mutex_unlock(&n->r->lock);
    if (rc == 0)
        rc = tw_share_talk_end(n, true, &why);
    if (rc != 0)
        lose(n, &why);
    return NULL;
}

static void show(share_run *r)
{
    tw_share_state v[TW_SHARE_NODES_MAX];
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->job->n; i++)
        v[i] = r->nodes[i].state;
    pthread_mutex_unlock(&r->lock);
    if (r->job->progress != NULL) {
        pthread_mutex_lock(&r->say_lock);
        r->job->progress(r->job->arg, v, r->job->n);
        pthread_mutex_unlock(&r->say_lock);
    }
}

static bool any_works(share_run *r)
{
    bool any = false;
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->job->n; i++)
        any =
            any || (r->nodes[i].has_thread && !r->nodes[i].has_ended && !r->nodes[i].state.is_gone);
    pthread_mutex_unlock(&r->lock);
    return any;
}

/* It checks what is there, before anything is dealt. */
static bool any_hashes(share_run *r)
{
    bool any = false;
    pthread_mutex_lock(&r->lock);
    for (unsigned i = 0; i < r->job->n; i++)
        any = any || r->nodes[i].state.is_checking;
    pthread_mutex_unlock(&r->lock);
    return any;
}

static void await_each(share_run *r)
{
    while (any_works(r)) {
        usleep(SHOW_US);
        if (r->deal != NULL || any_hashes(r))
            show(r);
    }
    join_each(r);
}

static int judge(share_run *r, tw_share_state *ret, tw_err *err)
{
    int rc = 0;
    for (unsigned i = 0; i < r->job->n; i++) {
        ret[i] = r->nodes[i].state;
        if (rc == 0 && ret[i].is_gone) {
            *err = r->nodes[i].err;
            rc = err->code;
        }
    }
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -EINTR,
                          "stopped; what came is kept on every node: the same command "
                          "goes on");
    return rc;
}

static int run(share_run *r, tw_share_state *ret, tw_err *err)
{
    int rc = connect_all(r, err);
    if (rc != 0)
        return rc;
    start_each(r, open_node);
    await_each(r);
    if (tw_signal_asked_to_stop() || r->nodes[0].state.is_gone)
        return judge(r, ret, err);
    rc = check_room(r, err);
    if (rc == 0)
        rc = make_deal(r, err);
    if (rc != 0)
        return rc;
    start_each(r, work);
    await_each(r);
    show(r);
    return judge(r, ret, err);
}

static int make_token(char out[65], tw_err *err)
{
    uint8_t token[32];
    int rc = tw_sys_random(token, sizeof token);
    if (rc != 0)
        return tw_err_set(err, rc, "no random bytes: %s", strerror(-rc));
    tw_agent_token_print(token, out);
    explicit_bzero(token, sizeof token);
    return 0;
}

int tw_share_run(const tw_share_job *job, tw_share_state *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) share_run *r = tw_mem_calloc(1, sizeof *r);
    tw_err own = {0};
    err = err != NULL ? err : &own;
    if (r == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    r->job = job;
    pthread_mutex_init(&r->lock, NULL);
    pthread_mutex_init(&r->say_lock, NULL);
    for (unsigned i = 0; i < job->n; i++) {
        r->nodes[i] = (run_node){.r = r, .i = i};
        r->nodes[i].state.name = job->nodes[i].name;
    }
    const uint64_t range =
        job->range_bytes != 0 ? job->range_bytes : tw_hub_map_range_bytes(job->list, job->n);
    int rc = make_token(r->token, err);
    if (rc == 0)
        rc = tw_hub_map_make(job->list, range, &r->map, err);
    for (size_t u = 0; rc == 0 && u < r->map.n_units; u++)
        r->total_bytes += tw_hub_map_bytes(&r->map, u);
    for (unsigned i = 0; i < job->n; i++)
        r->nodes[i].state.total_bytes = r->total_bytes;
    if (rc == 0)
        rc = run(r, ret, err);
    for (unsigned i = 0; i < job->n; i++)
        tw_remote_part(r->nodes[i].own);
    for (unsigned i = 0; i < job->n; i++) {
        json_decref(r->nodes[i].opened);
        tw_remote_close(r->nodes[i].own);
    }
    explicit_bzero(r->token, sizeof r->token);
    tw_deal_free(r->deal);
    tw_hub_map_done(&r->map);
    tw_mem_free(r->unit_bytes);
    pthread_mutex_destroy(&r->say_lock);
    pthread_mutex_destroy(&r->lock);
    return rc;
}

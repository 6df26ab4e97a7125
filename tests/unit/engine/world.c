/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <string.h>

static int open_rank(world_rank *r)
{
    world *w = r->world;
    int rc = tw_model_open(w->model_path, &r->model, &r->err);
    tw_engine_opts o = w->opts;
    o.n_threads = o.n_threads != 0 ? o.n_threads : 1;
    o.i_local = r->rank;
    o.n_local = 128; /* many ranks here: no pinning */
    if (rc == 0 && w->n_ranks > 1) {
        tw_coll_fact *facts;
        size_t n_facts;
        rc = tw_engine_facts(r->model, &o, w->n_ranks, &facts, &n_facts, &r->err);
        tw_coll_opts co = {.rank = r->rank,
                           .n_ranks = w->n_ranks,
                           .transport = w->transport,
                           .token = w->token,
                           .address = "127.0.0.1",
                           .port = w->port,
                           .listen_fd = r->rank == 0 ? w->listen_fd : -1,
                           .facts = facts,
                           .n_facts = n_facts};
        if (rc == 0) {
            rc = tw_coll_open(&co, &r->coll, &r->err);
            tw_engine_facts_free(facts, n_facts);
        }
    }
    return rc == 0 ? tw_engine_open(r->model, r->coll, &o, &r->engine, &r->err) : rc;
}

static void close_rank(world_rank *r)
{
    tw_engine_close(r->engine);
    tw_coll_close(r->coll);
    tw_model_close(r->model);
}

static void *rank_main(void *arg)
{
    world_rank *r = arg;
    r->rc = open_rank(r);
    if (r->rc == 0)
        r->rc = tw_engine_serve_rank(r->engine, &r->err);
    close_rank(r);
    return NULL;
}

int world_open(world *w)
{
    tw_err err;
    memset(w->token, 0x5a, sizeof(w->token));
    w->listen_fd = -1;
    if (w->n_ranks > 1 && tw_sock_listen("127.0.0.1", 0, &w->listen_fd, &w->port, &err) != 0)
        return -1;
    for (unsigned i = 0; i < w->n_ranks; i++)
        w->ranks[i] = (world_rank){.world = w, .rank = i};
    for (unsigned i = 1; i < w->n_ranks; i++)
        if (pthread_create(&w->ranks[i].thread, NULL, rank_main, &w->ranks[i]) != 0)
            return -1;
    w->ranks[0].rc = open_rank(&w->ranks[0]);
    return w->ranks[0].rc;
}

int world_close(world *w)
{
    int rc = w->ranks[0].rc;
    close_rank(&w->ranks[0]);
    for (unsigned i = 1; i < w->n_ranks; i++) {
        pthread_join(w->ranks[i].thread, NULL);
        rc = rc != 0 ? rc : w->ranks[i].rc;
    }
    return rc;
}

static void on_event(void *ctx, const tw_event *ev)
{
    world_result *r = ctx;
    pthread_mutex_lock(&r->lock);
    if (ev->kind == TW_EVENT_TOKEN) {
        if (ev->id != UINT32_MAX && r->n_ids < 512)
            r->ids[r->n_ids++] = ev->id;
    } else {
        r->n_done++;
        r->finish = ev->finish;
        r->code = ev->err != NULL ? ev->err->code : 0;
    }
    const bool cancel = r->cancel_after != 0 && r->n_ids == r->cancel_after;
    const uint64_t id = r->id;
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->lock);
    if (cancel)
        tw_engine_cancel(r->engine, id);
}

int world_submit(world *w, const tw_request *r, world_result *ret, tw_err *err)
{
    tw_request req = *r;
    const unsigned cancel_after = ret->cancel_after;
    memset(ret, 0, sizeof(*ret));
    ret->cancel_after = cancel_after;
    ret->engine = w->ranks[0].engine;
    pthread_mutex_init(&ret->lock, NULL);
    pthread_cond_init(&ret->cond, NULL);
    req.on_event = on_event;
    req.ctx = ret;
    pthread_mutex_lock(&ret->lock); /* the id is there before the first event */
    int rc = tw_engine_submit(ret->engine, &req, &ret->id, err);
    pthread_mutex_unlock(&ret->lock);
    return rc;
}

void world_wait(world_result *ret)
{
    pthread_mutex_lock(&ret->lock);
    while (ret->n_done == 0)
        pthread_cond_wait(&ret->cond, &ret->lock);
    pthread_mutex_unlock(&ret->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <stdio.h>
#include <string.h>

#include "../model/tiny.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"

int world_put_tokenizer(const char *dir, unsigned vocab)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1 << 20);
    int rc = tw_buf_puts(&b, "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                             "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
                             "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},"
                             "\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
    for (unsigned i = 0; i < vocab && rc == 0; i++)
        rc = tw_buf_printf(&b, "%s\"%c%c%c\":%u", i > 0 ? "," : "", 'a' + (int)(i / 100 % 10),
                           'k' + (int)(i / 10 % 10), '0' + (int)(i % 10), i);
    if (rc == 0)
        rc = tw_buf_puts(&b, "}}}");
    return rc == 0 ? tw_tiny_put(dir, "tokenizer.json", b.data, b.len) : rc;
}

tw_engine_opts world_rank_opts(const world_rank *r)
{
    tw_engine_opts o = r->world->opts;
    o.n_threads = o.n_threads != 0 ? o.n_threads : 1;
    o.i_local = r->rank;
    o.n_local = 128; /* many ranks here: no pinning */
    return o;
}

int world_meet(world_rank *r)
{
    world *w = r->world;
    int rc = tw_model_open(w->model_path, &r->model, &r->err);
    const tw_engine_opts o = world_rank_opts(r);
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
                           .step_ns = 60 * TW_NS_PER_S, /* starved is not stuck */
                           .facts = facts,
                           .n_facts = n_facts};
        if (rc == 0) {
            rc = tw_coll_open(&co, &r->coll, &r->err);
            tw_engine_facts_free(facts, n_facts);
        }
    }
    return rc;
}

static int open_rank(world_rank *r)
{
    const tw_engine_opts o = world_rank_opts(r);
    int rc = world_meet(r);
    if (rc == 0 && r->world->met != NULL)
        r->world->met(r);
    return rc == 0 ? tw_engine_open(r->model, r->coll, &o, &r->engine, &r->err) : rc;
}

void world_leave(world_rank *r)
{
    tw_engine_close(r->engine);
    tw_coll_close(r->coll);
    tw_model_close(r->model);
}

void *world_rank_main(void *arg)
{
    world_rank *r = arg;
    r->rc = open_rank(r);
    if (r->rc == 0)
        r->rc = tw_engine_serve_rank(r->engine, &r->err);
    world_leave(r);
    return NULL;
}

int world_prepare(world *w)
{
    tw_err err;
    memset(w->token, 0x5a, sizeof(w->token));
    w->listen_fd = -1;
    if (w->n_ranks > 1 && tw_sock_listen("127.0.0.1", 0, &w->listen_fd, &w->port, &err) != 0)
        return -1;
    for (unsigned i = 0; i < w->n_ranks; i++)
        w->ranks[i] = (world_rank){.world = w, .rank = i};
    return 0;
}

int world_open(world *w)
{
    if (world_prepare(w) != 0)
        return -1;
    for (unsigned i = 1; i < w->n_ranks; i++)
        if (pthread_create(&w->ranks[i].thread, NULL, world_rank_main, &w->ranks[i]) != 0)
            return -1;
    w->ranks[0].rc = open_rank(&w->ranks[0]);
    return w->ranks[0].rc;
}

int world_close(world *w)
{
    int rc = w->ranks[0].rc;
    world_leave(&w->ranks[0]);
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
        const size_t n = TW_MIN(ev->text_len, sizeof(r->text) - 1 - r->n_text);
        memcpy(r->text + r->n_text, ev->text, n);
        r->n_text += n;
        if (ev->id != UINT32_MAX && r->n_ids < 512)
            r->ids[r->n_ids++] = ev->id;
    } else {
        r->n_done++;
        r->finish = ev->finish;
        r->n_generated = ev->n_generated;
        if (ev->err != NULL)
            r->err = *ev->err;
    }
    const bool cancel = r->cancel_after != 0 && r->n_ids == r->cancel_after;
    const uint64_t id = r->id;
    if (r->watch != NULL)
        r->watch(r, ev);
    pthread_cond_broadcast(&r->cond);
    pthread_mutex_unlock(&r->lock);
    if (cancel)
        tw_engine_cancel(r->engine, id);
}

int world_submit(world *w, const tw_request *r, world_result *ret, tw_err *err)
{
    tw_request req = *r;
    *ret = (world_result){.cancel_after = ret->cancel_after, .watch = ret->watch};
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

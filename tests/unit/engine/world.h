/* SPDX-License-Identifier: Apache-2.0 */
/* A model served by R ranks, as threads of this process joined over loopback: rank 0's engine is
 * handed out, the others serve until it closes. */
#ifndef TWINAX_TESTS_WORLD_H
#define TWINAX_TESTS_WORLD_H

#include <pthread.h>

#include "os/sock.h"
#include "twinax/engine.h"

typedef struct world_rank {
    struct world *world;
    unsigned rank;
    tw_model *model;
    tw_coll *coll;
    tw_engine *engine;
    pthread_t thread;
    int rc;
    tw_err err;
} world_rank;

typedef struct world {
    const char *model_path;
    unsigned n_ranks;
    enum tw_transport transport;
    tw_engine_opts opts;
    uint8_t token[TW_TOKEN_BYTES];
    int listen_fd;
    uint16_t port;
    void (*met)(world_rank *r); /* or NULL: between rendezvous and load, in the rank's thread */
    world_rank ranks[TW_RANKS_MAX];
} world;

/* A byte-level tokenizer whose token i is three letters: hundreds a..j, tens k..t, ones 0..9. */
int world_put_tokenizer(const char *dir, unsigned vocab);

/* The caller fills model_path, n_ranks, transport and opts. 0 or the first error, in ranks[0]. */
int world_open(world *w);
/* Ends rank 0, joins the others; returns the first rank's error that is not 0. */
int world_close(world *w);

/* The parts, for ranks that are processes or frauds: prepare fills ranks and listens; meet opens
 * model and group; rank_main serves a rank to its end; leave closes what a rank has. */
int world_prepare(world *w);
int world_meet(world_rank *r);
tw_engine_opts world_rank_opts(const world_rank *r);
void *world_rank_main(void *rank);
void world_leave(world_rank *r);

/* One generation, waited for. */
typedef struct world_result {
    uint32_t ids[512];
    unsigned n_ids;
    char text[4096];
    size_t n_text;
    enum tw_finish finish;
    unsigned n_done;
    uint32_t n_generated;
    tw_err err;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t id;
    unsigned cancel_after;                                     /* tokens; 0: never */
    void (*watch)(struct world_result *r, const tw_event *ev); /* or NULL; under the lock */
    tw_engine *engine;
} world_result;

/* r: prompt, sampling and limits; events are taken over. */
int world_submit(world *w, const tw_request *r, world_result *ret, tw_err *err);
void world_wait(world_result *ret);

#endif

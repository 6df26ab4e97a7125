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
    world_rank ranks[TW_RANKS_MAX];
} world;

/* The caller fills model_path, n_ranks, transport and opts. 0 or the first error, in ranks[0]. */
int world_open(world *w);
/* Ends rank 0, joins the others; returns the first rank's error that is not 0. */
int world_close(world *w);

/* One generation, waited for. */
typedef struct world_result {
    uint32_t ids[512];
    unsigned n_ids;
    enum tw_finish finish;
    unsigned n_done;
    int code; /* of the error */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t id;
    unsigned cancel_after; /* tokens; 0: never */
    tw_engine *engine;
} world_result;

/* r: prompt, sampling and limits; events are taken over. */
int world_submit(world *w, const tw_request *r, world_result *ret, tw_err *err);
void world_wait(world_result *ret);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the engine of rank 0 share: its state, and what its thread does. engine.c opens and
 * closes it, engine_turn.c is the thread's work between two steps, engine_ask.c what any other thread may
 * ask. One thread owns the rank; everybody else posts under the lock. */
#ifndef TWINAX_ENGINE_ENGINE_INSIDE_H
#define TWINAX_ENGINE_ENGINE_INSIDE_H

#include <pthread.h>

#include "engine/rank.h"
#include "engine/rate.h"
#include "engine/session.h"

struct tw_engine {
    tw_rank rank;
    tw_model *model;
    const tw_tokenizer *tok; /* NULL: the model has none */
    tw_engine_opts opts;
    tw_coll *coll;
    bool has_thread, served; /* served: to a good end, as a rank above 0 */
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t cond;
    bool opened, stop, posted; /* posted: something for the thread to look at */
    tw_err broken;             /* code 0: fine */
    uint64_t last_id;
    tw_session *inbox;    /* newest first */
    tw_session *sessions; /* oldest first: waiting and running */
    tw_session **by_slot; /* [max_seqs], engine thread only */
    tw_engine_info info;  /* n_waiting without the inbox */
    tw_rate prompt_rate, made_rate;
    uint64_t busy_ns;
    uint64_t n_asked, n_told; /* of coll_stats: the engine thread answers what was asked */
    tw_coll_stats coll_stats;
    pthread_cond_t told;
    bool wants_profile; /* somebody waits for it: told when it is there */
    int profile_rc;
    tw_err profile_err;
    tw_profile profile;
};

/* ---- of the engine thread ---- */

/* Steps until somebody stops it (0), or one fails. */
TW_MUST_CHECK int tw_engine_run(struct tw_engine *e, tw_err *err);
TW_MUST_CHECK int tw_engine_send_plan(struct tw_engine *e, tw_err *err);
/* Where a slot's logits go; ctx: the engine. */
float *tw_engine_logits_of(void *ctx, uint32_t slot);
/* These two under the lock. */
void tw_engine_take_inbox(struct tw_engine *e);
void tw_engine_count_sessions(struct tw_engine *e);

#endif

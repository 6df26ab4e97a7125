/* SPDX-License-Identifier: Apache-2.0 */
/* A request on rank 0: the prompt that is still to be fed, the text that is not out yet, the stop
 * strings. Knows nothing of ranks, KV or arithmetic. */
#ifndef TWINAX_ENGINE_SESSION_H
#define TWINAX_ENGINE_SESSION_H

#include "base/buf.h"
#include "model/tokenizer.h"
#include "twinax/engine.h"

typedef struct tw_session {
    struct tw_session *next;
    uint64_t id;
    tw_request req; /* prompt and stops are our copies */
    uint32_t n_fed; /* prompt tokens already in a plan */
    uint32_t n_generated;
    int slot;      /* -1: waiting */
    bool cancel;   /* asked for, under the engine's lock */
    bool done;     /* DONE was sent; the slot goes with the next plan */
    bool stopped;  /* by a stop string */
    bool has_text; /* the model has a tokenizer */
    tw_detok detok;
    tw_buf text; /* certain, but may be the beginning of a stop string */
    uint64_t t_submit_ns, t_start_ns, t_first_ns;
    uint64_t t_timed_ns; /* when the prompt's part that is timed began; 0: not yet, or all is */
} tw_session;

/* tok NULL: ids only. Deep copy of r. */
TW_MUST_CHECK int tw_session_new(const tw_request *r, const tw_tokenizer *tok, tw_session **ret,
                                 tw_err *err);
void tw_session_free(tw_session *s);

/* Takes a generated token, sends its TOKEN event. Returns 1 when a stop string ended the text (DONE
 * is then sent too), 0 to go on, or an error (DONE with it is sent). now_ns: for the times. */
int tw_session_token(tw_session *s, uint32_t id, uint64_t now_ns);
/* Sends what text is left, then DONE. err: for TW_FINISH_ERROR, else NULL. Once; later calls do
 * nothing. */
void tw_session_finish(tw_session *s, enum tw_finish why, const tw_err *err, uint64_t now_ns);

#endif

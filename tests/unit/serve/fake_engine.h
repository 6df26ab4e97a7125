/* SPDX-License-Identifier: Apache-2.0 */
/* An engine without a model: what serve calls of engine.h, with scripted answers. Its callbacks come
 * from its own thread with its own lock held, as the strictest engine might do.
 * The prompt's text decides: HANG gives one token and waits to be cancelled, FLOOD gives tokens
 * without end, FAIL fails after one token, else max_tokens (8 when 0) tokens "t0 ", "t1 "... */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include <stdbool.h>

#include "twinax/engine.h"

enum { FAKE_CTX = 4096, FAKE_VOCAB = 1000 };

tw_engine *fake_engine_new(void);
void fake_engine_free(tw_engine *e); /* each job gets its DONE first */
tw_model *fake_model(void);
/* A template with HOLD in its messages is not through as long as this is on. */
void fake_model_hold(bool hold);
bool fake_model_wait_held(void);                   /* until one is there; false after 10 s */
void fake_engine_break(tw_engine *e, bool broken); /* health fails */
unsigned fake_engine_cancelled(tw_engine *e);
unsigned fake_engine_running(tw_engine *e);
unsigned fake_engine_submitted(tw_engine *e);
/* Waits until n jobs were cancelled (submitted) in all; false after 10 s. */
bool fake_engine_wait_cancelled(tw_engine *e, unsigned n);
bool fake_engine_wait_submitted(tw_engine *e, unsigned n);
bool fake_engine_wait_idle(tw_engine *e);
tw_sampling fake_engine_sampling(tw_engine *e, unsigned back); /* of the last request but back */

#endif

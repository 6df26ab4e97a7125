/* SPDX-License-Identifier: Apache-2.0 */
/* A few of a model's layers at work on weights that are all zero, in the shapes and types of the real
 * ones: what this machine makes of them, before anything is loaded. One rank, no exchange.
 * Must not know: what the numbers are for (plan.h). */
#ifndef TWINAX_ENGINE_TRIAL_H
#define TWINAX_ENGINE_TRIAL_H

#include "twinax/engine.h"

typedef struct tw_trial {
    uint32_t n_layers; /* that ran */
    uint32_t chunk, depth;
    double weight_bytes; /* of these layers, packed */
    double prefill_ms,
        decode_ms; /* a step of chunk rows, of one row, depth positions before them */
} tw_trial;

/* o is resolved; all of n_threads work. Reads rows of the embedding and no other weight.
 * Cost: a second or two, as much memory as the layers: 256 MiB and less than one layer more.
 * Errors: -ENOMEM also when that is more than a quarter of what is available. */
TW_MUST_CHECK int tw_trial_run(const tw_model *m, const tw_engine_opts *o, unsigned n_threads,
                               uint32_t depth, tw_trial *ret, tw_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The step plan: what rank 0 tells the others before a step that they cannot derive themselves.
 *
 *   0        8        12       16       20       24
 *   | step   | n_drop | n_admit| n_feed | flags  | drops u32[] | admits {slot, params} | feeds
 *   feed: {slot, n_tokens, tokens u32[n_tokens]}
 *
 * Sequences in decode state take part in every step without being named. Pure encode and decode;
 * decode trusts nothing. */
#ifndef TWINAX_ENGINE_STEP_H
#define TWINAX_ENGINE_STEP_H

#include "engine/seq.h"

enum {
    TW_PLAN_END = 1,     /* the group ends: no step follows */
    TW_PLAN_PROFILE = 2, /* no step: profiles are gathered */
    TW_PLAN_OVERLAP = 4  /* this step exchanges while it computes, where that can be */
};

typedef struct tw_plan_head {
    uint64_t step;
    uint32_t n_drop, n_admit, n_feed, flags;
} tw_plan_head;

_Static_assert(sizeof(tw_plan_head) == 24, "wire form");

typedef struct tw_plan_admit {
    uint32_t slot, reserved;
    tw_seq_params params;
} tw_plan_admit;

_Static_assert(sizeof(tw_plan_admit) == 64, "wire form");

typedef struct tw_plan_feed {
    uint32_t slot, n_tokens;
    const uint32_t *tokens;
} tw_plan_feed;

/* Decoded or to be encoded; arrays of max_seqs entries are the owner's. */
typedef struct tw_plan {
    tw_plan_head head;
    uint32_t *drops;
    tw_plan_admit *admits;
    tw_plan_feed *feeds;
} tw_plan;

TW_MUST_CHECK int tw_plan_init(tw_plan *p, uint32_t max_seqs, tw_err *err);
void tw_plan_done(tw_plan *p);

size_t tw_plan_max_bytes(uint32_t max_seqs, uint32_t chunk);
/* Returns the bytes written; out holds tw_plan_max_bytes. */
size_t tw_plan_encode(const tw_plan *p, void *out);
/* tokens point into bytes. -EPROTO says what is wrong. */
TW_MUST_CHECK int tw_plan_decode(tw_plan *p, const void *bytes, size_t n, uint32_t max_seqs,
                                 uint32_t chunk, tw_err *err);

#endif

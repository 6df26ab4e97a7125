/* SPDX-License-Identifier: Apache-2.0 */
/* Writes weights that are packed in memory to the cache, in a thread that runs when nobody else wants
 * the processor. Who ends before it is through leaves what was written: the next one goes on there.
 * Nobody is told when it cannot be written but who asks. */
#ifndef TWINAX_MODEL_PACK_KEEP_H
#define TWINAX_MODEL_PACK_KEEP_H

#include "model/pack_store.h"
#include "os/team.h"

typedef struct tw_pack_keep tw_pack_keep;

typedef struct tw_pack_keep_opts {
    const char *folder; /* copied; made where it is not there */
    uint64_t limit_bytes;
    tw_pack_head head;   /* filled: key, name, bytes */
    const void *data;    /* [head.n_bytes], borrowed until tw_pack_keep_end */
    const tw_team *team; /* whose caller starts it: it must not share his core. NULL: none */
} tw_pack_keep_opts;

/* The thread sleeps until go: the first token comes first. */
TW_MUST_CHECK int tw_pack_keep_start(const tw_pack_keep_opts *o, tw_pack_keep **ret, tw_err *err);
void tw_pack_keep_go(tw_pack_keep *k);
bool tw_pack_keep_is_busy(const tw_pack_keep *k);
/* Waits for it, wait_ns at most and not after somebody has asked to stop; without go not at all. Until
 * then nobody makes room with the pack that it wrote. Frees. 0: the pack is there; else why not:
 * -ECANCELED: not yet. k may be NULL. */
int tw_pack_keep_end(tw_pack_keep *k, uint64_t wait_ns, tw_err *err);

#endif

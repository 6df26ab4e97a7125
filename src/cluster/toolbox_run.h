/* SPDX-License-Identifier: Apache-2.0 */
/* The container on all nodes, from the head: looks at each, asks the registry once for the digest,
 * plans for each, fetches and swaps on all at a time. This machine is worked on by this process
 * itself, the others by their agents: ctrl-C breaks off what is fetched, but a swap ends, or is undone.
 * Must not know: how plans are shown, how consent is asked. */
#ifndef TWINAX_CLUSTER_TOOLBOX_RUN_H
#define TWINAX_CLUSTER_TOOLBOX_RUN_H

#include "cluster/config.h"
#include "host/toolbox_plan.h"
#include "host/toolbox_probe.h"

typedef struct tw_toolbox_run tw_toolbox_run;

enum tw_toolbox_word {
    TW_TOOLBOX_BEGINS, /* text: a step's title */
    TW_TOOLBOX_LINE,   /* text: a line of a command */
    TW_TOOLBOX_PULLED, /* done, total: bytes; total 0: unknown */
    TW_TOOLBOX_DONE,   /* text: what */
    TW_TOOLBOX_FAILED  /* text: the error */
};

/* From any thread, one at a time. */
typedef void (*tw_toolbox_tell)(void *ctx, size_t i_node, enum tw_toolbox_word what,
                                const char *text, uint64_t done, uint64_t total);

/* Connects to all nodes but this machine. Node 0 is this machine. */
TW_MUST_CHECK int tw_toolbox_run_open(const tw_nodes *nodes, tw_toolbox_tell tell, void *ctx,
                                      tw_toolbox_run **ret, tw_err *err);
void tw_toolbox_run_close(tw_toolbox_run *r);
void tw_toolbox_run_closep(tw_toolbox_run **r);

size_t tw_toolbox_run_n(const tw_toolbox_run *r);
const char *tw_toolbox_run_name(const tw_toolbox_run *r, size_t i);
const tw_toolbox_look *tw_toolbox_run_look_of(const tw_toolbox_run *r, size_t i);
const json_t *tw_toolbox_run_plan_of(const tw_toolbox_run *r, size_t i); /* borrowed; NULL: none */
const tw_toolbox_probed *tw_toolbox_run_probed(const tw_toolbox_run *r, size_t i);
/* NULL: it went well there. */
const char *tw_toolbox_run_error(const tw_toolbox_run *r, size_t i);

/* What is there, on all nodes; box, changes and rccl as in tw_toolbox_ask. */
TW_MUST_CHECK int tw_toolbox_run_look(tw_toolbox_run *r, const char *box, bool changes,
                                      const char *rccl, tw_err *err);
/* Completes w: digest, size, architecture. An image of this machine alone: its digest here. */
TW_MUST_CHECK int tw_toolbox_run_resolve(tw_toolbox_run *r, tw_toolbox_want *w, tw_err *err);
/* Every node's plan. An error names all nodes that cannot have it: the first; the others by
 * tw_toolbox_run_error. */
TW_MUST_CHECK int tw_toolbox_run_plan(tw_toolbox_run *r, const tw_toolbox_want *w, tw_err *err);
/* The fetch steps, on all nodes. */
TW_MUST_CHECK int tw_toolbox_run_fetch(tw_toolbox_run *r, tw_err *err);
/* Where the image, which is here now, has its librccl: into w, which is planned anew. anyway: even
 * if that one runs on gfx1151. */
TW_MUST_CHECK int tw_toolbox_run_find_rccl(tw_toolbox_run *r, tw_toolbox_want *w, bool anyway,
                                           tw_err *err);
/* The swap steps, on all nodes; each is undone where it fails. Then looks again, and compares: the
 * same digest on all. */
TW_MUST_CHECK int tw_toolbox_run_swap(tw_toolbox_run *r, const tw_toolbox_want *w, tw_err *err);
/* The containers' images are the same on all nodes; else err names two that differ. */
TW_MUST_CHECK int tw_toolbox_run_compare(const tw_toolbox_run *r, const char *box, tw_err *err);
/* Removes old images, lists[i] for node i: arrays of steps, borrowed. */
TW_MUST_CHECK int tw_toolbox_run_remove(tw_toolbox_run *r, json_t *const *lists, tw_err *err);

#endif

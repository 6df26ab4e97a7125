/* SPDX-License-Identifier: Apache-2.0 */
/* The ranks of one run on other machines: an agent on each, through ssh; their words are printed
 * here behind the node's name. */
#ifndef TWINAX_CMD_FAR_H
#define TWINAX_CMD_FAR_H

#include <jansson.h>

#include "cluster/remote.h"
#include "cmd/args.h"
#include "host/facts.h"

typedef struct tw_far tw_far;

/* Which machines: --nodes, else twinax.conf, unless --local or --tp 1. Fills a->nodes (as many as
 * ranks; none: one process or --local) and a->tp. */
TW_MUST_CHECK int tw_far_find_nodes(tw_args *a, tw_err *err);
/* "rank 1 ..." becomes "rank 1 (box2) ...". */
void tw_far_name_ranks(const tw_args *a, tw_err *err);
/* How many ranks of the run are on rank r's machine, and which of them it is. */
void tw_far_place(const tw_args *a, unsigned r, unsigned *ret_n_local, unsigned *ret_i_local);
/* NAME or NAME:PORT on rank r's machine; NULL: none was said. */
const char *tw_far_rdma_device(const tw_args *a, unsigned r);
/* Whether somebody said where rank r's machine has the model: then it is looked for nowhere else. */
bool tw_far_has_model_path(const tw_args *a, unsigned r);
/* The model's folder on rank r's machine: --model-path, else its model_path in twinax.conf, else the
 * same as here. */
TW_MUST_CHECK int tw_far_model_path(const tw_args *a, unsigned r, char *out, size_t out_bytes,
                                    tw_err *err);
/* The head's cluster address: as given, else the one in rank 1's subnet. */
TW_MUST_CHECK int tw_far_own_address(const tw_args *a, char *out, size_t out_bytes, tw_err *err);

/* Agents on the nodes of ranks 1.., all connecting at a time. From the main thread. */
TW_MUST_CHECK int tw_far_open(const tw_args *a, tw_far **ret, tw_err *err);
/* The connection to rank r's node, for calls before tw_far_run. */
tw_remote *tw_far_remote(tw_far *f, unsigned r);
/* parts[1..]: taken over. From then on what the ranks say is printed. */
TW_MUST_CHECK int tw_far_run(tw_far *f, json_t *const *parts, tw_err *err);
/* What rank r's machine is, before anything runs there. */
TW_MUST_CHECK int tw_far_facts(tw_far *f, unsigned r, const tw_facts_opts *o, tw_facts *ret,
                               tw_err *err);
/* fn hears each line that a rank says, from a thread, beside its being printed; before run. */
void tw_far_on_line(tw_far *f, void (*fn)(void *ctx, unsigned rank, const char *line), void *ctx);
/* fn is called from a thread when the connection to a node was lost, at once where that is so
 * already; NULL ends it: once back, fn is not called any more. It must not call far. */
void tw_far_on_lost(tw_far *f, void (*fn)(void *ctx, unsigned rank, const char *why), void *ctx);
/* A rank that has gone: why, and its number; else 0. *ret_by_itself: it ended with a status. */
unsigned tw_far_lost(tw_far *f, char *why, size_t why_bytes, bool *ret_by_itself);
/* What rank r said last of itself (rank_report.h), JSON; false: nothing yet. */
bool tw_far_report(tw_far *f, unsigned r, char *out, size_t out_bytes, uint64_t *ret_age_ns);
/* Ranks that are ending get a moment for their last words. */
void tw_far_close(tw_far *f);

#endif

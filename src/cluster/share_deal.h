/* SPDX-License-Identifier: Apache-2.0 */
/* Who fetches what from the net, and who gets it from whom: nodes bring the same units (hub/range_map.h),
 * each one once from the net, the first ones first; the others get it from a node that has it. Each
 * node fetches 1/N of the bytes, a slow one less, and a dead one nothing: what it had been given is
 * given again.
 *
 * A state machine: told what happened, asked what to do; no clock, no I/O.
 * Must not know: connections, files beyond their number. */
#ifndef TWINAX_CLUSTER_SHARE_DEAL_H
#define TWINAX_CLUSTER_SHARE_DEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_DEAL_NODES_MAX = 8 };

typedef struct tw_deal tw_deal;

typedef struct tw_deal_opts {
    unsigned n_nodes;
    size_t n_units, n_files;
    const uint32_t *file;  /* [n_units], ascending; borrowed */
    const uint32_t *bytes; /* [n_units]; borrowed */
    bool from_net;         /* each node fetches all */
    unsigned net_window;   /* units a node has from the net at a time */
    unsigned peer_window;
} tw_deal_opts;

TW_MUST_CHECK int tw_deal_new(const tw_deal_opts *o, tw_deal **ret, tw_err *err);
void tw_deal_free(tw_deal *d);

/* ---- what happened ---- */

void tw_deal_has(tw_deal *d, unsigned node, size_t unit);
/* It has a part of it: nobody else fetches it while that node can. */
void tw_deal_begun(tw_deal *d, unsigned node, size_t unit, uint32_t bytes);
/* An order came to nothing. from: a node that did not give, or -1. */
void tw_deal_failed(tw_deal *d, unsigned node, size_t unit, int from);
/* a gets nothing from b any more. */
void tw_deal_cut(tw_deal *d, unsigned a, unsigned b);
/* The file has its hash there; or it has not, and the node has nothing of it. */
void tw_deal_whole(tw_deal *d, unsigned node, size_t file);
void tw_deal_bad(tw_deal *d, unsigned node, size_t file);
/* Another program of that node is at this file: it orders nothing of it, until tw_deal_free_file. */
void tw_deal_hold(tw_deal *d, unsigned node, size_t file);
void tw_deal_unhold(tw_deal *d, unsigned node, size_t file);
void tw_deal_no_net(tw_deal *d, unsigned node);
void tw_deal_gone(tw_deal *d, unsigned node);
/* Bytes a second that it has fetched since the last time: twice a second. */
void tw_deal_rate(tw_deal *d, unsigned node, double bytes_s);

/* ---- what to do ---- */

enum tw_deal_what {
    TW_DEAL_NOTHING, /* for now */
    TW_DEAL_NET,
    TW_DEAL_PEER,  /* from: whom */
    TW_DEAL_FORGET /* what it was to fetch: another one does */
};

typedef struct tw_deal_order {
    enum tw_deal_what what;
    size_t unit;
    unsigned from;
} tw_deal_order;

/* The next order for node; ask until it is nothing. */
tw_deal_order tw_deal_next(tw_deal *d, unsigned node);
/* Whether node has all. */
bool tw_deal_is_full(const tw_deal *d, unsigned node);
/* Whether node lacks a unit that nobody can bring it: no net, and nobody has it. *ret_unit. */
bool tw_deal_is_stuck(const tw_deal *d, unsigned node, size_t *ret_unit);
/* Whether a gets nothing from b any more: it was lost, or did not give what it has, time and again. */
bool tw_deal_is_cut(const tw_deal *d, unsigned a, unsigned b);
/* Whether it has nothing to do just now. */
bool tw_deal_is_idle(const tw_deal *d, unsigned node);
/* Bytes of unit that it is known to have. */
uint32_t tw_deal_bytes_of(const tw_deal *d, unsigned node, size_t unit);
/* How often its orders were given to another one since it was too slow. */
unsigned tw_deal_n_taken(const tw_deal *d, unsigned node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Brings units of a store from the net, those that it is told to, in a thread of its own, several at
 * a time. What breaks off is tried again; what will not come is said once, and ends it.
 * Must not know: who decides which units. */
#ifndef TWINAX_HUB_RANGE_FETCH_H
#define TWINAX_HUB_RANGE_FETCH_H

#include "hub/range_store.h"

typedef struct tw_hub_getter tw_hub_getter;

typedef struct tw_hub_getter_opts {
    const tw_hub_place *place;
    const tw_hub_name *name;
    const char *commit;
    tw_hub_store *store;
    unsigned n_connections; /* 0: the default */
    /* From its thread: a unit is there, or (false) somebody else is at it. */
    void (*on_unit)(void *arg, size_t unit, bool is_there);
    void *arg;
} tw_hub_getter_opts;

typedef struct tw_hub_getter_news {
    uint64_t bytes; /* that came from the net */
    char waits[96]; /* why nothing comes just now; "": it does */
    tw_err why;     /* it has ended; code 0: it has not */
} tw_hub_getter_news;

TW_MUST_CHECK int tw_hub_getter_start(const tw_hub_getter_opts *o, tw_hub_getter **ret,
                                      tw_err *err);
/* To be fetched, behind those that were asked for before. */
TW_MUST_CHECK int tw_hub_getter_order(tw_hub_getter *g, size_t unit, tw_err *err);
/* Not any more; what came of it stays. */
void tw_hub_getter_forget(tw_hub_getter *g, size_t unit);
void tw_hub_getter_look(tw_hub_getter *g, tw_hub_getter_news *ret);
/* Ends it; units under way are let go. */
void tw_hub_getter_stop(tw_hub_getter *g);

#endif

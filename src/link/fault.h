/* SPDX-License-Identifier: Apache-2.0 */
/* A link around another one that damages what comes through it: for tests of the real transports. */
#ifndef TWINAX_LINK_FAULT_H
#define TWINAX_LINK_FAULT_H

#include "link/link.h"

#define TW_FAULT_NEVER UINT64_MAX

typedef struct tw_link_fault {
    uint64_t flip_rx_at; /* this byte of all that is received has a bit flipped */
    uint64_t cut_rx_at;  /* the connection seems closed after this many received bytes */
    unsigned delay_rx;   /* this many reads find nothing first */
} tw_link_fault;

/* Takes inner, which must be fresh; also on failure. */
TW_MUST_CHECK int tw_link_fault_new(tw_link *inner, const tw_link_fault *fault, tw_link **ret,
                                    tw_err *err);

#endif

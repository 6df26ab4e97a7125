/* SPDX-License-Identifier: Apache-2.0 */
/* One generation of a command: its text goes to stdout as it comes; ctrl-C, and output that nobody
 * takes, cancel it. Its events are collected by the engine thread. */
#ifndef TWINAX_CMD_GENERATION_H
#define TWINAX_CMD_GENERATION_H

#include "base/buf.h"
#include "cmd/node.h"

typedef struct tw_generation {
    int said_fd;   /* for the engine thread: tells whoever waits */
    int out_errno; /* of stdout; nothing more is printed then */
    bool print_ids, echo;
    unsigned n_ids;
    tw_buf *reply; /* text for the chat's history, or NULL */
    enum tw_finish finish;
    tw_err err;
    tw_event done;
} tw_generation;

/* Waits for its end. r's on_event and ctx are set here. */
TW_MUST_CHECK int tw_generation_run(tw_node *n, tw_request *r, tw_generation *g, tw_err *err);
/* Speed, and what carried the bytes, on stderr. */
void tw_generation_print_speed(const tw_node *n, const tw_generation *g);

#endif

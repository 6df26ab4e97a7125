/* SPDX-License-Identifier: Apache-2.0 */
/* The rank that an agent runs for its head: `twinax rank` as a child, or `twinax hold` where its part has
 * an "argv" (another engine's); its part on stdin, which then stays open as the lifeline; what it prints
 * goes to the head line by line, its end too.
 *
 *    {"event":"log","rank":1,"line":"..."}    {"event":"exit","rank":1,"status":256} */
#ifndef TWINAX_CLUSTER_AGENT_RANK_H
#define TWINAX_CLUSTER_AGENT_RANK_H

#include <stdbool.h>

#include "base/buf.h"
#include "fmt/json.h"
#include "os/child.h"

typedef struct tw_agent_rank {
    tw_child child; /* pid 0: none */
    int rank;
    char line[1024];
    size_t n_line;
    uint64_t ended_ns; /* when it ended; 0: it has not */
} tw_agent_rank;

/* request: {"part": {...}}. From the main thread: the child dies with it. */
TW_MUST_CHECK int tw_agent_rank_start(tw_agent_rank *r, const json_t *request, tw_err *err);
/* What it prints; becomes readable at its end too. -1: no rank. */
int tw_agent_rank_fd(const tw_agent_rank *r);
/* Appends to `out` the frames for what is there to read; does not block but to reap. */
TW_MUST_CHECK int tw_agent_rank_read(tw_agent_rank *r, tw_buf *out, tw_err *err);
/* A part as a line on a fresh child's stdin, which is a pipe. */
TW_MUST_CHECK int tw_agent_part_tell(int in_fd, const json_t *part, tw_err *err);
void tw_agent_rank_stop(tw_agent_rank *r);

#endif

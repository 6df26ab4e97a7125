/* SPDX-License-Identifier: Apache-2.0 */
/* The background service's log: what all ranks say in one stream, each line with its moment, node and
 * rank, in a file of bounded size and one older file beside it.
 *
 *   2026-11-22T17:24:00.123Z box2 r1 link: tcp: ...
 *
 * Must not know what the lines mean. */
#ifndef TWINAX_CLUSTER_LIFE_LOG_H
#define TWINAX_CLUSTER_LIFE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

enum {
    TW_LIFE_LINE_MAX = 2048,         /* longer lines are cut */
    TW_LIFE_LOG_MAX_BYTES = 8 << 20, /* of one file: twice that on disk at most */
};

typedef struct tw_life_log {
    int fd;
    char path[512];
    uint64_t n_bytes, max_bytes;
    char head[64]; /* this machine's name in the lines */
    char part[TW_LIFE_LINE_MAX];
    size_t n_part;
    char last[TW_LIFE_LINE_MAX]; /* newest line of rank 0 or of the keeper that is not empty */
} tw_life_log;

/* Appends to what is there. Mode 0600; a link is refused. max_bytes 0: TW_LIFE_LOG_MAX_BYTES. */
TW_MUST_CHECK int tw_life_log_open(tw_life_log *l, const char *path, const char *head,
                                   uint64_t max_bytes, tw_err *err);
void tw_life_log_close(tw_life_log *l);
/* One line, without its end; unix_ms: its moment. What cannot be written is lost (a full disk must
 * not stop the service); -errno says so. */
int tw_life_log_line(tw_life_log *l, uint64_t unix_ms, const char *line, size_t n);
/* Bytes as they come: whole lines are written, the rest waits. end: the rest too. */
void tw_life_log_take(tw_life_log *l, uint64_t unix_ms, const char *p, size_t n, bool end);

/* Who says a line: "box2: r1 rank: ..." is box2's rank 1; "r1 rank: ..." rank 1 beside the head;
 * all else rank 0. *ret_text: what is left of the line. ret_node empty: the head's machine. */
void tw_life_log_split(tw_str line, tw_str *ret_node, unsigned *ret_rank, tw_str *ret_text);

/* Appends the last n_lines of the log, the older file included, to out (its ceiling: the oldest of
 * them are left out). ret_at: where the next ones begin. No log: nothing. */
TW_MUST_CHECK int tw_life_log_tail(const char *path, unsigned n_lines, tw_buf *out,
                                   uint64_t *ret_at, tw_err *err);

#endif

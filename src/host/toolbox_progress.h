/* SPDX-License-Identifier: Apache-2.0 */
/* How far a pull is, from what podman draws on a terminal: bars, one a layer, drawn again and again.
 * Pure: bytes in. What is no bar is passed over: without bars nothing is known. */
#ifndef TWINAX_HOST_TOOLBOX_PROGRESS_H
#define TWINAX_HOST_TOOLBOX_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

enum { TW_TOOLBOX_BLOBS_MAX = 160 };

typedef struct tw_toolbox_blob {
    char id[16];
    uint64_t done_bytes, total_bytes;
} tw_toolbox_blob;

typedef struct tw_toolbox_progress {
    char line[400];
    size_t n_line;
    enum { TW_PLAIN, TW_ESCAPE, TW_SEQUENCE } state;
    size_t n_blobs;
    tw_toolbox_blob blobs[TW_TOOLBOX_BLOBS_MAX];
    char last[300]; /* the last line that is no bar */
} tw_toolbox_progress;

void tw_toolbox_progress_feed(tw_toolbox_progress *p, const char *bytes, size_t n);
/* Bytes of layers that have come, and of those that have begun. */
void tw_toolbox_progress_sum(const tw_toolbox_progress *p, uint64_t *ret_done, uint64_t *ret_total);

#endif

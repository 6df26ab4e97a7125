/* SPDX-License-Identifier: Apache-2.0 */
/* The head's voice on a control connection: whole frames, and a beat every 500 ms from a thread
 * that does nothing else, whatever the program computes. */
#ifndef TWINAX_CLUSTER_REMOTE_BEAT_H
#define TWINAX_CLUSTER_REMOTE_BEAT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "twinax/err.h"

typedef struct tw_remote_beat {
    int fd;      /* not blocking; the owner closes it, after stop */
    int poke_fd; /* -1: not started */
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* one frame at a time */
} tw_remote_beat;

void tw_remote_beat_init(tw_remote_beat *b, int fd);
void tw_remote_beat_done(tw_remote_beat *b);
TW_MUST_CHECK int tw_remote_beat_start(tw_remote_beat *b, tw_err *err);
/* All of p, or -ETIMEDOUT, -ECANCELED (ctrl-C), -EPIPE: then the connection is of no more use. */
TW_MUST_CHECK int tw_remote_beat_send(tw_remote_beat *b, const char *p, size_t n,
                                      uint64_t deadline_ns);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's end of a control connection, kept by a thread that does nothing else: it reads what
 * the head sends, beats every 500 ms once the head does, and knows when the head is dead, whatever
 * the main thread is busy with.
 *
 * Dead is: the input's end; 1.5 s of silence while a rank is here, 6 s without one (a measurement
 * may fill the very wire that we talk over); no first word within 30 s. A head that does not beat
 * (an older one, a person's) is dead by the input's end alone.
 * Must not know: what an operation does. */
#ifndef TWINAX_CLUSTER_AGENT_LIFE_H
#define TWINAX_CLUSTER_AGENT_LIFE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/silence.h"
#include "fmt/json.h"

#define TW_BEAT_NS          (500 * TW_NS_PER_MS)
#define TW_SILENCE_RANK_NS  (1500 * TW_NS_PER_MS)
#define TW_SILENCE_NS       (6 * TW_NS_PER_S)
#define TW_FIRST_WORD_NS    (30 * TW_NS_PER_S)
#define TW_AGENT_OVERDUE_NS (450 * TW_NS_PER_MS)

typedef struct tw_agent_life {
    int in_fd, out_fd;
    int news_fd; /* readable: frames, or the end */
    int poke_fd; /* the thread looks again */
    pthread_t thread;
    bool has_thread;
    atomic_bool stopping;
    atomic_bool cut;   /* the head is dead */
    atomic_bool keeps; /* an operation is at work that must not be cut */
    /* Called once, on the thread, when the main thread has not stopped us OVERDUE after the head's
     * death; NULL: nobody. */
    void (*overdue)(void *ctx);
    void *overdue_ctx;
    pthread_mutex_t lock; /* what follows */
    tw_buf in;
    tw_silence silence;
    uint64_t limit_ns; /* of it; 0: not watched */
    bool beats, full;
    char why[120];
    pthread_mutex_t out_lock; /* whole frames go out */
} tw_agent_life;

TW_MUST_CHECK int tw_agent_life_start(tw_agent_life *l, int in_fd, int out_fd, tw_err *err);
void tw_agent_life_stop(tw_agent_life *l);
/* The head beats: so do we, and from now on it is watched. */
void tw_agent_life_beat(tw_agent_life *l);
/* How much silence is death. */
void tw_agent_life_limit(tw_agent_life *l, uint64_t silence_ns);
/* The next frame that is no beat: 0, the caller's; -EAGAIN: none yet; -ECONNRESET: none will come,
 * err says why; -EPROTO: what comes is no frame. */
TW_MUST_CHECK int tw_agent_life_take(tw_agent_life *l, json_t **ret, tw_err *err);
/* All of p, waiting while the head lives. -ECONNRESET: it does not. */
TW_MUST_CHECK int tw_agent_life_send(tw_agent_life *l, const char *p, size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of cluster/share.h share. */
#ifndef TWINAX_CLUSTER_SHARE_INSIDE_H
#define TWINAX_CLUSTER_SHARE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "cluster/share.h"
#include "cluster/share_wire.h"

enum { SHARE_GIVERS_MAX = 32, SHARE_TAKERS_MAX = TW_SHARE_NODES_MAX * TW_SHARE_STREAMS };
#define SHARE_GREET_NS (5 * TW_NS_PER_S)
#define SHARE_MEET_NS  (10 * TW_NS_PER_S)
#define SHARE_DOOR_NS  (60 * TW_NS_PER_S)
#define SHARE_STALL_NS (20 * TW_NS_PER_S) /* a disk that writes much may let a reader wait */

/* A connection and the thread that serves it. */
typedef struct share_conn {
    struct tw_share *s;
    pthread_t thread;
    bool has_thread;
    int fd;        /* -1: none */
    unsigned peer; /* of takers */
} share_conn;

typedef struct share_peer {
    char ip[96];
    uint16_t port;
    bool is_met, is_lost;
    size_t *orders; /* [n] */
    size_t n, cap;
} share_peer;

struct tw_share {
    tw_share_opts o;
    int listen_fd;
    pthread_t door;
    bool has_door;
    atomic_bool stop;
    _Atomic uint64_t door_until_ns;
    atomic_uint n_here; /* connections of peers that showed the token */
    atomic_bool flip;   /* tests: the next block that is given is damaged */
    _Atomic uint64_t taken_bytes, given_bytes;
    atomic_uint n_refused;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t more;  /* orders */
    share_peer peers[TW_SHARE_NODES_MAX];
    share_conn givers[SHARE_GIVERS_MAX], takers[SHARE_TAKERS_MAX];
    unsigned n_takers;
};

void *tw_share_door(void *share);
void *tw_share_take(void *conn);

#endif

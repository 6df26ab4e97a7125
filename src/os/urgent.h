/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that runs when its time comes, whatever else the machine is busy with: heartbeats, whose
 * delay is somebody's death. It must sleep most of the time. */
#ifndef TWINAX_OS_URGENT_H
#define TWINAX_OS_URGENT_H

#include <pthread.h>

enum tw_urgent {
    TW_URGENT_NONE,    /* as all others: it may no more */
    TW_URGENT_NICE,    /* before the others as far as this user may (RLIMIT_NICE) */
    TW_URGENT_REALTIME /* at once: root, CAP_SYS_NICE or RLIMIT_RTPRIO; not passed on to children */
};

/* The calling thread, from now on; its stack stays in memory where the limits allow it. */
enum tw_urgent tw_urgent_begin(void);
/* A lock that such a thread shares: who holds it runs as soon as the one that waits for it would. */
void tw_urgent_lock_init(pthread_mutex_t *m);

#endif

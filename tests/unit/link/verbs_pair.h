/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of a verbs link over the fake, met over loopback TCP; cmocka.h comes first. */
#ifndef TWINAX_TESTS_VERBS_PAIR_H
#define TWINAX_TESTS_VERBS_PAIR_H

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fake_verbs.h"
#include "link/verbs.h"
#include "link_pair.h"

typedef struct pair_end {
    int fd;
    unsigned rank;
    bool verify;
    tw_link_verbs_opts opts;
    tw_link *l;
    int rc;
    tw_err err;
    pthread_t thread;
} pair_end;

static void *pair_run(void *arg)
{
    pair_end *e = arg;
    e->rc = tw_link_verbs_new(e->fd, (uint8_t)e->rank, (uint8_t)(e->rank ^ 1), e->verify, &e->opts,
                              &e->l, &e->err);
    return NULL;
}

static inline void pair_init(pair_end e[2], bool verify)
{
    int fds[2];
    pair_sockets(fds);
    for (unsigned i = 0; i < 2; i++)
        e[i] = (pair_end){.fd = fds[i],
                          .rank = i,
                          .verify = verify,
                          .opts = {.api = &fake_verbs_api,
                                   .sysfs = "/nonexistent",
                                   .deadline_ns = tw_clock_now_ns() + 60 * TW_NS_PER_S}};
}

/* Both ends at once; the codes are in e. */
static inline void pair_meet(pair_end e[2])
{
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&e[i].thread, NULL, pair_run, &e[i]), 0);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(e[i].thread, NULL);
}

/* The same, which must go well. */
static inline void pair_link(pair_end e[2], tw_link *ret[2])
{
    pair_meet(e);
    for (unsigned i = 0; i < 2; i++) {
        if (e[i].rc != 0)
            fail_msg("rank %u: %d %s", i, e[i].rc, e[i].err.msg);
        ret[i] = e[i].l;
    }
}

static inline void pair_open(tw_link *ret[2], bool verify)
{
    pair_end e[2];
    pair_init(e, verify);
    pair_link(e, ret);
}

static inline void pair_close(tw_link *l[2])
{
    tw_link_close(l[0]);
    tw_link_close(l[1]);
    assert_int_equal(fake_n_handles(), 0);
}

#endif

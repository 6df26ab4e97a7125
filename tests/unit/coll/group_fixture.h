/* SPDX-License-Identifier: Apache-2.0 */
/* A group of ranks as threads of this process, met over loopback through the real rendezvous. */
#ifndef TWINAX_TESTS_GROUP_FIXTURE_H
#define TWINAX_TESTS_GROUP_FIXTURE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "os/sock.h"
#include "twinax/coll.h"

static const uint8_t fixture_token[TW_TOKEN_BYTES] = "0123456789abcdef0123456789abcde";

/* A rank's program; fills err and returns the code. */
typedef int fixture_fn(tw_coll *c, void *arg, tw_err *err);

typedef struct fixture_rank {
    tw_coll_opts opts;
    fixture_fn *fn;
    void *arg;
    int rc; /* of open, then of fn */
    bool opened;
    tw_err err;
    pthread_t thread;
} fixture_rank;

static void *fixture_run(void *p)
{
    fixture_rank *r = p;
    tw_coll *c = NULL;
    r->rc = tw_coll_open(&r->opts, &c, &r->err);
    r->opened = r->rc == 0;
    if (r->opened && r->fn != NULL)
        r->rc = r->fn(c, r->arg, &r->err);
    tw_coll_close(c);
    return NULL;
}

static inline tw_coll_opts fixture_opts(unsigned rank, unsigned n_ranks, uint16_t port)
{
    return (tw_coll_opts){.rank = rank,
                          .n_ranks = n_ranks,
                          .transport = TW_TRANSPORT_TCP,
                          .token = fixture_token,
                          .address = "127.0.0.1",
                          .port = port,
                          .listen_fd = -1,
                          .rendezvous_ns = 60 * TW_NS_PER_S, /* far above what is needed */
                          .step_ns = 60 * TW_NS_PER_S};
}

/* Fills r [n_ranks] for one group; rank 0 gets a listening socket with a port of the kernel's. */
static inline void fixture_init(fixture_rank *r, unsigned n_ranks, enum tw_transport transport,
                                fixture_fn *fn)
{
    int fd = -1;
    uint16_t port = 0;
    tw_err err = {0};
    memset(r, 0, n_ranks * sizeof *r);
    if (tw_sock_listen("127.0.0.1", 0, &fd, &port, &err) != 0)
        fail_msg("%s", err.msg);
    for (unsigned i = 0; i < n_ranks; i++) {
        r[i].opts = fixture_opts(i, n_ranks, port);
        r[i].opts.transport = transport;
        r[i].fn = fn;
    }
    r[0].opts.listen_fd = fd;
}

static inline void fixture_start(fixture_rank *r, unsigned n_ranks)
{
    for (unsigned i = 0; i < n_ranks; i++)
        assert_int_equal(pthread_create(&r[i].thread, NULL, fixture_run, &r[i]), 0);
}

static inline void fixture_join(fixture_rank *r, unsigned n_ranks)
{
    for (unsigned i = 0; i < n_ranks; i++)
        pthread_join(r[i].thread, NULL);
}

static inline void fixture_all_good(fixture_rank *r, unsigned n_ranks)
{
    fixture_start(r, n_ranks);
    fixture_join(r, n_ranks);
    /* All of them: who went first knows the cause, the others that he is gone. */
    bool good = true;
    for (unsigned i = 0; i < n_ranks; i++) {
        if (r[i].rc != 0)
            print_error("rank %u: %d %s\n", i, r[i].rc, r[i].err.msg);
        good = good && r[i].rc == 0;
    }
    assert_true(good);
}

static inline uint64_t fixture_seed(void)
{
    const char *s = getenv("TW_SEED");
    uint64_t seed = s != NULL ? strtoull(s, NULL, 0) : tw_clock_now_ns();
    printf("# TW_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

#endif

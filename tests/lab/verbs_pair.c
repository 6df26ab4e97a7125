/* SPDX-License-Identifier: Apache-2.0 */
/* Two (or more) hosts, one group: all-reduces of growing size over the transport that is asked for,
 * every bit compared, then step plans that wake a sleeping rank, then the proof of what carried
 * them. Exit 0: all right and the transport is the one that was asked for.
 *
 *   verbs_pair RANK RANKS ADDRESS-OF-RANK-0 [transport [rounds [own-address [device [verify]]]]]
 *
 * Port 18620. "-" leaves an argument at its default. The token is for the lab alone. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "twinax/coll.h"

enum { PORT = 18620, BIG = 256 * 1024, N_PLANS = 20 };

static const size_t sizes[] = {2, 1024, 2048, 5120, 12288, 16384, BIG};

static uint64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static float value(unsigned rank, uint32_t round, size_t i)
{
    uint32_t h = (uint32_t)i * 2654435761U + round * 97U + rank * 40503U;
    h ^= h >> 13;
    return (float)(int32_t)(h * 2246822519U) * 1.0e-5f;
}

static float tree(unsigned n_ranks, unsigned first, uint32_t round, size_t i)
{
    if (n_ranks == 1)
        return value(first, round, i);
    return tree(n_ranks / 2, first, round, i) + tree(n_ranks / 2, first + n_ranks / 2, round, i);
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static int reduce_size(tw_coll *c, float *x, size_t n, uint32_t n_rounds, tw_err *err)
{
    unsigned rank = tw_coll_rank(c), n_ranks = tw_coll_n_ranks(c);
    uint64_t *took = calloc(n_rounds, sizeof *took);
    if (took == NULL)
        return tw_err_set(err, -12, "no memory");
    for (uint32_t k = 0; k < n_rounds; k++) {
        for (size_t i = 0; i < n; i++)
            x[i] = value(rank, k, i);
        uint64_t begin = now_ns(CLOCK_MONOTONIC);
        int rc = tw_coll_all_reduce(c, x, n, err);
        took[k] = now_ns(CLOCK_MONOTONIC) - begin;
        for (size_t i = 0; rc == 0 && i < n; i++) {
            float want = tree(n_ranks, 0, k, i);
            if (memcmp(&x[i], &want, sizeof want) != 0)
                rc = tw_err_set(err, -84, "%zu floats, round %u, at %zu: %a, wanted %a", n, k, i,
                                (double)x[i], (double)want);
        }
        if (rc != 0) {
            free(took);
            return rc;
        }
    }
    qsort(took, n_rounds, sizeof *took, compare_u64);
    printf("all-reduce %8zu B x %u: bits equal, p50 %.1f us, max %.1f us\n", n * sizeof *x,
           n_rounds, (double)took[n_rounds / 2] * 1e-3, (double)took[n_rounds - 1] * 1e-3);
    free(took);
    return 0;
}

/* Rank 0 is silent for a while before each plan: the others sleep, and what that costs them is
 * shown. */
static int send_plans(tw_coll *c, tw_err *err)
{
    uint64_t cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), wall = now_ns(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < N_PLANS; i++) {
        char text[32] = "";
        size_t n = 0;
        int rc;
        if (tw_coll_rank(c) == 0) {
            const struct timespec pause = {0, 50 * 1000 * 1000};
            nanosleep(&pause, NULL);
            snprintf(text, sizeof text, "plan %u", i);
            rc = tw_coll_plan_send(c, text, sizeof text, err);
        } else {
            rc = tw_coll_plan_recv(c, text, sizeof text, &n, err);
            char want[32];
            snprintf(want, sizeof want, "plan %u", i);
            if (rc == 0 && (n != sizeof text || strcmp(text, want) != 0))
                rc = tw_err_set(err, -84, "%s came, wanted %s", text, want);
        }
        if (rc != 0)
            return rc;
    }
    printf("%u plans: %.1f ms of cpu time in %.0f ms\n", N_PLANS,
           (double)(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e-6,
           (double)(now_ns(CLOCK_MONOTONIC) - wall) * 1e-6);
    return 0;
}

static void print_counters(const char *name, bool known, uint64_t before, uint64_t now)
{
    if (known)
        printf("  port %s: %llu -> %llu (+%llu)\n", name, (unsigned long long)before,
               (unsigned long long)now, (unsigned long long)(now - before));
}

static bool show_proof(const tw_coll *c, const char *wanted)
{
    tw_coll_stats st;
    bool good = true;
    tw_coll_get_stats(c, &st);
    for (unsigned i = 0; i < tw_coll_n_ranks(c); i++) {
        const tw_coll_peer_stats *p = &st.peer[i];
        if (i == tw_coll_rank(c))
            continue;
        printf("rank %u: %s %s:%u mtu %u, %s -> %s, gid %s index %u -> %s, qp %u -> %u\n", i,
               p->transport, p->device, p->port, p->mtu, p->local, p->peer, p->gid, p->gid_index,
               p->peer_gid, p->qpn, p->peer_qpn);
        printf("  link: %llu B in %llu messages sent, %llu B in %llu received\n",
               (unsigned long long)p->tx_bytes, (unsigned long long)p->tx_msgs,
               (unsigned long long)p->rx_bytes, (unsigned long long)p->rx_msgs);
        const tw_coll_port_counters *a = &p->port_before, *b = &p->port_now;
        print_counters("sent bytes", b->known_bytes, a->tx_bytes, b->tx_bytes);
        print_counters("received bytes", b->known_bytes, a->rx_bytes, b->rx_bytes);
        print_counters("sent packets", b->known_packets, a->tx_packets, b->tx_packets);
        print_counters("received packets", b->known_packets, a->rx_packets, b->rx_packets);
        for (unsigned k = 0; k < TW_COLL_REFUSALS_MAX && p->refused[k].transport[0] != '\0'; k++)
            printf("  not %s: %s\n", p->refused[k].transport, p->refused[k].reason);
        if (strcmp(wanted, "auto") != 0 && strcmp(wanted, p->transport) != 0) {
            printf("wanted %s\n", wanted);
            good = false;
        }
    }
    return good;
}

static enum tw_transport parse_transport(const char *s)
{
    return strcmp(s, "tcp") == 0    ? TW_TRANSPORT_TCP
           : strcmp(s, "shm") == 0  ? TW_TRANSPORT_SHM
           : strcmp(s, "rdma") == 0 ? TW_TRANSPORT_RDMA
                                    : TW_TRANSPORT_AUTO;
}

static const char *argument(int argc, char **argv, int i, const char *otherwise)
{
    return i < argc && strcmp(argv[i], "-") != 0 ? argv[i] : otherwise;
}

static int run_all(tw_coll *c, uint32_t n_rounds, const char *wanted, tw_err *err)
{
    float *x = tw_coll_alloc(c, BIG * sizeof *x);
    int rc = x == NULL ? tw_err_set(err, -12, "no memory") : 0;
    for (size_t i = 0; rc == 0 && i < sizeof sizes / sizeof sizes[0]; i++)
        rc = reduce_size(c, x, sizes[i], sizes[i] < BIG ? n_rounds : (n_rounds + 9) / 10, err);
    if (rc == 0)
        rc = send_plans(c, err);
    if (rc == 0 && !show_proof(c, wanted))
        rc = tw_err_set(err, -71, "another transport than %s", wanted);
    return rc;
}

int main(int argc, char **argv)
{
    tw_err err = {0};
    tw_coll *c = NULL;
    if (argc < 4) {
        fprintf(stderr,
                "usage: verbs_pair RANK RANKS ADDRESS-OF-RANK-0 [transport [rounds [own-address "
                "[device [verify]]]]]\n");
        return 2;
    }
    const char *wanted = argument(argc, argv, 4, "rdma");
    tw_coll_opts o = {.rank = (unsigned)atoi(argv[1]),
                      .n_ranks = (unsigned)atoi(argv[2]),
                      .transport = parse_transport(wanted),
                      .token = (const uint8_t *)"a token for the lab, known to all",
                      .address = argv[3],
                      .port = PORT,
                      .listen_fd = -1,
                      .bind_address = argument(argc, argv, 6, NULL),
                      .rdma_device = argument(argc, argv, 7, NULL),
                      .verify = strcmp(argument(argc, argv, 8, ""), "verify") == 0,
                      .rendezvous_ns = UINT64_C(60) * 1000000000U,
                      .step_ns = UINT64_C(30) * 1000000000U};
    int rc = tw_coll_open(&o, &c, &err);
    if (rc == 0)
        rc = run_all(c, (uint32_t)atoi(argument(argc, argv, 5, "100")), wanted, &err);
    tw_coll_close(c);
    if (rc != 0)
        fprintf(stderr, "rank %u: %s\n", o.rank, err.msg);
    return rc != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/bench_coll.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/bench_floor.h"
#include "cmd/commands.h"
#include "cmd/group.h"
#include "kern/half.h"
#include "os/signal.h"
#include "os/sys.h"

enum { SIZES_MAX = 32, SAMPLES_MAX = 40000, ROUNDS_MAX = 400, ROUNDS_MIN = 7, SLOW_TIMES = 8 };
static const size_t bytes_max = (size_t)256 << 20;
static const uint64_t at_end_limit_ns = 1800 * TW_NS_PER_S;
static const double budget_ns = 0.5e9, round_ns = 2e6;
#define INTERRUPT_NS (600 * TW_NS_PER_MS) /* from ctrl-C to the end, at most */
#define PEERS_END_NS (400 * TW_NS_PER_MS)

static const char sizes_default[] = "8,64,512,1K,4K,8K,16K,20K,48K,64K,256K,1M,4M,16M,64M";

enum op { OP_REDUCE, OP_GATHER, OP_BROADCAST, N_OPS };
static const char *const op_names[] = {"all_reduce", "all_gather", "broadcast"};

struct bench {
    tw_coll *coll;
    tw_floor *floor; /* NULL: more than two ranks */
    unsigned rank, n_ranks;
    bool wire16, json;
    const char *transport, *device;
    float *x;                  /* [bytes_max of this run] */
    uint8_t *in;               /* memcpy's target */
    double *ours, *theirs;     /* [SAMPLES_MAX] ns of one operation */
    double copies[ROUNDS_MAX]; /* ns of one memcpy */
    unsigned n_ours, n_theirs, n_copies;
    uint64_t cpu_ns, n_cpu_ops; /* processor time of this rank inside ours */
};

/* ---- values: s, then R s, R R s, ... exactly, so that the last one proves all of them ---- */

static float value_at(unsigned rank, size_t i)
{
    uint32_t h = (uint32_t)(i * 2654435761u) ^ (rank + 1) * 0x9e3779b9u;
    h = (h ^ h >> 15) * 0x85ebca6bu;
    h ^= h >> 13;
    return ((float)(h >> 8) - 8388608.0f) * 0x1p-23f;
}

static float round16(float x)
{
    return tw_bf16_to_f32(tw_bf16_from_f32(x));
}

static float tree(unsigned rank, unsigned n, size_t i, bool wire16)
{
    if (n == 1)
        return value_at(rank, i);
    const float low = tree(rank, n / 2, i, false), high = tree(rank + n / 2, n / 2, i, false);
    return wire16 ? round16(low) + round16(high) : low + high;
}

/* The oracle of n_ops all-reduces of the same vector. */
static float reduced(const struct bench *b, size_t i, unsigned n_ops)
{
    float v = tree(0, b->n_ranks, i, b->wire16);
    for (unsigned k = 1; k < n_ops; k++) {
        const float half = (float)(b->n_ranks / 2);
        v = b->wire16 ? round16(v * half) + round16(v * half) : v * (float)b->n_ranks;
    }
    return v;
}

static void fill(const struct bench *b, enum op op, size_t bytes)
{
    const size_t n = bytes / sizeof(float);
    const size_t per = op == OP_GATHER ? n / b->n_ranks : n;
    float *mine = op == OP_GATHER ? b->x + b->rank * per : b->x;
    for (size_t i = 0; i < per; i++)
        mine[i] = value_at(b->rank, i);
}

static int check(const struct bench *b, enum op op, size_t bytes, unsigned n_ops, tw_err *err)
{
    const size_t n = bytes / sizeof(float), per = TW_MAX(n / b->n_ranks, (size_t)1);
    const size_t all = op == OP_GATHER ? per * b->n_ranks : n;
    for (size_t i = 0; i < all; i++) {
        const float want = op == OP_REDUCE   ? reduced(b, i, n_ops)
                           : op == OP_GATHER ? value_at((unsigned)(i / per), i % per)
                                             : value_at(0, i);
        if (memcmp(&want, &b->x[i], sizeof(want)) != 0)
            return tw_err_set(err, -EILSEQ, "%s of %zu bytes: rank %u has %a at %zu, wanted %a",
                              op_names[op], bytes, b->rank, (double)b->x[i], i, (double)want);
    }
    return 0;
}

/* ---- measuring ---- */

static uint64_t cpu_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * TW_NS_PER_S + (uint64_t)t.tv_nsec;
}

static int run_op(const struct bench *b, enum op op, size_t bytes, unsigned i, tw_err *err)
{
    const size_t n = bytes / sizeof(float);
    switch (op) {
    case OP_REDUCE:
        return b->wire16 ? tw_coll_all_reduce_wire16(b->coll, b->x, n, err)
                         : tw_coll_all_reduce(b->coll, b->x, n, err);
    case OP_GATHER: {
        const size_t per = n / b->n_ranks;
        return tw_coll_all_gather(b->coll, b->x + b->rank * per, per * sizeof(float), b->x, err);
    }
    case OP_BROADCAST:
    case N_OPS:
    default: /* roots in turn: each waits for the one before it */
        return tw_coll_broadcast(b->coll, i % b->n_ranks, b->x, n * sizeof(float), err);
    }
}

static void take_sample(double *samples, unsigned *n, double ns)
{
    if (*n < SAMPLES_MAX)
        samples[(*n)++] = ns;
}

/* n_ops of ours. The first of several shows how late the ranks came together: it does not count. */
static int round_ours(struct bench *b, enum op op, size_t bytes, unsigned n_ops, tw_err *err)
{
    const unsigned together = op == OP_BROADCAST ? b->n_ranks : 1;
    fill(b, op, bytes);
    if (op == OP_BROADCAST && b->rank != 0)
        memset(b->x, 0, bytes);
    int rc = tw_coll_barrier(b->coll, err);
    const uint64_t cpu0 = cpu_now_ns();
    uint64_t t0 = tw_clock_now_ns();
    for (unsigned i = 0; rc == 0 && i < n_ops; i++) {
        rc = run_op(b, op, bytes, i, err);
        if ((i + 1) % together != 0)
            continue;
        const uint64_t t1 = tw_clock_now_ns();
        if (i >= together || n_ops <= 2 * together)
            take_sample(b->ours, &b->n_ours, (double)(t1 - t0) / together);
        t0 = t1;
    }
    b->cpu_ns += cpu_now_ns() - cpu0;
    b->n_cpu_ops += n_ops;
    return rc == 0 ? check(b, op, bytes, n_ops, err) : rc;
}

static int round_floor(struct bench *b, size_t bytes, unsigned n_ops, tw_err *err)
{
    memset(b->x, 0, bytes);
    int rc = tw_coll_barrier(b->coll, err);
    uint64_t t0 = tw_clock_now_ns();
    for (unsigned i = 0; rc == 0 && i < n_ops; i++) {
        rc = tw_floor_exchange(b->floor, b->x, bytes, err);
        const uint64_t t1 = tw_clock_now_ns();
        if (i > 0 || n_ops <= 2)
            take_sample(b->theirs, &b->n_theirs, (double)(t1 - t0));
        t0 = t1;
    }
    return rc;
}

static void round_copy(struct bench *b, size_t bytes)
{
    uint64_t t0 = tw_clock_now_ns();
    memcpy(b->in, b->x, bytes);
    __asm__ volatile("" : : "r"(b->in) : "memory");
    b->copies[b->n_copies++] = (double)(tw_clock_now_ns() - t0);
}

static void choose_rounds(const struct bench *b, enum op op, double op_ns, uint32_t ret[2])
{
    /* s * R^k must stay finite */
    const double most = op == OP_REDUCE ? (b->n_ranks == 8 ? 32 : b->n_ranks == 4 ? 48 : 96) : 96;
    double n = TW_MIN(TW_MAX(round_ns / op_ns, 1.0), most);
    if (op == OP_BROADCAST)
        n = TW_MAX(n / b->n_ranks, 1.0) * b->n_ranks;
    ret[1] = (uint32_t)n;
    if (op == OP_BROADCAST)
        ret[1] -= ret[1] % b->n_ranks;
    const double rounds = budget_ns / (op_ns * ret[1] * 2);
    ret[0] = (uint32_t)TW_MIN(TW_MAX(rounds, (double)ROUNDS_MIN), (double)ROUNDS_MAX);
}

/* Rounds, and operations in each: by what such a message takes on a good wire, or by what three of
 * them took where that is far more (a slow LAN, an emulated machine). Rank 0 decides for all. */
static int plan_rounds(struct bench *b, enum op op, size_t bytes, uint32_t ret[2], tw_err *err)
{
    enum { N_TRIES = 3 };
    double op_ns = 2e4 * b->n_ranks + (double)bytes * (b->n_ranks > 2 ? 4 : 1.5);
    fill(b, op, bytes);
    int rc = tw_coll_barrier(b->coll, err);
    const uint64_t t0 = tw_clock_now_ns();
    for (unsigned i = 0; i < N_TRIES * b->n_ranks && rc == 0; i++)
        rc = run_op(b, op, bytes, i, err);
    const double took = (double)(tw_clock_now_ns() - t0) / (N_TRIES * b->n_ranks);
    if (took > SLOW_TIMES * op_ns)
        op_ns = took;
    choose_rounds(b, op, op_ns, ret);
    return rc == 0 ? tw_coll_broadcast(b->coll, 0, ret, 2 * sizeof(*ret), err) : rc;
}

static int measure(struct bench *b, enum op op, size_t bytes, tw_err *err)
{
    uint32_t plan[2] = {0};
    const size_t floor_bytes = op == OP_GATHER ? bytes / b->n_ranks : bytes;
    const bool has_floor = b->floor != NULL && op != OP_BROADCAST && !b->wire16;
    b->n_ours = b->n_theirs = b->n_copies = 0;
    b->cpu_ns = b->n_cpu_ops = 0;
    int rc = plan_rounds(b, op, bytes, plan, err);
    const unsigned n_ops = plan[1];
    for (unsigned i = 0; rc == 0 && i < plan[0]; i++) { /* turns: A B, B A, A B, ... */
        if (tw_signal_asked_to_stop()) /* rank 0 alone hears it; the others end with the group */
            return tw_err_set(err, -EINTR, "interrupted");
        if (has_floor && (i & 1) != 0)
            rc = round_floor(b, floor_bytes, n_ops, err);
        if (rc == 0)
            rc = round_ours(b, op, bytes, n_ops, err);
        if (rc == 0 && has_floor && (i & 1) == 0)
            rc = round_floor(b, floor_bytes, n_ops, err);
        round_copy(b, bytes);
    }
    return rc;
}

/* ---- reporting ---- */

static int compare_doubles(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static double quantile(double *v, unsigned n, double q)
{
    qsort(v, n, sizeof(*v), compare_doubles);
    return v[(unsigned)(q * (n - 1) + 0.5)];
}

static void print_us(const char *name, double ns, bool known)
{
    if (known)
        printf(",\"%s\":%.3f", name, ns / 1e3);
    else
        printf(",\"%s\":null", name);
}

static void report(struct bench *b, enum op op, size_t bytes, double cpu_us)
{
    const unsigned n = b->n_ours;
    const double p50 = quantile(b->ours, n, 0.5), p99 = quantile(b->ours, n, 0.99),
                 p999 = quantile(b->ours, n, 0.999), best = b->ours[0];
    const double copy = quantile(b->copies, b->n_copies, 0.5);
    const bool has_floor = b->n_theirs > 0;
    const double floor50 = has_floor ? quantile(b->theirs, b->n_theirs, 0.5) : 0;
    const size_t floor_bytes = op == OP_GATHER ? bytes / b->n_ranks : bytes;
    const double r = b->n_ranks, alg = (double)bytes / p50,
                 bus = alg * (op == OP_REDUCE   ? 2 * (r - 1) / r
                              : op == OP_GATHER ? (r - 1) / r
                                                : 1);
    const char *of = has_floor ? tw_floor_name(b->floor, floor_bytes) : "";
    if (!b->json) {
        printf("%-10s %9zu B %10.2f %10.2f %8.2f %8.2f %9.1f %9.2f", op_names[op], bytes, p50 / 1e3,
               p99 / 1e3, alg, bus, cpu_us, copy / 1e3);
        if (has_floor)
            printf(" %9.2f %6.2f  %s", floor50 / 1e3, p50 / floor50, of);
        printf("\n");
        fflush(stdout);
        return;
    }
    printf("{\"test\":\"coll_%s\",\"impl\":\"twinax\",\"bytes\":%zu,\"ranks\":%u,\"transport\":"
           "\"%s\",\"device\":\"%s\",\"arith\":\"%s\",\"samples\":%u",
           op_names[op], bytes, b->n_ranks, b->transport, b->device, b->wire16 ? "wire16" : "exact",
           n);
    print_us("min_us", best, true);
    print_us("p50_us", p50, true);
    print_us("p99_us", p99, n >= 100);
    print_us("p999_us", p999, n >= 1000);
    printf(",\"alg_gb_s\":%.4f,\"bus_gb_s\":%.4f,\"cpu_us\":%.3f", alg, bus, cpu_us);
    print_us("memcpy_us", copy, true);
    print_us("floor_us", floor50, has_floor);
    if (has_floor)
        printf(",\"ratio\":%.4f,\"floor\":\"%s\"", p50 / floor50, of);
    printf(",\"checked\":true}\n");
    fflush(stdout);
}

static int bench_size(struct bench *b, enum op op, size_t bytes, tw_err *err)
{
    double cpu[TW_RANKS_MAX] = {0};
    int rc = measure(b, op, bytes, err);
    if (rc != 0)
        return rc;
    cpu[b->rank] = (double)b->cpu_ns / (double)b->n_cpu_ops / 1e3;
    rc = tw_coll_all_gather(b->coll, &cpu[b->rank], sizeof(cpu[0]), cpu, err);
    double sum = 0;
    for (unsigned i = 0; i < b->n_ranks; i++)
        sum += cpu[i] / b->n_ranks;
    if (rc == 0 && b->rank == 0)
        report(b, op, bytes, sum);
    return rc;
}

/* Which transport, and why no other. */
static void report_transport(const struct bench *b, const tw_coll_peer_stats *p)
{
    if (b->json)
        printf("{\"test\":\"coll_transport\",\"ranks\":%u,\"transport\":\"%s\",\"device\":\"%s\","
               "\"mtu\":%u,\"refused\":{",
               b->n_ranks, p->transport, p->device, p->mtu);
    for (unsigned i = 0; i < TW_COLL_REFUSALS_MAX && p->refused[i].transport[0] != '\0'; i++) {
        const char *reason = p->refused[i].reason;
        if (!b->json) {
            printf("not %s: %s\n", p->refused[i].transport, reason);
            continue;
        }
        printf("%s\"%s\":\"", i > 0 ? "," : "", p->refused[i].transport);
        for (; *reason != '\0'; reason++)
            putchar(*reason == '"' || *reason == '\\' || *reason < ' ' ? ' ' : *reason);
        printf("\"");
    }
    if (b->json)
        printf("}}\n");
}

/* "8,64,4K,1M": multiples of 4 bytes. */
static int parse_sizes(const char *text, size_t *ret, unsigned *ret_n, tw_err *err)
{
    *ret_n = 0;
    for (const char *at = text; *at != '\0'; at += *at == ',') {
        char *end;
        size_t v = strtoull(at, &end, 10);
        const int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;
        if (end == at || v == 0 || v > bytes_max >> shift || (v << shift) % 4 != 0 ||
            *ret_n == SIZES_MAX)
            return tw_err_set(err, -EINVAL, "--sizes %s: wanted like 8,64,4K,1M; multiples of 4",
                              text);
        ret[(*ret_n)++] = v << shift;
        at = end + (shift != 0);
        if (*at != '\0' && *at != ',')
            return tw_err_set(err, -EINVAL, "--sizes %s: wanted like 8,64,4K,1M", text);
    }
    return *ret_n > 0 ? 0 : tw_err_set(err, -EINVAL, "--sizes is empty");
}

static int run_sizes(struct bench *b, const size_t *sizes, unsigned n_sizes, tw_err *err)
{
    int rc = 0;
    if (b->rank == 0 && !b->json)
        printf("%u ranks by %s (%s); microseconds, GB/s; every result checked bit by bit\n"
               "%-10s %11s %10s %10s %8s %8s %9s %9s %9s %6s\n",
               b->n_ranks, b->transport, b->device, "operation", "size", "p50", "p99", "alg", "bus",
               "cpu/op", "memcpy", "floor", "ratio");
    for (unsigned op = 0; op < N_OPS; op++)
        for (unsigned i = 0; rc == 0 && i < n_sizes; i++)
            if (op != OP_GATHER || sizes[i] % (4 * b->n_ranks) == 0)
                rc = bench_size(b, (enum op)op, sizes[i], err);
    return rc;
}

/* Rank r to the r-th core it may use, where there are enough; after the heartbeat thread began. */
static void pin(unsigned rank, unsigned n_ranks)
{
    int cpus[TW_CPU_MAX];
    const unsigned n = tw_sys_cpus(cpus, TW_CPU_MAX);
    cpu_set_t set;
    if (n < n_ranks)
        return;
    CPU_ZERO(&set);
    CPU_SET((unsigned)cpus[rank], &set);
    (void)!sched_setaffinity(0, sizeof(set), &set);
}

static int take_memory(struct bench *b, const size_t *sizes, unsigned n_sizes, tw_err *err)
{
    size_t most = 0;
    for (unsigned i = 0; i < n_sizes; i++)
        most = TW_MAX(most, sizes[i]);
    b->x = tw_coll_alloc(b->coll, most);
    b->in = tw_coll_alloc(b->coll, most);
    b->ours = tw_coll_alloc(b->coll, SAMPLES_MAX * sizeof(double));
    b->theirs = tw_coll_alloc(b->coll, SAMPLES_MAX * sizeof(double));
    if (!b->x || !b->in || !b->ours || !b->theirs)
        return tw_err_set(err, -ENOMEM, "no memory for messages of %zu bytes", most);
    memset(b->in, 1, most);
    return 0;
}

int tw_bench_coll_rank(const tw_bench_coll_part *p, tw_err *err)
{
    struct bench b = {.rank = p->opts.rank,
                      .n_ranks = p->opts.n_ranks,
                      .wire16 = p->wire16,
                      .json = p->json};
    size_t sizes[SIZES_MAX];
    unsigned n_sizes;
    tw_coll_stats st;
    tw_coll_opts o = p->opts;
    o.n_threads = 1;
    o.step_ns = 60 * TW_NS_PER_S;
    int rc = parse_sizes(p->sizes != NULL ? p->sizes : sizes_default, sizes, &n_sizes, err);
    if (rc == 0)
        rc = tw_coll_open(&o, &b.coll, err);
    if (rc != 0)
        return rc;
    pin(b.rank, b.n_ranks);
    tw_coll_get_stats(b.coll, &st);
    const tw_coll_peer_stats *peer = &st.peer[b.rank == 0 ? 1 : 0];
    b.transport = peer->transport;
    b.device = peer->device;
    if (b.rank == 0)
        report_transport(&b, peer);
    rc = take_memory(&b, sizes, n_sizes, err);
    if (rc == 0 && b.n_ranks == 2)
        rc = tw_floor_open(b.coll, b.transport, o.address, &b.floor, err);
    if (rc == 0)
        rc = run_sizes(&b, sizes, n_sizes, err);
    if (rc == 0 && p->at_end != NULL)
        rc = p->at_end(p->ctx, err);
    if (rc == 0)
        rc = tw_coll_barrier_start(b.coll, err);
    if (rc == 0)
        rc = tw_coll_wait(b.coll, at_end_limit_ns, err);
    tw_floor_close(b.floor);
    tw_coll_close(b.coll);
    return rc;
}

struct peers {
    const tw_args *args;
    const tw_group_local *group;
};

/* bench/coll_peers.py beside this program's build folder, or $TWINAX_PEERS_SCRIPT. Other ranks keep
 * their network namespaces open meanwhile. */
static int run_peers(void *ctx, tw_err *err)
{
    const struct peers *p = ctx;
    const char *script = getenv("TWINAX_PEERS_SCRIPT"), *python = getenv("TWINAX_PEER_PYTHON");
    char self[512], path[600], pid[16];
    if (script == NULL) {
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        self[n > 0 ? n : 0] = '\0';
        char *slash = strrchr(self, '/');
        snprintf(path, sizeof(path), "%.*s/../bench/coll_peers.py",
                 slash != NULL ? (int)(slash - self) : 0, self);
        script = path;
    }
    if (access(script, R_OK) != 0)
        return tw_err_set(err, -ENOENT, "--peers: no %.150s; name it in TWINAX_PEERS_SCRIPT",
                          script);
    snprintf(pid, sizeof(pid), "%d", (int)p->group->children[1].pid);
    const char *argv[] = {python != NULL ? python : "python3",
                          script,
                          "--address",
                          p->group->address,
                          "--sizes",
                          p->args->sizes != NULL ? p->args->sizes : sizes_default,
                          "--transport",
                          tw_transport_name(p->args->transport),
                          p->args->json ? "--json" : "--table",
                          p->args->netns ? "--netns-of" : NULL,
                          pid,
                          NULL};
    tw_child c;
    int status, rc = tw_child_spawn(argv, TW_CHILD_NULL_IN, -1, &c, err);
    if (rc != 0)
        return rc;
    while (!tw_child_poll(&c, &status) && !tw_signal_asked_to_stop())
        usleep(20000);
    const bool interrupted = tw_signal_asked_to_stop();
    tw_child_stop(&c, PEERS_END_NS);
    if (interrupted)
        return tw_err_set(err, -EINTR, "interrupted");
    return c.status == 0 ? 0 : tw_err_set(err, -EIO, "--peers: %.150s failed", script);
}

/* A collective that hangs, or a large one over a slow wire, is not waited for: the other ranks go
 * with us. */
struct watch {
    pthread_t thread;
    _Atomic bool done;
};

static void *watch_signal(void *arg)
{
    struct watch *w = arg;
    uint64_t asked_ns = 0;
    while (!atomic_load(&w->done)) {
        struct pollfd p = {.fd = asked_ns == 0 ? tw_signal_fd() : -1, .events = POLLIN};
        (void)!poll(&p, 1, 20);
        if (asked_ns == 0 && tw_signal_asked_to_stop())
            asked_ns = tw_clock_now_ns();
        if (asked_ns != 0 && tw_clock_now_ns() - asked_ns > INTERRUPT_NS) {
            fputs("twinax bench coll: interrupted\n", stderr);
            _exit(TW_EXIT_INTERRUPTED);
        }
    }
    return NULL;
}

static int measure_watched(const tw_bench_coll_part *p, tw_err *err)
{
    struct watch w = {.done = false};
    int rc = -pthread_create(&w.thread, NULL, watch_signal, &w);
    if (rc != 0)
        return tw_err_set(err, rc, "no thread to hear ctrl-C with: %s", strerror(-rc));
    rc = tw_bench_coll_rank(p, err);
    atomic_store(&w.done, true);
    pthread_join(w.thread, NULL);
    return rc;
}

static int start_and_measure(const tw_args *a, tw_err *err)
{
    tw_args mine = *a;
    tw_group_local g;
    mine.job = TW_JOB_BENCH_COLL;
    int rc = tw_group_start(&mine, &g, err);
    if (rc != 0)
        return rc;
    struct peers peers = {a, &g};
    const tw_bench_coll_part p = {.opts = {.rank = 0,
                                           .n_ranks = a->tp,
                                           .transport = a->transport,
                                           .token = g.token,
                                           .address = g.address,
                                           .listen_fd = g.listen_fd,
                                           .rdma_device = a->rdma_device,
                                           .verify = a->verify},
                                  .sizes = a->sizes,
                                  .wire16 = a->engine.arith == TW_ARITH_WIRE16,
                                  .json = a->json,
                                  .at_end = a->peers ? run_peers : NULL,
                                  .ctx = &peers};
    rc = measure_watched(&p, err);
    tw_group_stop(&g);
    return rc;
}

static int check_args(const tw_args *a, tw_err *err)
{
    size_t sizes[SIZES_MAX];
    unsigned n_sizes;
    if (a->tp < 2)
        return tw_err_set(err, -EINVAL, "wanted --local --tp 2, 4 or 8, or --nodes");
    if (a->peers && a->nodes.n > 0)
        return tw_err_set(err, -EINVAL, "--peers measures on one machine: wanted --local");
    if (a->peers && a->tp != 2)
        return tw_err_set(err, -EINVAL, "--peers wants --tp 2");
    return a->sizes != NULL ? parse_sizes(a->sizes, sizes, &n_sizes, err) : 0;
}

static int cmd_bench_coll(int argc, char **argv)
{
    const tw_command *c = &tw_command_bench_coll;
    tw_err err = {0};
    tw_args a;
    int first;
    tw_args_init(&a);
    int rc = tw_options_parse(c->tables, argc, argv, &a, &first, &err);
    if (rc == 0 && first < argc)
        rc = tw_err_set(&err, -EINVAL, "%s: wanted options only", argv[first]);
    if (rc == 0)
        rc = tw_args_check_ranks(&a, &err);
    if (rc == 0)
        rc = tw_far_find_nodes(&a, &err);
    if (rc == 0)
        rc = check_args(&a, &err);
    if (rc != 0)
        return tw_command_misused(c, &err);
    a.model = "coll"; /* no rank opens it */
    rc = start_and_measure(&a, &err);
    tw_far_name_ranks(&a, &err);
    return tw_command_end(c, rc, &err);
}

static const tw_option coll_options[] = {
    {"sizes", .arg = "8,64K,1M", .help = "bytes of a message; default: 8 B to 64 MiB",
     .type = TW_OPT_TEXT, .offset = offsetof(tw_args, sizes)},
    {"peers", .help = "OpenMPI's and gloo's all-reduce beside it, where they are installed",
     .type = TW_OPT_FLAG, .offset = offsetof(tw_args, peers)},
    {"json", .help = "one object a line", .type = TW_OPT_FLAG, .offset = offsetof(tw_args, json)},
    {.name = NULL},
};
static const tw_option_table coll_tables[] = {
    {NULL, coll_options},
    {"ranks", tw_options_ranks},
    {"other machines (docs/nodes.md)", tw_options_nodes},
    {NULL, NULL},
};
static const tw_note coll_env[] = {
    {"TWINAX_PEER_PYTHON", "--peers: a Python that has torch"},
    {"TWINAX_PEERS_SCRIPT", "--peers: bench/coll_peers.py, when not beside the build folder"},
    {NULL, NULL},
};
static const tw_note coll_examples[] = {
    {"twinax bench coll --local --tp 2 --netns --sizes 8K,64K", "two ranks, a real (veth) network"},
    {"twinax bench coll --nodes box1=10.1.1.1,box2=10.1.1.2 --transport rdma",
     "two machines, by RDMA or not at all"},
    {NULL, NULL},
};

const tw_command tw_command_bench_coll = {
    .name = "bench coll",
    .args = "--local --tp R | --nodes LIST [--sizes LIST]",
    .summary = "speed of the exchanges between ranks",
    .about =
        "All-reduce, all-gather and broadcast of each size, checked bit by bit, against floors "
        "measured in the same run: a raw spinning exchange of the same bytes, and memcpy.",
    .tables = coll_tables,
    .run = cmd_bench_coll,
    .group = TW_GROUP_MEASURE,
    .examples = coll_examples,
    .env = coll_env,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* One rank of a group over several hosts, by the public headers alone.
 *
 *   two_hosts generate RANK [NAME=VALUE]...   rank 0 generates, the others serve it
 *   two_hosts reduce RANK [NAME=VALUE]...     all-reduces, every value compared
 *
 * Names: address (of rank 0), port, transport, device, ranks (2), step_ms; generate: model, ids
 * (1,2,3), n, logits (a file); reduce: floats, rounds (0: for ever).
 * Prints `ids`, or a line a round, then what carried the bytes. The token is for the lab alone. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "twinax/coll.h"
#include "twinax/engine.h"

enum { IDS_MAX = 4096 };

struct options {
    const char *address, *device, *model, *ids, *logits;
    enum tw_transport transport;
    unsigned rank, n_ranks;
    uint16_t port;
    uint32_t n, floats, rounds, step_ms;
};

/* ---- options ---- */

static int parse_transport(const char *s, enum tw_transport *ret)
{
    static const char *const names[] = {
        [TW_TRANSPORT_AUTO] = "auto",
        [TW_TRANSPORT_TCP] = "tcp",
        [TW_TRANSPORT_SHM] = "shm",
        [TW_TRANSPORT_RDMA] = "rdma",
    };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], s) == 0) {
            *ret = (enum tw_transport)i;
            return 0;
        }
    return -EINVAL;
}

static int parse_option(struct options *o, const char *name, size_t n, const char *value)
{
    const struct {
        const char *name;
        const char **text;
        uint32_t *number;
    } known[] = {
        {"address", &o->address, NULL}, {"device", &o->device, NULL},
        {"model", &o->model, NULL},     {"ids", &o->ids, NULL},
        {"logits", &o->logits, NULL},   {"n", NULL, &o->n},
        {"floats", NULL, &o->floats},   {"rounds", NULL, &o->rounds},
        {"step_ms", NULL, &o->step_ms}, {"ranks", NULL, &o->n_ranks},
    };
    if (n == strlen("transport") && strncmp(name, "transport", n) == 0)
        return parse_transport(value, &o->transport);
    if (n == strlen("port") && strncmp(name, "port", n) == 0) {
        o->port = (uint16_t)strtoul(value, NULL, 10);
        return 0;
    }
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].name) != n || strncmp(known[i].name, name, n) != 0)
            continue;
        if (known[i].text != NULL)
            *known[i].text = value;
        else
            *known[i].number = (uint32_t)strtoul(value, NULL, 10);
        return 0;
    }
    return -EINVAL;
}

static int parse_options(int argc, char **argv, struct options *o)
{
    *o = (struct options){.address = "10.77.0.1",
                          .ids = "1",
                          .transport = TW_TRANSPORT_RDMA,
                          .rank = (unsigned)strtoul(argv[2], NULL, 10),
                          .n_ranks = 2,
                          .port = 18621,
                          .n = 16,
                          .floats = 1024,
                          .rounds = 10};
    for (int i = 3; i < argc; i++) {
        const char *eq = strchr(argv[i], '=');
        if (eq == NULL || parse_option(o, argv[i], (size_t)(eq - argv[i]), eq + 1) != 0) {
            fprintf(stderr, "two_hosts: %s: unknown name or value\n", argv[i]);
            return -EINVAL;
        }
    }
    return 0;
}

static tw_coll_opts coll_options(const struct options *o)
{
    return (tw_coll_opts){.rank = o->rank,
                          .n_ranks = o->n_ranks,
                          .transport = o->transport,
                          .token = (const uint8_t *)"a token for the lab, known to all",
                          .address = o->address,
                          .port = o->port,
                          .listen_fd = -1,
                          .rdma_device = o->device,
                          .rendezvous_ns = UINT64_C(30) * 1000000000U,
                          .step_ns = o->step_ms * UINT64_C(1000000)};
}

/* ---- proof ---- */

static void print_peer(unsigned rank, const tw_coll_peer_stats *p)
{
    printf("peer %u transport %s device %s port %u mtu %u gid %s index %u peer_gid %s\n", rank,
           p->transport, p->device, p->port, p->mtu, p->gid[0] != '\0' ? p->gid : "-", p->gid_index,
           p->peer_gid[0] != '\0' ? p->peer_gid : "-");
    printf("link tx_bytes %" PRIu64 " rx_bytes %" PRIu64 " tx_msgs %" PRIu64 " rx_msgs %" PRIu64
           "\n",
           p->tx_bytes, p->rx_bytes, p->tx_msgs, p->rx_msgs);
    printf("port tx_packets %" PRIu64 " rx_packets %" PRIu64 "\n",
           p->port_now.tx_packets - p->port_before.tx_packets,
           p->port_now.rx_packets - p->port_before.rx_packets);
    for (unsigned i = 0; i < TW_COLL_REFUSALS_MAX && p->refused[i].transport[0] != '\0'; i++)
        printf("refused %s: %s\n", p->refused[i].transport, p->refused[i].reason);
}

static void print_proof(const tw_coll *c)
{
    tw_coll_stats st;
    tw_coll_get_stats(c, &st);
    for (unsigned r = 0; r < tw_coll_n_ranks(c); r++)
        if (st.peer[r].transport[0] != '\0')
            print_peer(r, &st.peer[r]);
}

/* ---- reduce ---- */

static float value(unsigned rank, uint32_t round, uint32_t i)
{
    return (float)((i * 31 + round * 7 + rank * 13) % 1009) * 0.37f;
}

static int reduce_round(tw_coll *c, float *x, const struct options *o, uint32_t round, tw_err *err)
{
    for (uint32_t i = 0; i < o->floats; i++)
        x[i] = value(o->rank, round, i);
    int rc = tw_coll_all_reduce(c, x, o->floats, err);
    for (uint32_t i = 0; rc == 0 && i < o->floats; i++) {
        const float want = value(0, round, i) + value(1, round, i);
        if (memcmp(&x[i], &want, sizeof want) != 0)
            rc = tw_err_set(err, -EBADMSG, "round %u, at %u: %a, wanted %a", round, i, (double)x[i],
                            (double)want);
    }
    return rc;
}

static int run_reduce(tw_coll *c, const struct options *o, tw_err *err)
{
    float *x = tw_coll_alloc(c, o->floats * sizeof *x);
    int rc = x != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for %u floats", o->floats);
    for (uint32_t k = 0; rc == 0 && (o->rounds == 0 || k < o->rounds); k++) {
        rc = reduce_round(c, x, o, k, err);
        if (rc == 0)
            printf("round %u right\n", k);
        fflush(stdout);
    }
    return rc;
}

static int reduce(const struct options *o, tw_err *err)
{
    tw_coll *c = NULL;
    const tw_coll_opts co = coll_options(o);
    int rc = tw_coll_open(&co, &c, err);
    if (rc == 0)
        rc = run_reduce(c, o, err);
    if (rc == 0)
        print_proof(c);
    else /* closing takes its own time */
        printf("failed\n");
    fflush(stdout);
    tw_coll_close(c);
    return rc;
}

/* ---- generate ---- */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    unsigned n;
    uint32_t ids[IDS_MAX];
    tw_err err;
};

static void on_event(void *ctx, const tw_event *ev)
{
    struct answer *a = ctx;
    pthread_mutex_lock(&a->lock);
    if (ev->kind == TW_EVENT_TOKEN && ev->id != UINT32_MAX && a->n < IDS_MAX)
        a->ids[a->n++] = ev->id;
    if (ev->kind == TW_EVENT_DONE) {
        if (ev->err != NULL)
            a->err = *ev->err;
        a->is_done = true;
        pthread_cond_signal(&a->done);
    }
    pthread_mutex_unlock(&a->lock);
}

static unsigned parse_ids(const char *text, uint32_t ids[IDS_MAX])
{
    unsigned n = 0;
    while (*text != '\0' && n < IDS_MAX) {
        char *end;
        ids[n++] = (uint32_t)strtoul(text, &end, 10);
        text = *end == ',' ? end + 1 : end;
        if (end[0] != ',' && end[0] != '\0')
            return 0;
    }
    return n;
}

static int write_file(const char *path, const float *p, size_t n, tw_err *err)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(p, sizeof *p, n, f) != n || fclose(f) != 0)
        return tw_err_set(err, -EIO, "%s: %s", path, strerror(errno));
    return 0;
}

static int ask(tw_engine *e, const struct options *o, tw_err *err)
{
    static struct answer a = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    uint32_t prompt[IDS_MAX];
    tw_engine_info info;
    uint64_t id;
    tw_engine_get_info(e, &info);
    float *logits = calloc(info.vocab, sizeof *logits);
    tw_request r = {.prompt = prompt,
                    .n_prompt = parse_ids(o->ids, prompt),
                    .max_tokens = o->n,
                    .sampling = {.top_p = 1, .repetition_penalty = 1},
                    .ignore_eos = true,
                    .ret_logits = logits,
                    .on_event = on_event,
                    .ctx = &a};
    int rc = tw_engine_submit(e, &r, &id, err);
    pthread_mutex_lock(&a.lock);
    while (rc == 0 && !a.is_done)
        pthread_cond_wait(&a.done, &a.lock);
    pthread_mutex_unlock(&a.lock);
    if (rc == 0 && a.err.code != 0) {
        *err = a.err;
        rc = err->code;
    }
    if (rc == 0) {
        printf("ids ");
        for (unsigned i = 0; i < a.n; i++)
            printf("%s%u", i > 0 ? "," : "", a.ids[i]);
        printf("\n");
    }
    if (rc == 0 && o->logits != NULL)
        rc = write_file(o->logits, logits, info.vocab, err);
    free(logits);
    return rc;
}

static int join_group(tw_model *m, const tw_engine_opts *eo, const struct options *o, tw_coll **ret,
                      tw_err *err)
{
    tw_coll_opts co = coll_options(o);
    tw_coll_fact *facts;
    int rc = tw_engine_facts(m, eo, o->n_ranks, &facts, &co.n_facts, err);
    if (rc != 0)
        return rc;
    co.facts = facts;
    rc = tw_coll_open(&co, ret, err);
    tw_engine_facts_free(facts, co.n_facts);
    return rc;
}

static int generate(const struct options *o, tw_err *err)
{
    tw_model *m = NULL;
    tw_coll *c = NULL;
    tw_engine *e = NULL;
    const tw_engine_opts eo = {.n_threads = 1, .n_local = 1};
    int rc = tw_model_open(o->model, &m, err);
    if (rc == 0 && o->n_ranks > 1)
        rc = join_group(m, &eo, o, &c, err);
    if (rc == 0)
        rc = tw_engine_open(m, c, &eo, &e, err);
    if (rc == 0)
        rc = o->rank == 0 ? ask(e, o, err) : tw_engine_serve_rank(e, err);
    if (rc == 0 && c != NULL)
        print_proof(c);
    tw_engine_close(e);
    tw_coll_close(c);
    tw_model_close(m);
    return rc;
}

int main(int argc, char **argv)
{
    struct options o;
    tw_err err = {0};
    const bool is_generate = argc > 2 && strcmp(argv[1], "generate") == 0;
    if (argc < 3 || (!is_generate && strcmp(argv[1], "reduce") != 0) ||
        parse_options(argc, argv, &o) != 0 || (is_generate && o.model == NULL)) {
        fprintf(stderr, "usage: two_hosts generate|reduce RANK [NAME=VALUE]...\n");
        return 2;
    }
    int rc = is_generate ? generate(&o, &err) : reduce(&o, &err);
    if (rc != 0)
        fprintf(stderr, "rank %u: %s\n", o.rank, err.msg);
    return rc == 0 ? 0 : 1;
}

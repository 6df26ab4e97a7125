/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax rank`: a rank that is not the head. Reads its part from stdin (group.c writes it), joins
 * the group and works until the end. */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/find_model.h"
#include "cmd/node.h"
#include "os/secret.h"
#include "cmd/rank_report.h"

static int hex_to(const char *hex, uint8_t *out, size_t n)
{
    if (strlen(hex) != 2 * n)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        if (sscanf(hex + 2 * i, "%2x", &v) != 1)
            return -EINVAL;
        out[i] = (uint8_t)v;
    }
    return 0;
}

struct part {
    json_t *json; /* owns the strings below */
    int rank, n_ranks, port, transport, verify, threads, ctx, max_seqs, chunk, kv, n_local, arith;
    const char *address, *token, *model, *veth, *veth_ip, *cpu, *fault, *job, *sizes, *rdma_device,
        *bind, *model_id;
    int i_local, report, quant, no_packs, packs_gib, profile;
};

/* What rank 0 never sends; the enums index tables later. */
static int check_part(const struct part *p, tw_err *err)
{
    const struct {
        const char *name;
        int v, min, max;
    } fields[] = {
        {"n_ranks", p->n_ranks, 2, TW_RANKS_MAX},
        {"rank", p->rank, 1, p->n_ranks - 1},
        {"port", p->port, 1, 65535},
        {"transport", p->transport, TW_TRANSPORT_AUTO, TW_TRANSPORT_RDMA},
        {"threads", p->threads, 0, 1024},
        {"ctx", p->ctx, 0, 1 << 20},
        {"max_seqs", p->max_seqs, 0, 256},
        {"chunk", p->chunk, 0, 8192},
        {"kv", p->kv, TW_KV_AUTO, TW_KV_F32},
        {"arith", p->arith, TW_ARITH_EXACT, TW_ARITH_WIRE16},
        {"quant", p->quant, TW_QUANT_NONE, TW_QUANT_Q4},
        {"n_local", p->n_local, 0, TW_RANKS_MAX},
        {"i_local", p->i_local, 0, TW_RANKS_MAX - 1},
        {"report", p->report, 0, 60000},
        {"packs_gib", p->packs_gib, 0, 1 << 20},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(fields); i++)
        if (fields[i].v < fields[i].min || fields[i].v > fields[i].max)
            return tw_err_set(err, -EPROTO, "part on stdin: %s %d: wanted %d to %d", fields[i].name,
                              fields[i].v, fields[i].min, fields[i].max);
    if ((p->veth == NULL) != (p->veth_ip == NULL))
        return tw_err_set(err, -EPROTO, "part on stdin: veth and veth_ip: both or none");
    return 0;
}

static int read_part(struct part *p, tw_err *err)
{
    static char line[16384];
    tw_secret_guard(); /* the token comes */
    if (fgets(line, sizeof(line), stdin) == NULL)
        return tw_err_set(err, -EPIPE, "no part on stdin: `twinax rank` is started by rank 0");
    json_error_t je;
    p->json = json_loads(line, 0, &je);
    explicit_bzero(line, sizeof line);
    if (p->json == NULL ||
        json_unpack_ex(p->json, &je, 0,
                       "{s:i,s:i,s:s,s:i,s:s,s:i,s:s,s:b,s:{s:i,s:i,s:i,s:i,s:i,"
                       "s:i,s:i,s?i,s?i,s?b,s?i,s?b},s?s,s?s,s?s,s?s,s?s,s?s,s?s,s?s,s?i,s?s}",
                       "rank", &p->rank, "n_ranks", &p->n_ranks, "address", &p->address, "port",
                       &p->port, "token", &p->token, "transport", &p->transport, "model", &p->model,
                       "verify", &p->verify, "engine", "threads", &p->threads, "ctx", &p->ctx,
                       "max_seqs", &p->max_seqs, "chunk", &p->chunk, "kv", &p->kv, "n_local",
                       &p->n_local, "arith", &p->arith, "i_local", &p->i_local, "quant", &p->quant,
                       "no_packs", &p->no_packs, "packs_gib", &p->packs_gib, "profile", &p->profile,
                       "veth", &p->veth, "veth_ip", &p->veth_ip, "cpu", &p->cpu, "fault", &p->fault,
                       "job", &p->job, "sizes", &p->sizes, "rdma_device", &p->rdma_device, "bind",
                       &p->bind, "report", &p->report, "model_id", &p->model_id) != 0)
        return tw_err_set(err, -EPROTO, "part on stdin: %s", je.text);
    return check_part(p, err);
}

/* Our end of the veth, in our own network namespace. */
static int raise_veth(const struct part *p, tw_err *err)
{
    char cidr[80];
    snprintf(cidr, sizeof(cidr), "%s/30", p->veth_ip);
    const char *addr[] = {"ip", "addr", "add", cidr, "dev", p->veth, NULL};
    const char *up[] = {"ip", "link", "set", p->veth, "up", NULL};
    int rc = tw_child_run(addr, err);
    return rc == 0 ? tw_child_run(up, err) : rc;
}

/* The head keeps our stdin open while it lives; PDEATHSIG is the second string. */
static void *hold_lifeline(void *arg)
{
    char byte;
    (void)arg;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    usleep(1000 * 1000); /* the engine's own farewell comes first */
    _exit(TW_EXIT_FAILED);
}

static int join_and_work(tw_node *n, const struct part *p, tw_err *err)
{
    uint8_t token[TW_TOKEN_BYTES];
    if (hex_to(p->token, token, sizeof(token)) != 0)
        return tw_err_set(err, -EPROTO, "part on stdin: the token is not 64 hex digits");
    int rc = p->veth != NULL ? raise_veth(p, err) : 0;
    if (rc != 0)
        return rc;
    n->args.model = p->model;
    n->args.no_packs = p->no_packs != 0;
    n->args.profile = p->profile != 0;
    n->args.packs_gib = (uint32_t)p->packs_gib;
    n->args.engine = (tw_engine_opts){.n_threads = (unsigned)p->threads,
                                      .i_local = (unsigned)p->i_local,
                                      .n_local = (unsigned)p->n_local,
                                      .ctx = (uint32_t)p->ctx,
                                      .max_seqs = (uint32_t)p->max_seqs,
                                      .chunk = (uint32_t)p->chunk,
                                      .kv = (enum tw_kv_type)p->kv,
                                      .arith = (enum tw_arith)p->arith,
                                      .quant = (enum tw_quant)p->quant,
                                      .cpu = p->cpu};
    tw_coll_opts co = {.rank = (unsigned)p->rank,
                       .n_ranks = (unsigned)p->n_ranks,
                       .transport = (enum tw_transport)p->transport,
                       .token = token,
                       .address = p->address,
                       .port = (uint16_t)p->port,
                       .listen_fd = -1,
                       .bind_address = p->bind,
                       .rdma_device = p->rdma_device,
                       .verify = p->verify != 0,
                       .fault = p->fault};
    if (p->job != NULL) {
        const tw_rank_job_part job = {.job = p->job,
                                      .opts = co,
                                      .sizes = p->sizes,
                                      .wire16 = p->arith == (int)TW_ARITH_WIRE16};
        return tw_rank_job(&job, err);
    }
    if (p->report > 0)
        rc = tw_rank_report_start((unsigned)p->report, err);
    if (rc == 0)
        rc = tw_find_model(p->model, p->model_id, &n->model, err);
    if (rc == 0)
        rc = tw_node_join(n, &co, err);
    return rc == 0 ? tw_engine_serve_rank(n->engine, err) : rc;
}

int tw_cmd_rank(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "twinax rank takes no arguments: rank 0 starts it\n");
        return TW_EXIT_USAGE;
    }
    signal(SIGINT, SIG_IGN); /* ctrl-C goes to the whole terminal; the head decides */
    tw_err err = {0};
    struct part p = {.json = NULL};
    tw_node n = {.group.listen_fd = -1};
    pthread_t lifeline;
    int rc = read_part(&p, &err);
    tw_log_set(TW_LOG_INFO, rc == 0 ? p.rank : -1);
    if (rc == 0 && pthread_create(&lifeline, NULL, hold_lifeline, NULL) != 0)
        rc = tw_err_set(&err, -EAGAIN, "cannot start the lifeline thread");
    if (rc == 0)
        rc = join_and_work(&n, &p, &err);
    if (rc != 0)
        tw_log(TW_LOG_ERROR, "rank", "%s", err.msg);
    tw_node_leave(&n);
    json_decref(p.json);
    return rc == 0 ? TW_EXIT_OK : TW_EXIT_FAILED;
}

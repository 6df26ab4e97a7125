/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/group.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/bench_coll.h"
#include "cmd/give_model.h"
#include "cmd/veth.h"
#include "os/fd.h"
#include "os/sock.h"
#include "os/sys.h"

static const uint64_t stop_grace_ns = 1500 * TW_NS_PER_MS;

/* Joins our network namespace and the child's by a veth pair; it goes with the child. */
static int make_veth(tw_group_local *g, tw_veth *v, tw_err *err)
{
    char pid[16], cidr[80];
    int rc = tw_veth_choose(getpid(), v, &g->veth_lock_fd, err);
    if (rc != 0)
        return rc;
    snprintf(g->address, sizeof(g->address), "%s", v->ip0);
    snprintf(pid, sizeof(pid), "%d", (int)g->children[1].pid);
    snprintf(cidr, sizeof(cidr), "%s/30", v->ip0);
    const char *add[] = {"ip",   "link", "add",    v->name0, "type", "veth",
                         "peer", "name", v->name1, "netns",  pid,    NULL};
    const char *addr[] = {"ip", "addr", "add", cidr, "dev", v->name0, NULL};
    const char *up[] = {"ip", "link", "set", v->name0, "up", NULL};
    rc = tw_child_run(add, err);
    if (rc == 0)
        rc = tw_child_run(addr, err);
    return rc == 0 ? tw_child_run(up, err) : rc;
}

static json_t *engine_json(const tw_args *a, unsigned r)
{
    const tw_engine_opts *o = &a->engine;
    unsigned n_local, i_local, n_threads = o->n_threads;
    tw_far_place(a, r, &n_local, &i_local);
    if (a->nodes.n > 0 && a->nodes.v[r].threads != 0)
        n_threads = a->nodes.v[r].threads;
    return json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:b,s:i,s:b}", "threads", (int)n_threads,
                     "ctx", (int)o->ctx, "max_seqs", (int)o->max_seqs, "chunk", (int)o->chunk, "kv",
                     (int)o->kv, "n_local", (int)n_local, "i_local", (int)i_local, "arith",
                     (int)o->arith, "quant", (int)o->quant, "no_packs", (int)a->no_packs,
                     "packs_gib", (int)a->packs_gib, "profile",
                     (int)(a->profile || a->profile_trace != NULL));
}

static void hex_of(const uint8_t *bytes, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* Everything that rank r needs. bind: its own address, NULL: as routed. */
static json_t *make_part(const tw_group_local *g, const tw_args *a, unsigned r, const char *model,
                         const char *bind)
{
    char token[2 * TW_TOKEN_BYTES + 1];
    hex_of(g->token, sizeof(g->token), token);
    return json_pack("{s:i,s:i,s:s,s:i,s:s,s:i,s:s,s:b,s:o,s:s*,s:s*,s:s*,s:s*,s:s*,s:s*,s:i}",
                     "rank", (int)r, "n_ranks", (int)g->n_ranks, "address", g->address, "port",
                     (int)g->port, "token", token, "transport", (int)a->transport, "model", model,
                     "verify", (int)a->verify, "engine", engine_json(a, r), "cpu", a->engine.cpu,
                     "fault", a->fault, "job", a->job, "sizes", a->sizes, "rdma_device",
                     tw_far_rdma_device(a, r), "bind", bind, "report",
                     a->nodes.n > 0 ? (int)a->report_ms : 0);
}

/* One line of JSON on its stdin. */
static int tell_child(const tw_group_local *g, const tw_args *a, unsigned r, const tw_veth *veth,
                      tw_err *err)
{
    json_t *j = make_part(g, a, r, a->model, NULL);
    if (j != NULL && veth != NULL) {
        json_object_set_new(j, "veth", json_string(veth->name1));
        json_object_set_new(j, "veth_ip", json_string(veth->ip1));
    }
    char *text = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    if (text == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to tell rank %u its part", r);
    FILE *f = fdopen(dup(g->children[r].in_fd), "w");
    const bool ok = f != NULL && fprintf(f, "%s\n", text) > 0 && fflush(f) == 0;
    if (f != NULL)
        fclose(f);
    free(text); /* budget: jansson's own */
    return ok ? 0 : tw_err_set(err, -EPIPE, "rank %u does not read its part", r);
}

static int start_children(tw_group_local *g, const tw_args *a, tw_err *err)
{
    const char *argv[] = {"/proc/self/exe", "rank", NULL};
    for (unsigned r = 1; r < g->n_ranks; r++) {
        const unsigned flags = TW_CHILD_PIPE_IN | (a->netns ? TW_CHILD_NEW_NET : 0u);
        int rc = tw_child_spawn(argv, flags, -1, &g->children[r], err);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The cause alone (ip is missing, unshare is refused) names neither the option nor the way out. */
static int explain_netns(int rc, tw_err *err)
{
    const tw_err why = *err;
    return tw_err_set(err, rc,
                      "--netns needs root and iproute2 (without it the ranks share this host's "
                      "network): %.*s",
                      (int)sizeof(why.msg) - 90, why.msg);
}

static int make_far_part(const tw_group_local *g, const tw_args *a, unsigned r, json_t **ret,
                         tw_err *err)
{
    char model[4096];
    const char *ip = a->nodes.v[r].ip;
    int rc = tw_far_model_path(a, r, model, sizeof model, err);
    if (rc == 0)
        *ret = make_part(g, a, r, model, ip[0] != '\0' ? ip : NULL);
    if (rc == 0 && *ret != NULL && a->model_id != NULL && !tw_far_has_model_path(a, r))
        json_object_set_new(*ret, "model_id", json_string(a->model_id));
    return rc != 0 || *ret != NULL ? rc : tw_err_set(err, -ENOMEM, "no memory for rank %u", r);
}

static int start_far(tw_group_local *g, const tw_args *a, tw_err *err)
{
    json_t *parts[TW_RANKS_MAX] = {NULL};
    int rc = tw_far_own_address(a, g->address, sizeof g->address, err);
    if (rc == 0)
        rc = tw_far_open(a, &g->far, err);
    if (rc == 0)
        rc = tw_give_model(g->far, a, err);
    if (rc == 0) /* not before all have answered: what listens, listens shortly */
        rc = tw_sock_listen(g->address, 0, &g->listen_fd, &g->port, err);
    for (unsigned r = 1; r < g->n_ranks && rc == 0; r++)
        rc = make_far_part(g, a, r, &parts[r], err);
    if (rc == 0)
        return tw_far_run(g->far, parts, err);
    for (unsigned r = 1; r < g->n_ranks; r++)
        json_decref(parts[r]);
    return rc;
}

static int start_here(tw_group_local *g, const tw_args *a, tw_err *err)
{
    tw_veth veth;
    snprintf(g->address, sizeof(g->address), "127.0.0.1");
    int rc = start_children(g, a, err);
    if (rc == 0 && a->netns)
        rc = make_veth(g, &veth, err);
    if (rc != 0 && a->netns)
        rc = explain_netns(rc, err);
    if (rc == 0)
        rc = tw_sock_listen(g->address, 0, &g->listen_fd, &g->port, err);
    for (unsigned r = 1; rc == 0 && r < g->n_ranks; r++)
        rc = tell_child(g, a, r, a->netns ? &veth : NULL, err);
    return rc;
}

int tw_group_start(const tw_args *a, tw_group_local *g, tw_err *err)
{
    memset(g, 0, sizeof(*g));
    g->listen_fd = -1;
    g->veth_lock_fd = -1;
    g->n_ranks = a->tp;
    if (tw_sys_random(g->token, sizeof(g->token)) != 0)
        return tw_err_set(err, -EIO, "the kernel gives no random bytes for the token");
    int rc = a->nodes.n > 0 ? start_far(g, a, err) : start_here(g, a, err);
    if (rc != 0) {
        tw_fd_closep(&g->listen_fd);
        tw_group_stop(g);
    }
    return rc;
}

unsigned tw_group_lost(tw_group_local *g, char *why, size_t why_bytes, bool *ret_by_itself)
{
    int status;
    if (g->far != NULL)
        return tw_far_lost(g->far, why, why_bytes, ret_by_itself);
    for (unsigned r = 1; r < g->n_ranks; r++)
        if (g->children[r].pid > 0 && tw_child_poll(&g->children[r], &status)) {
            const bool killed = WIFSIGNALED(status);
            snprintf(why, why_bytes, "rank %u %s %d before it joined", r,
                     killed ? "was killed by signal" : "ended with status",
                     killed ? WTERMSIG(status) : WEXITSTATUS(status));
            *ret_by_itself = !killed;
            return r;
        }
    return 0;
}

void tw_group_stop(tw_group_local *g)
{
    tw_far_close(g->far);
    g->far = NULL;
    for (unsigned r = 1; r < g->n_ranks; r++) { /* lifelines first: all end at the same time */
        if (g->children[r].in_fd > 0)
            close(g->children[r].in_fd);
        g->children[r].in_fd = -1;
        if (g->children[r].pid > 0)
            (void)kill(g->children[r].pid, SIGCONT); /* a stopped one could not take SIGTERM */
    }
    for (unsigned r = 1; r < g->n_ranks; r++)
        tw_child_stop(&g->children[r], stop_grace_ns);
    if (g->veth_lock_fd > 0)
        close(g->veth_lock_fd);
    g->veth_lock_fd = -1;
    g->n_ranks = 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which machines a run has, and what is where on them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/far.h"
#include "cmd/find_config.h"
#include "host/net.h"

static const char *allowed_tp(size_t n_nodes)
{
    return n_nodes >= 8   ? "1, 2, 4 and 8"
           : n_nodes >= 4 ? "1, 2 and 4"
           : n_nodes >= 2 ? "1 and 2"
                          : "1";
}

/* As many ranks as nodes, or fewer: then the first nodes. */
static int match_ranks(tw_args *a, tw_err *err)
{
    const unsigned n = (unsigned)a->nodes.n;
    if (!a->has_tp && (n & (n - 1)) != 0)
        return tw_err_set(
            err, -EINVAL,
            "%u nodes: say how many of them with --tp; allowed are %s (the first ones "
            "are taken)",
            n, allowed_tp(n));
    if (!a->has_tp)
        a->tp = n;
    if (a->tp > n)
        return tw_err_set(err, -EINVAL,
                          "--tp %u: more ranks than nodes (%u); allowed are --tp %s, or --local",
                          a->tp, n, allowed_tp(n));
    a->nodes.n = a->tp > 1 ? a->tp : 0;
    return 0;
}

/* text: "NAME=..." */
static bool is_of(const tw_args *a, unsigned r, const char *text)
{
    const char *name = a->nodes.v[r].name;
    const size_t n = strlen(name);
    return strncmp(text, name, n) == 0 && text[n] == '=';
}

static bool is_of_any(const tw_args *a, const char *text)
{
    for (unsigned r = 1; r < a->nodes.n; r++)
        if (is_of(a, r, text))
            return true;
    return false;
}

static int check_model_paths(const tw_args *a, tw_err *err)
{
    for (unsigned i = 0; i < a->n_model_paths; i++) {
        const char *text = a->model_paths[i], *path = strchr(text, '=');
        if (path == NULL || path[1] != '/')
            return tw_err_set(err, -EINVAL, "--model-path %.100s: wanted NODE=/PATH", text);
        if (!is_of_any(a, text))
            return tw_err_set(err, -EINVAL, "--model-path %.100s: no such node among the ranks 1..",
                              text);
    }
    return 0;
}

static int find_in_file(tw_args *a, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the configuration");
    int rc = tw_find_config(f, err);
    if (rc == 0)
        a->nodes = f->config.nodes;
    for (size_t i = 0; i < a->nodes.n; i++) /* the cluster's device is every node's, but its own */
        if (a->nodes.v[i].rdma_device[0] == '\0')
            memcpy(a->nodes.v[i].rdma_device, f->config.rdma_device, sizeof f->config.rdma_device);
    if (rc == 0 && a->transport == TW_TRANSPORT_AUTO && f->config.transport[0] != '\0')
        rc = tw_transport_parse(f->config.transport, &a->transport, err);
    if (rc == 0 && f->config.nodes.n > 1)
        tw_log(TW_LOG_INFO, "config", "%zu nodes from %s", f->config.nodes.n, f->path);
    return rc;
}

int tw_far_find_nodes(tw_args *a, tw_err *err)
{
    int rc = 0;
    if (a->local && a->nodes_list != NULL)
        return tw_err_set(err, -EINVAL, "--local and --nodes: one of them");
    if (a->nodes_list != NULL)
        rc = tw_nodes_parse(a->nodes_list, &a->nodes, err);
    else if (!a->local && !(a->has_tp && a->tp == 1))
        rc = find_in_file(a, err);
    if (rc == 0 && a->nodes.n > 0)
        rc = match_ranks(a, err);
    if (rc != 0)
        return rc;
    if (a->nodes.n == 0 && a->tp > 1 && !a->local)
        return tw_err_set(err, -EINVAL,
                          "--tp %u: no nodes are configured: --nodes LIST or twinax.conf; or add "
                          "--local to run all ranks on this machine",
                          a->tp);
    if (a->agent_path != NULL && strlen(a->agent_path) >= sizeof a->nodes.v[0].agent_path)
        return tw_err_set(err, -EINVAL, "--agent-path: wanted at most %zu characters",
                          sizeof a->nodes.v[0].agent_path - 1);
    for (size_t i = 0; i < a->nodes.n && a->agent_path != NULL; i++)
        snprintf(a->nodes.v[i].agent_path, sizeof a->nodes.v[i].agent_path, "%s", a->agent_path);
    if (a->nodes.n > 0 && a->engine.n_threads == 0)
        a->engine.n_threads = a->nodes.v[0].threads;
    return check_model_paths(a, err);
}

/* Messages name the rank that the group knows; people know machines. */
void tw_far_name_ranks(const tw_args *a, tw_err *err)
{
    char text[sizeof err->msg];
    unsigned r = 0;
    const char *at = err->msg;
    while ((at = strstr(at, "rank ")) != NULL) {
        at += 5;
        r = (unsigned)(at[0] - '0');
        if (r >= 1 && r < a->nodes.n && (at[1] < '0' || at[1] > '9'))
            break;
    }
    if (at == NULL || at[1] == '\0' || strstr(err->msg, a->nodes.v[r].name) != NULL)
        return;
    snprintf(text, sizeof text, "%.*s (%s)%s", (int)(at + 1 - err->msg), err->msg,
             a->nodes.v[r].name, at + 1);
    memcpy(err->msg, text, sizeof text);
}

static bool is_here(const tw_args *a, unsigned r)
{
    return r == 0 || a->nodes.n == 0 || strcmp(a->nodes.v[r].ssh, "local") == 0;
}

void tw_far_place(const tw_args *a, unsigned r, unsigned *ret_n_local, unsigned *ret_i_local)
{
    *ret_n_local = 1;
    *ret_i_local = 0;
    if (!is_here(a, r))
        return;
    *ret_n_local = 0;
    for (unsigned i = 0; i < a->tp; i++) {
        *ret_n_local += is_here(a, i);
        *ret_i_local += i < r && is_here(a, i);
    }
}

const char *tw_far_rdma_device(const tw_args *a, unsigned r)
{
    const bool own = a->nodes.n > r && a->nodes.v[r].rdma_device[0] != '\0';
    return own && a->rdma_device == NULL ? a->nodes.v[r].rdma_device : a->rdma_device;
}

bool tw_far_has_model_path(const tw_args *a, unsigned r)
{
    for (unsigned i = 0; i < a->n_model_paths; i++)
        if (is_of(a, r, a->model_paths[i]))
            return true;
    return a->nodes.v[r].model_path[0] != '\0';
}

int tw_far_model_path(const tw_args *a, unsigned r, char *out, size_t out_bytes, tw_err *err)
{
    char cwd[2048] = "";
    int n = -1;
    for (unsigned i = 0; i < a->n_model_paths; i++)
        if (is_of(a, r, a->model_paths[i]))
            n = snprintf(out, out_bytes, "%s", strchr(a->model_paths[i], '=') + 1);
    if (n < 0 && a->nodes.v[r].model_path[0] != '\0')
        n = snprintf(out, out_bytes, "%s", a->nodes.v[r].model_path);
    if (n < 0 && a->model[0] != '/' && getcwd(cwd, sizeof cwd) == NULL)
        return tw_err_set(err, -errno, "the working folder has no name: %s", strerror(errno));
    if (n < 0)
        n = snprintf(out, out_bytes, "%s%s%s", cwd, cwd[0] != '\0' ? "/" : "", a->model);
    return n > 0 && (size_t)n < out_bytes
               ? 0
               : tw_err_set(err, -ENAMETOOLONG, "%.60s...: the model's path is too long", a->model);
}

static bool all_here(const tw_args *a)
{
    for (unsigned r = 1; r < a->tp; r++)
        if (!is_here(a, r))
            return false;
    return true;
}

/* Our address in the subnet of rank 1's. */
static int find_neighbour(const tw_net *net, const tw_args *a, char *out, size_t out_bytes)
{
    tw_net_addr theirs;
    if (a->nodes.v[1].ip[0] == '\0' || !tw_net_addr_parse(a->nodes.v[1].ip, &theirs))
        return -ENOENT;
    for (size_t i = 0; i < net->n_ifs; i++)
        for (size_t k = 0; k < net->ifs[i].n_addrs; k++) {
            theirs.prefix = net->ifs[i].addrs[k].prefix;
            if (tw_net_same_subnet(&net->ifs[i].addrs[k], &theirs)) {
                tw_net_addr_format(&net->ifs[i].addrs[k], net->ifs[i].name, out, out_bytes);
                return 0;
            }
        }
    return -ENOENT;
}

int tw_far_own_address(const tw_args *a, char *out, size_t out_bytes, tw_err *err)
{
    const tw_node_spec *me = &a->nodes.v[0];
    TW_CLEANUP(tw_mem_freep) tw_net *net = tw_mem_calloc(1, sizeof *net);
    if (net == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts");
    if (me->ip[0] == '\0' && all_here(a)) {
        snprintf(out, out_bytes, "127.0.0.1");
        return 0;
    }
    int rc = tw_net_read(NULL, net, err);
    if (rc != 0)
        return rc;
    if (me->ip[0] == '\0' && find_neighbour(net, a, out, out_bytes) == 0)
        return 0;
    if (me->ip[0] == '\0')
        return tw_err_set(
            err, -EINVAL,
            "nodes: the cluster address of %s (this machine) is not known: give it as "
            "%s=IP",
            me->name, me->name);
    if (tw_net_find_ip(net, me->ip, NULL) == NULL && strncmp(me->ip, "127.", 4) != 0)
        return tw_err_set(err, -EADDRNOTAVAIL,
                          "nodes: the first one, %s, must be this machine, and %s is no address of "
                          "%s: see `ip addr`",
                          me->name, me->ip, net->host);
    snprintf(out, out_bytes, "%s", me->ip);
    return 0;
}

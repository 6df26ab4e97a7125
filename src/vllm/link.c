/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/link.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const names[TW_VLLM_TRANSPORTS] = {"auto", "infiniband", "roce", "thunderbolt",
                                                      "ethernet"};

const char *tw_vllm_transport_name(enum tw_vllm_transport t)
{
    return t < TW_VLLM_TRANSPORTS ? names[t] : "?";
}

bool tw_vllm_transport_parse(const char *name, enum tw_vllm_transport *ret)
{
    for (enum tw_vllm_transport t = TW_VLLM_AUTO; t < TW_VLLM_TRANSPORTS; t++)
        if (strcmp(name, names[t]) == 0) {
            *ret = t;
            return true;
        }
    return false;
}

bool tw_vllm_transport_is_rdma(enum tw_vllm_transport t)
{
    return t == TW_VLLM_INFINIBAND || t == TW_VLLM_ROCE;
}

static const tw_facts_nic *nic_of(const tw_facts *f, const char *name)
{
    for (size_t i = 0; i < f->n_nics; i++)
        if (strcmp(f->nics[i].name, name) == 0)
            return &f->nics[i];
    return NULL;
}

/* The kernel calls an InfiniBand port's interface ib0; a card may also be set to that link layer. */
static enum tw_vllm_transport rdma_kind(const tw_facts *f, const tw_net_if *i)
{
    const tw_facts_nic *n = nic_of(f, i->name);
    const bool ib = i->kind == TW_NET_INFINIBAND || (n != NULL && strcmp(n->rdma_mode, "ib") == 0);
    return ib ? TW_VLLM_INFINIBAND : TW_VLLM_ROCE;
}

static bool is_active(const tw_net_if *i)
{
    return i->rdma[0] != '\0' && strcmp(i->state, "ACTIVE") == 0;
}

static unsigned port_of(const tw_net_if *i)
{
    return i->rdma_port > 0 ? i->rdma_port : 1;
}

/* "irdma0" or "irdma0:1" */
static bool is_device(const tw_net_if *i, const char *asked)
{
    char full[80];
    snprintf(full, sizeof full, "%s:%u", i->rdma, port_of(i));
    return strcmp(i->rdma, asked) == 0 || strcmp(full, asked) == 0;
}

/* Index of the RoCE v2 GID that the kernel made of this address; -1: none. */
static int gid_of(const tw_facts *f, const tw_net_if *i, const char *ip)
{
    static const char type[] = " RoCE v2 ";
    const tw_facts_nic *n = nic_of(f, i->name);
    for (size_t k = 0; n != NULL && k < n->n_gids; k++) {
        char *rest;
        const uintmax_t index = strtoumax(n->gids[k], &rest, 10);
        if (index <= 255 && strncmp(rest, type, sizeof type - 1) == 0 &&
            strcmp(rest + sizeof type - 1, ip) == 0)
            return (int)index;
    }
    return -1;
}

static void name_ports(const tw_facts *f, enum tw_vllm_transport t, char *out, size_t out_bytes)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t k = 0; k < f->net.n_ifs && len < out_bytes; k++) {
        const tw_net_if *i = &f->net.ifs[k];
        if (is_active(i) && rdma_kind(f, i) == t)
            len += (size_t)snprintf(out + len, out_bytes - len, "%s%s:%u (%s)", len > 0 ? ", " : "",
                                    i->rdma, port_of(i), i->name);
    }
}

/* The port: the one that was named, else that of the address's interface, else the only active one
 * (InfiniBand beside an Ethernet that carries the sockets). */
static int find_port(const tw_vllm_node *node, const tw_net_if *own, enum tw_vllm_transport t,
                     const tw_net_if **ret, tw_err *err)
{
    const tw_net *net = &node->facts->net;
    const bool named = node->device != NULL && node->device[0] != '\0';
    const tw_net_if *found = NULL;
    size_t n = 0;
    char ports[160];
    for (size_t k = 0; k < net->n_ifs; k++) {
        const tw_net_if *i = &net->ifs[k];
        if (!is_active(i) || rdma_kind(node->facts, i) != t ||
            (named && !is_device(i, node->device)) || (!named && t == TW_VLLM_ROCE && i != own))
            continue;
        if (i == own && !named) {
            *ret = i;
            return 0;
        }
        found = i;
        n++;
    }
    if (n == 1) {
        *ret = found;
        return 0;
    }
    name_ports(node->facts, t, ports, sizeof ports);
    if (n > 1)
        return tw_err_set(err, -EINVAL,
                          "%s: several active %s ports: %s; name one: rdma_device in twinax.conf",
                          node->name, names[t], ports);
    return tw_err_set(err, -ENODEV,
                      "%s: no active %s port%s%s%s; active are: %s; twinax doctor says more",
                      node->name, names[t], named ? " called " : " at ",
                      named ? node->device : own->name, "", ports[0] != '\0' ? ports : "none");
}

static int take_rdma(const tw_vllm_node *node, const tw_net_if *own, enum tw_vllm_transport t,
                     tw_vllm_link *ret, tw_err *err)
{
    const tw_net_if *port = NULL;
    const int rc = find_port(node, own, t, &port, err);
    if (rc != 0)
        return rc;
    snprintf(ret->hca, sizeof ret->hca, "%s:%u", port->rdma, port_of(port));
    if (t == TW_VLLM_INFINIBAND) {
        ret->gid_index = 0; /* goes by LID; 0 is the port's own */
        return 0;
    }
    ret->gid_index = gid_of(node->facts, port, node->ip);
    if (ret->gid_index < 0)
        return tw_err_set(
            err, -ENODEV,
            "%s: %s has no RoCE v2 GID of %s: RCCL would fall back to sockets; twinax "
            "doctor names the mend",
            node->name, ret->hca, node->ip);
    return 0;
}

static int take(const tw_vllm_node *node, enum tw_vllm_transport t, tw_vllm_link *ret, tw_err *err)
{
    const tw_net_if *own = tw_net_find_ip(&node->facts->net, node->ip, NULL);
    if (own == NULL)
        return tw_err_set(err, -ENODEV,
                          "%s: no interface has the cluster address %s; twinax setup gives it one",
                          node->name, node->ip);
    *ret = (tw_vllm_link){.transport = t, .gid_index = -1};
    snprintf(ret->interface, sizeof ret->interface, "%s", own->name);
    snprintf(ret->ip, sizeof ret->ip, "%s", node->ip);
    if (tw_vllm_transport_is_rdma(t))
        return take_rdma(node, own, t, ret, err);
    if (t == TW_VLLM_THUNDERBOLT && own->kind != TW_NET_THUNDERBOLT)
        return tw_err_set(err, -ENODEV,
                          "%s: %s is on %s, which is %s and not Thunderbolt; twinax setup "
                          "--transport thunderbolt puts it there",
                          node->name, node->ip, own->name, tw_net_kind_name(own->kind));
    return 0;
}

static int take_all(const tw_vllm_node *nodes, size_t n, enum tw_vllm_transport t,
                    tw_vllm_link *ret, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = take(&nodes[i], t, &ret[i], err);
    return rc;
}

int tw_vllm_links_find(const tw_vllm_node *nodes, size_t n, enum tw_vllm_transport asked,
                       tw_vllm_link *ret, char *why, size_t why_bytes, tw_err *err)
{
    tw_vllm_link found[TW_VLLM_NODES_MAX];
    tw_err first = {0};
    int rc = -ENODEV;
    enum tw_vllm_transport t = asked;
    if (n == 0 || n > TW_VLLM_NODES_MAX)
        return tw_err_set(err, -EINVAL, "%zu nodes; 1 to %d can work together", n,
                          TW_VLLM_NODES_MAX);
    if (asked != TW_VLLM_AUTO) {
        rc = take_all(nodes, n, asked, found, err);
    } else {
        for (t = TW_VLLM_INFINIBAND; t < TW_VLLM_TRANSPORTS; t++) {
            tw_err one = {0};
            rc = take_all(nodes, n, t, found, &one);
            if (rc == 0 || rc == -EINVAL || t == TW_VLLM_ETHERNET) {
                if (rc != 0 && err != NULL)
                    *err = one;
                break;
            }
            if (t == TW_VLLM_ROCE)
                first = one; /* why RDMA was not taken is what people want to know */
        }
    }
    if (rc != 0)
        return rc;
    memcpy(ret, found, n * sizeof *ret);
    if (why != NULL && asked != TW_VLLM_AUTO)
        snprintf(why, why_bytes, "%s: asked for", names[t]);
    else if (why != NULL)
        snprintf(why, why_bytes, "%s: the best that %s%s%s", names[t],
                 n == 1 ? "this node has" : "all nodes have",
                 n > 1 && first.msg[0] != '\0' ? "; no RoCE: " : "", n > 1 ? first.msg : "");
    return 0;
}

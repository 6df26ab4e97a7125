/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, routes, firewalls, and what was proven over them. */
#include <inttypes.h>
#include <string.h>

#include "base/scope.h"
#include "host/check_list.h"

const tw_proof_way *tw_check_way(const tw_check_ctx *c, size_t from, size_t to)
{
    const tw_proofs *p = c->w->proofs;
    if (p == NULL || from >= p->n_nodes || to >= p->n_nodes)
        return NULL;
    return &p->ways[from][to];
}

static bool is_local_only(const tw_check_ctx *c)
{
    return c->use->addr == NULL && c->w->nodes[c->i].ip[0] == '\0' &&
           c->use->want[TW_NEED_RDMA] == TW_WANT_NO;
}

CHECK(net_address)
{
    const tw_check_node *n = &c->w->nodes[c->i];
    const tw_net_addr *other = NULL;
    if (c->use->addr != NULL) {
        tw_check_found(c, "%s/%u on %s", c->use->addr->ip, c->use->addr->prefix, c->use->net->name);
        return TW_CHECK_OK;
    }
    const tw_net_if *where = n->ip[0] != '\0' ? tw_net_find_ip(&c->f->net, n->ip, &other) : NULL;
    if (where != NULL)
        tw_check_found(c, "%s is on %s", n->ip, where->name);
    else if (c->use->net != NULL && c->use->net->n_addrs > 0)
        tw_check_found(c, "%s has %s/%u", c->use->net->name, c->use->net->addrs[0].ip,
                       c->use->net->addrs[0].prefix);
    else
        tw_check_found(c, "%s has no address", tw_check_if_name(c));
    tw_check_wanted(c, "%s on %s", n->ip[0] != '\0' ? n->ip : "a cluster address",
                    tw_check_if_name(c));
    tw_mend_address(c);
    return TW_CHECK_FAIL;
}

bool tw_check_is_shared(const tw_check_ctx *c, const tw_net_if *f)
{
    return f->default_route || strcmp(c->f->routes.ssh_interface, f->name) == 0;
}

/* Two interfaces in one subnet: answers leave by the wrong one. */
CHECK(net_overlap)
{
    if (c->use->addr == NULL)
        return tw_check_na(c, "no cluster address");
    for (size_t i = 0; i < c->f->net.n_ifs; i++) {
        const tw_net_if *f = &c->f->net.ifs[i];
        for (size_t k = 0; k < f->n_addrs && f != c->use->net && f->up; k++) {
            if (f->addrs[k].link_local || !tw_net_same_subnet(&f->addrs[k], c->use->addr))
                continue;
            tw_check_found(c, "%s/%u of %s is in the same subnet", f->addrs[k].ip,
                           f->addrs[k].prefix, f->name);
            tw_check_wanted(c, "a subnet of its own for %s", tw_check_if_name(c));
            char other[80];
            if (tw_check_is_shared(c, f))
                tw_check_mend(c,
                              "give the cluster addresses of another subnet (%s carries ssh or "
                              "the default route and keeps its own): twinax setup --init",
                              f->name);
            else
                tw_check_mend(c,
                              "sudo ip addr del %s/%u dev %s, or give the cluster other addresses: "
                              "twinax setup --init",
                              f->addrs[k].ip, f->addrs[k].prefix,
                              tw_check_quote(f->name, other, sizeof other));
            return TW_CHECK_FAIL;
        }
    }
    tw_check_found(c, "%s/%u is on no other interface", c->use->addr->ip, c->use->addr->prefix);
    return TW_CHECK_OK;
}

/* The kernel's own choice for each peer, when it was asked. */
CHECK(net_route)
{
    size_t n = 0;
    if (c->use->net == NULL)
        return tw_check_na(c, "no interface");
    for (size_t k = 0; k < c->w->n_nodes; k++) {
        const char *ip = tw_check_ip(c->w, &c->uses[k], k);
        for (size_t r = 0; r < c->f->routes.n && k != c->i && ip[0] != '\0'; r++) {
            const tw_facts_route *v = &c->f->routes.v[r];
            if (strcmp(v->to, ip) != 0)
                continue;
            n++;
            if (strcmp(v->name, c->use->net->name) == 0)
                continue;
            tw_check_found(c, "%s is reached by %s%s%s", ip,
                           v->name[0] != '\0' ? v->name : "nothing",
                           v->gateway[0] != '\0' ? " through " : "", v->gateway);
            tw_check_wanted(c, "by %s", tw_check_if_name(c));
            if (c->use->addr == NULL)
                tw_mend_address(c);
            else
                tw_check_mend(c, "sudo ip route replace %s dev %s", ip, tw_check_if_name(c));
            return TW_CHECK_FAIL;
        }
    }
    if (n == 0)
        return tw_check_na(c, "no route to a peer was looked up");
    tw_check_found(c, "%zu peer%s by %s", n, n > 1 ? "s" : "", c->use->net->name);
    return TW_CHECK_OK;
}

/* Told, because setup will not touch such an interface. */
CHECK(net_shared)
{
    const tw_net_if *f = c->use->net;
    if (f == NULL)
        return tw_check_na(c, "no interface");
    const bool ssh = strcmp(c->f->routes.ssh_interface, f->name) == 0;
    if (!ssh && !f->default_route) {
        tw_check_found(c, "%s is the cluster's alone", f->name);
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s also carries %s: setup leaves its address alone", f->name,
                   ssh && f->default_route ? "the ssh session and the default route"
                   : ssh                   ? "the ssh session"
                                           : "the default route");
    return TW_CHECK_OK;
}

/* ---- firewall ---- */

static bool is_trusted(const tw_check_ctx *c)
{
    const tw_facts_firewall *w = &c->f->firewall;
    const char *name = c->use->net->name;
    if (c->use->nic != NULL && strcmp(c->use->nic->zone, "trusted") == 0)
        return true;
    if (strcmp(w->default_zone, "trusted") == 0 &&
        (c->use->nic == NULL || c->use->nic->zone[0] == '\0'))
        return true;
    for (size_t i = 0; i < w->n_trusted; i++)
        if (strcmp(w->trusted[i], name) == 0)
            return true;
    size_t n = 0, n_here = 0;
    for (size_t k = 0; k < c->w->n_nodes; k++) {
        const char *ip = tw_check_ip(c->w, &c->uses[k], k);
        if (k == c->i || ip[0] == '\0')
            continue;
        n++;
        size_t len = strlen(ip);
        for (size_t i = 0; i < w->n_sources; i++)
            if (strncmp(w->sources[i], ip, len) == 0 &&
                (w->sources[i][len] == '\0' || w->sources[i][len] == '/')) {
                n_here++;
                break;
            }
    }
    return n > 0 && n == n_here;
}

/* Whether all ports towards this node pass, as proven: YES, NO, or nobody has tried. */
static tw_tri ports_proven(const tw_check_ctx *c)
{
    tw_tri all = TW_UNKNOWN;
    for (size_t k = 0; k < c->w->n_nodes; k++) {
        const tw_proof_way *w = tw_check_way(c, k, c->i);
        if (k == c->i || w == NULL || w->port == TW_PORT_UNKNOWN)
            continue;
        if (w->port != TW_PORT_PASSES)
            return TW_NO;
        all = TW_YES;
    }
    return all;
}

CHECK(net_firewall)
{
    const tw_facts_firewall *w = &c->f->firewall;
    if (c->use->net == NULL)
        return tw_check_na(c, "no interface");
    if (w->kind == TW_FIREWALL_UNKNOWN || w->active == TW_UNKNOWN)
        return tw_check_na(c, "the firewall is unknown; net.ports tells what passes");
    if (w->kind == TW_FIREWALL_NONE || w->active == TW_NO) {
        tw_check_found(c, "none is active");
        return TW_CHECK_OK;
    }
    const char *kind = tw_firewall_kind_name(w->kind);
    const char *zone = c->use->nic != NULL && c->use->nic->zone[0] != '\0' ? c->use->nic->zone
                       : w->default_zone[0] != '\0'                        ? w->default_zone
                                                                           : "its rules";
    const tw_tri proven = ports_proven(c);
    if (is_trusted(c)) {
        tw_check_found(c, "%s trusts %s", kind, c->use->net->name);
        return TW_CHECK_OK;
    }
    if (proven == TW_YES) {
        tw_check_found(c, "%s, %s: ports pass, as proven", kind, zone);
        return TW_CHECK_OK;
    }
    if (w->kind == TW_FIREWALL_NFTABLES && w->rules == TW_NO) {
        tw_check_found(c, "nftables drops nothing that comes in");
        return TW_CHECK_OK;
    }
    tw_check_found(c, "%s is active, %s is in %s", kind, c->use->net->name, zone);
    tw_check_wanted(c, "the cluster's link trusted: ranks, Ray and NCCL use random high ports");
    tw_mend_firewall(c);
    return proven == TW_NO || c->use->want[TW_NEED_RDMA] == TW_WANT_YES ||
                   c->use->want[TW_NEED_THUNDERBOLT] == TW_WANT_YES
               ? TW_CHECK_FAIL
               : TW_CHECK_WARN;
}

/* ---- between two ---- */

CHECK(net_subnet)
{
    const tw_net_addr *a = c->use->addr, *b = c->peer_use->addr;
    if (a == NULL || b == NULL || a->family != b->family)
        return tw_check_na(c, "an address is missing");
    tw_check_found(c, "%s/%u and %s/%u", a->ip, a->prefix, b->ip, b->prefix);
    if (tw_net_same_subnet(a, b) && a->prefix == b->prefix)
        return TW_CHECK_OK;
    tw_check_wanted(c, "one subnet, the same prefix on both");
    tw_mend_address(c);
    return is_local_only(c) ? TW_CHECK_WARN : TW_CHECK_FAIL;
}

static const char *way_text(const tw_proof_way *w)
{
    return w == NULL ? "not tried" : tw_proof_port_name(w->port);
}

CHECK(net_ports)
{
    const tw_proof_way *to = tw_check_way(c, c->i, c->j), *from = tw_check_way(c, c->j, c->i);
    if ((to == NULL || to->port == TW_PORT_UNKNOWN) &&
        (from == NULL || from->port == TW_PORT_UNKNOWN))
        return tw_check_na(c, "not tried");
    tw_check_found(c, "to %s: %s; to %s: %s", c->w->nodes[c->j].name, way_text(to),
                   c->w->nodes[c->i].name, way_text(from));
    const bool bad_to = to != NULL && to->port > TW_PORT_PASSES;
    const bool bad_from = from != NULL && from->port > TW_PORT_PASSES;
    if (!bad_to && !bad_from)
        return TW_CHECK_OK;
    const tw_proof_way *bad = bad_to ? to : from;
    const size_t end = bad_to ? c->j : c->i;
    tw_check_wanted(c, "a connection to a listener on the cluster's address");
    tw_check_ctx there = tw_check_at(c, end);
    if (bad->port == TW_PORT_UNREACHABLE) {
        tw_mend_address(&there);
    } else if (there.f->firewall.active == TW_YES) {
        tw_mend_firewall(&there);
    } else {
        tw_check_mend(c,
                      "look for a firewall's rules (sudo nft list ruleset), and whether the cable "
                      "joins these two ports%s%s",
                      bad->why[0] != '\0' ? "; " : "", bad->why);
        c->r->step = NULL;
    }
    tw_check_mend_is_at(c, end);
    return TW_CHECK_FAIL;
}

CHECK(net_path_mtu)
{
    const tw_proof_way *to = tw_check_way(c, c->i, c->j), *from = tw_check_way(c, c->j, c->i);
    if (to == NULL || from == NULL || (to->mtu_tried == 0 && from->mtu_tried == 0))
        return tw_check_na(c, "not tried");
    const tw_proof_way *worse = to->mtu_tried == 0                             ? from
                                : from->mtu_tried == 0 || to->mtu <= from->mtu ? to
                                                                               : from;
    tw_check_found(c, "packets of %u bytes arrive whole, both ways", worse->mtu);
    if (worse->mtu >= worse->mtu_tried)
        return TW_CHECK_OK;
    const size_t from_end = worse == to ? c->i : c->j, to_end = worse == to ? c->j : c->i;
    tw_check_found(c, "from %s: packets of %u bytes arrive whole, larger ones do not",
                   c->w->nodes[from_end].name, worse->mtu);
    tw_check_wanted(c, "%u, as the interface says", worse->mtu_tried);
    const tw_net_if *there = c->uses[to_end].net, *here = c->uses[from_end].net;
    if (worse->mtu < 1280) {
        tw_check_mend(c, "nothing that is not cut arrives: look at the cable and net.ports%s%s",
                      worse->why[0] != '\0' ? "; " : "", worse->why);
        return TW_CHECK_FAIL;
    }
    /* The other end takes no more, or something between them. */
    const bool other_end = there != NULL && here != NULL && there->mtu < here->mtu;
    tw_check_ctx at = tw_check_at(c, other_end ? to_end : from_end);
    tw_mend_mtu(&at, other_end ? here->mtu : worse->mtu);
    tw_check_mend_is_at(c, at.i);
    return TW_CHECK_FAIL;
}

/* ---- the cluster as a whole ---- */

CHECK(net_duplicate)
{
    size_t n = 0;
    for (size_t i = 0; i < c->w->n_nodes; i++) {
        const char *a = tw_check_ip(c->w, &c->uses[i], i);
        n += a[0] != '\0';
        for (size_t j = 0; j < c->w->n_nodes; j++) {
            const tw_check_node *other = &c->w->nodes[j];
            /* `local` twice is one machine, on purpose. */
            if (j == i || a[0] == '\0' || other->facts == NULL ||
                (strcmp(other->ssh, "local") == 0 && strcmp(c->w->nodes[i].ssh, "local") == 0))
                continue;
            if (tw_net_find_ip(&other->facts->net, a, NULL) == NULL)
                continue;
            const bool same =
                c->w->nodes[i].facts != NULL && c->w->nodes[i].facts->os.boot_id[0] != '\0' &&
                strcmp(c->w->nodes[i].facts->os.boot_id, other->facts->os.boot_id) == 0;
            tw_check_found(c, "%s of %s is on %s too%s", a, c->w->nodes[i].name, other->name,
                           same ? ": both names are one machine" : "");
            tw_check_wanted(c, "each address on one machine");
            if (same)
                tw_check_mend(c, "name another machine in twinax.conf or --nodes");
            else
                tw_check_mend(c, "give %s another address: twinax setup --init", other->name);
            return TW_CHECK_FAIL;
        }
    }
    if (n == 0)
        return tw_check_na(c, "no addresses");
    tw_check_found(c, "%zu addresses, each on one machine", n);
    return TW_CHECK_OK;
}

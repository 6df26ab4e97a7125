/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

static const struct path_words {
    const char *key, *name, *option;
} words[TW_PATHS] = {
    [TW_PATH_LAN] = {"lan", "Ethernet (1G LAN)", "--eth"},
    [TW_PATH_ROCE] = {"roce_tcp", "Ethernet (RoCE NIC)", "--roce"},
    [TW_PATH_THUNDERBOLT] = {"thunderbolt", "Thunderbolt", "--tb"},
    [TW_PATH_RDMA] = {"rdma", "RDMA (RoCE)", "--roce"},
};

const char *tw_path_key(enum tw_path_kind k)
{
    return words[k].key;
}

void tw_path_name(enum tw_path_kind k, const tw_net_if *here, char *out, size_t out_bytes)
{
    if (k == TW_PATH_LAN && here != NULL && here->kind == TW_NET_WIFI)
        snprintf(out, out_bytes, "Wi-Fi (LAN)");
    else if (k == TW_PATH_LAN && here != NULL && here->speed_mbit > 1000)
        snprintf(out, out_bytes, "Ethernet (%gG LAN)", (double)here->speed_mbit / 1000.0);
    else if (k == TW_PATH_LAN && here != NULL && here->speed_mbit > 0 && here->speed_mbit < 1000)
        snprintf(out, out_bytes, "Ethernet (%uM LAN)", here->speed_mbit);
    else
        snprintf(out, out_bytes, "%s", words[k].name);
}

static bool has_default(const tw_net *n)
{
    for (size_t i = 0; i < n->n_ifs; i++)
        if (n->ifs[i].default_route)
            return true;
    return false;
}

/* Whether this interface is what the path goes over, by what it is. */
static bool is_of_kind(enum tw_path_kind k, const tw_net *n, const tw_net_if *f)
{
    switch (k) {
    case TW_PATH_LAN:
        if (has_default(n))
            return f->default_route;
        return (f->kind == TW_NET_ETHERNET || f->kind == TW_NET_WIFI || f->kind == TW_NET_VETH) &&
               f->rdma[0] == '\0';
    case TW_PATH_ROCE:
    case TW_PATH_RDMA:
        return f->rdma[0] != '\0';
    case TW_PATH_THUNDERBOLT:
        return f->kind == TW_NET_THUNDERBOLT;
    case TW_PATHS:
        break;
    }
    return false;
}

static void set_path(const tw_path_ask *ask, const tw_net_if *here, const tw_net_addr *ours,
                     const tw_net_if *there, const tw_net_addr *theirs, tw_path *ret)
{
    *ret = (tw_path){.kind = ask->kind, .here = here, .there = there};
    tw_net_addr_format(ours, here->name, ret->here_ip, sizeof ret->here_ip);
    tw_net_addr_format(theirs, NULL, ret->there_ip, sizeof ret->there_ip);
    tw_net_addr_format(theirs, here->name, ret->to_ip, sizeof ret->to_ip);
}

/* Whether ours and theirs are two ends of one wire, as far as addresses tell. A link-local pair says
 * nothing by itself: then the interfaces must be of the same kind. */
static bool fit(const tw_path_ask *ask, const tw_net_addr *ours, const tw_net_if *there,
                const tw_net_addr *theirs, bool link_local)
{
    bool same = strcmp(ours->ip, theirs->ip) == 0 && ours->family == theirs->family;
    if (ours->link_local != link_local || theirs->link_local != link_local)
        return false;
    if (ask->same_machine)
        return same;
    return !same && tw_net_same_subnet(ours, theirs) &&
           (!link_local || is_of_kind(ask->kind, ask->there, there));
}

static bool find_theirs(const tw_path_ask *ask, const tw_net_if *here, const tw_net_addr *ours,
                        bool link_local, tw_path *ret)
{
    /* First their interface of the same kind, then any that is in the subnet. */
    for (int strict = 1; strict >= 0; strict--)
        for (size_t i = 0; i < ask->there->n_ifs; i++) {
            const tw_net_if *there = &ask->there->ifs[i];
            if (is_of_kind(ask->kind, ask->there, there) != (strict == 1) || !there->up)
                continue;
            for (size_t k = 0; k < there->n_addrs; k++)
                if (fit(ask, ours, there, &there->addrs[k], link_local)) {
                    set_path(ask, here, ours, there, &there->addrs[k], ret);
                    return true;
                }
        }
    return false;
}

static bool find_by_interface(const tw_path_ask *ask, const tw_net_if *here, tw_path *ret)
{
    for (int link_local = 0; link_local <= 1; link_local++)
        for (size_t k = 0; k < here->n_addrs; k++)
            if (find_theirs(ask, here, &here->addrs[k], link_local == 1, ret))
                return true;
    return false;
}

static int no_interface(const tw_path_ask *ask, const tw_net *n, tw_err *err)
{
    switch (ask->kind) {
    case TW_PATH_LAN:
        return tw_err_set(err, -ENODEV,
                          "%s has no default route and no other network interface; name one: --eth "
                          "IP[,PEERIP]",
                          n->host);
    case TW_PATH_ROCE:
        return tw_err_set(err, -ENODEV,
                          "%s has no interface with an RDMA device; name the card: --roce "
                          "IP[,PEERIP]",
                          n->host);
    case TW_PATH_THUNDERBOLT:
        return tw_err_set(err, -ENODEV,
                          "%s has no thunderbolt interface: no cable, or thunderbolt-net is not "
                          "loaded (modprobe thunderbolt-net)",
                          n->host);
    case TW_PATH_RDMA:
    case TW_PATHS:
        break;
    }
    return tw_err_set(err, -ENODEV, "%s: %s", n->host,
                      n->rdma_why[0] != '\0' ? n->rdma_why : "no RDMA device");
}

static int find_by_kind(const tw_path_ask *ask, tw_path *ret, tw_err *err)
{
    int rc = no_interface(ask, ask->here, err);
    bool any_there = false;
    for (size_t i = 0; i < ask->there->n_ifs; i++)
        any_there = any_there || is_of_kind(ask->kind, ask->there, &ask->there->ifs[i]);
    for (size_t i = 0; i < ask->here->n_ifs; i++) {
        const tw_net_if *f = &ask->here->ifs[i];
        if (!is_of_kind(ask->kind, ask->here, f))
            continue;
        if (!f->up || !f->carrier)
            rc = tw_err_set(err, -ENODEV, "%s is %s", f->name,
                            f->up ? "without a carrier: is the cable plugged in on both ends?"
                                  : "down");
        else if (f->n_addrs == 0)
            rc = tw_err_set(err, -ENODEV, "%s has no address", f->name);
        else if (find_by_interface(ask, f, ret))
            return 0;
        else if (!any_there)
            rc = no_interface(ask, ask->there, err);
        else
            rc = tw_err_set(err, -ENODEV, "%s has no address in the subnet of %s (%s/%u)",
                            ask->there->host, f->name, f->addrs[0].ip, f->addrs[0].prefix);
    }
    return rc;
}

/* "IP%zone": the zone is for us; the rest must be an address. */
static int check_ip(const tw_path_ask *ask, const char *ip, tw_err *err)
{
    char bare[64];
    tw_net_addr a;
    snprintf(bare, sizeof bare, "%.63s", ip);
    bare[strcspn(bare, "%")] = '\0';
    if (tw_net_addr_parse(bare, &a))
        return 0;
    return tw_err_set(err, -EINVAL, "%s %.64s: wanted an IPv4 or IPv6 address in numbers",
                      words[ask->kind].option, ip);
}

static void strip_zone(const char *ip, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%.*s", (int)TW_MIN(strcspn(ip, "%"), out_bytes - 1), ip);
}

static int find_pair(const tw_path_ask *ask, const char *a, const char *b, tw_path *ret,
                     tw_err *err)
{
    const tw_net_addr *ours = NULL, *theirs = NULL;
    char bare[64];
    const tw_net_if *here = tw_net_find_ip(ask->here, a, &ours);
    if (here == NULL)
        return tw_err_set(err, -ENODEV, "%s is no address of %s", a, ask->here->host);
    strip_zone(b, bare, sizeof bare);
    const tw_net_if *there = tw_net_find_ip(ask->there, bare, &theirs);
    if (there == NULL)
        return tw_err_set(err, -ENODEV, "%s is no address of %s", bare, ask->there->host);
    if (ours->family != theirs->family)
        return tw_err_set(err, -EINVAL, "%s and %s: IPv4 and IPv6 do not mix", a, bare);
    set_path(ask, here, ours, there, theirs, ret);
    return 0;
}

/* One address: ours, and the peer's is in its subnet; or the peer's. */
static int find_one(const tw_path_ask *ask, const char *ip, tw_path *ret, tw_err *err)
{
    const tw_net_addr *a = NULL;
    char bare[64];
    const tw_net_if *here = tw_net_find_ip(ask->here, ip, &a);
    if (here != NULL &&
        (find_theirs(ask, here, a, false, ret) || find_theirs(ask, here, a, true, ret)))
        return 0;
    if (here != NULL)
        return tw_err_set(err, -ENODEV,
                          "%s has no address in the subnet of %s (%s/%u); name it: %s %s,PEERIP",
                          ask->there->host, here->name, a->ip, a->prefix, words[ask->kind].option,
                          ip);
    strip_zone(ip, bare, sizeof bare);
    const tw_net_if *there = tw_net_find_ip(ask->there, bare, &a);
    for (size_t i = 0; there != NULL && i < ask->here->n_ifs; i++)
        for (size_t k = 0; k < ask->here->ifs[i].n_addrs; k++) {
            const tw_net_addr *ours = &ask->here->ifs[i].addrs[k];
            if (!ours->link_local && tw_net_same_subnet(ours, a)) {
                set_path(ask, &ask->here->ifs[i], ours, there, a, ret);
                return 0;
            }
        }
    return tw_err_set(err, -ENODEV, "%s is %s", ip,
                      there == NULL ? "no address of either machine"
                                    : "the peer's, and no interface here is in its subnet");
}

/* An RDMA device that can carry RoCE v2, or InfiniBand, by the kernel's own words. */
static int check_rdma(const tw_net *n, const tw_net_if *f, tw_err *err)
{
    if (f->rdma[0] == '\0')
        return tw_err_set(err, -ENODEV, "%s of %s has no RDMA device%s%s", f->name, n->host,
                          n->rdma_why[0] != '\0' ? ": " : "", n->rdma_why);
    if (f->state[0] != '\0' && strcmp(f->state, "ACTIVE") != 0)
        return tw_err_set(err, -ENODEV, "%s port %u of %s is %s: is the cable plugged in?", f->rdma,
                          f->rdma_port, n->host, f->state);
    if (f->kind != TW_NET_INFINIBAND && f->gid_types[0] != '\0' &&
        strstr(f->gid_types, "RoCE v2") == NULL)
        return tw_err_set(err, -ENODEV,
                          "%s of %s has no RoCE v2 GID (found: %s); a card in iWARP mode: devlink "
                          "dev param set pci/%s name enable_roce value true cmode runtime",
                          f->rdma, n->host, f->gid_types, f->pci[0] != '\0' ? f->pci : "...");
    return 0;
}

static int find_any(const tw_path_ask *ask, tw_path *ret, tw_err *err);

int tw_path_find(const tw_path_ask *ask, tw_path *ret, tw_err *err)
{
    tw_path p;
    int rc = find_any(ask, &p, err);
    if (rc == 0 && ask->kind == TW_PATH_RDMA)
        rc = check_rdma(ask->here, p.here, err);
    if (rc == 0 && ask->kind == TW_PATH_RDMA)
        rc = check_rdma(ask->there, p.there, err);
    if (rc == 0)
        *ret = p;
    return rc;
}

/* The configured pair, when it is of the kind that is asked for. */
static bool find_cluster(const tw_path_ask *ask, tw_path *ret)
{
    const char *ours = ask->here_cluster_ip, *theirs = ask->there_cluster_ip;
    const tw_net_addr *a;
    tw_err ignored;
    if (ask->same_machine || ours == NULL || theirs == NULL || ours[0] == '\0' || theirs[0] == '\0')
        return false;
    const tw_net_if *f = tw_net_find_ip(ask->here, ours, &a);
    if (f == NULL)
        return false;
    const bool by_kind = is_of_kind(TW_PATH_THUNDERBOLT, ask->here, f)
                             ? ask->kind == TW_PATH_THUNDERBOLT
                         : f->rdma[0] == '\0' && is_of_kind(TW_PATH_LAN, ask->here, f)
                             ? ask->kind == TW_PATH_LAN
                             : ask->kind == TW_PATH_ROCE || ask->kind == TW_PATH_RDMA;
    return by_kind && find_pair(ask, ours, theirs, ret, &ignored) == 0;
}

static int find_any(const tw_path_ask *ask, tw_path *ret, tw_err *err)
{
    if (ask->given == NULL)
        return find_cluster(ask, ret) ? 0 : find_by_kind(ask, ret, err);
    char a[128];
    snprintf(a, sizeof a, "%.127s", ask->given);
    char *comma = strchr(a, ',');
    if (comma != NULL)
        *comma++ = '\0';
    int rc = check_ip(ask, a, err);
    if (rc == 0 && comma != NULL)
        rc = check_ip(ask, comma, err);
    if (rc != 0)
        return rc;
    return comma != NULL ? find_pair(ask, a, comma, ret, err) : find_one(ask, a, ret, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_want.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"

static const char *const link_names[TW_SETUP_LINKS] = {[TW_SETUP_LINK_NONE] = "none",
                                                       [TW_SETUP_LINK_LAN] = "lan",
                                                       [TW_SETUP_LINK_THUNDERBOLT] = "thunderbolt",
                                                       [TW_SETUP_LINK_RDMA] = "rdma",
                                                       [TW_SETUP_LINK_CABLE] = "cable"};

const char *tw_setup_link_name(enum tw_setup_link l)
{
    return link_names[l];
}

json_t *tw_setup_want_print(const tw_setup_want *w)
{
    TW_CLEANUP(tw_json_freep) json_t *nodes = json_array();
    for (size_t i = 0; i < w->n; i++) {
        const tw_setup_node *n = &w->nodes[i];
        json_t *v = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", n->name, "ip", n->ip,
                              "interface", n->interface, "key", n->key, "host_key", n->host_key);
        if (v == NULL || json_array_append_new(nodes, v) != 0)
            return NULL;
    }
    return json_pack("{s:O, s:i, s:s, s:i, s:i, s:b, s:b, s:b}", "nodes", nodes, "self",
                     (int)w->self, "link", link_names[w->link], "prefix", (int)w->prefix, "mtu",
                     (int)w->mtu, "vllm", w->vllm, "kernel", w->kernel, "soft_roce", w->soft_roce);
}

/* ---- what another said ---- */

static bool is_name(const char *s)
{
    if (*s == '\0' || *s == '-')
        return false;
    for (; *s != '\0'; s++)
        if (!isalnum((unsigned char)*s) && strchr(".-_@:%+", *s) == NULL)
            return false;
    return true;
}

static bool is_interface(const char *s)
{
    for (const char *c = s; *c != '\0'; c++)
        if (!isalnum((unsigned char)*c) && strchr(".-_:@", *c) == NULL)
            return false;
    return *s != '-' && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

bool tw_setup_is_key(const char *s)
{
    if (*s == '\0')
        return true;
    if (strncmp(s, "ssh-", 4) != 0 && strncmp(s, "ecdsa-", 6) != 0 && strncmp(s, "sk-", 3) != 0)
        return false;
    const char *space = strchr(s, ' ');
    if (space == NULL || space[1] == '\0')
        return false;
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) /* a comment may be in any language */
            return false;
    return true;
}

static bool is_ip(const char *s)
{
    unsigned char bytes[16];
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)TW_MIN(strcspn(s, "%"), sizeof text - 1), s);
    return *s == '\0' || inet_pton(AF_INET, text, bytes) == 1 ||
           (inet_pton(AF_INET6, text, bytes) == 1 &&
            is_interface(s + strlen(text) + (s[strlen(text)] == '%')));
}

typedef bool (*text_rule)(const char *);

static void take(tw_json_obj *o, const char *key, text_rule good, const char *want, char *out,
                 size_t out_bytes)
{
    const char *s = tw_json_text(o, key, "");
    if (o->rc != 0)
        return;
    if (strlen(s) >= out_bytes || !good(s)) {
        tw_json_refuse(o, key, want);
        return;
    }
    snprintf(out, out_bytes, "%s", s);
}

static int parse_node(const json_t *v, tw_setup_node *ret, tw_err *err)
{
    if (!json_is_object(v))
        return tw_err_set(err, -EINVAL, "setup: a node that is no object");
    tw_json_obj o = {.file = "setup", .prefix = "node ", .v = v, .err = err};
    take(&o, "name", is_name, "a name", ret->name, sizeof ret->name);
    take(&o, "ip", is_ip, "an address", ret->ip, sizeof ret->ip);
    take(&o, "interface", is_interface, "an interface", ret->interface, sizeof ret->interface);
    take(&o, "key", tw_setup_is_key, "a public key", ret->key, sizeof ret->key);
    take(&o, "host_key", tw_setup_is_key, "a public key", ret->host_key, sizeof ret->host_key);
    return o.rc;
}

int tw_setup_want_parse(const json_t *v, tw_setup_want *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_setup_want *w = tw_mem_calloc(1, sizeof *w);
    if (w == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for what is wanted");
    if (!json_is_object(v))
        return tw_err_set(err, -EINVAL, "setup: what is wanted is no object");
    tw_json_obj o = {.file = "setup", .prefix = "", .v = v, .err = err};
    const json_t *nodes = json_object_get(v, "nodes");
    w->n = json_array_size(nodes);
    if (w->n < 1 || w->n > TW_SETUP_NODES_MAX)
        return tw_err_set(err, -EINVAL, "setup: %zu nodes, want 1 to %d", w->n, TW_SETUP_NODES_MAX);
    for (size_t i = 0; i < w->n; i++) {
        int rc = parse_node(json_array_get(nodes, i), &w->nodes[i], err);
        if (rc != 0)
            return rc;
    }
    w->self = (size_t)tw_json_u64_needed(&o, "self", 0, w->n - 1);
    w->prefix = (uint8_t)tw_json_u64(&o, "prefix", 0, 0, 128);
    w->mtu = (uint32_t)tw_json_u64(&o, "mtu", 0, 0, 65535);
    w->vllm = tw_json_bool(&o, "vllm", false);
    w->kernel = tw_json_bool(&o, "kernel", false);
    w->soft_roce = tw_json_bool(&o, "soft_roce", false);
    const char *link = tw_json_text(&o, "link", "none");
    if (o.rc != 0)
        return o.rc;
    unsigned k = 0;
    while (k < TW_SETUP_LINKS && strcmp(link_names[k], link) != 0)
        k++;
    if (k == TW_SETUP_LINKS)
        return tw_err_set(err, -EINVAL, "setup: link is \"%.20s\", want lan, rdma, ...", link);
    w->link = (enum tw_setup_link)k;
    *ret = *w;
    return 0;
}

/* ---- the cluster's subnet ---- */

static uint8_t prefix_of(const uint32_t *v, size_t n)
{
    for (unsigned p = 30; p >= 16; p--) {
        uint32_t mask = ~UINT32_C(0) << (32 - p);
        bool good = true;
        for (size_t i = 0; i < n && good; i++)
            good = (v[i] & mask) == (v[0] & mask) && (v[i] & ~mask) != 0 && (v[i] & ~mask) != ~mask;
        if (good)
            return (uint8_t)p;
    }
    return 0;
}

uint8_t tw_setup_prefix(const tw_setup_want *w)
{
    uint32_t v[TW_SETUP_NODES_MAX];
    for (size_t i = 0; i < w->n; i++) {
        struct in_addr a;
        if (inet_pton(AF_INET, w->nodes[i].ip, &a) != 1)
            return w->nodes[i].ip[0] != '\0' ? 64 : 0;
        v[i] = ntohl(a.s_addr);
    }
    uint8_t p = prefix_of(v, w->n);
    return w->link == TW_SETUP_LINK_THUNDERBOLT && p > 24 ? 24 : p;
}

/* ---- which link ---- */

static bool is_free(const tw_net_if *i)
{
    return !i->default_route;
}

static const tw_net_if *find_kind(const tw_net *n, enum tw_setup_link link)
{
    const tw_net_if *best = NULL;
    for (size_t k = 0; k < n->n_ifs; k++) {
        const tw_net_if *i = &n->ifs[k];
        bool fits = link == TW_SETUP_LINK_THUNDERBOLT
                        ? i->kind == TW_NET_THUNDERBOLT
                        : i->rdma[0] != '\0' && i->kind != TW_NET_LOOPBACK;
        if (fits && is_free(i) &&
            (best == NULL || (i->carrier && !best->carrier) ||
             (i->carrier == best->carrier && i->speed_mbit > best->speed_mbit)))
            best = i;
    }
    return best;
}

/* It comes with its module, which setup may have to load first. */
static bool is_thunderbolt(const char *name)
{
    return strncmp(name, "thunderbolt", 11) == 0;
}

static const tw_net_if *interface_of(const tw_setup_want *w, size_t i, const tw_net *net)
{
    const tw_setup_node *n = &w->nodes[i];
    if (n->interface[0] != '\0')
        return tw_net_find(net, n->interface);
    return n->ip[0] != '\0' ? tw_net_find_ip(net, n->ip, NULL) : NULL;
}

/* The kind of what was named, or of what has the addresses. */
static enum tw_setup_link named_link(const tw_setup_want *w, const tw_net *const *nets)
{
    enum tw_setup_link link = TW_SETUP_LINK_NONE;
    for (size_t i = 0; i < w->n; i++) {
        const tw_net_if *f = interface_of(w, i, nets[i]);
        if (f == NULL && is_thunderbolt(w->nodes[i].interface))
            link = TW_SETUP_LINK_THUNDERBOLT;
        if (f == NULL)
            continue;
        if (f->default_route || f->kind == TW_NET_WIFI || f->kind == TW_NET_LOOPBACK)
            return TW_SETUP_LINK_LAN;
        link = f->kind == TW_NET_THUNDERBOLT ? TW_SETUP_LINK_THUNDERBOLT
               : f->rdma[0] != '\0'          ? TW_SETUP_LINK_RDMA
               : link == TW_SETUP_LINK_NONE  ? TW_SETUP_LINK_CABLE
                                             : link;
    }
    return link;
}

static bool all_have(const tw_setup_want *w, const tw_net *const *nets, enum tw_setup_link link)
{
    for (size_t i = 0; i < w->n; i++)
        if (interface_of(w, i, nets[i]) == NULL && find_kind(nets[i], link) == NULL)
            return false;
    return true;
}

static int refuse_rdma(const tw_setup_want *w, const tw_net *const *nets, tw_err *err)
{
    for (size_t i = 0; i < w->n; i++)
        if (interface_of(w, i, nets[i]) == NULL && find_kind(nets[i], TW_SETUP_LINK_RDMA) == NULL)
            return tw_err_set(err, -ENODEV,
                              "%s: transport = rdma, but it has no RDMA card that is free (%s): "
                              "name one with interface = ..., or choose transport = tcp",
                              w->nodes[i].name,
                              nets[i]->rdma_why[0] != '\0' ? nets[i]->rdma_why
                                                           : "the only one has the default route");
    return 0;
}

static int choose_link(tw_setup_want *w, const char *transport, const tw_net *const *nets,
                       tw_err *err)
{
    bool rdma = strcmp(transport, "rdma") == 0;
    enum tw_setup_link link = named_link(w, nets);
    if (link != TW_SETUP_LINK_NONE) {
        w->soft_roce = rdma && (link == TW_SETUP_LINK_CABLE || link == TW_SETUP_LINK_LAN);
        w->link = link;
        return 0;
    }
    if (all_have(w, nets, TW_SETUP_LINK_RDMA) && strcmp(transport, "shm") != 0) {
        w->link = TW_SETUP_LINK_RDMA;
        return 0;
    }
    if (rdma)
        return refuse_rdma(w, nets, err);
    w->link = w->n > 1 && all_have(w, nets, TW_SETUP_LINK_THUNDERBOLT) ? TW_SETUP_LINK_THUNDERBOLT
                                                                       : TW_SETUP_LINK_LAN;
    return 0;
}

static void lan_address(tw_setup_node *n, const tw_net *net)
{
    for (size_t k = 0; k < net->n_ifs; k++) {
        const tw_net_if *i = &net->ifs[k];
        bool ours = n->interface[0] != '\0' ? strcmp(n->interface, i->name) == 0 : i->default_route;
        for (size_t a = 0; ours && a < i->n_addrs && n->ip[0] == '\0'; a++) {
            if (i->addrs[a].link_local)
                continue;
            snprintf(n->ip, sizeof n->ip, "%s", i->addrs[a].ip);
            snprintf(n->interface, sizeof n->interface, "%s", i->name);
        }
    }
}

/* The guide's addresses, unless the link has some that already lie in one subnet. */
static void give_addresses(tw_setup_want *w, const tw_net *const *nets)
{
    const char *base = w->link == TW_SETUP_LINK_THUNDERBOLT ? "192.168.2" : "192.168.100";
    for (size_t i = 0; i < w->n; i++) {
        tw_setup_node *n = &w->nodes[i];
        if (n->ip[0] != '\0')
            continue;
        if (w->link == TW_SETUP_LINK_LAN)
            lan_address(n, nets[i]);
        else
            snprintf(n->ip, sizeof n->ip, "%s.%zu", base, i + 1);
    }
}

static int refuse_interface(const tw_setup_node *n, const tw_net *net, tw_err *err)
{
    char has[120] = "";
    size_t len = 0;
    for (size_t k = 0; k < net->n_ifs && len < sizeof has; k++)
        if (net->ifs[k].kind != TW_NET_LOOPBACK)
            len += (size_t)snprintf(has + len, sizeof has - len, "%s%s", len > 0 ? ", " : "",
                                    net->ifs[k].name);
    return tw_err_set(err, -ENODEV, "%s: there is no interface %s; it has %s", n->name,
                      n->interface, has[0] != '\0' ? has : "none");
}

int tw_setup_want_complete(tw_setup_want *w, const char *transport, const tw_net *const *nets,
                           tw_err *err)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->nodes[i].interface[0] != '\0' &&
            tw_net_find(nets[i], w->nodes[i].interface) == NULL &&
            !is_thunderbolt(w->nodes[i].interface))
            return refuse_interface(&w->nodes[i], nets[i], err);
    int rc = choose_link(w, transport, nets, err);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < w->n; i++) {
        const tw_net_if *f = interface_of(w, i, nets[i]);
        if (f == NULL && w->link != TW_SETUP_LINK_LAN)
            f = find_kind(nets[i], w->link);
        if (f != NULL)
            snprintf(w->nodes[i].interface, sizeof w->nodes[i].interface, "%s", f->name);
    }
    if (w->n < 2)
        return 0;
    give_addresses(w, nets);
    if (w->mtu == 0)
        w->mtu = 9000;
    w->prefix = w->link != TW_SETUP_LINK_LAN ? tw_setup_prefix(w) : 0;
    return 0;
}

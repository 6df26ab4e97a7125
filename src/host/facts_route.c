/* SPDX-License-Identifier: Apache-2.0 */
/* Which way packets go, which way we came, and who listens. */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "host/facts_netlink.h"
#include "host/facts_reader.h"

/* ---- our own ssh session ---- */

/* sudo drops the variable: then an ancestor still has it. */
static bool ancestor_env(tw_facts_reader *r, const char *key, char *out, size_t out_bytes)
{
    uint32_t pid = r->root == NULL ? (uint32_t)getppid() : 0;
    for (int depth = 0; depth < 16 && pid > 1; depth++) {
        char path[48];
        tw_text_set(path, sizeof path, "proc/%u/environ", pid);
        size_t n_key = strlen(key);
        memset(r->work, 0, sizeof r->work); /* the end of the last string is the end */
        if (tw_facts_text(r->root, path, r->work, sizeof r->work - 1)) {
            for (const char *p = r->work; *p != '\0'; p += strlen(p) + 1)
                if (strncmp(p, key, n_key) == 0 && p[n_key] == '=') {
                    tw_text_set(out, out_bytes, "%s", p + n_key + 1);
                    return true;
                }
        }
        uint32_t parent = 0;
        for (size_t i = 0; i < r->n_procs; i++)
            if (r->procs[i].pid == pid)
                parent = r->procs[i].ppid;
        pid = parent;
    }
    return false;
}

/* "10.0.0.5 50000 10.0.0.1 22" */
static void find_ssh(tw_facts_reader *r, tw_facts_routes *t)
{
    char text[160], from[64], to[64];
    if (!tw_reader_env(r, "SSH_CONNECTION", text, sizeof text) &&
        !ancestor_env(r, "SSH_CONNECTION", text, sizeof text))
        return;
    if (sscanf(text, "%63s %*s %63s %*s", from, to) != 2)
        return;
    tw_text_set(t->ssh_from, sizeof t->ssh_from, "%.45s", from);
    const tw_net_if *f = tw_net_find_ip(&r->f->net, to, NULL);
    if (f == NULL) { /* an address with the zone of an interface that was renamed */
        to[strcspn(to, "%")] = '\0';
        f = tw_net_find_ip(&r->f->net, to, NULL);
    }
    tw_text_set(t->ssh_interface, sizeof t->ssh_interface, "%s", f != NULL ? f->name : "");
}

/* ---- routes ---- */

static void set_ip(const void *p, size_t n, char *out)
{
    out[0] = '\0';
    if (p != NULL && (n == 4 || n == 16))
        (void)inet_ntop(n == 4 ? AF_INET : AF_INET6, p, out, TW_NET_IP_BYTES);
}

static void take_route(void *ctx, const struct nlmsghdr *m)
{
    tw_facts_route *t = ctx;
    size_t n, n_at, n_metrics, n_mtu;
    const void *body = tw_nl_body(m, sizeof(struct rtmsg), &n);
    const void *p = tw_nl_find(body, n, RTA_OIF, &n_at);
    char name[IF_NAMESIZE];
    if (p != NULL && if_indextoname(tw_nl_u32(p, n_at), name) != NULL)
        memcpy(t->name, name, sizeof t->name);
    p = tw_nl_find(body, n, RTA_PREFSRC, &n_at);
    set_ip(p, n_at, t->source);
    p = tw_nl_find(body, n, RTA_GATEWAY, &n_at);
    set_ip(p, n_at, t->gateway);
    const void *metrics = tw_nl_find(body, n, RTA_METRICS, &n_metrics);
    p = tw_nl_find(metrics, n_metrics, RTAX_MTU, &n_mtu);
    t->mtu = tw_nl_u32(p, n_mtu);
}

static void ask_route(tw_facts_route *t)
{
    uint8_t raw[16];
    int family = strchr(t->to, ':') != NULL ? AF_INET6 : AF_INET;
    size_t n = family == AF_INET ? 4 : 16;
    char bare[TW_NET_IP_BYTES];
    tw_text_set(bare, sizeof bare, "%.*s", (int)strcspn(t->to, "%"), t->to);
    if (inet_pton(family, bare, raw) != 1)
        return;
    tw_nl_request q;
    struct rtmsg *h = tw_nl_begin(&q, RTM_GETROUTE, 0, sizeof *h);
    h->rtm_family = (uint8_t)family;
    h->rtm_dst_len = (uint8_t)(8 * n);
    tw_nl_put(&q, RTA_DST, raw, n);
    const char *zone = strchr(t->to, '%');
    uint32_t index = zone != NULL ? if_nametoindex(zone + 1) : 0;
    if (index != 0)
        tw_nl_put(&q, RTA_OIF, &index, sizeof index);
    (void)tw_nl_ask(NETLINK_ROUTE, &q, take_route, t);
}

/* "eth0 00000000 0102A8C0 0003 0 0 100 00FFFFFF": addresses as little-endian hex. */
static void look_up(tw_facts_reader *r, const char *to, tw_facts_route *t)
{
    struct in_addr a = {0};
    char *rest = r->work, *line;
    int best = -1;
    if (strcmp(to, "default") != 0 && inet_pton(AF_INET, to, &a) != 1)
        return;
    if (!tw_reader_text(r, "proc/net/route"))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        char name[16];
        unsigned dest, gateway, mask;
        if (sscanf(line, "%15s %x %x %*s %*s %*s %*s %x", name, &dest, &gateway, &mask) != 4 ||
            (a.s_addr & mask) != dest || __builtin_popcount(mask) <= best)
            continue;
        best = __builtin_popcount(mask);
        tw_text_set(t->name, sizeof t->name, "%s", name);
        struct in_addr g = {.s_addr = gateway};
        t->gateway[0] = '\0';
        if (gateway != 0)
            (void)inet_ntop(AF_INET, &g, t->gateway, sizeof t->gateway);
    }
}

/* "192.168.1.1 0x1 0x2 aa:bb:cc:dd:ee:ff * eth0" */
static void find_neighbour(tw_facts_reader *r, tw_facts_route *t)
{
    char *rest = r->work, *line;
    if (!tw_reader_text(r, "proc/net/arp"))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        char ip[64], mac[24];
        unsigned flags;
        if (sscanf(line, "%63s %*s %x %23s", ip, &flags, mac) == 3 && strcmp(ip, t->to) == 0 &&
            (flags & 2) != 0) /* complete */
            tw_text_set(t->neighbour, sizeof t->neighbour, "%.19s", mac);
    }
}

static void add_route(tw_facts_reader *r, const char *to)
{
    tw_facts_routes *all = &r->f->routes;
    if (all->n == TW_FACTS_ROUTES_MAX)
        return;
    tw_facts_route *t = &all->v[all->n++];
    tw_text_set(t->to, sizeof t->to, "%s", to);
    if (r->root != NULL || strcmp(to, "default") == 0)
        look_up(r, to, t);
    else
        ask_route(t);
    find_neighbour(r, t);
}

static void find_default(tw_facts_reader *r, tw_facts_routes *t)
{
    for (size_t i = 0; i < r->f->net.n_ifs; i++)
        if (r->f->net.ifs[i].default_route)
            tw_text_set(t->default_interface, sizeof t->default_interface, "%s",
                        r->f->net.ifs[i].name);
    if (t->default_interface[0] != '\0')
        add_route(r, "default");
}

/* ---- listeners ---- */

static bool have_listener(const tw_facts_routes *t, const char *ip, unsigned port)
{
    for (size_t i = 0; i < t->n_listen; i++)
        if (t->listen[i].port == port && strcmp(t->listen[i].ip, ip) == 0)
            return true;
    return false;
}

/* "0: 0100007F:1F90 00000000:0000 0A ...": 0A is LISTEN; four words in the host's order. */
static void read_listeners(tw_facts_reader *r, const char *path, tw_facts_routes *t)
{
    char *rest = r->work, *line;
    if (!tw_reader_text(r, path))
        return;
    while ((line = tw_text_line(&rest)) != NULL && t->n_listen < TW_FACTS_LISTEN_MAX) {
        char hex[40], ip[TW_NET_IP_BYTES] = "";
        unsigned port, state, word[4] = {0};
        if (sscanf(line, " %*u: %32[0-9A-F]:%x %*s %x", hex, &port, &state) != 3 || state != 0x0a)
            continue;
        size_t n_words = strlen(hex) / 8;
        if (sscanf(hex, "%8x%8x%8x%8x", &word[0], &word[1], &word[2], &word[3]) != (int)n_words)
            continue;
        set_ip(word, 4 * n_words, ip);
        if (have_listener(t, ip, port))
            continue;
        tw_facts_listen *l = &t->listen[t->n_listen++];
        memcpy(l->ip, ip, sizeof l->ip);
        l->port = (uint16_t)port;
    }
}

void tw_reader_routes(tw_facts_reader *r)
{
    tw_facts_routes *t = &r->f->routes;
    find_ssh(r, t);
    find_default(r, t);
    for (size_t i = 0; i < r->o->n_peers && i < TW_FACTS_PEERS_MAX; i++)
        if (r->o->peers[i] != NULL && r->o->peers[i][0] != '\0')
            add_route(r, r->o->peers[i]);
    read_listeners(r, "proc/net/tcp", t);
    read_listeners(r, "proc/net/tcp6", t);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Device, port and GID for an address: by type and value, never by a fixed index. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "link/verbs_inside.h"

enum { FOUND_MAX = 8, NOTES_BYTES = 170 };

typedef struct search {
    const tw_verbs_api *api;
    const tw_link_verbs_opts *o;
    const uint8_t *addr;
    char want[TW_RDMA_NAME_BYTES]; /* device; empty: any */
    unsigned want_port;            /* 0: any */
    tw_verbs_place by_gid[FOUND_MAX], by_lid[FOUND_MAX];
    unsigned n_by_gid, n_by_lid;
    bool seen;               /* the wanted device exists */
    char notes[NOTES_BYTES]; /* why not, one after the other */
} search;

static TW_PRINTF(2, 3) void note(search *s, const char *fmt, ...)
{
    size_t n = strlen(s->notes);
    va_list ap;
    if (n > 0 && n + 2 < sizeof s->notes) {
        memcpy(s->notes + n, "; ", 3);
        n += 2;
    }
    va_start(ap, fmt);
    vsnprintf(s->notes + n, sizeof s->notes - n, fmt, ap);
    va_end(ap);
}

static void parse_want(search *s)
{
    const char *d = s->o->device;
    if (d == NULL)
        return;
    size_t n = strcspn(d, ":");
    snprintf(s->want, sizeof s->want, "%.*s", (int)TW_MIN(n, sizeof s->want - 1), d);
    s->want_port = d[n] == ':' ? (unsigned)strtoul(d + n + 1, NULL, 10) : 0;
}

static void add_place(tw_verbs_place *places, unsigned *n, const tw_verbs_place *p)
{
    if (*n < FOUND_MAX)
        places[(*n)++] = *p;
}

/* The port's GIDs: the right one, or a note that tells what there is instead. */
static void look_for_gid(search *s, tw_verbs_ctx *ctx, tw_verbs_place *p)
{
    tw_rdma_gid all[TW_RDMA_GIDS_MAX];
    const tw_rdma_gid *v1 = NULL, *other = NULL;
    bool any_v2 = false;
    int n = s->api->query_gids(ctx, all, TW_RDMA_GIDS_MAX);
    if (n < 0)
        n = (int)tw_rdma_gids(s->o->sysfs, p->device, p->port, all, TW_RDMA_GIDS_MAX);
    for (int i = 0; i < n; i++) {
        const tw_rdma_gid *g = &all[i];
        if (g->port != p->port)
            continue;
        bool same = memcmp(g->raw, s->addr, sizeof g->raw) == 0;
        bool v2 = g->type == TW_RDMA_GID_ROCE_V2;
        any_v2 |= v2;
        if (same && v2) {
            p->gid = *g;
            add_place(s->by_gid, &s->n_by_gid, p);
            return;
        }
        if (same)
            v1 = g;
        else if (v2 && (other == NULL || g->raw[10] == 0xff))
            other = g; /* an IPv4 address says more than a link-local one */
    }
    char text[48] = "";
    if (other != NULL)
        tw_rdma_gid_text(other->raw, text, sizeof text);
    if (v1 != NULL)
        note(s, "%s:%u has the address only as RoCE v1 (GID %u), wanted RoCE v2", p->device,
             p->port, v1->index);
    else if (!any_v2)
        note(s, "%s:%u has no GID of type RoCE v2", p->device, p->port);
    else
        note(s, "%s:%u is at %s", p->device, p->port, text);
}

static void look_at_port(search *s, tw_verbs_ctx *ctx, tw_verbs_place *p)
{
    int rc = s->api->query_port(ctx, p->port, &p->attr);
    if (rc != 0) {
        note(s, "%s:%u: %s", p->device, p->port, strerror(-rc));
        return;
    }
    if (p->attr.state != TW_VERBS_PORT_ACTIVE) {
        bool opensm = !p->attr.is_ethernet && p->attr.state == TW_VERBS_PORT_INIT;
        note(s, "%s:%u is %s%s", p->device, p->port, tw_verbs_state_name(p->attr.state),
             opensm ? " (is opensm running on one node?)" : "");
        return;
    }
    if (p->attr.is_ethernet)
        look_for_gid(s, ctx, p);
    else if (p->attr.lid != 0)
        add_place(s->by_lid, &s->n_by_lid, p);
    else
        note(s, "%s:%u has no LID (is opensm running on one node?)", p->device, p->port);
}

static void look_at_device(search *s, const tw_verbs_device *d)
{
    tw_verbs_ctx *ctx = NULL;
    unsigned n_ports = 0;
    if (s->want[0] != '\0' && strcmp(s->want, d->name) != 0)
        return;
    s->seen = true;
    if (d->is_iwarp || tw_rdma_is_iwarp(s->o->sysfs, d->name)) {
        char pci[64];
        tw_rdma_pci_name(s->o->sysfs, d->name, pci, sizeof pci);
        note(s,
             "%s runs iWARP, wanted RoCE v2: devlink dev param set pci/%s name enable_roce value "
             "true cmode driverinit; devlink dev reload pci/%s",
             d->name, pci[0] != '\0' ? pci : "ADDRESS", pci[0] != '\0' ? pci : "ADDRESS");
        return;
    }
    int rc = s->api->open(d->name, &ctx, &n_ports);
    if (rc != 0) {
        bool denied = rc == -EACCES || rc == -EPERM;
        note(s, "%s cannot be opened: %s%s", d->name, strerror(-rc),
             denied || rc == -ENOENT ? ": /dev/infiniband must be usable here" : "");
        return;
    }
    for (unsigned port = 1; port <= n_ports; port++) {
        tw_verbs_place p = {.port = port};
        memcpy(p.device, d->name, sizeof p.device);
        if (s->want_port == 0 || s->want_port == port)
            look_at_port(s, ctx, &p);
    }
    if (s->want_port > n_ports)
        note(s, "%s has %u ports", d->name, n_ports);
    s->api->close(ctx);
}

static int tell_several(search *s, const tw_verbs_place *p, unsigned n, tw_err *err)
{
    for (unsigned i = 0; i < n; i++)
        note(s, "%s:%u", p[i].device, p[i].port);
    return tw_err_set(err, -EINVAL, "%u RDMA ports would do, name one with --rdma-device: %s", n,
                      s->notes);
}

static void describe_port(search *s, tw_verbs_ctx *ctx, const char *device, unsigned port)
{
    tw_verbs_port attr;
    char netdev[32];
    const int rc = s->api->query_port(ctx, port, &attr);
    if (rc != 0) {
        note(s, "%s:%u (%s)", device, port, strerror(-rc));
        return;
    }
    tw_rdma_netdev(s->o->sysfs, device, port, netdev, sizeof netdev);
    note(s, "%s:%u (%s, %s%s%s)", device, port, attr.is_ethernet ? "Ethernet" : "InfiniBand",
         tw_verbs_state_name(attr.state), netdev[0] != '\0' ? ", " : "", netdev);
}

/* What there is instead of the device that was asked for. */
static void list_ports(search *s, const tw_verbs_device *all, int n)
{
    s->notes[0] = '\0';
    for (int i = 0; i < n; i++) {
        tw_verbs_ctx *ctx = NULL;
        unsigned n_ports = 0;
        const int rc = s->api->open(all[i].name, &ctx, &n_ports);
        if (rc != 0) {
            note(s, "%s (%s)", all[i].name, strerror(-rc));
            continue;
        }
        for (unsigned port = 1; port <= n_ports; port++)
            describe_port(s, ctx, all[i].name, port);
        s->api->close(ctx);
    }
}

static int tell_none(search *s, const tw_verbs_device *all, int n_devices, tw_err *err)
{
    char addr[48];
    tw_rdma_gid_text(s->addr, addr, sizeof addr);
    if (n_devices == 0)
        return tw_err_set(err, -ENODEV,
                          "no RDMA device here: is the driver loaded (rdma link), is "
                          "/dev/infiniband passed to the container?");
    if (!s->seen) {
        list_ports(s, all, n_devices);
        return tw_err_set(err, -ENODEV, "there is no RDMA device %s; there are %s", s->want,
                          s->notes);
    }
    return tw_err_set(err, -EADDRNOTAVAIL, "no RDMA port for %s: %s", addr, s->notes);
}

int tw_verbs_find(const tw_verbs_api *api, const tw_link_verbs_opts *o,
                  const uint8_t addr[TW_RDMA_GID_BYTES], tw_verbs_place *ret, tw_err *err)
{
    tw_verbs_device all[TW_VERBS_DEVICES_MAX];
    search s = {.api = api, .o = o, .addr = addr};
    parse_want(&s);
    int n = api->devices(all, TW_VERBS_DEVICES_MAX);
    if (n < 0)
        return tw_err_set(err, n, "list of RDMA devices: %s", strerror(-n));
    for (int i = 0; i < n; i++)
        look_at_device(&s, &all[i]);
    unsigned k = s.n_by_gid > 0 ? s.n_by_gid : s.n_by_lid;
    const tw_verbs_place *found = s.n_by_gid > 0 ? s.by_gid : s.by_lid;
    if (k > 1) {
        s.notes[0] = '\0';
        return tell_several(&s, found, k, err);
    }
    if (k == 0)
        return tell_none(&s, all, n, err);
    *ret = found[0];
    return 0;
}

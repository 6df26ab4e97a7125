/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/facts_reader.h"

static const char folder[] = "sys/bus/thunderbolt/devices";

static bool device_text(tw_facts_reader *r, const char *id, const char *what, char *out, size_t n)
{
    char path[192];
    tw_text_set(path, sizeof path, "%s/%s/%s", folder, id, what);
    return tw_facts_text(r->root, path, out, n);
}

/* "20.0 Gb/s" */
static double device_gbit(tw_facts_reader *r, const char *id, const char *what)
{
    char text[32];
    return device_text(r, id, what, text, sizeof text) ? strtod(text, NULL) : 0;
}

static uint32_t device_u32(tw_facts_reader *r, const char *id, const char *what)
{
    char text[32];
    return device_text(r, id, what, text, sizeof text) ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

/* A peer has services (0-1.0) and no `authorized`; host routers (0-0) are our own. */
static void read_device(tw_facts_reader *r, const char *id)
{
    tw_facts_thunderbolt *t = &r->f->thunderbolt;
    char text[16];
    if (t->n_devices == TW_FACTS_TB_MAX)
        return;
    tw_facts_tb_device *d = &t->devices[t->n_devices++];
    tw_text_set(d->id, sizeof d->id, "%.15s", id);
    bool authorized = device_text(r, id, "authorized", text, sizeof text);
    d->authorized = authorized ? tw_tri_of(text[0] != '0') : TW_UNKNOWN;
    d->peer = tw_tri_of(!authorized && device_text(r, id, "unique_id", text, sizeof text));
    (void)device_text(r, id, "vendor_name", d->vendor, sizeof d->vendor);
    (void)device_text(r, id, "device_name", d->device, sizeof d->device);
    d->generation = device_u32(r, id, "generation");
    d->rx_gbit = device_gbit(r, id, "rx_speed");
    d->tx_gbit = device_gbit(r, id, "tx_speed");
    d->rx_lanes = device_u32(r, id, "rx_lanes");
    d->tx_lanes = device_u32(r, id, "tx_lanes");
    if (d->peer == TW_YES)
        t->n_peers = tw_count_of(t->n_peers.v + 1);
}

static void take_entry(tw_facts_reader *r, const char *name)
{
    tw_facts_thunderbolt *t = &r->f->thunderbolt;
    unsigned domain, route;
    int used = 0;
    if (strncmp(name, "domain", 6) == 0) {
        t->controller = TW_YES;
        (void)device_text(r, name, "security", t->security, sizeof t->security);
    } else if (sscanf(name, "%u-%x%n", &domain, &route, &used) == 2 && name[used] == '\0' &&
               route != 0) {
        read_device(r, name);
    }
}

/* As a file of the running kernel, packed or not. */
static tw_tri find_loadable(tw_facts_reader *r)
{
    char path[192];
    tw_names names = {0};
    tw_text_set(path, sizeof path, "lib/modules/%s/kernel/drivers/net/thunderbolt",
                r->f->os.kernel);
    tw_facts_names(r->root, path, "thunderbolt_net.ko", &names);
    if (names.n == 0) /* older kernels: one file, another folder */
        tw_facts_names(r->root, path, "thunderbolt-net.ko", &names);
    tw_text_set(path, sizeof path, "lib/modules/%s/kernel", r->f->os.kernel);
    return names.n > 0 ? TW_YES : tw_facts_exists(r->root, path) ? TW_NO : TW_UNKNOWN;
}

void tw_reader_thunderbolt(tw_facts_reader *r)
{
    tw_facts_thunderbolt *t = &r->f->thunderbolt;
    t->module = tw_tri_of(tw_facts_exists(r->root, "sys/module/thunderbolt"));
    t->net_module = tw_tri_of(tw_facts_exists(r->root, "sys/module/thunderbolt_net"));
    t->net_available = t->net_module == TW_YES ? TW_YES : find_loadable(r);
    if (!tw_facts_exists(r->root, folder))
        return;
    t->controller = TW_NO;
    t->n_peers = tw_count_of(0);
    tw_names names = {0};
    tw_facts_names(r->root, folder, "", &names);
    for (size_t i = 0; i < names.n; i++)
        take_entry(r, names.v[i]);
}

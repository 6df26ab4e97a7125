/* SPDX-License-Identifier: Apache-2.0 */
/* Every card, cable and interface that may carry the cluster. */
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "host/facts_ethtool.h"
#include "host/facts_netlink.h"
#include "host/facts_reader.h"
#include "os/rdma.h"

static bool nic_text(tw_facts_reader *r, const tw_facts_nic *n, const char *what, char *out,
                     size_t bytes)
{
    char path[128];
    tw_text_set(path, sizeof path, "sys/class/net/%s/%s", n->name, what);
    return tw_facts_text(r->root, path, out, bytes);
}

static tw_count nic_number(tw_facts_reader *r, const tw_facts_nic *n, const char *what)
{
    char path[128];
    tw_text_set(path, sizeof path, "sys/class/net/%s/%s", n->name, what);
    return tw_facts_number(r->root, path);
}

static void read_mac(tw_facts_reader *r, tw_facts_nic *n)
{
    if (!nic_text(r, n, "address", n->mac, sizeof n->mac) || strlen(n->mac) != 17)
        return;
    bool random = false;
    tw_count how = nic_number(r, n, "addr_assign_type"); /* NET_ADDR_RANDOM is 1 */
    random = how.known && how.v == 1;
    n->mac_local = tw_tri_of(random || (strtoul(n->mac, NULL, 16) & 2) != 0);
}

static void read_slot(tw_facts_reader *r, tw_facts_nic *n)
{
    char text[48], width[16], path[128], target[512];
    tw_count id = nic_number(r, n, "device/vendor");
    if (id.known)
        tw_text_set(n->vendor_id, sizeof n->vendor_id, "%04x", (unsigned)(id.v & 0xffff));
    id = nic_number(r, n, "device/device");
    if (id.known)
        tw_text_set(n->device_id, sizeof n->device_id, "%04x", (unsigned)(id.v & 0xffff));
    id = nic_number(r, n, "device/subsystem_vendor");
    tw_count sub = nic_number(r, n, "device/subsystem_device");
    if (id.known && sub.known)
        tw_text_set(n->subsystem, sizeof n->subsystem, "%04x:%04x", (unsigned)(id.v & 0xffff),
                    (unsigned)(sub.v & 0xffff));
    if (nic_text(r, n, "device/max_link_speed", text, sizeof text)) {
        text[strcspn(text, " ")] = '\0';
        (void)!tw_str_to_f64(text, &n->pci_max_gts); /* "Unknown" stays unknown */
    }
    n->numa_node = nic_number(r, n, "device/numa_node");
    if (nic_text(r, n, "device/power/control", text, sizeof text))
        n->runtime_pm = tw_tri_of(strcmp(text, "auto") == 0);
    /* The port above the card: what the slot can. */
    tw_text_set(path, sizeof path, "sys/class/net/%s/device", n->name);
    if (n->vendor_id[0] == '\0' || !tw_facts_link(r->root, path, target, sizeof target) ||
        !nic_text(r, n, "device/../max_link_speed", text, sizeof text) ||
        !nic_text(r, n, "device/../max_link_width", width, sizeof width))
        return;
    char *unit = strstr(text, " PCIe");
    if (unit != NULL)
        *unit = '\0';
    tw_text_set(n->pci_slot_max, sizeof n->pci_slot_max, "%s x%s", text, width);
}

static bool rdma_text(tw_facts_reader *r, const tw_net_if *f, const char *what, char *out, size_t n)
{
    char path[192];
    tw_text_set(path, sizeof path, "sys/class/infiniband/%s/%s", f->rdma, what);
    return tw_facts_text(r->root, path, out, n);
}

/* /sys/class/infiniband_verbs/uverbs0/ibdev names the device. */
static void read_uverbs(tw_facts_reader *r, const tw_net_if *f, tw_facts_nic *n)
{
    tw_names names = {0};
    tw_facts_names(r->root, "sys/class/infiniband_verbs", "uverbs", &names);
    for (size_t i = 0; i < names.n; i++) {
        char path[192], device[64];
        tw_text_set(path, sizeof path, "sys/class/infiniband_verbs/%s/ibdev", names.v[i]);
        if (!tw_facts_text(r->root, path, device, sizeof device) || strcmp(device, f->rdma) != 0)
            continue;
        tw_text_set(path, sizeof path, "sys/class/infiniband_verbs/%s/abi_version", names.v[i]);
        n->uverbs_abi = tw_facts_number(r->root, path);
    }
}

static void read_rdma_mode(tw_facts_reader *r, const tw_net_if *f, tw_facts_nic *n)
{
    char text[96], path[96];
    if (rdma_text(r, f, "node_type", text, sizeof text)) {
        bool iwarp = strstr(text, "RNIC") != NULL;
        tw_text_set(path, sizeof path, "ports/%u/link_layer", f->rdma_port);
        bool ib =
            !iwarp && rdma_text(r, f, path, text, sizeof text) && strcmp(text, "InfiniBand") == 0;
        tw_text_set(n->rdma_mode, sizeof n->rdma_mode, "%s", iwarp ? "iwarp" : ib ? "ib" : "roce");
    }
    (void)rdma_text(r, f, "fw_ver", n->rdma_firmware, sizeof n->rdma_firmware);
}

/* Of the port as verbs count it: the largest step that fits into the interface's MTU. */
static uint32_t active_mtu(uint32_t mtu)
{
    enum { ROCE_HEADERS = 40 + 8 + 12 + 4 + 28 + 4 }; /* GRH UDP BTH XRC AtomicETH ICRC */
    static const uint32_t steps[] = {4096, 2048, 1024, 512, 256};
    for (size_t i = 0; i < TW_ARRAY_LEN(steps); i++)
        if (mtu >= steps[i] + ROCE_HEADERS)
            return steps[i];
    return 0;
}

/* Of the driver below: a card's RDMA half has a module of its own. */
static void find_provider(tw_facts_reader *r, const tw_net_if *f, tw_facts_nic *n)
{
    static const struct {
        const char *driver, *provider;
    } known[] = {{"ice", "irdma"},         {"i40e", "irdma"},        {"idpf", "irdma"},
                 {"mlx5_core", "mlx5_ib"}, {"mlx4_core", "mlx4_ib"}, {"mlx4_en", "mlx4_ib"},
                 {"bnxt_en", "bnxt_re"}};
    char folder[512], driver[32] = "";
    if (tw_facts_path(r->root, "sys/class/infiniband", folder, sizeof folder))
        tw_rdma_driver(folder, f->rdma, driver, sizeof driver);
    const char *below = driver[0] != '\0' ? driver : f->driver, *name = driver;
    for (size_t i = 0; i < TW_ARRAY_LEN(known); i++)
        if (strcmp(below, known[i].driver) == 0)
            name = known[i].provider;
    if (name[0] == '\0' && tw_facts_has_module(r->f, "siw"))
        name = "siw"; /* it alone names nothing below it */
    tw_text_set(n->rdma_provider, sizeof n->rdma_provider, "%s", name);
}

/* "3 RoCE v2 192.168.100.1" */
static void read_gids(tw_facts_reader *r, const tw_net_if *f, tw_facts_nic *n)
{
    static const char *const types[] = {[TW_RDMA_GID_IB] = "IB",
                                        [TW_RDMA_GID_ROCE_V1] = "RoCE v1",
                                        [TW_RDMA_GID_ROCE_V2] = "RoCE v2"};
    char folder[512];
    tw_rdma_gid gids[TW_FACTS_GIDS_MAX];
    if (!tw_facts_path(r->root, "sys/class/infiniband", folder, sizeof folder))
        return;
    unsigned n_gids = tw_rdma_gids(folder, f->rdma, f->rdma_port, gids, TW_FACTS_GIDS_MAX);
    for (unsigned i = 0; i < n_gids; i++) {
        char ip[TW_NET_IP_BYTES];
        tw_rdma_gid_text(gids[i].raw, ip, sizeof ip);
        tw_text_set(n->gids[n->n_gids++], sizeof n->gids[0], "%u %s %s", gids[i].index,
                    types[gids[i].type], ip);
    }
}

static void read_rdma(tw_facts_reader *r, const tw_net_if *f, tw_facts_nic *n)
{
    if (f->rdma[0] == '\0')
        return;
    read_rdma_mode(r, f, n);
    read_uverbs(r, f, n);
    read_gids(r, f, n);
    find_provider(r, f, n);
    n->rdma_mtu = strcmp(n->rdma_mode, "ib") == 0 ? 0 : active_mtu(f->mtu);
}

/* A soft device (rxe) has no PCI; temperature of a card is its own hwmon's. */
static void read_temperature(tw_facts_reader *r, tw_facts_nic *n)
{
    char path[192];
    tw_names names = {0};
    tw_text_set(path, sizeof path, "sys/class/net/%s/device/hwmon", n->name);
    tw_facts_names(r->root, path, "hwmon", &names);
    for (size_t i = 0; i < names.n; i++) {
        tw_text_set(path, sizeof path, "sys/class/net/%s/device/hwmon/%s/temp1_input", n->name,
                    names.v[i]);
        tw_count milli = tw_facts_number(r->root, path);
        if (milli.known)
            n->temperature_c = (double)milli.v / 1000;
    }
}

static void read_sysctl(tw_facts_reader *r, tw_facts_nic *n)
{
    char path[128];
    tw_text_set(path, sizeof path, "proc/sys/net/ipv4/conf/%s/rp_filter", n->name);
    n->rp_filter = tw_facts_number(r->root, path);
    tw_count all = tw_facts_number(r->root, "proc/sys/net/ipv4/conf/all/rp_filter");
    if (n->rp_filter.known && all.known) /* the kernel takes the stricter */
        n->rp_filter.v = TW_MAX(n->rp_filter.v, all.v);
}

/* 32 hex digits, index, prefix, scope, flags, name: 0x08 is IFA_F_DADFAILED. */
static void read_duplicate(tw_facts_reader *r, tw_facts_nic *n)
{
    char *rest = r->work, *line;
    if (!tw_reader_text(r, "proc/net/if_inet6"))
        return;
    while ((line = tw_text_line(&rest)) != NULL) {
        unsigned flags;
        char name[16];
        if (sscanf(line, "%*s %*x %*x %*x %x %15s", &flags, name) == 2 &&
            strcmp(name, n->name) == 0)
            n->dad_failed = tw_tri_of(n->dad_failed == TW_YES || (flags & 0x08) != 0);
    }
}

static void take_link(void *ctx, const struct nlmsghdr *m)
{
    tw_facts *f = ctx;
    char name[16];
    size_t n, n_name, n_min, n_max;
    const void *body = tw_nl_body(m, sizeof(struct ifinfomsg), &n);
    tw_nl_text(tw_nl_find(body, n, IFLA_IFNAME, &n_name), n_name, name, sizeof name);
    const void *low = tw_nl_find(body, n, IFLA_MIN_MTU, &n_min);
    const void *high = tw_nl_find(body, n, IFLA_MAX_MTU, &n_max);
    for (size_t i = 0; i < f->n_nics; i++)
        if (strcmp(f->nics[i].name, name) == 0) {
            f->nics[i].mtu_min = tw_nl_u32(low, n_min);
            f->nics[i].mtu_max = tw_nl_u32(high, n_max);
        }
}

static void read_mtu_limits(tw_facts *f)
{
    tw_nl_request q;
    (void)tw_nl_begin(&q, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
    (void)tw_nl_ask(NETLINK_ROUTE, &q, take_link, f);
}

static bool is_wanted(const tw_facts_reader *r, const tw_net_if *f, bool cards)
{
    bool card = f->kind == TW_NET_ETHERNET || f->kind == TW_NET_WIFI ||
                f->kind == TW_NET_THUNDERBOLT || f->kind == TW_NET_INFINIBAND;
    bool asked = r->o->interface != NULL && strcmp(r->o->interface, f->name) == 0;
    bool first = card || asked || f->default_route || f->rdma[0] != '\0';
    return cards ? first : !first && f->kind != TW_NET_LOOPBACK && f->n_addrs > 0;
}

/* The kernel's number of the interface; files under /run are named by it. */
static int find_index(tw_facts_reader *r, const tw_facts_nic *n)
{
    tw_count index = nic_number(r, n, "ifindex");
    if (r->root == NULL)
        return (int)if_nametoindex(n->name);
    return index.known ? (int)TW_MIN(index.v, (uint64_t)INT32_MAX) : 0;
}

static void read_nic(tw_facts_reader *r, const tw_net_if *f)
{
    tw_facts_nic *n = &r->f->nics[r->f->n_nics++];
    memcpy(n->name, f->name, sizeof n->name);
    read_mac(r, n);
    read_slot(r, n);
    read_rdma(r, f, n);
    read_temperature(r, n);
    read_sysctl(r, n);
    read_duplicate(r, n);
    if (r->root == NULL)
        tw_ethtool_read(n);
    else
        (void)nic_text(r, n, "firmware", n->firmware,
                       sizeof n->firmware); /* of a recording alone */
    tw_facts_counters_read(r->root, n->name, &n->counters);
    tw_reader_owner(r, n, find_index(r, n));
}

void tw_reader_nics(tw_facts_reader *r)
{
    const tw_net *net = &r->f->net;
    for (int cards = 1; cards >= 0; cards--)
        for (size_t i = 0; i < net->n_ifs && r->f->n_nics < TW_FACTS_NICS_MAX; i++)
            if (is_wanted(r, &net->ifs[i], cards == 1))
                read_nic(r, &net->ifs[i]);
    if (r->root != NULL)
        return;
    read_mtu_limits(r->f);
    tw_devlink_read(net, r->f->nics, r->f->n_nics);
}

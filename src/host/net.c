/* SPDX-License-Identifier: Apache-2.0 */
#include "host/net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/scope.h"
#include "base/str.h"
#include "host/facts_file.h"
#include "host/net_rdma.h"
#include "os/fd.h"

enum { ARPHRD_LOOPBACK_ = 772, ARPHRD_ETHER_ = 1, ARPHRD_INFINIBAND_ = 32 };

const char *const tw_net_kind_names[TW_NET_KINDS] = {
    [TW_NET_OTHER] = "other",
    [TW_NET_ETHERNET] = "ethernet",
    [TW_NET_WIFI] = "wifi",
    [TW_NET_THUNDERBOLT] = "thunderbolt",
    [TW_NET_INFINIBAND] = "infiniband",
    [TW_NET_VETH] = "veth",
    [TW_NET_LOOPBACK] = "loopback",
};

const char *tw_net_kind_name(enum tw_net_kind k)
{
    return tw_net_kind_names[k];
}

bool tw_net_kind_parse(const char *name, enum tw_net_kind *ret)
{
    for (unsigned i = 0; i < TW_NET_KINDS; i++)
        if (strcmp(name, tw_net_kind_names[i]) == 0) {
            *ret = (enum tw_net_kind)i;
            return true;
        }
    return false;
}

/* ---- addresses ---- */

static size_t address_bytes(const tw_net_addr *a, uint8_t out[16])
{
    bool good = inet_pton(a->family == 4 ? AF_INET : AF_INET6, a->ip, out) == 1;
    return !good ? 0 : a->family == 4 ? 4 : 16;
}

bool tw_net_addr_parse(const char *text, tw_net_addr *ret)
{
    tw_net_addr a = {.family = strchr(text, ':') != NULL ? 6 : 4};
    size_t n = strcspn(text, "/");
    if (n >= sizeof a.ip)
        return false;
    memcpy(a.ip, text, n);
    uint8_t raw[16];
    size_t n_raw = address_bytes(&a, raw);
    uint64_t prefix = 8 * n_raw;
    if (n_raw == 0 || (text[n] == '/' && tw_str_to_u64(text + n + 1, &prefix) != 0) ||
        prefix > 8 * n_raw)
        return false;
    a.prefix = (uint8_t)prefix;
    a.link_local = a.family == 6 && raw[0] == 0xfe && (raw[1] & 0xc0) == 0x80;
    /* One spelling for an address, so that text can be compared. */
    if (inet_ntop(a.family == 4 ? AF_INET : AF_INET6, raw, a.ip, sizeof a.ip) == NULL)
        return false;
    *ret = a;
    return true;
}

bool tw_net_same_subnet(const tw_net_addr *a, const tw_net_addr *b)
{
    uint8_t x[16], y[16];
    if (a->family != b->family || address_bytes(a, x) == 0 || address_bytes(b, y) == 0)
        return false;
    unsigned bits = TW_MAX(a->prefix, b->prefix);
    if (memcmp(x, y, bits / 8) != 0)
        return false;
    unsigned rest = bits % 8;
    return rest == 0 || ((x[bits / 8] ^ y[bits / 8]) >> (8 - rest)) == 0;
}

void tw_net_addr_format(const tw_net_addr *a, const char *zone, char *out, size_t out_bytes)
{
    bool zoned = a->link_local && zone != NULL && *zone != '\0';
    snprintf(out, out_bytes, "%s%s%s", a->ip, zoned ? "%" : "", zoned ? zone : "");
}

const tw_net_if *tw_net_find(const tw_net *n, const char *name)
{
    for (size_t i = 0; i < n->n_ifs; i++)
        if (strcmp(n->ifs[i].name, name) == 0)
            return &n->ifs[i];
    return NULL;
}

const tw_net_if *tw_net_find_ip(const tw_net *n, const char *ip, const tw_net_addr **ret_addr)
{
    char bare[TW_NET_IP_BYTES + 32];
    snprintf(bare, sizeof bare, "%s", ip);
    char *zone = strchr(bare, '%');
    if (zone != NULL)
        *zone++ = '\0';
    tw_net_addr want;
    if (!tw_net_addr_parse(bare, &want))
        return NULL;
    for (size_t i = 0; i < n->n_ifs; i++) {
        const tw_net_if *f = &n->ifs[i];
        for (size_t k = 0; k < f->n_addrs; k++) {
            if (strcmp(f->addrs[k].ip, want.ip) != 0 || (zone && strcmp(zone, f->name) != 0))
                continue;
            if (ret_addr != NULL)
                *ret_addr = &f->addrs[k];
            return f;
        }
    }
    return NULL;
}

static void add_address(tw_net_if *f, const tw_net_addr *a)
{
    if (f != NULL && f->n_addrs < TW_NET_ADDRS_MAX)
        f->addrs[f->n_addrs++] = *a;
}

static tw_net_if *find_mutable(tw_net *n, const char *name)
{
    for (size_t i = 0; i < n->n_ifs; i++)
        if (strcmp(n->ifs[i].name, name) == 0)
            return &n->ifs[i];
    return NULL;
}

static unsigned count_bits(const uint8_t *p, size_t n)
{
    unsigned bits = 0;
    for (size_t i = 0; i < n; i++)
        bits += (unsigned)__builtin_popcount(p[i]);
    return bits;
}

static void take_ifaddr(tw_net *n, const struct ifaddrs *i)
{
    if (i->ifa_addr == NULL || i->ifa_netmask == NULL)
        return;
    tw_net_addr a = {0};
    char text[TW_NET_IP_BYTES + 8];
    if (i->ifa_addr->sa_family == AF_INET) {
        struct sockaddr_in ip, mask;
        memcpy(&ip, i->ifa_addr, sizeof ip);
        memcpy(&mask, i->ifa_netmask, sizeof mask);
        inet_ntop(AF_INET, &ip.sin_addr, a.ip, sizeof a.ip);
        snprintf(text, sizeof text, "%s/%u", a.ip, count_bits((uint8_t *)&mask.sin_addr, 4));
    } else if (i->ifa_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 ip, mask;
        memcpy(&ip, i->ifa_addr, sizeof ip);
        memcpy(&mask, i->ifa_netmask, sizeof mask);
        inet_ntop(AF_INET6, &ip.sin6_addr, a.ip, sizeof a.ip);
        snprintf(text, sizeof text, "%s/%u", a.ip, count_bits(mask.sin6_addr.s6_addr, 16));
    } else {
        return;
    }
    if (tw_net_addr_parse(text, &a))
        add_address(find_mutable(n, i->ifa_name), &a);
}

static void read_live_addresses(tw_net *n)
{
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next)
        take_ifaddr(n, i);
    freeifaddrs(all);
}

static void read_recorded_addresses(const char *root, tw_net *n)
{
    char text[4096], *rest = text, *line;
    if (!tw_facts_text(root, "addresses", text, sizeof text))
        return;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *name = strsep(&line, " ");
        tw_net_addr a;
        if (line != NULL && tw_net_addr_parse(line, &a))
            add_address(find_mutable(n, name), &a);
    }
}

/* ---- one interface ---- */

static bool read_if(const char *root, const char *name, const char *what, char *out, size_t n)
{
    char path[160];
    snprintf(path, sizeof path, "sys/class/net/%s/%s", name, what);
    return tw_facts_text(root, path, out, n);
}

static uint32_t read_if_u32(const char *root, const char *name, const char *what)
{
    char text[32];
    uint64_t v = 0;
    if (!read_if(root, name, what, text, sizeof text) || tw_str_to_u64(text, &v) != 0)
        return 0; /* "-1" is how some drivers say unknown */
    return v > UINT32_MAX ? 0 : (uint32_t)v;
}

/* "16.0 GT/s PCIe" -> 16 */
static double read_gts(const char *root, const char *name)
{
    char text[48];
    double v = 0;
    if (!read_if(root, name, "device/current_link_speed", text, sizeof text))
        return 0;
    text[strcspn(text, " ")] = '\0';
    return tw_str_to_f64(text, &v) == 0 ? v : 0;
}

static void read_pci(const char *root, tw_net_if *f)
{
    char target[256];
    char path[64];
    f->pci_width = read_if_u32(root, f->name, "device/current_link_width");
    f->pci_max_width = read_if_u32(root, f->name, "device/max_link_width");
    f->pci_gts = read_gts(root, f->name);
    snprintf(path, sizeof path, "sys/class/net/%s/device", f->name);
    if (f->pci_width == 0 || !tw_facts_link(root, path, target, sizeof target))
        return;
    const char *base = strrchr(target, '/');
    snprintf(f->pci, sizeof f->pci, "%.15s", base != NULL ? base + 1 : target);
}

static bool is_thunderbolt(const tw_net_if *f)
{
    /* A cable of its own kind; the kernel names these interfaces, users rarely rename them. */
    return strstr(f->driver, "thunderbolt") != NULL || strncmp(f->name, "thunderbolt", 11) == 0;
}

static bool is_wifi(const char *root, const char *name)
{
    char path[64], uevent[512];
    snprintf(path, sizeof path, "sys/class/net/%s/wireless", name);
    if (tw_facts_exists(root, path))
        return true;
    snprintf(path, sizeof path, "sys/class/net/%s/phy80211", name);
    return tw_facts_exists(root, path) ||
           (read_if(root, name, "uevent", uevent, sizeof uevent) && strstr(uevent, "DEVTYPE=wlan"));
}

static enum tw_net_kind find_kind(const char *root, const tw_net_if *f)
{
    uint32_t type = read_if_u32(root, f->name, "type");
    char path[64];
    snprintf(path, sizeof path, "sys/class/net/%s/device", f->name);
    if (type == ARPHRD_LOOPBACK_ || strcmp(f->name, "lo") == 0)
        return TW_NET_LOOPBACK;
    if (is_thunderbolt(f))
        return TW_NET_THUNDERBOLT;
    if (type == ARPHRD_INFINIBAND_)
        return TW_NET_INFINIBAND;
    if (is_wifi(root, f->name))
        return TW_NET_WIFI;
    if (strcmp(f->driver, "veth") == 0)
        return TW_NET_VETH;
    return type == ARPHRD_ETHER_ && tw_facts_exists(root, path) ? TW_NET_ETHERNET : TW_NET_OTHER;
}

static void read_driver(const char *root, tw_net_if *f)
{
    char path[64], target[256];
    snprintf(path, sizeof path, "sys/class/net/%s/device/driver", f->name);
    if (!tw_facts_link(root, path, target, sizeof target))
        return;
    const char *base = strrchr(target, '/');
    snprintf(f->driver, sizeof f->driver, "%.31s", base != NULL ? base + 1 : target);
}

/* What sysfs does not say, the driver does; only of this machine. */
static void ask_driver(int fd, tw_net_if *f)
{
    struct ifreq req = {0};
    snprintf(req.ifr_name, sizeof req.ifr_name, "%s", f->name);
    if (f->mtu == 0 && ioctl(fd, SIOCGIFMTU, &req) == 0 && req.ifr_mtu > 0)
        f->mtu = (uint32_t)req.ifr_mtu;
    if (ioctl(fd, SIOCGIFFLAGS, &req) == 0) {
        f->up = (req.ifr_flags & IFF_UP) != 0;
        f->carrier = (req.ifr_flags & IFF_RUNNING) != 0;
    }
    struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
    req.ifr_data = (char *)&info;
    if (f->driver[0] == '\0' && ioctl(fd, SIOCETHTOOL, &req) == 0)
        snprintf(f->driver, sizeof f->driver, "%.31s", info.driver);
}

static void read_one(const char *root, int fd, tw_net_if *f)
{
    f->mtu = read_if_u32(root, f->name, "mtu");
    f->speed_mbit = read_if_u32(root, f->name, "speed");
    char flags[24];
    if (read_if(root, f->name, "flags", flags, sizeof flags))
        f->up = (strtoul(flags, NULL, 16) & 1) != 0;
    f->carrier = read_if_u32(root, f->name, "carrier") == 1;
    read_driver(root, f);
    if (fd >= 0)
        ask_driver(fd, f);
    f->kind = find_kind(root, f);
    if (f->kind == TW_NET_VETH || f->kind == TW_NET_OTHER || f->kind == TW_NET_LOOPBACK)
        f->speed_mbit = 0; /* an invented number */
    read_pci(root, f);
}

/* ---- all of them ---- */

static void add_name(tw_net *n, const char *name)
{
    if (n->n_ifs == TW_NET_IFS_MAX || strlen(name) >= sizeof n->ifs[0].name)
        return;
    tw_net_if *f = &n->ifs[n->n_ifs++];
    *f = (tw_net_if){0};
    snprintf(f->name, sizeof f->name, "%.15s", name);
}

static void list_live(tw_net *n)
{
    /* From the kernel: a container's /sys may be of another network namespace. */
    struct if_nameindex *all = if_nameindex();
    for (struct if_nameindex *i = all; i != NULL && i->if_name != NULL; i++)
        add_name(n, i->if_name);
    if (all != NULL)
        if_freenameindex(all);
}

static int compare_names(const void *a, const void *b)
{
    const tw_net_if *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int list_recorded(const char *root, tw_net *n, tw_err *err)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/sys/class/net", root);
    DIR *d = opendir(path);
    if (d == NULL)
        return tw_err_set(err, -errno, "%s: no recorded machine: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.')
            add_name(n, e->d_name);
    closedir(d);
    qsort(n->ifs, n->n_ifs, sizeof n->ifs[0], compare_names);
    return 0;
}

/* "eth0 00000000 0102A8C0 0003 0 0 100 00000000 ...": destination, gateway, flags, .., metric, mask */
static void find_default4(const char *root, tw_net *n)
{
    char text[8192], *rest = text, *line;
    unsigned best = UINT32_MAX;
    tw_net_if *found = NULL;
    if (!tw_facts_text(root, "proc/net/route", text, sizeof text))
        return;
    while ((line = strsep(&rest, "\n")) != NULL) {
        char name[16], to[16], mask[16];
        unsigned metric;
        if (sscanf(line, "%15s %15s %*s %*s %*s %*s %u %15s", name, to, &metric, mask) != 4 ||
            strcmp(to, "00000000") != 0 || strcmp(mask, "00000000") != 0 || metric >= best)
            continue;
        best = metric;
        found = find_mutable(n, name);
    }
    if (found != NULL)
        found->default_route = true;
}

/* 32 hex digits, prefix, ..., metric, ..., device last; a default route only where IPv4 has none. */
static void find_default6(const char *root, tw_net *n)
{
    char text[16384], *rest = text, *line;
    for (size_t i = 0; i < n->n_ifs; i++)
        if (n->ifs[i].default_route)
            return;
    if (!tw_facts_text(root, "proc/net/ipv6_route", text, sizeof text))
        return;
    while ((line = strsep(&rest, "\n")) != NULL) {
        static const char zero[] = "00000000000000000000000000000000 00 ";
        const char *name = strrchr(line, ' ');
        tw_net_if *f = name != NULL ? find_mutable(n, name + 1) : NULL;
        if (strncmp(line, zero, sizeof zero - 1) == 0 && f != NULL && f->kind != TW_NET_LOOPBACK) {
            f->default_route = true;
            return;
        }
    }
}

int tw_net_read(const char *root, tw_net *ret, tw_err *err)
{
    memset(ret, 0, sizeof *ret);
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    if (root == NULL) {
        list_live(ret);
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    } else {
        int rc = list_recorded(root, ret, err);
        if (rc != 0)
            return rc;
    }
    for (size_t i = 0; i < ret->n_ifs; i++)
        read_one(root, fd, &ret->ifs[i]);
    if (root == NULL)
        read_live_addresses(ret);
    else
        read_recorded_addresses(root, ret);
    find_default4(root, ret);
    find_default6(root, ret);
    tw_net_read_rdma(root, ret);
    if (root == NULL)
        (void)gethostname(ret->host, sizeof ret->host - 1);
    else
        (void)tw_facts_text(root, "proc/sys/kernel/hostname", ret->host, sizeof ret->host);
    return 0;
}

double tw_net_pci_gbit(const tw_net_if *i)
{
    /* 2.5 and 5 GT/s send 10 bits for 8, the faster ones 130 for 128. */
    double coded = i->pci_gts > 5.5 ? 128.0 / 130.0 : 0.8;
    return (double)i->pci_width * i->pci_gts * coded;
}

uint64_t tw_net_counted_bytes(const char *name)
{
    static const char *const ways[] = {"statistics/rx_bytes", "statistics/tx_bytes"};
    uint64_t sum = 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(ways); i++) {
        char text[32];
        uint64_t v = 0;
        if (!read_if(NULL, name, ways[i], text, sizeof text) || tw_str_to_u64(text, &v) != 0)
            return 0;
        sum += v;
    }
    return sum;
}

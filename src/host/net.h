/* SPDX-License-Identifier: Apache-2.0 */
/* This machine's network interfaces, as facts: what they are, how fast, where they sit, which RDMA
 * device is theirs, their addresses, which one has the default route. From sysfs, procfs, ioctl and
 * getifaddrs; never from another tool's output. The root of sysfs and procfs is passed in, so that
 * recorded machines can be read.
 * Must not know: other machines, what is good or bad. */
#ifndef TWINAX_HOST_NET_H
#define TWINAX_HOST_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_NET_IFS_MAX = 48, TW_NET_ADDRS_MAX = 8, TW_NET_IP_BYTES = 46 };

enum tw_net_kind {
    TW_NET_OTHER, /* bridges, tunnels, ... */
    TW_NET_ETHERNET,
    TW_NET_WIFI,
    TW_NET_THUNDERBOLT,
    TW_NET_INFINIBAND,
    TW_NET_VETH,
    TW_NET_LOOPBACK,
    TW_NET_KINDS
};

typedef struct tw_net_addr {
    char ip[TW_NET_IP_BYTES]; /* numbers, no zone, no prefix */
    uint8_t family;           /* 4 or 6 */
    uint8_t prefix;           /* bits */
    bool link_local;          /* fe80::/10, needs its interface beside it */
} tw_net_addr;

typedef struct tw_net_if {
    char name[16];
    char driver[32];    /* "" unknown */
    char rdma[64];      /* RDMA device "irdma0", "" none */
    char state[24];     /* of the RDMA port: "ACTIVE", "DOWN" */
    char gid_types[48]; /* types of its GIDs, "RoCE v2, IB/RoCE v1"; "" unknown */
    char pci[16];       /* "0000:c2:00.0", "" no PCI function */
    enum tw_net_kind kind;
    bool up, carrier, default_route;
    uint32_t mtu;
    uint32_t speed_mbit;               /* 0: unknown */
    uint32_t pci_width, pci_max_width; /* lanes; 0: unknown */
    double pci_gts;                    /* GT/s a lane now; 0: unknown */
    uint8_t rdma_port;
    size_t n_addrs;
    tw_net_addr addrs[TW_NET_ADDRS_MAX];
} tw_net_if;

typedef struct tw_net {
    char host[64];
    char rdma_why[160]; /* why there is no RDMA device; "" when there is one */
    size_t n_ifs;
    tw_net_if ifs[TW_NET_IFS_MAX];
} tw_net;

/* root NULL: this machine, with addresses. Else a folder with sys/ and proc/ of a recorded one;
 * then addresses come from its file "addresses" ("eth0 192.168.1.5/24" a line), when there is one.
 * What cannot be read is left empty. Cost: ~15 small reads an interface. */
TW_MUST_CHECK int tw_net_read(const char *root, tw_net *ret, tw_err *err);

extern const char *const tw_net_kind_names[TW_NET_KINDS];
const char *tw_net_kind_name(enum tw_net_kind k); /* "ethernet" */
bool tw_net_kind_parse(const char *name, enum tw_net_kind *ret);

const tw_net_if *tw_net_find(const tw_net *n, const char *name); /* NULL: none */
/* The interface that has this address (a zone "%if" must be its name); *ret_addr may be NULL. */
const tw_net_if *tw_net_find_ip(const tw_net *n, const char *ip, const tw_net_addr **ret_addr);
/* "192.168.1.5/24" into *ret; false: no such thing. Without a prefix: the whole address. */
bool tw_net_addr_parse(const char *text, tw_net_addr *ret);
bool tw_net_same_subnet(const tw_net_addr *a, const tw_net_addr *b); /* by both prefixes */
/* "ip", or "ip%zone" where a link-local address needs it. */
void tw_net_addr_format(const tw_net_addr *a, const char *zone, char *out, size_t out_bytes);
/* Usable rate of its PCIe slot in Gbit/s after line coding; 0: unknown. */
double tw_net_pci_gbit(const tw_net_if *i);
/* Bytes that the interface itself counted, sent plus received; 0: unknown. */
uint64_t tw_net_counted_bytes(const char *name);

#endif

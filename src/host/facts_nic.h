/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts: what host/net does not say of an interface, its cable, its slot, its RDMA
 * device; Thunderbolt; routes; the firewall. */
#ifndef TWINAX_HOST_FACTS_NIC_H
#define TWINAX_HOST_FACTS_NIC_H

#include <stddef.h>

#include "host/facts_kinds.h"
#include "host/net.h"
#include "twinax/err.h"

enum {
    TW_FACTS_NICS_MAX = 24,
    TW_FACTS_LANES_MAX = 8,
    TW_FACTS_GIDS_MAX = 12,
    TW_FACTS_TB_MAX = 8,
    TW_FACTS_ROUTES_MAX = 16,
    TW_FACTS_LISTEN_MAX = 64,
    TW_FACTS_ZONES_MAX = 16
};

/* Since the driver was loaded, or the machine booted. Read alone it costs under 10 ms. */
typedef struct tw_facts_counters {
    char name[16];  /* interface */
    uint64_t at_ns; /* CLOCK_MONOTONIC of the reading; 0: not read */
    tw_count rx_bytes, tx_bytes, rx_packets, tx_packets;
    tw_count rx_errors, tx_errors, rx_dropped, tx_dropped, rx_missed;
    tw_count rx_crc, rx_symbol, fec_corrected, fec_uncorrectable, rx_discards, tx_discards;
    tw_count rx_pause, tx_pause, carrier_changes;
    tw_count aer_correctable, aer_nonfatal, aer_fatal; /* PCIe, of its slot's function */
    /* Of the RDMA device */
    tw_count rdma_rx_bytes, rdma_tx_bytes, rdma_retransmits, rdma_out_of_sequence, rdma_timeouts;
    tw_count rdma_rnr, rdma_cnp, rdma_errors;
    tw_count tcp_retransmits; /* the whole host's */
} tw_facts_counters;

enum tw_nic_owner {
    TW_OWNER_UNKNOWN,
    TW_OWNER_NONE, /* nobody configures it */
    TW_OWNER_NETWORKMANAGER,
    TW_OWNER_NETPLAN, /* its renderer is in owner_renderer */
    TW_OWNER_NETWORKD,
    TW_OWNER_IFUPDOWN,
    TW_OWNERS
};

typedef struct tw_facts_module { /* QSFP28, SFP28, a DAC */
    tw_tri present;
    char kind[24];      /* "QSFP28" */
    char cable[40];     /* "passive copper", "active copper", "optical" */
    char connector[24]; /* "no separable connector", "LC", "MPO" */
    char vendor[24], part[24], revision[8], serial[24];
    uint32_t length_m;          /* 0: unknown */
    double temperature_c, volt; /* 0: unknown */
    size_t n_lanes;
    double rx_mw[TW_FACTS_LANES_MAX]; /* light that arrives; copper has none */
} tw_facts_module;

typedef struct tw_facts_nic {
    char name[16];
    char firmware[48], driver_version[48]; /* as the driver says: "4.91 0x800214b5 1.3909.0" */
    char vendor_id[8], device_id[8], subsystem[12]; /* "8086", "1592", "8086:0001" */
    char mac[20];
    tw_tri mac_local;          /* locally administered: may change at each boot */
    uint32_t mtu_min, mtu_max; /* what the driver offers; 0: unknown */
    char duplex[8], port[16];  /* "full"; "DAC", "fibre", "twisted pair" */
    tw_tri autoneg, pause_rx, pause_tx;
    char fec[24], fec_asked[24]; /* "RS"; "auto" */
    tw_count ring_rx, ring_tx, ring_rx_max, ring_tx_max;
    double pci_max_gts;    /* what the card can */
    char pci_slot_max[48]; /* the bridge above it: "16.0 GT/s x4" */
    tw_count numa_node;
    tw_tri runtime_pm; /* the kernel may put it to sleep */
    tw_count rp_filter;
    tw_tri dad_failed; /* an IPv6 address of it is somebody else's */
    /* RDMA mode of the card */
    char rdma_mode[8];                             /* "roce", "iwarp", "ib" */
    tw_tri enable_roce, enable_iwarp, enable_rdma; /* devlink parameters */
    char devlink_cmode[16]; /* "runtime", "driverinit", "permanent" of the one above */
    char rdma_provider[24]; /* kernel side: "irdma", "mlx5_ib", "rdma_rxe" */
    char rdma_firmware[32];
    size_t n_gids;
    char gids[TW_FACTS_GIDS_MAX]
             [80];     /* of the port: "3 RoCE v2 192.168.100.1", index, type, address */
    uint32_t rdma_mtu; /* active MTU of the port as verbs count: 1024, 4096 */
    tw_count uverbs_abi;
    tw_facts_module module;
    tw_facts_counters counters;
    /* Who configures it */
    enum tw_nic_owner owner;
    char owner_renderer[20]; /* of netplan: "networkd", "NetworkManager" */
    char profile[64];        /* connection, stanza or unit that configures it; "" none */
    char profile_file[160];
    char method[16]; /* "dhcp", "static", "" */
    tw_count profile_mtu;
    char zone[32]; /* of the firewall; "" its default */
    double temperature_c;
} tw_facts_nic;

typedef struct tw_facts_tb_device {
    char id[16]; /* "0-1" */
    tw_tri peer; /* another machine (XDomain), not a dock or disk */
    char vendor[40], device[40];
    tw_tri authorized;
    uint32_t generation;     /* 3: Thunderbolt 3, 4: USB4 */
    double rx_gbit, tx_gbit; /* a lane */
    uint32_t rx_lanes, tx_lanes;
} tw_facts_tb_device;

typedef struct tw_facts_thunderbolt {
    tw_tri controller;         /* a host controller is there */
    tw_tri module, net_module; /* thunderbolt, thunderbolt_net are loaded */
    tw_tri net_available;      /* the kernel has thunderbolt_net to load */
    char security[16];         /* "none", "user", "secure", "iommu" */
    size_t n_devices;
    tw_facts_tb_device devices[TW_FACTS_TB_MAX];
    tw_count n_peers; /* cables to another machine */
} tw_facts_thunderbolt;

enum { TW_FACTS_PROVIDERS_MAX = 24 };

typedef struct tw_facts_rdma {
    char version[16]; /* of rdma-core: "50.0"; "" is not there or unknown */
    char library[96]; /* libibverbs as the loader finds it; "" not there */
    tw_tri librdmacm;
    size_t n_providers;
    char providers[TW_FACTS_PROVIDERS_MAX][40]; /* "irdma-rdmav34" */
    tw_count kernel_abi;                        /* of uverbs */
    tw_tri cm;                                  /* /dev/infiniband/rdma_cm */
    char netns_mode[16];                        /* "shared", "exclusive" */
} tw_facts_rdma;

typedef struct tw_facts_route {
    char to[TW_NET_IP_BYTES]; /* "default" or a peer's address */
    char name[16];            /* interface; "" there is none */
    char source[TW_NET_IP_BYTES], gateway[TW_NET_IP_BYTES];
    char neighbour[20]; /* MAC that answers for `to`; "" none known */
    uint32_t mtu;       /* the route's or path's own; 0: the interface's */
} tw_facts_route;

typedef struct tw_facts_listen { /* a TCP listener of this machine */
    char ip[TW_NET_IP_BYTES];
    uint16_t port;
} tw_facts_listen;

typedef struct tw_facts_routes {
    char ssh_interface[16]; /* that carries the ssh session we run in; "" none */
    char ssh_from[TW_NET_IP_BYTES];
    char default_interface[16];
    size_t n;
    tw_facts_route v[TW_FACTS_ROUTES_MAX]; /* the default one and each peer's */
    size_t n_listen;
    tw_facts_listen listen[TW_FACTS_LISTEN_MAX];
} tw_facts_routes;

enum tw_firewall_kind {
    TW_FIREWALL_UNKNOWN,
    TW_FIREWALL_NONE,
    TW_FIREWALL_FIREWALLD,
    TW_FIREWALL_UFW,
    TW_FIREWALL_NFTABLES, /* a ruleset of its own */
    TW_FIREWALLS
};

typedef struct tw_facts_firewall {
    enum tw_firewall_kind kind;
    tw_tri active;
    char default_zone[32];
    size_t n_trusted;
    char trusted[TW_FACTS_ZONES_MAX][16]; /* interfaces, permanently */
    size_t n_sources;
    char sources[TW_FACTS_ZONES_MAX][64]; /* addresses trusted or allowed, permanently */
    tw_tri rules; /* ufw, nftables: there is a rule that drops or rejects what comes in */
    char config[96];
} tw_facts_firewall;

/* name: an interface. root as in tw_facts_opts. Unknown stays unknown; never fails. */
void tw_facts_counters_read(const char *root, const char *name, tw_facts_counters *ret);

#endif

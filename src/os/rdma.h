/* SPDX-License-Identifier: Apache-2.0 */
/* Facts of RDMA devices as the kernel shows them in sysfs: GIDs, port counters, the PCI address.
 * Needs no library. Every function takes the class folder, NULL for /sys/class/infiniband, so that
 * tests can show another one. Must not know: verbs. */
#ifndef TWINAX_OS_RDMA_H
#define TWINAX_OS_RDMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_RDMA_GID_BYTES = 16, TW_RDMA_GIDS_MAX = 128, TW_RDMA_NAME_BYTES = 32 };

enum tw_rdma_gid_type { TW_RDMA_GID_IB, TW_RDMA_GID_ROCE_V1, TW_RDMA_GID_ROCE_V2 };

typedef struct tw_rdma_gid {
    uint8_t raw[TW_RDMA_GID_BYTES];
    enum tw_rdma_gid_type type;
    unsigned port, index;
} tw_rdma_gid;

/* As an address: IPv4 dotted when mapped, else IPv6. */
void tw_rdma_gid_text(const uint8_t raw[TW_RDMA_GID_BYTES], char *out, size_t out_bytes);
/* The filled GIDs of a port, at most max; returns how many. */
unsigned tw_rdma_gids(const char *folder, const char *device, unsigned port, tw_rdma_gid *ret,
                      unsigned max);
/* iWARP by the kernel's node type. */
bool tw_rdma_is_iwarp(const char *folder, const char *device);
/* "0000:c1:00.0", or empty for a device without one. */
void tw_rdma_pci_name(const char *folder, const char *device, char *out, size_t out_bytes);
/* The interface of the port ("eth0"), or empty: InfiniBand, or no GID yet. */
void tw_rdma_netdev(const char *folder, const char *device, unsigned port, char *out,
                    size_t out_bytes);
/* The kernel driver: "mlx5_core", "ice" (irdma), "rdma_rxe"; empty when the kernel does not tell. */
void tw_rdma_driver(const char *folder, const char *device, char *out, size_t out_bytes);

/* What the port itself has counted. Packets of RoCE and InfiniBand, or of the driver (rxe). */
typedef struct tw_rdma_counters {
    bool known_bytes, known_packets;
    uint64_t tx_bytes, rx_bytes, tx_packets, rx_packets;
} tw_rdma_counters;

void tw_rdma_counters_read(const char *folder, const char *device, unsigned port,
                           tw_rdma_counters *ret);

#endif

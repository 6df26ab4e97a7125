/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/net: which RDMA device belongs to which interface. */
#ifndef TWINAX_HOST_NET_RDMA_H
#define TWINAX_HOST_NET_RDMA_H

#include "host/net.h"

/* Fills rdma, state, gid_types and rdma_port of the interfaces, and rdma_why. */
void tw_net_read_rdma(const char *root, tw_net *n);
/* Which port is an interface's; false: none. */
bool tw_net_rdma_of(const char *root, const char *interface, char *ret_device, size_t device_bytes,
                    unsigned *ret_port);

#endif

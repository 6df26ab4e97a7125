/* SPDX-License-Identifier: Apache-2.0 */
/* Other people's measuring tools, run beside ours when they are installed: iperf3 for sockets,
 * perftest (ib_write_lat, ib_write_bw) for RDMA. Best effort. Their servers have no token: they are
 * started only on request, on one address, for one client. */
#ifndef TWINAX_CLUSTER_CROSS_H
#define TWINAX_CLUSTER_CROSS_H

#include <stdbool.h>
#include <stdint.h>

#include "os/child.h"

typedef struct tw_cross_server {
    tw_child child;
} tw_cross_server;

/* name: "iperf3", "ib_write_lat", "ib_write_bw". Returns when the tool says that it listens. */
TW_MUST_CHECK int tw_cross_server_start(tw_cross_server *s, const char *name, const char *ip,
                                        const char *device, uint16_t *ret_port, tw_err *err);
void tw_cross_server_stop(tw_cross_server *s);

typedef struct tw_cross_result {
    double to_gbit, from_gbit; /* 0: not measured */
    double lat_us;             /* half a round trip; 0: not measured */
} tw_cross_result;

typedef struct tw_cross_job {
    const char *name, *ip, *bind_ip, *device;
    uint16_t port;
    unsigned seconds, n_streams;
    bool reverse; /* iperf3: the server sends */
} tw_cross_job;

/* Adds the client's number to *ret. */
TW_MUST_CHECK int tw_cross_client_run(const tw_cross_job *j, tw_cross_result *ret, tw_err *err);

#endif

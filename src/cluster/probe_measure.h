/* SPDX-License-Identifier: Apache-2.0 */
/* One path, measured whole by its asking end: round trips of each size, both ways to wait, what goes
 * each way and both ways at once, and what the interface itself counted. The result travels as
 * JSON where another machine asked.
 * Must not know: which machines, what a good result is. */
#ifndef TWINAX_CLUSTER_PROBE_MEASURE_H
#define TWINAX_CLUSTER_PROBE_MEASURE_H

#include <jansson.h>

#include "cluster/probe.h"

enum { TW_PROBE_SIZES = 6 };
extern const uint32_t tw_probe_sizes[TW_PROBE_SIZES]; /* bytes, ascending */

typedef struct tw_probe_result {
    tw_probe_lat lat[TW_PROBE_WAITS][TW_PROBE_SIZES];
    double to_gbit, from_gbit, both_to_gbit, both_from_gbit;
    uint64_t moved_bytes, counted_bytes; /* by us; by the interface or port, 0: unknown */
    char device[64];                     /* RDMA: what carried it, as the link proved */
} tw_probe_result;

typedef struct tw_probe_job {
    const char *ip, *bind_ip; /* of a tw_probe_serve */
    uint16_t port;
    const uint8_t *token; /* [TW_PROBE_TOKEN_BYTES] */
    bool by_rdma, quick;
    /* Whose counters prove it: the interface's, by_rdma the port's. */
    const char *interface, *rdma;
    unsigned rdma_port;
    tw_probe_stop stop;
    /* What is being done; is_detail: of many short ones. May be NULL. */
    void (*progress)(void *ctx, const char *doing, bool is_detail);
    void *ctx;
} tw_probe_job;

/* Takes about ten seconds, quick: one. */
TW_MUST_CHECK int tw_probe_measure(const tw_probe_job *j, tw_probe_result *ret, tw_err *err);

json_t *tw_probe_result_print(const tw_probe_result *r); /* NULL: no memory */
TW_MUST_CHECK int tw_probe_result_parse(const json_t *v, tw_probe_result *ret, tw_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/probe_measure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "fmt/json.h"
#include "host/net.h"
#include "os/rdma.h"
#include "os/sys.h"

const uint32_t tw_probe_sizes[TW_PROBE_SIZES] = {2, 8 << 10, 16 << 10, 20 << 10, 48 << 10, 1 << 20};

enum { STREAMS = 4 };
#define PING_NS        (250 * TW_NS_PER_MS)
#define PING_QUICK_NS  (30 * TW_NS_PER_MS)
#define FLOOD_NS       (2 * TW_NS_PER_S)
#define FLOOD_QUICK_NS (200 * TW_NS_PER_MS)
#define CONNECT_NS     (5 * TW_NS_PER_S)

static void tell(const tw_probe_job *j, const char *doing, bool is_detail)
{
    if (j->progress != NULL)
        j->progress(j->ctx, doing, is_detail);
}

static void size_text(uint32_t bytes, char *out, size_t n)
{
    if (bytes < 1024)
        snprintf(out, n, "%u B", bytes);
    else if (bytes < 1 << 20)
        snprintf(out, n, "%u KiB", bytes >> 10);
    else
        snprintf(out, n, "%u MiB", bytes >> 20);
}

static int measure_latency(const tw_probe_job *j, tw_probe *p, tw_probe_result *r, tw_err *err)
{
    const uint64_t ns = j->quick ? PING_QUICK_NS : PING_NS;
    int rc = 0;
    tell(j, "latency", false);
    for (int wait = 0; wait < TW_PROBE_WAITS; wait++)
        for (int i = 0; i < TW_PROBE_SIZES && rc == 0; i++) {
            char size[16], doing[64];
            size_text(tw_probe_sizes[i], size, sizeof size);
            snprintf(doing, sizeof doing, "round trips of %s, %s", size,
                     wait == TW_PROBE_SPIN ? "spinning" : "sleeping");
            tell(j, doing, true);
            rc = tw_probe_ping(p, (enum tw_probe_wait)wait, tw_probe_sizes[i], ns, &r->lat[wait][i],
                               err);
        }
    return rc;
}

static int measure_bandwidth(const tw_probe_job *j, tw_probe *p, tw_probe_result *r, tw_err *err)
{
    const uint64_t ns = j->quick ? FLOOD_QUICK_NS : FLOOD_NS;
    double none;
    tell(j, "bandwidth to the peer", false);
    int rc = tw_probe_flood(p, true, false, ns, &r->to_gbit, &none, err);
    if (rc == 0) {
        tell(j, "bandwidth from the peer", false);
        rc = tw_probe_flood(p, false, true, ns, &none, &r->from_gbit, err);
    }
    if (rc == 0) {
        tell(j, "bandwidth both ways at once", false);
        rc = tw_probe_flood(p, true, true, ns, &r->both_to_gbit, &r->both_from_gbit, err);
    }
    return rc;
}

/* Sums of what the port or the interface itself counted; 0: unknown. */
static uint64_t counted(const tw_probe_job *j)
{
    tw_rdma_counters c = {0};
    if (!j->by_rdma)
        return tw_net_counted_bytes(j->interface);
    tw_rdma_counters_read(NULL, j->rdma, j->rdma_port, &c);
    return c.known_bytes ? c.tx_bytes + c.rx_bytes : 0;
}

int tw_probe_measure(const tw_probe_job *j, tw_probe_result *ret, tw_err *err)
{
    TW_CLEANUP(tw_probe_closep) tw_probe *p = NULL;
    tw_probe_result r = {.to_gbit = 0};
    const tw_probe_to to = {.ip = j->ip,
                            .bind_ip = j->bind_ip,
                            .port = j->port,
                            .token = j->token,
                            /* The kernel's own work for a stream wants a core too. */
                            .n_streams =
                                TW_MAX(1U, TW_MIN(tw_sys_cpus(NULL, 0) / 2, (unsigned)STREAMS)),
                            .limit_ns = CONNECT_NS,
                            .stop = j->stop};
    int rc = tw_probe_connect(&to, &p, err);
    const uint64_t before = counted(j);
    if (rc == 0 && j->by_rdma)
        rc = tw_probe_link_open(p, TW_PROBE_LINK_VERBS, r.device, sizeof r.device, err);
    if (rc == 0)
        rc = measure_latency(j, p, &r, err);
    if (rc == 0)
        rc = measure_bandwidth(j, p, &r, err);
    if (rc != 0)
        return rc;
    const uint64_t after = counted(j);
    r.moved_bytes = tw_probe_bytes(p);
    r.counted_bytes = before > 0 && after > before ? after - before : 0;
    *ret = r;
    return 0;
}

/* ---- as JSON ---- */

static json_t *print_lat(const tw_probe_lat *l)
{
    return json_pack("{s:i, s:i, s:f, s:f, s:f}", "bytes", (int)l->bytes, "n", (int)l->n, "min_us",
                     l->min_us, "p50_us", l->p50_us, "p99_us", l->p99_us);
}

json_t *tw_probe_result_print(const tw_probe_result *r)
{
    json_t *lat = json_array();
    for (int wait = 0; wait < TW_PROBE_WAITS; wait++)
        for (int i = 0; i < TW_PROBE_SIZES; i++)
            json_array_append_new(lat, print_lat(&r->lat[wait][i]));
    return json_pack("{s:o, s:f, s:f, s:f, s:f, s:I, s:I, s:s}", "latency", lat, "to_gbit",
                     r->to_gbit, "from_gbit", r->from_gbit, "both_to_gbit", r->both_to_gbit,
                     "both_from_gbit", r->both_from_gbit, "moved_bytes", (json_int_t)r->moved_bytes,
                     "counted_bytes", (json_int_t)r->counted_bytes, "device", r->device);
}

static int parse_lat(const json_t *v, uint32_t bytes, tw_probe_lat *ret, tw_err *err)
{
    static const double most_us = 1e9;
    tw_json_obj o = {.file = "measure", .prefix = "latency.", .v = v, .err = err};
    if (!json_is_object(v))
        return tw_err_set(err, -EPROTO, "measure: a latency of %u bytes is missing", bytes);
    ret->bytes = (uint32_t)tw_json_u64_needed(&o, "bytes", bytes, bytes);
    ret->n = (uint32_t)tw_json_u64_needed(&o, "n", 0, UINT32_MAX);
    ret->min_us = tw_json_f64_needed(&o, "min_us", 0, most_us);
    ret->p50_us = tw_json_f64_needed(&o, "p50_us", 0, most_us);
    ret->p99_us = tw_json_f64_needed(&o, "p99_us", 0, most_us);
    return o.rc;
}

int tw_probe_result_parse(const json_t *v, tw_probe_result *ret, tw_err *err)
{
    static const double most_gbit = 1e6;
    tw_json_obj o = {.file = "measure", .prefix = "", .v = v, .err = err};
    const json_t *lat = tw_json_get(&o, "latency");
    tw_probe_result r = {.to_gbit = tw_json_f64_needed(&o, "to_gbit", 0, most_gbit),
                         .from_gbit = tw_json_f64_needed(&o, "from_gbit", 0, most_gbit),
                         .both_to_gbit = tw_json_f64_needed(&o, "both_to_gbit", 0, most_gbit),
                         .both_from_gbit = tw_json_f64_needed(&o, "both_from_gbit", 0, most_gbit),
                         .moved_bytes = tw_json_u64_needed(&o, "moved_bytes", 0, INT64_MAX),
                         .counted_bytes = tw_json_u64_needed(&o, "counted_bytes", 0, INT64_MAX)};
    const char *device = tw_json_text(&o, "device", "");
    for (size_t i = 0; device[i] != '\0' && i + 1 < sizeof r.device; i++)
        r.device[i] = (unsigned char)device[i] < ' ' || device[i] == 0x7f ? '?' : device[i];
    int rc = o.rc;
    for (size_t i = 0; i < (size_t)TW_PROBE_WAITS * TW_PROBE_SIZES && rc == 0; i++)
        rc = parse_lat(json_array_get(lat, i), tw_probe_sizes[i % TW_PROBE_SIZES],
                       &r.lat[i / TW_PROBE_SIZES][i % TW_PROBE_SIZES], err);
    if (rc == 0)
        *ret = r;
    return rc;
}

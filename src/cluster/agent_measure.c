/* SPDX-License-Identifier: Apache-2.0 */
/* The asking end of a measurement between two machines neither of which is the head's. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "cluster/agent_op.h"
#include "cluster/cross.h"
#include "cluster/probe_measure.h"
#include "fmt/agent_frame.h"

static bool is_cut(void *ctx)
{
    return tw_agent_is_cut(ctx);
}

static void tell_progress(void *ctx, const char *doing, bool is_detail)
{
    tw_agent_tell(ctx, json_pack("{s:s, s:s, s:b}", "event", "progress", "doing", doing, "detail",
                                 is_detail));
}

int tw_agent_measure(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "measure", .prefix = "", .v = request, .err = err};
    uint8_t token[TW_PROBE_TOKEN_BYTES];
    tw_probe_job j = {.ip = tw_json_text(&o, "to", ""),
                      .bind_ip = tw_json_text(&o, "from", ""),
                      .port = (uint16_t)tw_json_u64_needed(&o, "port", 1, UINT16_MAX),
                      .token = token,
                      .by_rdma = tw_json_bool(&o, "by_rdma", false),
                      .quick = tw_json_bool(&o, "quick", false),
                      .interface = tw_json_text(&o, "interface", ""),
                      .rdma = tw_json_text(&o, "rdma", ""),
                      .rdma_port = (unsigned)tw_json_u64(&o, "rdma_port", 1, 0, 255),
                      .stop = {.asked = is_cut, .ctx = a},
                      .progress = tell_progress,
                      .ctx = a};
    tw_probe_result r;
    if (o.rc != 0)
        return o.rc;
    if (!tw_agent_token_parse(tw_json_text(&o, "token", ""), token))
        return tw_err_set(err, -EINVAL, "measure: the token is no 64 hex digits");
    int rc = tw_probe_measure(&j, &r, err);
    if (rc == 0)
        *ret = tw_probe_result_print(&r);
    return rc;
}

/* A tool's client, against the server that another agent's "tool" started. */
int tw_agent_tool_client(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "tool-client", .prefix = "", .v = request, .err = err};
    const tw_cross_job j = {.name = tw_json_text(&o, "name", ""),
                            .ip = tw_json_text(&o, "to", ""),
                            .bind_ip = tw_json_text(&o, "from", ""),
                            .device = tw_json_text(&o, "device", ""),
                            .port = (uint16_t)tw_json_u64_needed(&o, "port", 1, UINT16_MAX),
                            .seconds = (unsigned)tw_json_u64(&o, "seconds", 2, 1, 60),
                            .n_streams = (unsigned)tw_json_u64(&o, "streams", 1, 1, 16),
                            .reverse = tw_json_bool(&o, "reverse", false)};
    tw_cross_result r = {0};
    (void)a;
    int rc = o.rc != 0 ? o.rc : tw_cross_client_run(&j, &r, err);
    if (rc == 0)
        *ret = json_pack("{s:f, s:f, s:f}", "to_gbit", r.to_gbit, "from_gbit", r.from_gbit,
                         "lat_us", r.lat_us);
    return rc;
}

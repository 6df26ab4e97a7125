/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/rank_report.h"
#include "cmd/vllm_run.h"
#include "vllm/ray_shape.h"

#define COUNT_OLD_NS (30 * TW_NS_PER_S)

/* Between the start of vLLM and now, as its wire counts; the last word of its node. */
static void put_counts(tw_vllm_run *r, size_t i, json_t *link)
{
    tw_vllm_count now[TW_VLLM_NODES_MAX] = {{0}};
    if (!atomic_load(&r->is_counted))
        return;
    tw_vllm_run_wires(r, now);
    const tw_vllm_count all = tw_vllm_count_less(&now[i], &r->count_before[i]),
                        first = tw_vllm_count_less(&r->count_after[i], &r->count_ready[i]);
    const json_int_t tx = all.known ? (json_int_t)all.tx : 0,
                     rx = all.known ? (json_int_t)all.rx : 0;
    (void)json_object_update_new(
        link, json_pack("{s:I, s:I, s:s, s:o, s:o, s:o}", all.packets ? "tx_packets" : "tx_bytes",
                        tx, all.packets ? "rx_packets" : "rx_bytes", rx, "counted_by",
                        tw_json_text_at(json_array_get(json_object_get(r->plan, "nodes"), i),
                                        "hca")[0] != '\0'
                            ? "rdma port"
                            : "interface",
                        "before", tw_vllm_count_print(&r->count_before[i]), "now",
                        tw_vllm_count_print(&now[i]), "first_answer", tw_vllm_count_print(&first)));
}

static json_t *link_of(tw_vllm_run *r, size_t i)
{
    const json_t *node = json_array_get(json_object_get(r->plan, "nodes"), i);
    const tw_vllm_log l = tw_vllm_news_log(&r->news, 0); /* the head's log has all workers' words */
    char local[160];
    snprintf(local, sizeof local, "%s%s%s", tw_json_text_at(node, "interface"),
             tw_json_text_at(node, "hca")[0] != '\0' ? " " : "", tw_json_text_at(node, "hca"));
    json_t *v = json_pack("{s:s, s:s, s:s, s:s, s:b, s:s, s:s}", "transport",
                          tw_json_text_at(node, "transport"), "device", local, "local", r->ip,
                          "peer", i < r->args->nodes.n ? r->args->nodes.v[i].ip : r->ip, "proven",
                          (int)atomic_load(&r->is_proven), "by_log", tw_vllm_wire_name(l.wire),
                          "log_device", l.device);
    put_counts(r, i, v);
    return v;
}

/* The holder's word of itself; this machine's is ours. */
static json_t *rank_of(tw_vllm_run *r, size_t i)
{
    char text[1024];
    uint64_t age_ns = 0;
    json_error_t je;
    json_t *v = i == 0 ? tw_rank_report_make() : NULL;
    if (i > 0 && r->far != NULL && tw_far_report(r->far, (unsigned)i, text, sizeof text, &age_ns))
        v = json_loads(text, 0, &je);
    if (!json_is_object(v)) {
        json_decref(v);
        v = json_object();
    }
    if (i > 0)
        (void)json_object_update_new(v, json_pack("{s:f, s:s, s:s}", "age_s", (double)age_ns / 1e9,
                                                  "ssh", r->args->nodes.v[i].ssh, "agent_path",
                                                  r->args->nodes.v[i].agent_path));
    (void)json_object_update_new(v, json_pack("{s:i, s:s}", "rank", (int)i, "node",
                                              tw_vllm_run_node(r, i)));
    if (r->n_nodes > 1) /* the head's own end of the wire too */
        (void)json_object_set_new(v, "link", link_of(r, i));
    return v;
}

static json_t *versions_of(const tw_vllm_run *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_nodes; i++)
        (void)json_array_append_new(list, tw_vllm_versions_print(tw_vllm_run_node(r, i),
                                                                 &r->versions[i]));
    return list;
}

/* Its own count. An old one is asked for anew, which takes Ray a second of a core: who asks gets the
 * old one, and who asks again the new one. */
static json_t *ray_of(tw_vllm_run *r, bool ready)
{
    pthread_mutex_lock(&r->news.lock);
    const tw_ray_status s = r->counted;
    const uint64_t age_ns = r->counted_ns != 0 ? tw_clock_now_ns() - r->counted_ns : 0;
    pthread_mutex_unlock(&r->news.lock);
    if (ready && r->args->vllm.executor == TW_VLLM_RAY && age_ns > COUNT_OLD_NS)
        atomic_store(&r->must_count, true);
    return json_pack("{s:i, s:f, s:f, s:f, s:b}", "nodes", (int)s.n_nodes, "gpus", s.gpus,
                     "gpus_used", s.gpus_used, "age_s", (double)age_ns / 1e9, "shared",
                     r->shared.is_up);
}

json_t *tw_vllm_run_status(void *ctx)
{
    tw_vllm_run *r = ctx;
    tw_vllm_log l;
    char last[TW_VLLM_LINE_MAX];
    uint64_t silent_ns;
    const uint64_t ready_ns = atomic_load(&r->ready_ns);
    const size_t slowest = tw_vllm_news_slowest(&r->news, &l, last, sizeof last, &silent_ns);
    json_t *ranks = json_array(), *ray = ray_of(r, ready_ns != 0);
    const bool again = ready_ns == 0 && tw_vllm_again_has_crashed(r->again);
    const size_t n = r->shared.is_up ? 1 : r->n_nodes; /* the others are that Ray's */
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(ranks, rank_of(r, i));
    json_t *v =
        json_pack("{s:s, s:s, s:f, s:s, s:s, s:{s:s, s:s, s:i, s:i, s:f}, s:o, s:o, s:s, s:o, s:o}",
                  "engine", "vllm", "state", ready_ns != 0 ? "ready" : "loading", "uptime_s",
                  (double)(tw_clock_now_ns() - (ready_ns != 0 ? ready_ns : r->began_ns)) / 1e9,
                  "health", again ? "it crashed and is started again" : "ok", "executor",
                  r->args->vllm.executor == TW_VLLM_RAY ? "ray" : "mp", "phase", "name",
                  tw_vllm_phase_name(l.phase), "node", tw_vllm_run_node(r, slowest), "done",
                  (int)l.n_done, "of", (int)l.n_all, "silent_s", (double)silent_ns / 1e9, "ray",
                  ray, "shape", tw_vllm_ray_shape(r->plan, &r->place), "wire",
                  tw_json_text_at(r->plan, "why"), "versions", versions_of(r), "ranks", ranks);
    json_t *restarts = tw_vllm_again_json(r->again);
    if (v != NULL && restarts != NULL)
        (void)json_object_set_new(v, "restarts", restarts);
    return v;
}

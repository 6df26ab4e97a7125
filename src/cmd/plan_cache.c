/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of other machines. */
#include <stdio.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/measured.h"
#include "cmd/plan.h"

static double number(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static uint64_t moment_of(const json_t *v)
{
    return (uint64_t)json_integer_value(json_object_get(v, "measured"));
}

/* ---- the way to another ---- */

void tw_plan_link_note(const compare_report *r)
{
    const compare_row *best = NULL;
    double best_gbit = 0;
    for (unsigned i = 0; i < r->n_rows; i++) {
        const compare_row *row = &r->rows[i];
        const double gbit = TW_MIN(row->got.to_gbit, row->got.from_gbit);
        if (row->status != ROW_OK || gbit <= 0 || tw_compare_latency_at(row, 8192) <= 0)
            continue;
        if (best == NULL || tw_compare_latency_at(row, 8192) < tw_compare_latency_at(best, 8192)) {
            best = row;
            best_gbit = gbit;
        }
    }
    const char *node = r->there->spec != NULL ? r->there->spec->ssh : r->there->name;
    if (best == NULL || node[0] == '\0')
        return;
    tw_measured_put("links", node,
                    json_pack("{s:s, s:f, s:f, s:I}", "path", best->name, "latency_us",
                              tw_compare_latency_at(best, 8192), "gbit_s", best_gbit, "measured",
                              (json_int_t)tw_clock_unix_s()));
}

bool tw_plan_link_known(const char *ssh, tw_plan_link *ret)
{
    TW_CLEANUP(tw_json_freep) json_t *v = tw_measured_load();
    const json_t *known = tw_measured_get(v, "links", ssh);
    const char *path = json_string_value(json_object_get(known, "path"));
    if (path == NULL || number(known, "latency_us") <= 0 || number(known, "gbit_s") <= 0)
        return false;
    *ret = (tw_plan_link){.latency_us = number(known, "latency_us"),
                          .gbit_s = number(known, "gbit_s"),
                          .measured_s = moment_of(known)};
    snprintf(ret->name, sizeof ret->name, "%s", path);
    return true;
}

/* ---- what a node reads and multiplies ---- */

static void node_key(const char *ssh, unsigned n_threads, char out[240])
{
    if (n_threads != 0)
        snprintf(out, 240, "%.200s, %u threads", ssh, n_threads);
    else
        snprintf(out, 240, "%.200s, its cores", ssh);
}

void tw_plan_peak_note(const char *ssh, unsigned n_threads, const tw_peak_known *k)
{
    char key[240];
    node_key(ssh, n_threads, key);
    tw_measured_put("nodes", key,
                    json_pack("{s:i, s:f, s:f, s:I, s:I}", "threads", (int)k->peak.n_threads,
                              "fma_gflops", k->peak.fma_gflops, "read_gb_s", k->peak.read_gb_s,
                              "measured", (json_int_t)k->measured_s, "cache_bytes",
                              (json_int_t)k->cache_bytes));
}

bool tw_plan_peak_recall(const char *ssh, unsigned n_threads, tw_peak_known *ret)
{
    char key[240];
    TW_CLEANUP(tw_json_freep) json_t *v = tw_measured_load();
    node_key(ssh, n_threads, key);
    const json_t *known = tw_measured_get(v, "nodes", key);
    const tw_peak_known k = {
        .peak = {.n_threads = (unsigned)json_integer_value(json_object_get(known, "threads")),
                 .fma_gflops = number(known, "fma_gflops"),
                 .read_gb_s = number(known, "read_gb_s")},
        .measured_s = moment_of(known),
        .cache_bytes = (uint64_t)json_integer_value(json_object_get(known, "cache_bytes"))};
    if (k.peak.fma_gflops <= 0 || k.peak.read_gb_s <= 0)
        return false;
    *ret = k;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* docs/compare.md describes what this prints. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "cmd/compare.h"
#include "fmt/json.h"
#include "twinax/version.h"

static json_t *end_json(const tw_net_if *f, const char *ip)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s}", "device", f->name, "address", ip,
                     "kind", tw_net_kind_name(f->kind), "driver", f->driver, "mtu", (int)f->mtu,
                     "speed_mbit", (int)f->speed_mbit, "rdma", f->rdma);
}

/* Microseconds and Gbit/s with as many digits as they mean. */
static json_t *number(double v)
{
    char text[32];
    snprintf(text, sizeof text, "%.3f", v);
    return json_loads(text, JSON_DECODE_ANY, NULL);
}

static json_t *lat_json(const tw_probe_lat *l)
{
    return l->n == 0 ? json_null()
                     : json_pack("{s:o, s:o, s:o, s:i}", "min_us", number(l->min_us), "p50_us",
                                 number(l->p50_us), "p99_us", number(l->p99_us), "n", (int)l->n);
}

static json_t *latencies_json(const compare_row *row)
{
    json_t *list = json_array();
    for (int i = 0; i < TW_PROBE_SIZES; i++)
        json_array_append_new(list, json_pack("{s:i, s:o, s:o}", "bytes", (int)tw_probe_sizes[i],
                                              "spin", lat_json(&row->got.lat[TW_PROBE_SPIN][i]),
                                              "sleep", lat_json(&row->got.lat[TW_PROBE_SLEEP][i])));
    return list;
}

static void add_measured(json_t *v, const compare_report *r, const compare_row *row)
{
    compare_decode d = tw_compare_decode(r->n_layers, r->d_model, row);
    json_object_set_new(v, "latency", latencies_json(row));
    json_object_set_new(v, "bandwidth_gbit",
                        json_pack("{s:o, s:o, s:o, s:o}", "to_peer", number(row->got.to_gbit),
                                  "from_peer", number(row->got.from_gbit), "both_to_peer",
                                  number(row->got.both_to_gbit), "both_from_peer",
                                  number(row->got.both_from_gbit)));
    json_object_set_new(v, "proof",
                        json_pack("{s:I, s:I}", "moved_bytes", (json_int_t)row->got.moved_bytes,
                                  "interface_bytes", (json_int_t)row->got.counted_bytes));
    json_object_set_new(v, "verdict",
                        json_pack("{s:s, s:s}", "level", tw_verdict_name(row->verdict.level),
                                  "text", row->verdict.text));
    json_object_set_new(v, "decode",
                        json_pack("{s:i, s:i, s:o, s:o, s:o}", "exchanges", (int)d.n_exchanges,
                                  "bytes", (int)d.bytes, "us", number(d.us), "ms_a_token",
                                  number(d.ms_a_token), "most_tok_s", number(d.most_tok_s)));
    if (row->got.device[0] != '\0')
        json_object_set_new(v, "link", json_string(row->got.device));
    if (row->has_cross || row->cross_note[0] != '\0')
        json_object_set_new(v, "cross_check",
                            json_pack("{s:o, s:o, s:o, s:s}", "to_peer_gbit",
                                      number(row->cross.to_gbit), "from_peer_gbit",
                                      number(row->cross.from_gbit), "lat_us",
                                      number(row->cross.lat_us), "note", row->cross_note));
}

static json_t *row_json(const compare_report *r, const compare_row *row)
{
    static const char *const states[] = {"ok", "missing", "failed"};
    json_t *v = json_pack("{s:s, s:s, s:b, s:s}", "path", tw_path_key(row->kind), "name", row->name,
                          "asked", row->asked, "status", states[row->status]);
    if (v == NULL)
        return NULL;
    if (row->has_path) {
        json_object_set_new(v, "here", end_json(row->path.here, row->path.here_ip));
        json_object_set_new(v, "there", end_json(row->path.there, row->path.there_ip));
    }
    if (row->status == ROW_OK)
        add_measured(v, r, row);
    else
        json_object_set_new(v, "reason", json_string(row->reason));
    return v;
}

json_t *tw_compare_rows_json(const compare_report *r)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < r->n_rows; i++)
        json_array_append_new(rows, row_json(r, &r->rows[i]));
    return rows;
}

json_t *tw_compare_model_json(const compare_opts *o, uint32_t n_layers, uint32_t d_model)
{
    return json_pack("{s:i, s:i, s:b}", "layers", (int)n_layers, "width", (int)d_model, "example",
                     o->model == NULL);
}

int tw_compare_print_json(const compare_report *r, tw_err *err)
{
    TW_CLEANUP(tw_json_freep)
    json_t *v =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:o}", "schema", COMPARE_SCHEMA, "version",
                  tw_version(), "here", r->here->net.host, "there", r->there->name, "via", r->via,
                  "model", tw_compare_model_json(r->opts, r->n_layers, r->d_model), "rows",
                  tw_compare_rows_json(r));
    if (v == NULL || json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10)) != 0)
        return tw_err_set(err, -ENOMEM, "cannot print the result as JSON");
    putchar('\n');
    return 0;
}

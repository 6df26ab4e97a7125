/* SPDX-License-Identifier: Apache-2.0 */
/* What a latency means for decode: two exchanges a layer, each of one activation vector. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "cmd/compare.h"
#include "fmt/json.h"
#include "os/file.h"

enum { CONFIG_MAX = 4 << 20 };

double tw_compare_best_us(const compare_row *row, int i_size)
{
    double spin = row->got.lat[TW_PROBE_SPIN][i_size].p50_us;
    double sleep = row->got.lat[TW_PROBE_SLEEP][i_size].p50_us;
    return TW_MIN(spin, sleep);
}

double tw_compare_latency_at(const compare_row *row, uint32_t bytes)
{
    const uint32_t *size = tw_probe_sizes;
    for (int i = 1; i < TW_PROBE_SIZES; i++) {
        if (bytes > size[i])
            continue;
        double low = tw_compare_best_us(row, i - 1), high = tw_compare_best_us(row, i);
        double share = bytes > size[i - 1] ? (double)(bytes - size[i - 1]) : 0;
        return low + share / (double)(size[i] - size[i - 1]) * (high - low);
    }
    int last = TW_PROBE_SIZES - 1;
    return tw_compare_best_us(row, last) * (double)bytes / (double)size[last];
}

double tw_compare_gbit(const compare_row *row)
{
    return TW_MIN(row->got.to_gbit, row->got.from_gbit);
}

compare_decode tw_compare_decode(uint32_t n_layers, uint32_t d_model, const compare_row *row)
{
    compare_decode d = {.n_exchanges = 2 * n_layers, .bytes = d_model * 4};
    d.us = tw_compare_latency_at(row, d.bytes);
    d.ms_a_token = d.us * d.n_exchanges / 1000.0;
    d.most_tok_s = d.ms_a_token > 0 ? 1000.0 / d.ms_a_token : 0;
    return d;
}

/* Read here, not through the engine's config: vLLM serves families that the engine does not know. */
int tw_compare_model(const char *folder, compare_all *ret, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(CONFIG_MAX);
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    char path[1024];
    snprintf(path, sizeof path, "%s/config.json", folder);
    int rc = tw_file_read(path, &text, err);
    if (rc == 0)
        rc = tw_json_parse(path, text.data != NULL ? text.data : "", text.len, &v, err);
    if (rc != 0)
        return rc;
    const json_t *inner = json_object_get(v, "text_config");
    tw_json_obj o = {.file = path,
                     .prefix = "",
                     .v = json_is_object(inner) ? inner : v,
                     .err = err};
    uint64_t layers = tw_json_u64_needed(&o, "num_hidden_layers", 1, 1000);
    uint64_t width = tw_json_u64_needed(&o, "hidden_size", 1, 1 << 20);
    if (o.rc != 0)
        return o.rc;
    ret->n_layers = (uint32_t)layers;
    ret->d_model = (uint32_t)width;
    return 0;
}

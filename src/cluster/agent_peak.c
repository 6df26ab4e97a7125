/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/agent_peak.h"

#include <errno.h>
#include <stddef.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent_op.h"

enum { THREADS_MAX = 1024 };
#define PEAK_LIMIT_NS (30 * TW_NS_PER_S)
#define MOST          1e9 /* no machine's number, in whatever unit */

static tw_agent_peak_fn measure;

void tw_agent_on_peak(tw_agent_peak_fn fn)
{
    measure = fn;
}

int tw_agent_peak(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "peak", .prefix = "", .v = request, .err = err};
    const unsigned n_threads = (unsigned)tw_json_u64(&o, "threads", 0, 0, THREADS_MAX);
    const bool anew = tw_json_bool(&o, "anew", false);
    tw_agent_peak_words w;
    (void)a;
    if (o.rc != 0)
        return o.rc;
    if (measure == NULL)
        return tw_err_set(err, -ENOTSUP, "peak: this program measures nothing");
    int rc = measure(n_threads, anew, &w, err);
    if (rc != 0)
        return rc;
    *ret = json_pack("{s:i, s:f, s:f, s:I, s:I}", "threads", (int)w.n_threads, "read_gb_s",
                     w.read_gb_s, "fma_gflops", w.fma_gflops, "measured", (json_int_t)w.measured_s,
                     "cache_bytes", (json_int_t)w.cache_bytes);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for an answer");
}

int tw_remote_peak(tw_remote *n, unsigned n_threads, bool anew, tw_agent_peak_words *ret,
                   tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    json_t *args = json_pack("{s:i, s:b}", "threads", (int)n_threads, "anew", (int)anew);
    int rc = tw_remote_call(n, "peak", args, PEAK_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    tw_json_obj o = {.file = tw_remote_name(n), .prefix = "peak.", .v = got, .err = err};
    const tw_agent_peak_words w = {.n_threads =
                                       (unsigned)tw_json_u64_needed(&o, "threads", 1, THREADS_MAX),
                                   .read_gb_s = tw_json_f64_needed(&o, "read_gb_s", 1e-3, MOST),
                                   .fma_gflops = tw_json_f64_needed(&o, "fma_gflops", 1e-3, MOST),
                                   .measured_s = tw_json_u64_needed(&o, "measured", 0, INT64_MAX),
                                   .cache_bytes = tw_json_u64(&o, "cache_bytes", 0, 0, INT64_MAX)};
    if (o.rc == 0)
        *ret = w;
    return o.rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How the model's layers run on this machine: tried once, and remembered. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/measured.h"
#include "cmd/plan.h"
#include "model/model.h"
#include "os/sys.h"

enum { KEY_BYTES = 400, FRESH_S = 10 };

/* Everything that changes what a trial takes. */
static void make_key(const tw_plan_report *r, const tw_engine_opts *o, uint32_t depth,
                     char out[KEY_BYTES])
{
    char host[64] = "", cpu[128] = "";
    (void)gethostname(host, sizeof host - 1);
    tw_sys_cpu_name(cpu, sizeof cpu);
    static const char *const quants[] = {
        [TW_QUANT_NONE] = "", [TW_QUANT_Q8] = ", q8", [TW_QUANT_Q4] = ", q4"};
    snprintf(out, KEY_BYTES, "%s, %s, %u threads, %s, %.16s, chunk %u at %u%s%s%s", host, cpu,
             r->peak.peak.n_threads, o->cpu != NULL ? o->cpu : "best", tw_model_id(r->model),
             o->chunk, depth, o->kv == TW_KV_F32 ? ", kv f32" : "",
             o->arith == TW_ARITH_WIRE16 ? ", wire16" : "", quants[o->quant]);
}

static bool recall(const char *key, tw_trial *ret, tw_peak *ret_then)
{
    TW_CLEANUP(tw_json_freep) json_t *v = tw_measured_load();
    const json_t *known = tw_measured_get(v, "trials", key);
    const json_t *layers = json_object_get(known, "layers");
    ret->n_layers = (uint32_t)json_integer_value(layers);
    ret->weight_bytes = json_number_value(json_object_get(known, "weight_bytes"));
    ret->prefill_ms = json_number_value(json_object_get(known, "prefill_ms"));
    ret->decode_ms = json_number_value(json_object_get(known, "decode_ms"));
    ret_then->read_gb_s = json_number_value(json_object_get(known, "read_gb_s"));
    ret_then->fma_gflops = json_number_value(json_object_get(known, "fma_gflops"));
    return ret_then->read_gb_s > 0 && ret_then->fma_gflops > 0 && ret->n_layers > 0 &&
           ret->weight_bytes > 0 && ret->prefill_ms > 0 && ret->decode_ms > 0;
}

static void keep(const char *key, const tw_trial *t, const tw_peak *now)
{
    tw_measured_put("trials", key,
                    json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:I}", "layers", (int)t->n_layers,
                              "weight_bytes", t->weight_bytes, "prefill_ms", t->prefill_ms,
                              "decode_ms", t->decode_ms, "read_gb_s", now->read_gb_s, "fma_gflops",
                              now->fma_gflops, "measured", (json_int_t)tw_clock_unix_s()));
}

void tw_plan_trial_fill(tw_plan_report *r, const tw_engine_opts *o, bool anew)
{
    const tw_model *m = r->model;
    tw_engine_opts resolved = *o;
    tw_err err = {0};
    char key[KEY_BYTES];
    const uint32_t depth = r->budgets[0].ctx / TW_PLAN_DEPTH_SHARE;
    tw_engine_resolve(tw_model_get_config(m), &resolved);
    r->trial = (tw_trial){.chunk = resolved.chunk, .depth = depth};
    make_key(r, &resolved, depth, key);
    r->has_trial = !anew && recall(key, &r->trial, &r->trial_peak);
    if (r->has_trial)
        return;
    r->trial_peak = r->peak.peak;
    /* It is held against what the machine gives at the same time: the peaks that are known may be
     * of another day. */
    int rc = 0;
    if (tw_clock_unix_s() > r->peak.measured_s + FRESH_S)
        rc = tw_peak_measure(r->peak.peak.n_threads, &r->trial_peak, &err);
    if (rc == 0)
        rc = tw_trial_run(m, &resolved, r->peak.peak.n_threads, depth, &r->trial, &err);
    r->has_trial = rc == 0;
    if (r->has_trial)
        keep(key, &r->trial, &r->trial_peak);
    else
        snprintf(r->why_no_trial, sizeof r->why_no_trial, "%.199s", err.msg);
}

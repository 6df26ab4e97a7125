/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/peak_known.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent_peak.h"
#include "cmd/measured.h"
#include "os/sys.h"

unsigned tw_peak_threads(unsigned n_threads)
{
    int cpus[TW_CPU_MAX];
    return n_threads != 0 ? n_threads : TW_MAX(tw_sys_cpus(cpus, TW_CPU_MAX), 1u);
}

static void make_key(unsigned n_threads, char out[240])
{
    char host[64] = "", cpu[128] = "";
    (void)gethostname(host, sizeof host - 1);
    tw_sys_cpu_name(cpu, sizeof cpu);
    snprintf(out, 240, "%s, %s, %u threads", host, cpu, n_threads);
}

static double number(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

int tw_peak_get(unsigned n_threads, bool anew, tw_peak_known *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = tw_measured_load();
    char key[240];
    n_threads = tw_peak_threads(n_threads);
    make_key(n_threads, key);
    const json_t *known = tw_measured_get(v, "peaks", key);
    tw_peak_known k = {.peak = {.n_threads = n_threads,
                                .fma_gflops = number(known, "fma_gflops"),
                                .read_gb_s = number(known, "read_gb_s")},
                       .measured_s =
                           (uint64_t)json_integer_value(json_object_get(known, "measured")),
                       .cache_bytes = tw_sys_cache_bytes()};
    if (anew || k.peak.fma_gflops <= 0 || k.peak.read_gb_s <= 0) {
        int rc = tw_peak_measure(n_threads, &k.peak, err);
        if (rc != 0)
            return rc;
        k.measured_s = tw_clock_unix_s();
        tw_measured_put("peaks", key,
                        json_pack("{s:f, s:f, s:I}", "fma_gflops", k.peak.fma_gflops, "read_gb_s",
                                  k.peak.read_gb_s, "measured", (json_int_t)k.measured_s));
    }
    *ret = k;
    return 0;
}

static int measure_for_agent(unsigned n_threads, bool anew, tw_agent_peak_words *ret, tw_err *err)
{
    tw_peak_known k;
    int rc = tw_peak_get(n_threads, anew, &k, err);
    if (rc == 0)
        *ret = (tw_agent_peak_words){.n_threads = k.peak.n_threads,
                                     .read_gb_s = k.peak.read_gb_s,
                                     .fma_gflops = k.peak.fma_gflops,
                                     .measured_s = k.measured_s,
                                     .cache_bytes = k.cache_bytes};
    return rc;
}

void tw_peak_lend(void)
{
    tw_agent_on_peak(measure_for_agent);
}

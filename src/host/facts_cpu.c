/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_reader.h"
#include "os/sys.h"

/* The value of the first line that begins with key, up to its end. */
static bool cpuinfo_line(const char *text, const char *key, char *out, size_t out_bytes)
{
    out[0] = '\0';
    const char *p = strstr(text, key);
    const char *value = p != NULL ? strchr(p, ':') : NULL;
    if (value == NULL)
        return false;
    value += 1 + strspn(value + 1, " \t");
    tw_text_set(out, out_bytes, "%.*s", (int)strcspn(value, "\n"), value);
    return true;
}

static bool has_all(const char *flags, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!tw_text_has_word(flags, names[i]))
            return false;
    return true;
}

/* Levels of the x86-64 psABI by what the kernel calls the features. */
static uint32_t find_level(const char *flags)
{
    static const char *const v2[] = {"cx16",   "lahf_lm", "popcnt", "pni",
                                     "sse4_1", "sse4_2",  "ssse3"};
    static const char *const v3[] = {"avx", "avx2", "bmi1",  "bmi2", "f16c",
                                     "fma", "abm",  "movbe", "xsave"};
    static const char *const v4[] = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"};
    if (!has_all(flags, v2, TW_ARRAY_LEN(v2)))
        return 1;
    if (!has_all(flags, v3, TW_ARRAY_LEN(v3)))
        return 2;
    return has_all(flags, v4, TW_ARRAY_LEN(v4)) ? 4 : 3;
}

static void read_features(tw_facts_reader *r, tw_facts_cpu *c)
{
    char flags[4096];
    if (!tw_reader_text(r, "proc/cpuinfo"))
        return;
    if (!cpuinfo_line(r->work, "model name", c->name, sizeof c->name))
        cpuinfo_line(r->work, "CPU part", c->name, sizeof c->name);
    if (!cpuinfo_line(r->work, "\nflags", flags, sizeof flags))
        return; /* no x86 */
    c->level = find_level(flags);
    c->avx512 = tw_tri_of(c->level >= 4);
    c->avx512_vnni = tw_tri_of(tw_text_has_word(flags, "avx512_vnni"));
    c->avx512_bf16 = tw_tri_of(tw_text_has_word(flags, "avx512_bf16"));
}

static void count_cores(tw_facts_reader *r, tw_facts_cpu *c)
{
    tw_facts_names(r->root, "sys/devices/system/cpu", "cpu", &r->names);
    for (size_t i = 0; i < r->names.n; i++) {
        unsigned cpu, first;
        char end, path[160], text[64], governor[24];
        if (sscanf(r->names.v[i], "cpu%u%c", &cpu, &end) != 1)
            continue;
        tw_text_set(path, sizeof path, "sys/devices/system/cpu/cpu%u/online", cpu);
        if (tw_facts_text(r->root, path, text, sizeof text) && text[0] == '0')
            continue;
        c->n_cpus++;
        tw_text_set(path, sizeof path, "sys/devices/system/cpu/cpu%u/topology/thread_siblings_list",
                    cpu);
        if (!tw_facts_text(r->root, path, text, sizeof text) || sscanf(text, "%u", &first) != 1 ||
            first == cpu)
            c->n_cores++;
        tw_text_set(path, sizeof path, "sys/devices/system/cpu/cpu%u/cpufreq/scaling_governor",
                    cpu);
        if (!tw_facts_text(r->root, path, governor, sizeof governor))
            continue;
        bool same = c->governor[0] == '\0' || strcmp(c->governor, governor) == 0;
        tw_text_set(c->governor, sizeof c->governor, "%s", same ? governor : "mixed");
    }
}

void tw_reader_cpu(tw_facts_reader *r)
{
    static const char freq[] = "sys/devices/system/cpu/cpu0/cpufreq/";
    tw_facts_cpu *c = &r->f->cpu;
    char path[128];
    read_features(r, c);
    count_cores(r, c);
    if (r->root == NULL)
        c->n_usable = tw_sys_cpus(NULL, 0);
    tw_text_set(path, sizeof path, "%senergy_performance_preference", freq);
    (void)tw_facts_text(r->root, path, c->preference, sizeof c->preference);
    tw_text_set(path, sizeof path, "%sscaling_driver", freq);
    (void)tw_facts_text(r->root, path, c->scaling_driver, sizeof c->scaling_driver);
    tw_text_set(path, sizeof path, "%scpuinfo_max_freq", freq);
    c->max_mhz = (uint32_t)(tw_facts_number(r->root, path).v / 1000);
}

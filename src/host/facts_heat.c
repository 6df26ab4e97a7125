/* SPDX-License-Identifier: Apache-2.0 */
/* Temperatures and power by hwmon, powercap and amdgpu. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "host/facts.h"
#include "host/facts_file.h"

typedef struct chip {
    const char *root;
    char path[128], name[24];
} chip;

static bool chip_text(const chip *c, const char *what, char *out, size_t n)
{
    char path[192];
    tw_text_set(path, sizeof path, "%s/%s", c->path, what);
    return tw_facts_text(c->root, path, out, n);
}

static bool chip_celsius(const chip *c, unsigned i, double *ret)
{
    char what[32], text[32];
    tw_text_set(what, sizeof what, "temp%u_input", i);
    if (!chip_text(c, what, text, sizeof text) || text[0] == '\0')
        return false;
    *ret = strtod(text, NULL) / 1000; /* may be below zero */
    return *ret > -100 && *ret < 300;
}

static bool is_one_of(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

/* Where the hottest of a kind goes; NULL: none of ours. */
static double *place_of(const chip *c, tw_facts_heat *h)
{
    static const char *const cpu[] = {"k10temp", "coretemp", "zenpower", "cpu_thermal"};
    static const char *const gpu[] = {"amdgpu", "nouveau", "xe", "i915"};
    static const char *const nic[] = {"ice", "mlx5", "ixgbe", "bnxt_en"};
    if (is_one_of(c->name, cpu, TW_ARRAY_LEN(cpu)))
        return &h->cpu_c;
    if (is_one_of(c->name, gpu, TW_ARRAY_LEN(gpu)))
        return &h->gpu_c;
    return is_one_of(c->name, nic, TW_ARRAY_LEN(nic)) ? &h->nic_c : NULL;
}

static void read_chip(const chip *c, tw_facts_heat *h)
{
    double *place = place_of(c, h);
    for (unsigned i = 1; i <= 4; i++) {
        char what[32];
        double celsius = 0;
        if (!chip_celsius(c, i, &celsius))
            continue;
        if (place != NULL)
            *place = TW_MAX(*place, celsius);
        if (h->n_sensors == TW_FACTS_HEAT_MAX)
            continue;
        tw_facts_sensor *s = &h->sensors[h->n_sensors++];
        tw_text_set(s->chip, sizeof s->chip, "%s", c->name);
        tw_text_set(what, sizeof what, "temp%u_label", i);
        (void)chip_text(c, what, s->label, sizeof s->label);
        s->celsius = celsius;
    }
    if (strcmp(c->name, "amdgpu") != 0 || h->gpu_uw.known)
        return;
    char path[192];
    tw_text_set(path, sizeof path, "%s/power1_average", c->path);
    h->gpu_uw = tw_facts_number(c->root, path);
    tw_text_set(path, sizeof path, "%s/power1_input", c->path);
    if (!h->gpu_uw.known)
        h->gpu_uw = tw_facts_number(c->root, path);
    tw_text_set(path, sizeof path, "%s/device/gpu_busy_percent", c->path);
    h->gpu_busy_percent = tw_facts_number(c->root, path);
}

static void read_energy(const char *root, tw_facts_heat *h)
{
    for (unsigned i = 0; i < 4; i++) { /* one package each; root alone may read it */
        char path[96];
        tw_text_set(path, sizeof path, "sys/class/powercap/intel-rapl:%u/energy_uj", i);
        tw_count e = tw_facts_number(root, path);
        if (e.known)
            h->package_uj = tw_count_of(h->package_uj.v + e.v);
    }
}

void tw_facts_heat_read(const char *root, tw_facts_heat *ret)
{
    TW_CLEANUP(tw_mem_freep) tw_names *names = tw_mem_calloc(1, sizeof *names);
    *ret = (tw_facts_heat){.at_ns = tw_clock_now_ns()};
    if (names == NULL)
        return;
    tw_facts_names(root, "sys/class/hwmon", "hwmon", names);
    for (size_t i = 0; i < names->n; i++) {
        chip c = {.root = root};
        tw_text_set(c.path, sizeof c.path, "sys/class/hwmon/%s", names->v[i]);
        if (chip_text(&c, "name", c.name, sizeof c.name))
            read_chip(&c, ret);
    }
    read_energy(root, ret);
}

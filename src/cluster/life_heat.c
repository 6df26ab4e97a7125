/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/life_heat.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/scope.h"
#include "base/str.h"
#include "os/file.h"

enum { PATH_BYTES = 512, INPUTS_MAX = 8 };

/* A line of a small file; "" when there is none. */
static void read_line(const char *folder, const char *name, char *out, size_t out_bytes)
{
    char path[PATH_BYTES + 64];
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(8192);
    out[0] = '\0';
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (tw_file_exists(path) && tw_file_read(path, &b, NULL) == 0 && b.len > 0)
        snprintf(out, out_bytes, "%.*s", (int)strcspn(b.data, "\n"), b.data);
}

static bool read_number(const char *folder, const char *name, double *ret)
{
    char text[32];
    read_line(folder, name, text, sizeof text);
    return text[0] != '\0' && tw_str_to_f64(text, ret) == 0;
}

static void take_heat(const char *folder, const char *name, tw_life_heat *r)
{
    for (unsigned i = 1; i <= INPUTS_MAX; i++) {
        char input[24];
        double v;
        snprintf(input, sizeof input, "temp%u_input", i);
        if (!read_number(folder, input, &v) || v <= 0 || v > 150e3)
            continue;
        if (!r->has_celsius || v / 1e3 > r->celsius) {
            r->has_celsius = true;
            r->celsius = v / 1e3;
            snprintf(r->celsius_of, sizeof r->celsius_of, "%s", name);
        }
    }
}

static void take_power(const char *folder, const char *name, tw_life_heat *r)
{
    static const char *const inputs[] = {"power1_average", "power1_input"};
    double v;
    for (size_t i = 0; i < TW_ARRAY_LEN(inputs) && !r->has_watts; i++)
        if (read_number(folder, inputs[i], &v) && v > 0 && v < 2e9) {
            r->has_watts = true;
            r->watts = v / 1e6;
            snprintf(r->watts_of, sizeof r->watts_of, "%s", name);
        }
}

static bool is_chip(const char *name)
{
    static const char *const chips[] = {"k10temp", "coretemp",    "zenpower",
                                        "amdgpu",  "cpu_thermal", "soc_thermal"};
    for (size_t i = 0; i < TW_ARRAY_LEN(chips); i++)
        if (strcmp(name, chips[i]) == 0)
            return true;
    return false;
}

void tw_life_heat_read(const char *root, tw_life_heat *ret)
{
    char base[PATH_BYTES], folder[PATH_BYTES + 300];
    *ret = (tw_life_heat){.has_celsius = false};
    snprintf(base, sizeof base, "%s/sys/class/hwmon", root != NULL ? root : "");
    DIR *dir = opendir(base);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char name[32];
        snprintf(folder, sizeof folder, "%.*s/%s", PATH_BYTES - 1, base, e->d_name);
        read_line(folder, "name", name, sizeof name);
        if (e->d_name[0] == '.' || !is_chip(name))
            continue;
        take_heat(folder, name, ret);
        take_power(folder, name, ret);
    }
    if (dir != NULL)
        closedir(dir);
}

bool tw_life_is_laptop(const char *root)
{
    char base[PATH_BYTES], folder[PATH_BYTES + 300];
    bool found = false;
    snprintf(base, sizeof base, "%s/sys/class/power_supply", root != NULL ? root : "");
    DIR *dir = opendir(base);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char type[32], scope[32];
        snprintf(folder, sizeof folder, "%.*s/%s", PATH_BYTES - 1, base, e->d_name);
        read_line(folder, "type", type, sizeof type);
        read_line(folder, "scope", scope, sizeof scope);
        found = found || (strcmp(type, "Battery") == 0 && strcmp(scope, "Device") != 0);
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

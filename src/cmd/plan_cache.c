/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/plan.h"
#include "os/file.h"
#include "os/sys.h"

enum { CACHE_MAX = 256 * 1024, PATH_BYTES = 1024 };

static bool cache_path(char out[PATH_BYTES])
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n = 0;
    if (xdg != NULL && xdg[0] == '/')
        n = snprintf(out, PATH_BYTES, "%s/twinax/measured.json", xdg);
    else if (home != NULL && home[0] == '/')
        n = snprintf(out, PATH_BYTES, "%s/.cache/twinax/measured.json", home);
    return n > 0 && n < PATH_BYTES;
}

/* An object in every case: a damaged cache is an empty one. */
static json_t *load(void)
{
    char path[PATH_BYTES];
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(CACHE_MAX);
    json_t *v = NULL;
    tw_err ignored;
    if (cache_path(path) && tw_file_exists(path) && tw_file_read(path, &b, &ignored) == 0 &&
        tw_json_parse(path, b.data, b.len, &v, &ignored) == 0 && json_is_object(v))
        return v;
    json_decref(v);
    return json_object();
}

static void save(const json_t *v)
{
    char path[PATH_BYTES], fresh[PATH_BYTES + 8];
    if (!cache_path(path))
        return;
    for (char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        *p = '\0';
        (void)mkdir(path, 0700);
        *p = '/';
    }
    snprintf(fresh, sizeof fresh, "%s.new", path);
    if (json_dump_file(v, fresh, JSON_INDENT(1)) == 0)
        (void)rename(fresh, path);
    else
        (void)unlink(fresh);
}

/* v[section][key] = entry, taken over. */
static void put(json_t *v, const char *section, const char *key, json_t *entry)
{
    json_t *s = json_object_get(v, section);
    if (!json_is_object(s)) {
        json_object_set_new(v, section, json_object());
        s = json_object_get(v, section);
    }
    json_object_set_new(s, key, entry);
}

static double number(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

/* ---- the machine ---- */

static void peak_key(unsigned n_threads, char out[240])
{
    char host[64] = "", cpu[128] = "";
    (void)gethostname(host, sizeof host - 1);
    tw_sys_cpu_name(cpu, sizeof cpu);
    snprintf(out, 240, "%s, %s, %u threads", host, cpu, n_threads);
}

int tw_plan_peak_get(unsigned n_threads, bool anew, tw_plan_peak *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = load();
    char key[240];
    peak_key(n_threads, key);
    const json_t *known = json_object_get(json_object_get(v, "peaks"), key);
    *ret = (tw_plan_peak){.peak = {.n_threads = n_threads,
                                   .fma_gflops = number(known, "fma_gflops"),
                                   .read_gb_s = number(known, "read_gb_s")},
                          .measured_s =
                              (uint64_t)json_integer_value(json_object_get(known, "measured"))};
    if (!anew && ret->peak.fma_gflops > 0 && ret->peak.read_gb_s > 0)
        return 0;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "measuring this machine, two seconds ...\r");
    int rc = tw_peak_measure(n_threads, &ret->peak, err);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\033[K");
    if (rc != 0)
        return rc;
    ret->measured_s = tw_clock_unix_s();
    put(v, "peaks", key,
        json_pack("{s:f, s:f, s:I}", "fma_gflops", ret->peak.fma_gflops, "read_gb_s",
                  ret->peak.read_gb_s, "measured", (json_int_t)ret->measured_s));
    save(v);
    return 0;
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
    TW_CLEANUP(tw_json_freep) json_t *v = load();
    put(v, "links", node,
        json_pack("{s:s, s:f, s:f, s:I}", "path", best->name, "latency_us",
                  tw_compare_latency_at(best, 8192), "gbit_s", best_gbit, "measured",
                  (json_int_t)tw_clock_unix_s()));
    save(v);
}

bool tw_plan_link_known(const char *ssh, tw_plan_link *ret)
{
    TW_CLEANUP(tw_json_freep) json_t *v = load();
    const json_t *known = json_object_get(json_object_get(v, "links"), ssh);
    const char *path = json_string_value(json_object_get(known, "path"));
    if (path == NULL || number(known, "latency_us") <= 0 || number(known, "gbit_s") <= 0)
        return false;
    *ret = (tw_plan_link){.latency_us = number(known, "latency_us"),
                          .gbit_s = number(known, "gbit_s"),
                          .measured_s =
                              (uint64_t)json_integer_value(json_object_get(known, "measured"))};
    snprintf(ret->name, sizeof ret->name, "%s", path);
    return true;
}

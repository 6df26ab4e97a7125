/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax status`: what the service in the background is doing. Asks serve alone, on this machine:
 * what it knows of other machines is what they told it, with its age. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/life_here.h"
#include "cmd/commands.h"
#include "cmd/keep.h"
#include "cmd/option.h"
#include "cmd/out.h"
#include "cmd/status_ray.h"
#include "fmt/json.h"

#define ASK_LIMIT_NS (2 * TW_NS_PER_S)
enum { HERE_MAX = 32 };
enum { OLD_S = 10 }; /* a rank's word that is older is shown with its age */

typedef struct status_opts {
    bool json, here;
} status_opts;

static const tw_option options[] = {
    {.name = "json",
     .help = "one JSON object",
     .type = TW_OPT_FLAG,
     .offset = offsetof(status_opts, json)},
    {.name = "here",
     .help = "on a worker: the ranks that a head has started on this machine",
     .type = TW_OPT_FLAG,
     .offset = offsetof(status_opts, here)},
    {.name = NULL},
};
static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

static const char *const state_names[] = {[TW_LIFE_NONE] = "none",
                                          [TW_LIFE_RUNS] = "running",
                                          [TW_LIFE_OVER] = "ended",
                                          [TW_LIFE_CRASHED] = "crashed",
                                          [TW_LIFE_ELSEWHERE] = "elsewhere"};

/* ---- numbers of an object ---- */

static double number(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

/* ---- the table ---- */

static void put_link(const json_t *link, char *out, size_t out_bytes)
{
    char sent[24], got[24], mtu[24] = "";
    if (!json_is_object(link)) {
        snprintf(out, out_bytes, "-");
        return;
    }
    tw_out_bytes(number(link, "tx_bytes"), sent);
    tw_out_bytes(number(link, "rx_bytes"), got);
    if (number(link, "mtu") > 0) /* shared memory has none */
        snprintf(mtu, sizeof mtu, ", mtu %.0f", number(link, "mtu"));
    snprintf(out, out_bytes, "%s %s, %s -> %s%s, %s out, %s in", tw_json_text_at(link, "transport"),
             tw_json_text_at(link, "device"), tw_json_text_at(link, "local"),
             tw_json_text_at(link, "peer"), mtu, sent, got);
}

static void put_sensor(const json_t *v, const char *key, const char *unit, char out[24])
{
    if (json_is_number(json_object_get(v, key)))
        snprintf(out, 24, "%.0f %s", number(v, key), unit);
    else
        snprintf(out, 24, "-");
}

static void print_rank(const json_t *v)
{
    char memory[24] = "-", heat[24], power[24], link[320];
    if (number(v, "rss_bytes") > 0)
        tw_out_bytes(number(v, "rss_bytes"), memory);
    put_sensor(v, "celsius", "°C", heat);
    put_sensor(v, "watts", "W", power);
    put_link(json_object_get(v, "link"), link, sizeof link);
    /* a degree sign is two bytes of one column */
    printf("%-12s %4.0f %8.0f %10s %*s %6s  %s", tw_json_text_at(v, "node"), number(v, "rank"),
           number(v, "pid"), memory, heat[0] == '-' ? 6 : 7, heat, power, link);
    if (number(v, "age_s") > OLD_S)
        printf("  (last word %.0f s ago)", number(v, "age_s"));
    putchar('\n');
}

static void print_native(const json_t *s)
{
    const json_t *q = json_object_get(s, "requests"), *v = json_object_get(s, "speed");
    printf("requests   %.0f running, %.0f waiting, %.0f at once; context %.0f\n",
           number(q, "running"), number(q, "waiting"), number(q, "at_once"), number(s, "ctx"));
    printf("speed      %.1f tok/s and %.1f prompt tok/s in the last 10 s; %.1f tok/s while working "
           "since the start (%.0f tokens, %.0f of prompts)\n",
           number(v, "generated_tok_s"), number(v, "prompt_tok_s"),
           number(v, "generated_tok_s_since_start"), number(v, "generated_tokens"),
           number(v, "prompt_tokens"));
}

static void print_restarts(const json_t *s)
{
    const json_t *v = json_object_get(s, "restarts");
    char moment[32];
    if (number(v, "n") <= 0)
        return;
    tw_keep_moment((uint64_t)number(v, "at"), moment);
    printf("restarts   %.0f (%.0f left), the last at %s: %s\n", number(v, "n"), number(v, "left"),
           moment, tw_json_text_at(v, "cause"));
}

/* It was ready once, crashed, and is on its way again. */
static bool is_restarting(const json_t *s)
{
    const char *state = tw_json_text_at(s, "state");
    return strcmp(state, "restarting") == 0 || (s != NULL && strcmp(state, "ready") != 0 &&
                                                number(json_object_get(s, "restarts"), "n") > 0);
}

static void print_ranks(const json_t *s)
{
    const json_t *ranks = json_object_get(s, "ranks");
    printf("%-12s %4s %8s %10s %6s %6s  %s\n", "NODE", "RANK", "PID", "MEMORY", "TEMP", "POWER",
           "LINK OF RANK 0 TO IT");
    for (size_t i = 0; i < json_array_size(ranks); i++)
        print_rank(json_array_get(ranks, i));
}

static void print_ready(const json_t *s)
{
    if (strcmp(tw_json_text_at(s, "engine"), "vllm") == 0)
        tw_status_vllm_print(s); /* its requests it counts itself: /metrics of the API has them */
    else
        print_native(s);
    print_restarts(s);
    if (strcmp(tw_json_text_at(s, "health"), "ok") != 0)
        printf("health     %s\n", tw_json_text_at(s, "health"));
    print_ranks(s);
}

static void print_running(const tw_life_record *r, const json_t *s, const tw_err *why)
{
    char span[48], moment[32];
    const uint64_t now = tw_clock_unix_s(), from = r->ready_s != 0 ? r->ready_s : r->since_s;
    tw_keep_span(now > from ? now - from : 0, span, sizeof span);
    tw_keep_moment(r->since_s, moment);
    if (r->phase == TW_LIFE_STARTING) {
        const json_t *l = json_object_get(s, "loading"), *phase = json_object_get(s, "phase");
        const double total = number(l, "total_bytes");
        printf("%s is starting, %s so far (pid %d)", tw_keep_name(r), span, (int)r->serve.pid);
        if (total > 0)
            printf(", %.0f %% loaded", 100 * number(l, "done_bytes") / total);
        if (phase != NULL)
            printf(", %s: %s", tw_json_text_at(phase, "node"), tw_json_text_at(phase, "name"));
        putchar('\n');
        return;
    }
    if (strcmp(tw_json_text_at(s, "state"), "ending") == 0) {
        printf("%s is ending (pid %d)\n", tw_keep_name(r), (int)r->serve.pid);
        return;
    }
    if (is_restarting(s)) {
        const json_t *phase = json_object_get(s, "phase");
        printf("%s is not served now: it is started again after a crash (pid %d)", tw_keep_name(r),
               (int)r->serve.pid);
        if (phase != NULL)
            printf(", %s: %s", tw_json_text_at(phase, "node"), tw_json_text_at(phase, "name"));
        putchar('\n');
        print_restarts(s);
        return;
    }
    printf("%s is served at %s, up %s since %s, pid %d (%s)\n", tw_keep_name(r), r->url, span,
           moment, (int)r->serve.pid, r->how);
    if (s != NULL)
        print_ready(s);
    else
        printf("its process is there, but says nothing: %s\n", why->msg);
}

static void print_over(const tw_life_record *r, enum tw_life_state state)
{
    char moment[32];
    tw_keep_moment(state == TW_LIFE_OVER ? r->ended_s : r->since_s, moment);
    if (state == TW_LIFE_OVER)
        printf("nothing runs: %s ended at %s: %s\n", tw_keep_name(r), moment, r->end);
    else if (state == TW_LIFE_CRASHED)
        printf("nothing runs: %s, started at %s, went without a word (killed, or the machine was "
               "restarted); `twinax up` cleans up, `twinax logs` tells more\n",
               tw_keep_name(r), moment);
    else
        printf("nothing runs here: %s serves on %s, which has the same home folder\n",
               tw_keep_name(r), r->host);
}

/* ---- JSON ---- */

static int print_json(const tw_life_record *r, enum tw_life_state state, json_t *s,
                      const tw_status_ray *ray, tw_err *err)
{
    const char *phases[] = {"starting", "ready", "ended"};
    const char *name = state == TW_LIFE_RUNS ? phases[r->phase] : state_names[state];
    TW_CLEANUP(tw_json_freep) json_t *v = json_pack("{s:i, s:s}", "schema", 1, "state", name);
    if (v == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to print");
    if (state != TW_LIFE_NONE)
        (void)json_object_update_new(
            v, json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:s}", "model",
                         r->model, "host", r->host, "url", r->url, "how", r->how, "run", r->run,
                         "pid", (int)r->serve.pid, "keeper", (int)r->keeper.pid, "since",
                         (json_int_t)r->since_s, "ready", (json_int_t)r->ready_s, "ended",
                         (json_int_t)r->ended_s, "end", r->end));
    if (s != NULL)
        (void)json_object_set(v, "serve", s);
    if (ray->state != TW_LIFE_NONE)
        (void)json_object_set_new(v, "ray", tw_status_ray_json(ray));
    if (json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0)
        return tw_err_set(err, -EIO, "cannot print");
    putchar('\n');
    return 0;
}

static void print_all(const tw_life_record *r, enum tw_life_state state, const json_t *s,
                      const tw_err *why, const tw_status_ray *ray)
{
    if (state == TW_LIFE_RUNS)
        print_running(r, s, why);
    else if (state != TW_LIFE_NONE)
        print_over(r, state);
    else if (ray->state == TW_LIFE_NONE)
        printf("nothing runs; `twinax up MODEL` starts it\n");
    else if (tw_status_ray_is_up(ray))
        printf("no model is served; `twinax up MODEL --engine vllm` serves one on this Ray\n");
    tw_status_ray_print(ray, print_ranks);
}

static int status(const status_opts *o, tw_err *err)
{
    tw_life_paths p;
    tw_life_record r = {.run = ""};
    enum tw_life_state state = TW_LIFE_NONE;
    TW_CLEANUP(tw_json_freep) json_t *s = NULL;
    TW_CLEANUP(tw_status_ray_done) tw_status_ray ray = {.state = TW_LIFE_NONE};
    tw_err why = {0};
    int rc = tw_life_paths_make(TW_LIFE_SERVICE, &p, err);
    if (rc == 0)
        rc = tw_life_look(&p, &state, &r, err);
    if (rc == 0)
        rc = tw_status_ray_read(ASK_LIMIT_NS, &ray, err);
    if (rc != 0)
        return rc;
    if (state == TW_LIFE_RUNS && tw_keep_ask(r.socket, ASK_LIMIT_NS, &s, &why) != 0)
        s = NULL;
    if (o->json)
        rc = print_json(&r, state, s, &ray, err);
    else
        print_all(&r, state, s, &why, &ray);
    if (rc == 0)
        rc = tw_out_flush(err);
    const bool runs = state == TW_LIFE_RUNS || tw_status_ray_is_up(&ray);
    return rc != 0 ? rc : runs ? 0 : -ESRCH; /* said already */
}

/* ---- a worker ---- */

static int print_here_json(const tw_life_here *v, unsigned n, tw_err *err)
{
    char host[64] = "";
    (void)gethostname(host, sizeof host - 1);
    TW_CLEANUP(tw_json_freep) json_t *ranks = json_array();
    for (unsigned i = 0; i < n; i++)
        json_array_append_new(ranks, json_pack("{s:i, s:I, s:f, s:s}", "pid", (int)v[i].proc.pid,
                                               "rss_bytes", (json_int_t)v[i].rss_bytes, "up_s",
                                               v[i].up_s, "from", v[i].from));
    TW_CLEANUP(tw_json_freep)
    json_t *all = json_pack("{s:i, s:s, s:O}", "schema", 1, "host", host, "ranks", ranks);
    if (all == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to print");
    (void)!json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    return 0;
}

static int here(const status_opts *o, tw_err *err)
{
    tw_life_here v[HERE_MAX];
    const unsigned n = TW_MIN(tw_life_here_find(v, HERE_MAX), (unsigned)HERE_MAX);
    int rc = o->json ? print_here_json(v, n, err) : 0;
    for (unsigned i = 0; i < n && !o->json; i++) {
        char memory[24], span[48];
        tw_out_bytes((double)v[i].rss_bytes, memory);
        tw_keep_span((uint64_t)v[i].up_s, span, sizeof span);
        printf("a rank runs here for %s: pid %d, %s%s%s\n", span, (int)v[i].proc.pid, memory,
               v[i].from[0] != '\0' ? ", started from " : "", v[i].from);
    }
    if (n == 0 && !o->json)
        puts("no head has started a rank here");
    if (rc == 0)
        rc = tw_out_flush(err);
    return rc != 0 ? rc : n > 0 ? 0 : -ESRCH; /* said already */
}

static int cmd_status(int argc, char **argv)
{
    status_opts o = {.json = false};
    tw_err err = {0};
    int first = 0;
    if (tw_options_parse(tables, argc, argv, &o, &first, &err) == 0 && first < argc)
        (void)
            tw_err_set(&err, -EINVAL,
                       "%s: status takes no words: it shows the one service of this user, and Ray",
                       argv[first]);
    if (err.code != 0)
        return tw_command_misused(&tw_command_status, &err);
    int rc = o.here ? here(&o, &err) : status(&o, &err);
    if (err.code != 0)
        fprintf(stderr, "twinax status: %s\n", err.msg);
    return rc == 0 ? TW_EXIT_OK : TW_EXIT_FAILED;
}

static const tw_note status_examples[] = {
    {"twinax status", "a table"},
    {"twinax status --json", "all that is known, for a program"},
    {NULL, NULL},
};

const tw_command tw_command_status = {
    .name = "status",
    .args = "[--here] [--json]",
    .summary = "what the service in the background is doing",
    .about = "Nodes, ranks, what carries their bytes, requests, speed, memory and heat; a Ray that "
             "waits for a model, as Ray itself counts it. Exit status 1 when nothing runs.",
    .tables = tables,
    .group = TW_GROUP_CLUSTER,
    .run = cmd_status,
    .examples = status_examples,
};

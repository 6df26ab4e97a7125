/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/status_ray.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cmd/keep.h"

enum { FRESH_S = 3, COLUMN = 12 };

int tw_status_ray_read(uint64_t limit_ns, tw_status_ray *ret, tw_err *err)
{
    tw_life_paths p;
    *ret = (tw_status_ray){.state = TW_LIFE_NONE};
    int rc = tw_life_paths_make(TW_LIFE_RAY, &p, err);
    if (rc == 0)
        rc = tw_life_look(&p, &ret->state, &ret->record, err);
    if (rc == 0 && ret->state == TW_LIFE_RUNS &&
        tw_keep_ask(ret->record.socket, limit_ns, &ret->says, &ret->why) != 0)
        ret->says = NULL;
    return rc;
}

void tw_status_ray_done(tw_status_ray *r)
{
    json_decref(r->says);
    r->says = NULL;
}

bool tw_status_ray_is_up(const tw_status_ray *r)
{
    return r->state == TW_LIFE_RUNS;
}

static double number(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static void print_count(const json_t *says)
{
    const json_t *ray = json_object_get(says, "ray");
    if (number(ray, "nodes") <= 0)
        return;
    printf(": %.0f nodes, %.1f GPU by Ray's own count", number(ray, "nodes"), number(ray, "gpus"));
    if (json_is_number(json_object_get(ray, "gpus_used")))
        printf(", %.1f in use", number(ray, "gpus_used"));
    if (number(ray, "age_s") > FRESH_S)
        printf(", %.0f s ago", number(ray, "age_s"));
}

/* Those that some node has; the same row for names and for values. */
static void print_row(const json_t *versions, const json_t *node)
{
    static const struct {
        const char *key, *title;
    } columns[] = {{"python", "PYTHON"}, {"ray", "RAY"},   {"vllm", "VLLM"}, {"torch", "TORCH"},
                   {"hip", "HIP"},       {"cuda", "CUDA"}, {"rccl", "RCCL"}, {"nccl", "NCCL"}};
    printf("%-*s", COLUMN, node != NULL ? tw_json_text_at(node, "node") : "NODE");
    for (size_t c = 0; c < TW_ARRAY_LEN(columns); c++) {
        bool any = false;
        for (size_t i = 0; i < json_array_size(versions); i++)
            any = any || tw_json_text_at(json_array_get(versions, i), columns[c].key)[0] != '\0';
        const char *text = node != NULL ? tw_json_text_at(node, columns[c].key) : columns[c].title;
        if (any)
            printf(" %-*s", COLUMN, text[0] != '\0' ? text : "-");
    }
    putchar('\n');
}

void tw_status_vllm_print(const json_t *says)
{
    const json_t *versions = json_object_get(says, "versions");
    printf("engine     vllm, executor %s", tw_json_text_at(says, "executor"));
    print_count(says);
    putchar('\n');
    if (json_array_size(versions) == 0)
        return;
    print_row(versions, NULL);
    for (size_t i = 0; i < json_array_size(versions); i++)
        print_row(versions, json_array_get(versions, i));
}

/* Its record says "ready" also while it is started again (--restart). */
static bool is_ready(const tw_status_ray *r)
{
    return r->record.phase != TW_LIFE_STARTING &&
           (r->says == NULL || strcmp(tw_json_text_at(r->says, "state"), "ready") == 0);
}

static void print_up(const tw_status_ray *r, void (*print_ranks)(const json_t *says))
{
    const tw_life_record *k = &r->record;
    char span[48], moment[32];
    const uint64_t now = tw_clock_unix_s(), from = k->ready_s != 0 ? k->ready_s : k->since_s;
    tw_keep_span(now > from ? now - from : 0, span, sizeof span);
    tw_keep_moment(k->since_s, moment);
    if (k->phase == TW_LIFE_STARTING) {
        printf("Ray is starting, %s so far (pid %d)\n", span, (int)k->serve.pid);
        return;
    }
    if (!is_ready(r) && strcmp(tw_json_text_at(r->says, "state"), "ending") == 0) {
        printf("Ray is ending (pid %d)\n", (int)k->serve.pid);
        return;
    }
    if (!is_ready(r)) {
        printf("Ray is not up now: it crashed and is started again (pid %d): %s\n",
               (int)k->serve.pid, tw_json_text_at(json_object_get(r->says, "restarts"), "cause"));
        return;
    }
    printf("Ray is up at %s, %s since %s, pid %d (%s)\n", k->url, span, moment, (int)k->serve.pid,
           k->how);
    if (r->says == NULL) {
        printf("its process is there, but says nothing: %s\n", r->why.msg);
        return;
    }
    tw_status_vllm_print(r->says);
    printf("wire       %s\n", tw_json_text_at(r->says, "wire"));
    print_ranks(r->says);
}

void tw_status_ray_print(const tw_status_ray *r, void (*print_ranks)(const json_t *says))
{
    char moment[32];
    const tw_life_record *k = &r->record;
    switch (r->state) {
    case TW_LIFE_RUNS:
        print_up(r, print_ranks);
        return;
    case TW_LIFE_OVER:
        tw_keep_moment(k->ended_s, moment);
        printf("Ray ended at %s: %s\n", moment, k->end);
        return;
    case TW_LIFE_CRASHED:
        tw_keep_moment(k->since_s, moment);
        printf("Ray, started at %s, went without a word; `twinax down` looks whether anything of "
               "it is left, `twinax logs --ray` tells more\n",
               moment);
        return;
    case TW_LIFE_ELSEWHERE:
        printf("Ray was started on %s, which has the same home folder\n", k->host);
        return;
    case TW_LIFE_NONE:
        return;
    }
}

json_t *tw_status_ray_json(const tw_status_ray *r)
{
    static const char *const names[] = {[TW_LIFE_NONE] = "none",
                                        [TW_LIFE_RUNS] = "running",
                                        [TW_LIFE_OVER] = "ended",
                                        [TW_LIFE_CRASHED] = "crashed",
                                        [TW_LIFE_ELSEWHERE] = "elsewhere"};
    const tw_life_record *k = &r->record;
    const char *state = r->state != TW_LIFE_RUNS ? names[r->state]
                        : is_ready(r)            ? "ready"
                                                 : "starting";
    json_t *v =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:s}", "state", state, "host",
                  k->host, "address", k->url, "how", k->how, "run", k->run, "pid",
                  (int)k->serve.pid, "keeper", (int)k->keeper.pid, "since", (json_int_t)k->since_s,
                  "ready", (json_int_t)k->ready_s, "ended", (json_int_t)k->ended_s, "end", k->end);
    if (v != NULL && r->says != NULL)
        (void)json_object_set(v, "serve", r->says);
    return v;
}

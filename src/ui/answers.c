/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/answers.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "ui/text.h"

static void json_freep(json_t **v)
{
    json_decref(*v);
}

static int load(const char *what, const char *p, size_t n, json_t **ret, tw_err *err)
{
    json_error_t je;
    *ret = json_loadb(p != NULL ? p : "", n, 0, &je);
    if (json_is_object(*ret))
        return 0;
    json_decref(*ret);
    *ret = NULL;
    return tw_err_set(err, -EPROTO, "%s gave no answer that can be read", what);
}

static double number(const json_t *v, const char *key)
{
    return json_number_value(json_object_get(v, key));
}

static double number_or(const json_t *v, const char *key, double none)
{
    const json_t *x = json_object_get(v, key);
    return json_is_number(x) ? json_number_value(x) : none;
}

static unsigned count(const json_t *v, const char *key)
{
    const double x = number(v, key);
    return x > 0 && x < 4e9 ? (unsigned)x : 0;
}

static const char *text_of(const json_t *v, const char *key)
{
    const char *text = json_string_value(json_object_get(v, key));
    return text != NULL ? text : "";
}

/* Cut between code points. */
static void copy(char *out, size_t out_bytes, const char *text)
{
    size_t n = strlen(text);
    if (n >= out_bytes)
        n = tw_utf8_complete(text, out_bytes - 1);
    memcpy(out, text, n);
    out[n] = '\0';
}

#define COPY(field, v, key) copy(field, sizeof(field), text_of(v, key))

/* ---- status ---- */

static void take_link(const json_t *link, tw_ui_rank *r)
{
    const double mtu = number(link, "mtu");
    char more[32] = "";
    if (!json_is_object(link))
        return;
    if (mtu > 0)
        snprintf(more, sizeof more, ", mtu %.0f", mtu);
    snprintf(r->link, sizeof r->link, "%.20s %.80s%s", text_of(link, "transport"),
             text_of(link, "device"), more);
    r->tx_bytes = number(link, "tx_bytes");
    r->rx_bytes = number(link, "rx_bytes");
}

static void take_rank(const json_t *v, tw_ui_rank *r)
{
    *r = (tw_ui_rank){.rank = count(v, "rank"),
                      .pid = (int)count(v, "pid"),
                      .rss_bytes = number_or(v, "rss_bytes", -1),
                      .celsius = number_or(v, "celsius", -1),
                      .watts = number_or(v, "watts", -1),
                      .age_s = number_or(v, "age_s", -1)};
    COPY(r->node, v, "node");
    take_link(json_object_get(v, "link"), r);
}

static size_t take_ranks(const json_t *list, tw_ui_rank ranks[TW_UI_RANKS_MAX])
{
    const size_t n = TW_MIN(json_array_size(list), (size_t)TW_UI_RANKS_MAX);
    for (size_t i = 0; i < n; i++)
        take_rank(json_array_get(list, i), &ranks[i]);
    return n;
}

static void take_ray(const json_t *v, tw_ui_status *ret)
{
    const json_t *says = json_object_get(v, "serve"), *count_of = json_object_get(says, "ray");
    COPY(ret->ray.state, v, "state");
    COPY(ret->ray.address, v, "address");
    COPY(ret->ray.end, v, "end");
    COPY(ret->ray.wire, says, "wire");
    ret->ray.nodes = count(count_of, "nodes");
    ret->ray.gpus = number(count_of, "gpus");
    ret->ray.gpus_used = number(count_of, "gpus_used");
    ret->ray.n_ranks = take_ranks(json_object_get(says, "ranks"), ret->ray.ranks);
}

static void take_serve(const json_t *s, tw_ui_status *ret)
{
    const json_t *speed = json_object_get(s, "speed"), *q = json_object_get(s, "requests");
    const json_t *l = json_object_get(s, "loading");
    ret->has_serve = json_is_object(s);
    COPY(ret->health, s, "health");
    COPY(ret->engine, s, "engine");
    ret->uptime_s = number(s, "uptime_s");
    ret->done_bytes = number(l, "done_bytes");
    ret->total_bytes = number(l, "total_bytes");
    ret->tok_s = number(speed, "generated_tok_s");
    ret->prompt_tok_s = number(speed, "prompt_tok_s");
    ret->tok_s_since_start = number(speed, "generated_tok_s_since_start");
    ret->tokens = number(speed, "generated_tokens");
    ret->running = count(q, "running");
    ret->waiting = count(q, "waiting");
    ret->at_once = count(q, "at_once");
    ret->ctx = count(s, "ctx");
    ret->n_ranks = take_ranks(json_object_get(s, "ranks"), ret->ranks);
}

int tw_ui_status_parse(const char *p, size_t n, tw_ui_status *ret, tw_err *err)
{
    TW_CLEANUP(json_freep) json_t *v = NULL;
    const int rc = load("twinax status", p, n, &v, err);
    if (rc != 0)
        return rc;
    *ret = (tw_ui_status){.since_s = number(v, "since"), .ready_s = number(v, "ready")};
    COPY(ret->state, v, "state");
    COPY(ret->url, v, "url");
    COPY(ret->end, v, "end");
    const char *model = text_of(v, "model"), *slash = strrchr(model, '/');
    /* A folder by its last part, as `twinax status` says it. */
    copy(ret->model, sizeof ret->model,
         model[0] == '/' && slash != NULL && slash[1] != '\0' ? slash + 1 : model);
    take_serve(json_object_get(v, "serve"), ret);
    take_ray(json_object_get(v, "ray"), ret);
    return 0;
}

/* ---- here ---- */

int tw_ui_here_parse(const char *p, size_t n, tw_ui_here *ret, tw_err *err)
{
    TW_CLEANUP(json_freep) json_t *v = NULL;
    const int rc = load("twinax status --here", p, n, &v, err);
    if (rc != 0)
        return rc;
    const json_t *ranks = json_object_get(v, "ranks");
    *ret = (tw_ui_here){.n = TW_MIN(json_array_size(ranks), (size_t)TW_UI_HERE_MAX)};
    COPY(ret->host, v, "host");
    for (size_t i = 0; i < ret->n; i++) {
        const json_t *r = json_array_get(ranks, i);
        ret->v[i].pid = (int)count(r, "pid");
        ret->v[i].rss_bytes = number(r, "rss_bytes");
        ret->v[i].up_s = number(r, "up_s");
        COPY(ret->v[i].from, r, "from");
    }
    return 0;
}

/* ---- doctor ---- */

void tw_ui_checks_done(tw_ui_checks *c)
{
    tw_mem_free(c->v);
    *c = (tw_ui_checks){.v = NULL};
}

static void take_check(const json_t *v, tw_ui_check *c)
{
    static const char *const names[] = {"na", "ok", "warn", "fail"};
    *c = (tw_ui_check){.grade = TW_UI_NOT_ASKED};
    COPY(c->id, v, "id");
    COPY(c->title, v, "title");
    COPY(c->node, v, "node");
    COPY(c->peer, v, "peer");
    COPY(c->found, v, "found");
    COPY(c->wanted, v, "wanted");
    COPY(c->mend, v, "mend");
    for (unsigned i = 0; i < TW_ARRAY_LEN(names); i++)
        if (strcmp(text_of(v, "status"), names[i]) == 0)
            c->grade = (enum tw_ui_grade)i;
}

int tw_ui_checks_parse(const char *p, size_t n, tw_ui_checks *ret, tw_err *err)
{
    TW_CLEANUP(json_freep) json_t *v = NULL;
    const int rc = load("twinax doctor", p, n, &v, err);
    if (rc != 0)
        return rc;
    const json_t *nodes = json_object_get(v, "nodes"), *checks = json_object_get(v, "checks");
    tw_ui_check *list = ret->v != NULL ? ret->v : tw_mem_calloc(TW_UI_CHECKS_MAX, sizeof *list);
    if (list == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the checks");
    *ret = (tw_ui_checks){.v = list,
                          .n_nodes = TW_MIN(json_array_size(nodes), (size_t)TW_UI_RANKS_MAX),
                          .n = TW_MIN(json_array_size(checks), (size_t)TW_UI_CHECKS_MAX)};
    for (size_t i = 0; i < ret->n_nodes; i++) {
        const json_t *k = json_array_get(nodes, i);
        COPY(ret->nodes[i].name, k, "name");
        COPY(ret->nodes[i].ip, k, "ip");
        COPY(ret->nodes[i].interface, k, "interface");
        COPY(ret->nodes[i].why, k, "why");
        ret->nodes[i].reached = json_is_true(json_object_get(k, "reached"));
    }
    for (size_t i = 0; i < ret->n; i++)
        take_check(json_array_get(checks, i), &ret->v[i]);
    return 0;
}

/* ---- plan ---- */

int tw_ui_plan_parse(const char *p, size_t n, tw_ui_plan *ret, tw_err *err)
{
    TW_CLEANUP(json_freep) json_t *v = NULL;
    const int rc = load("twinax plan", p, n, &v, err);
    if (rc != 0)
        return rc;
    const json_t *splits = json_object_get(v, "splits"), *nodes = json_object_get(v, "nodes");
    *ret = (tw_ui_plan){.tp = count(v, "tp"),
                        .max_ctx = count(v, "max_ctx"),
                        .needs_bytes = -1,
                        .available_bytes = -1};
    COPY(ret->limited, v, "limited_by");
    for (size_t i = 0; i < json_array_size(splits); i++) {
        const json_t *s = json_array_get(splits, i);
        if (count(s, "tp") != ret->tp)
            continue;
        ret->allowed = json_is_true(json_object_get(s, "allowed")) || number(s, "allowed") > 0;
        ret->decode_tok_s = number(s, "decode_tok_s");
        COPY(ret->why, s, "why");
    }
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *k = json_array_get(nodes, i);
        const double needs = number_or(k, "needs_bytes", -1);
        const double has =
            number_or(k, "available_bytes", -1) / TW_MAX(number_or(k, "ranks_sharing", 1), 1.0);
        const bool is_worse =
            ret->needs_bytes < 0 || has - needs < ret->available_bytes - ret->needs_bytes;
        if (json_is_number(json_object_get(k, "available_bytes")) && is_worse) {
            ret->needs_bytes = needs;
            ret->available_bytes = has;
        }
    }
    return 0;
}

/* ---- pull ---- */

/* One node's, or that of this machine alone: the keys are the same as far as they are shown. */
static void take_progress(const json_t *v, tw_ui_progress *p)
{
    const double done = number(v, "done_bytes"), total = number(v, "total_bytes");
    const double net = number_or(v, "net_bytes_s", number(v, "bytes_s"));
    const double peer = number(v, "peer_bytes_s");
    char a[16], b[16], c[16], d[40] = "";
    const size_t i = p->n++;
    COPY(p->v[i].name, v, "node");
    p->v[i].share = total > 0 && done > 0 ? TW_MIN(done / total, 1.0) : 0;
    tw_ui_disk(done, a);
    tw_ui_disk(total, b);
    tw_ui_disk(net, c);
    if (peer > 0) {
        char e[16];
        tw_ui_disk(peer, e);
        snprintf(d, sizeof d, ", peers %s/s", e);
    }
    const char *more = text_of(v, text_of(v, "error")[0] != '\0' ? "error" : "waits");
    if (more[0] != '\0')
        snprintf(p->v[i].text, sizeof p->v[i].text, "%.80s", more);
    else
        snprintf(p->v[i].text, sizeof p->v[i].text, "%s of %s, %s/s%s", a, b, c, d);
}

static void say_done(const json_t *v, char *text, size_t text_bytes)
{
    char total[16], fetched[16];
    tw_ui_disk(number(v, "total_bytes"), total);
    tw_ui_disk(number(v, "fetched_bytes"), fetched);
    snprintf(text, text_bytes, "%s: whole and verified, %.0f files, %s, %s of it fetched: %s",
             text_of(v, "model"), number(v, "files"), total, fetched, text_of(v, "path"));
}

enum tw_ui_pull_line tw_ui_pull_parse(const char *line, tw_ui_progress *ret, char *text,
                                      size_t text_bytes)
{
    json_error_t je;
    TW_CLEANUP(json_freep) json_t *v = line[0] == '{' ? json_loads(line, 0, &je) : NULL;
    const char *event = text_of(v, "event");
    const json_t *nodes = json_object_get(v, "nodes");
    if (strcmp(event, "note") == 0) {
        snprintf(text, text_bytes, "%s: %s", text_of(v, "node"), text_of(v, "text"));
        return TW_UI_PULL_SAYS;
    }
    if (strcmp(event, "done") == 0) {
        say_done(v, text, text_bytes);
        return TW_UI_PULL_SAYS;
    }
    if (strcmp(event, "progress") != 0)
        return TW_UI_PULL_OTHER;
    *ret = (tw_ui_progress){.n = 0};
    if (!json_is_array(nodes))
        take_progress(v, ret);
    for (size_t i = 0; i < json_array_size(nodes) && ret->n < TW_UI_RANKS_MAX; i++)
        take_progress(json_array_get(nodes, i), ret);
    return TW_UI_PULL_PROGRESS;
}

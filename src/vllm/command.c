/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

/* A list that remembers that it failed, so that callers look once. */
typedef struct word_list {
    json_t *v;
    bool failed;
} word_list;

static word_list words_new(void)
{
    word_list w = {.v = json_array()};
    w.failed = w.v == NULL;
    return w;
}

static void add(word_list *w, const char *word)
{
    w->failed = w->failed || json_array_append_new(w->v, json_string(word)) != 0;
}

/* However long. */
static void add_text(word_list *w, const char *flag, const char *text)
{
    add(w, flag);
    add(w, text);
}

static void TW_PRINTF(3, 4) add_pair(word_list *w, const char *flag, const char *fmt, ...)
{
    char value[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    add(w, flag);
    add(w, value);
}

static json_t *words_take(word_list *w)
{
    if (w->failed) {
        json_decref(w->v);
        return NULL;
    }
    return w->v;
}

/* An IPv6 address beside a port has brackets. */
static void add_address(word_list *w, const char *flag, const char *ip, uint32_t port)
{
    const bool six = strchr(ip, ':') != NULL;
    add_pair(w, flag, six ? "[%s]:%u" : "%s:%u", ip, port);
}

json_t *tw_vllm_ray_start(const char *own_ip, const char *head_ip, uint32_t port)
{
    word_list w = words_new();
    add(&w, "ray");
    add(&w, "start");
    if (head_ip == NULL) {
        add(&w, "--head");
        add_pair(&w, "--node-ip-address", "%s", own_ip);
        add_pair(&w, "--port", "%u", port);
        add(&w, "--include-dashboard=false");
    } else {
        add_address(&w, "--address", head_ip, port);
        add_pair(&w, "--node-ip-address", "%s", own_ip);
    }
    add_pair(&w, "--num-gpus", "1");
    add_pair(&w, "--num-cpus", "8"); /* Ray only counts them: enough for vLLM's helpers */
    add(&w, "--disable-usage-stats");
    add(&w, "--block");
    return words_take(&w);
}

json_t *tw_vllm_ray_status(const char *head_ip, uint32_t port)
{
    word_list w = words_new();
    add(&w, "ray");
    add(&w, "status");
    add_address(&w, "--address", head_ip, port);
    return words_take(&w);
}

static void add_sizes(word_list *w, const tw_vllm_serve *s)
{
    add_pair(w, "--tensor-parallel-size", "%u", s->tp);
    add_pair(w, "--max-model-len", s->ctx > 0 ? "%u" : "auto", s->ctx);
    if (s->max_seqs > 0)
        add_pair(w, "--max-num-seqs", "%u", s->max_seqs);
    add_pair(w, "--gpu-memory-utilization", "%.2f", s->memory > 0 ? s->memory : 0.90);
}

static void add_executor(word_list *w, const tw_vllm_serve *s)
{
    add_pair(w, "--distributed-executor-backend", "%s", s->executor == TW_VLLM_RAY ? "ray" : "mp");
    if (s->executor == TW_VLLM_RAY || s->n_nodes < 2)
        return;
    add_pair(w, "--nnodes", "%u", s->n_nodes);
    add_pair(w, "--node-rank", "%u", s->i_node);
    add_pair(w, "--master-addr", "%s", s->head_ip);
    add_pair(w, "--master-port", "%u", s->master_port);
    if (s->i_node > 0)
        add(w, "--headless");
}

json_t *tw_vllm_serve_words(const tw_vllm_serve *s)
{
    word_list w = words_new();
    add(&w, "vllm");
    add(&w, "serve");
    add(&w, s->model);
    add_text(&w, "--served-model-name", s->served_name);
    add_text(&w, "--host", s->host);
    add_pair(&w, "--port", "%u", s->port);
    add_sizes(&w, s);
    add_executor(&w, s);
    if (!s->graphs)
        add(&w, "--enforce-eager");
    if (s->trust_remote_code)
        add(&w, "--trust-remote-code");
    if (s->attention != NULL)
        add_text(&w, "--attention-backend", s->attention);
    if (s->speculative != NULL)
        add_text(&w, "--speculative-config", s->speculative);
    for (size_t i = 0; s->extra != NULL && s->extra[i] != NULL; i++)
        add(&w, s->extra[i]);
    return words_take(&w);
}

json_t *tw_vllm_own_words(const tw_vllm_place *p, json_t *words)
{
    char path[600];
    if (words == NULL || p->where != TW_VLLM_IN_VENV)
        return words;
    snprintf(path, sizeof path, "%s/bin/%s", p->name, json_string_value(json_array_get(words, 0)));
    if (json_array_set_new(words, 0, json_string(path)) == 0)
        return words;
    json_decref(words);
    return NULL;
}

/* As toolbox and distrobox enter their own; else a model would be fetched into the container. */
json_t *tw_vllm_outer_words(const tw_vllm_place *p)
{
    word_list w = words_new();
    add(&w, "podman");
    add(&w, "exec");
    add(&w, "--interactive");
    if (p->as_user) {
        add_pair(&w, "--user", "@USER@"); /* hold_part.c */
        add_pair(&w, "--env", "HOME=@HOME@");
    }
    add(&w, p->name);
    add(&w, p->home);
    add(&w, "hold");
    return words_take(&w);
}

json_t *tw_vllm_before_words(const tw_vllm_place *p)
{
    return json_pack("[s, s, s]", "podman", "start", p->name);
}

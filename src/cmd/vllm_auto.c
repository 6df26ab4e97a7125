/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/vllm_auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cmd/far.h"
#include "cmd/vllm_ask.h"
#include "vllm/choose.h"

enum { OUT_MAX = 32 * 1024 };

typedef struct search {
    const tw_args *args;
    size_t n;
    tw_far *far;
    tw_facts *facts[TW_VLLM_NODES_MAX];
    tw_vllm_candidate v[TW_VLLM_NODES_MAX];
    char lacks[TW_VLLM_NODES_MAX][200];
} search;

static bool has_kfd(void)
{
    return access("/dev/kfd", F_OK) == 0;
}

/* A virtual environment is the same folder on every node; what its vLLM says of itself proves it. */
static bool has_venv(const search *s, size_t i)
{
    tw_vllm_place place = {.where = TW_VLLM_IN_VENV};
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(OUT_MAX + 64);
    tw_vllm_versions v;
    char why[200];
    snprintf(place.name, sizeof place.name, "%s", s->args->vllm.venv);
    json_t *part = tw_vllm_versions_part(&place);
    if (part == NULL || !tw_vllm_ask_node(i > 0 ? tw_far_remote(s->far, (unsigned)i) : NULL, part,
                                          &out, why, sizeof why))
        return false;
    tw_vllm_versions_parse(out.data, out.len, &v);
    return v.is_known;
}

static void look_for_vllm(search *s, size_t i)
{
    const tw_vllm_wishes *w = &s->args->vllm;
    tw_vllm_candidate *c = &s->v[i];
    if (w->venv != NULL) {
        c->has_vllm = has_venv(s, i);
        snprintf(s->lacks[i], sizeof s->lacks[i], "vLLM in %.150s", w->venv);
    } else if (w->container != NULL) {
        c->has_vllm = tw_vllm_has_box(s->facts[i], w->container);
        snprintf(s->lacks[i], sizeof s->lacks[i], "a container %.150s", w->container);
    } else {
        c->has_vllm = tw_vllm_find_box(s->facts[i]) != NULL;
        snprintf(s->lacks[i], sizeof s->lacks[i], "a container vllm-therock-gfx1151 or vllm");
    }
    c->lacks = s->lacks[i];
}

static int look(search *s, size_t i, tw_err *err)
{
    const tw_facts_opts o = {.containers = s->args->vllm.venv == NULL};
    s->facts[i] = tw_mem_calloc(1, sizeof *s->facts[i]);
    if (s->facts[i] == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the facts of %zu machines", s->n);
    const int rc = i == 0 ? tw_facts_read(&o, s->facts[i], err)
                          : tw_far_facts(s->far, (unsigned)i, &o, s->facts[i], err);
    if (rc != 0)
        return rc;
    s->v[i].facts = s->facts[i];
    look_for_vllm(s, i);
    return 0;
}

/* As far as it is not settled. */
static int ask_nodes(search *s, char *why, size_t why_bytes, bool *ret, tw_err *err)
{
    int rc = look(s, 0, err);
    for (size_t i = 0; i < s->n; i++)
        s->v[i].name = s->n > 1 ? s->args->nodes.v[i].name : "this machine";
    *ret = rc == 0 && tw_vllm_choose(s->v, 1, why, why_bytes);
    if (!*ret || s->n == 1)
        return rc;
    rc = tw_far_open(s->args, &s->far, err);
    for (size_t i = 1; i < s->n && rc == 0; i++)
        rc = look(s, i, err);
    *ret = rc == 0 && tw_vllm_choose(s->v, s->n, why, why_bytes);
    tw_far_close(s->far);
    return rc;
}

/* What vLLM cannot do is no question. */
static const char *only_native(const tw_args *a)
{
    const size_t n = a->model != NULL ? strlen(a->model) : 0;
    if (a->local && a->tp > 1)
        return "several ranks on one machine";
    if (a->transport == TW_TRANSPORT_SHM)
        return "--transport shm";
    if (n > 5 && strcmp(a->model + n - 5, ".gguf") == 0)
        return "a GGUF file";
    return NULL;
}

int tw_vllm_auto(const tw_args *a, bool *ret_vllm, tw_err *err)
{
    search s = {.args = a, .n = a->nodes.n > 0 ? a->nodes.n : 1};
    char why[300] = "this machine has no ROCm GPU (/dev/kfd)";
    const char *native = only_native(a);
    int rc = 0;
    *ret_vllm = false;
    if (has_kfd() && native != NULL)
        snprintf(why, sizeof why, "%s; a ROCm GPU is not used", native);
    else if (has_kfd())
        rc = ask_nodes(&s, why, sizeof why, ret_vllm, err);
    for (size_t i = 0; i < s.n; i++)
        tw_mem_free(s.facts[i]);
    if (rc == 0)
        tw_log(TW_LOG_INFO, "serve", "engine %s: %s", *ret_vllm ? "vllm" : "native", why);
    return rc;
}

void tw_vllm_say_unused(const tw_args *a, const char *command)
{
    if (a->engine_kind == TW_ENGINE_AUTO && has_kfd())
        tw_log(TW_LOG_INFO, command,
               "engine native: %s has no other; a ROCm GPU is not used (serve can)", command);
}

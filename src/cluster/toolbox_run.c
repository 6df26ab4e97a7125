/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/toolbox_run.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/remote.h"
#include "host/facts_field.h"
#include "host/toolbox_do.h"
#include "host/toolbox_say.h"
#include "os/signal.h"

#define LOOK_LIMIT_NS  (180 * TW_NS_PER_S)
#define FETCH_LIMIT_NS (13 * 3600 * TW_NS_PER_S)
#define SWAP_LIMIT_NS  (3 * 3600 * TW_NS_PER_S)

typedef struct run_node {
    tw_toolbox_run *run;
    size_t i;
    const tw_node_spec *spec;
    tw_remote *remote; /* NULL: this machine */
    tw_toolbox_look *look;
    json_t *plan;
    const json_t *steps; /* of the phase under way */
    json_t *answer;
    tw_toolbox_probed probed;
    tw_err err; /* of its thread */
} run_node;

struct tw_toolbox_run {
    tw_nodes nodes;
    tw_toolbox_tell tell;
    void *ctx;
    pthread_mutex_t lock;   /* of tell */
    const char *box, *rccl; /* of the look under way */
    bool changes, again;
    bool swapping;
    size_t n;
    run_node v[TW_NODES_MAX];
};

static void tell(run_node *n, enum tw_toolbox_word what, const char *text, uint64_t done,
                 uint64_t total)
{
    tw_toolbox_run *r = n->run;
    if (r->tell == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->tell(r->ctx, n->i, what, text, done, total);
    pthread_mutex_unlock(&r->lock);
}

/* ---- a node's work: here, or by its agent ---- */

static void begins(void *ctx, const char *id, const char *title)
{
    (void)id;
    tell(ctx, TW_TOOLBOX_BEGINS, title, 0, 0);
}

static void takes_line(void *ctx, const char *line)
{
    tell(ctx, TW_TOOLBOX_LINE, line, 0, 0);
}

static void has_pulled(void *ctx, uint64_t done, uint64_t total)
{
    tell(ctx, TW_TOOLBOX_PULLED, NULL, done, total);
}

/* Half a swap would leave this machine without its container. */
static bool stops(void *ctx)
{
    const run_node *n = ctx;
    return tw_signal_asked_to_stop() && !n->run->swapping;
}

static tw_toolbox_face face_of(run_node *n)
{
    return (tw_toolbox_face){.ctx = n,
                             .begins = begins,
                             .line = takes_line,
                             .progress = has_pulled,
                             .should_stop = stops};
}

static uint64_t number_of(const json_t *o, const char *key)
{
    const json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

static void take_event(void *ctx, const json_t *event)
{
    const char *kind = tw_json_text_at(event, "event");
    const char *title = tw_json_text_at(event, "title");
    const char *line = tw_json_text_at(event, "line");
    if (strcmp(kind, "step") == 0)
        tell(ctx, TW_TOOLBOX_BEGINS, title, 0, 0);
    else if (strcmp(kind, "line") == 0)
        tell(ctx, TW_TOOLBOX_LINE, line, 0, 0);
    else if (strcmp(kind, "pull") == 0)
        tell(ctx, TW_TOOLBOX_PULLED, NULL, number_of(event, "done"), number_of(event, "total"));
}

/* An answer that says what failed is an error here. */
static int judge_answer(run_node *n, const json_t *got, tw_err *err)
{
    const json_t *failed = json_object_get(got, "failed");
    const char *id = tw_json_text_at(failed, "id");
    const char *trouble = tw_json_text_at(failed, "trouble");
    const char *says = tw_json_text_at(failed, "says");
    const json_int_t code = json_integer_value(json_object_get(failed, "code"));
    char what[120], id_plain[21], plain[300];
    if (failed == NULL)
        return 0;
    tw_field_text(id, id_plain, sizeof id_plain); /* another's words */
    tw_field_text(says, plain, sizeof plain);
    snprintf(what, sizeof what, "%.63s: %s", n->spec->name, id_plain);
    int rc = tw_toolbox_explain(what, tw_toolbox_trouble_find(trouble), plain, err);
    if (code < 0 && code > -4096 && rc == -EIO && err != NULL)
        err->code = rc = (int)code;
    return rc;
}

static int do_steps(run_node *n, const json_t *steps, bool swap, tw_err *err)
{
    tw_err why = {0};
    json_decref(n->answer);
    n->answer = NULL;
    if (json_array_size(steps) == 0)
        return 0;
    int rc;
    if (n->remote == NULL) {
        const tw_toolbox_face face = face_of(n);
        rc = tw_toolbox_do(steps, &face, &n->answer, &why);
        if (rc != 0)
            return tw_err_set(err, rc, "%s: %s", n->spec->name, why.msg);
    } else {
        json_t *args = json_pack("{s:s, s:O}", "do", "steps", "steps", steps);
        rc = tw_remote_call(n->remote, swap ? "toolbox-swap" : "toolbox", args,
                            swap ? SWAP_LIMIT_NS : FETCH_LIMIT_NS, &n->answer, err);
    }
    return rc != 0 ? rc : judge_answer(n, n->answer, err);
}

static int look_here(run_node *n, tw_err *err)
{
    const tw_toolbox_ask ask = {.box = n->run->box,
                                .changes = n->run->changes,
                                .again = n->run->again,
                                .rccl_path = n->run->rccl,
                                .should_stop = stops,
                                .ctx = n};
    tw_err why = {0};
    int rc = tw_toolbox_look_read(&ask, n->look, &why);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: %s", n->spec->name, why.msg);
}

static int look_there(run_node *n, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err why = {0};
    json_t *args = json_pack("{s:s, s:s*, s:s*, s:b}", "do", "look", "box", n->run->box, "rccl",
                             n->run->rccl, "changes", n->run->changes);
    int rc = tw_remote_call(n->remote, "toolbox", args, LOOK_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    rc = tw_toolbox_look_parse(json_object_get(got, "look"), n->look, &why);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: %s", n->spec->name, why.msg);
}

/* ---- all at a time ---- */

static int on_all(tw_toolbox_run *r, void *(*fn)(void *), tw_err *err)
{
    pthread_t threads[TW_NODES_MAX];
    bool started[TW_NODES_MAX] = {false};
    int rc = 0;
    for (size_t i = 0; i < r->n; i++) {
        r->v[i].err = (tw_err){0};
        started[i] = pthread_create(&threads[i], NULL, fn, &r->v[i]) == 0;
        if (!started[i])
            (void)!tw_err_set(&r->v[i].err, -EAGAIN, "%s: no thread", r->v[i].spec->name);
    }
    for (size_t i = 0; i < r->n; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        if (r->v[i].err.code != 0 && rc == 0) {
            *err = r->v[i].err;
            rc = err->code;
        }
    }
    return rc;
}

static void *look_node(void *arg)
{
    run_node *n = arg;
    (void)!(n->remote == NULL ? look_here(n, &n->err) : look_there(n, &n->err));
    return NULL;
}

static void end_phase(run_node *n, int rc, const char *done)
{
    if (rc != 0)
        tell(n, TW_TOOLBOX_FAILED, n->err.msg, 0, 0);
    else if (done != NULL && json_array_size(n->steps) > 0)
        tell(n, TW_TOOLBOX_DONE, done, 0, 0);
}

static void *fetch_node(void *arg)
{
    run_node *n = arg;
    n->steps = json_object_get(n->plan, "fetch");
    end_phase(n, do_steps(n, n->steps, false, &n->err), "the image is here");
    return NULL;
}

static void *swap_node(void *arg)
{
    run_node *n = arg;
    n->steps = json_object_get(n->plan, "swap");
    int rc = do_steps(n, n->steps, true, &n->err);
    const json_t *outs = json_object_get(n->answer, "outs");
    const char *said = tw_json_text_at(outs, "check");
    tw_toolbox_probe_parse(said, &n->probed);
    end_phase(n, rc, "the container is ready");
    return NULL;
}

static void *steps_node(void *arg)
{
    run_node *n = arg;
    end_phase(n, do_steps(n, n->steps, false, &n->err), NULL);
    return NULL;
}

/* ---- opening ---- */

int tw_toolbox_run_open(const tw_nodes *nodes, tw_toolbox_tell fn, void *ctx, tw_toolbox_run **ret,
                        tw_err *err)
{
    TW_CLEANUP(tw_toolbox_run_closep) tw_toolbox_run *r = tw_mem_calloc(1, sizeof *r);
    int rc = r != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for the nodes");
    if (rc != 0)
        return rc;
    pthread_mutex_init(&r->lock, NULL);
    r->nodes = *nodes;
    r->tell = fn;
    r->ctx = ctx;
    for (size_t i = 0; i < r->nodes.n && rc == 0; i++) {
        const tw_node_spec *s = &r->nodes.v[i];
        if (i > 0 && strcmp(s->ssh, "local") == 0)
            continue; /* a second rank of this machine: the same containers */
        run_node *n = &r->v[r->n];
        *n = (run_node){.run = r, .i = r->n, .spec = s, .look = tw_mem_calloc(1, sizeof *n->look)};
        r->n++;
        if (n->look == NULL)
            rc = tw_err_set(err, -ENOMEM, "no memory for the nodes");
        else if (i > 0)
            rc = tw_remote_start(s->ssh, s->agent_path[0] != '\0' ? s->agent_path : NULL,
                                 &n->remote, err);
    }
    for (size_t i = 1; i < r->n && rc == 0; i++) {
        rc = tw_remote_greet(r->v[i].remote, err);
        tw_remote_on_event(r->v[i].remote, take_event, &r->v[i]);
    }
    if (rc != 0)
        return rc;
    *ret = r;
    r = NULL;
    return 0;
}

void tw_toolbox_run_close(tw_toolbox_run *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n; i++) {
        tw_remote_close(r->v[i].remote);
        tw_mem_free(r->v[i].look);
        json_decref(r->v[i].plan);
        json_decref(r->v[i].answer);
    }
    pthread_mutex_destroy(&r->lock);
    tw_mem_free(r);
}

void tw_toolbox_run_closep(tw_toolbox_run **r)
{
    tw_toolbox_run_close(*r);
    *r = NULL;
}

size_t tw_toolbox_run_n(const tw_toolbox_run *r)
{
    return r->n;
}

const char *tw_toolbox_run_name(const tw_toolbox_run *r, size_t i)
{
    return r->v[i].spec->name;
}

const tw_toolbox_look *tw_toolbox_run_look_of(const tw_toolbox_run *r, size_t i)
{
    return r->v[i].look;
}

const json_t *tw_toolbox_run_plan_of(const tw_toolbox_run *r, size_t i)
{
    return r->v[i].plan;
}

const tw_toolbox_probed *tw_toolbox_run_probed(const tw_toolbox_run *r, size_t i)
{
    return &r->v[i].probed;
}

const char *tw_toolbox_run_error(const tw_toolbox_run *r, size_t i)
{
    return r->v[i].err.code != 0 ? r->v[i].err.msg : NULL;
}

/* ---- the phases ---- */

int tw_toolbox_run_look(tw_toolbox_run *r, const char *box, bool changes, const char *rccl,
                        tw_err *err)
{
    r->box = box;
    r->changes = changes;
    r->rccl = rccl;
    return on_all(r, look_node, err);
}

static int resolve_local(const tw_toolbox_run *r, const char *ref, tw_err *err)
{
    const tw_toolbox_image *m = tw_toolbox_find_named(r->v[0].look, ref);
    if (m == NULL || m->n_digests == 0)
        return tw_err_set(err, -ENOENT, "%s: %s is not here, and no registry has it",
                          r->v[0].spec->name, ref);
    for (size_t i = 1; i < r->n; i++) {
        const tw_toolbox_image *other = tw_toolbox_find_named(r->v[i].look, ref);
        if (other == NULL || strcmp(other->id, m->id) != 0)
            return tw_err_set(err, -EBADMSG,
                              "%s: its %s is %s: podman save %s | ssh %s podman load",
                              r->v[i].spec->name, ref, other == NULL ? "not there" : "another", ref,
                              r->v[i].spec->ssh);
    }
    return 0;
}

int tw_toolbox_run_resolve(tw_toolbox_run *r, tw_toolbox_want *w, tw_err *err)
{
    const tw_toolbox_look *l = r->v[0].look;
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    const tw_toolbox_face face = face_of(&r->v[0]);
    char ref[TW_TOOLBOX_REF_BYTES + 130];
    tw_toolbox_ref_print(&w->ref, ref, sizeof ref);
    for (size_t i = 1; i < r->n; i++)
        if (strcmp(r->v[i].look->machine, l->machine) != 0)
            return tw_err_set(err, -ENOEXEC, "%s is %s, %s is %s: one image cannot be for both",
                              r->v[i].spec->name, r->v[i].look->machine, r->v[0].spec->name,
                              l->machine);
    if (l->podman[0] == '\0')
        return 0; /* the plan says so */
    if (tw_toolbox_ref_is_local(&w->ref))
        return resolve_local(r, ref, err);
    tell(&r->v[0], TW_TOOLBOX_BEGINS, "ask the registry", 0, 0);
    int rc = tw_toolbox_resolve(ref, w->ref.repo, w->ref.digest, l->machine, l->skopeo[0] != '\0',
                                &face, &got, err);
    if (rc == 0 && json_object_get(got, "failed") != NULL) {
        rc = judge_answer(&r->v[0], got, err);
        if (tw_signal_asked_to_stop())
            rc = err->code = -ECANCELED;
    }
    if (rc != 0)
        return rc;
    snprintf(w->ref.digest, sizeof w->ref.digest, "%.79s", tw_json_text_at(got, "digest"));
    snprintf(w->arch, sizeof w->arch, "%.23s", tw_json_text_at(got, "arch"));
    w->image_bytes = number_of(got, "bytes");
    return 0;
}

int tw_toolbox_run_plan(tw_toolbox_run *r, const tw_toolbox_want *w, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < r->n; i++) {
        run_node *n = &r->v[i];
        tw_err why = {0};
        json_decref(n->plan);
        n->plan = NULL;
        n->err = (tw_err){0};
        int rc_node = tw_toolbox_plan(n->spec->name, n->look, w, &n->plan, &why);
        if (rc_node != 0)
            (void)!tw_err_set(&n->err, rc_node, "%s: %s", n->spec->name, why.msg);
        if (rc_node != 0 && rc == 0) {
            *err = n->err;
            rc = rc_node;
        }
    }
    return rc;
}

int tw_toolbox_run_fetch(tw_toolbox_run *r, tw_err *err)
{
    return on_all(r, fetch_node, err);
}

int tw_toolbox_run_find_rccl(tw_toolbox_run *r, tw_toolbox_want *w, bool anyway, tw_err *err)
{
    run_node *n = &r->v[0];
    tw_toolbox_probed p;
    TW_CLEANUP(tw_json_freep) json_t *steps = json_array();
    json_array_append_new(steps, tw_toolbox_plan_inspect(n->look, w));
    int rc = do_steps(n, steps, false, err);
    if (rc != 0)
        return rc;
    const json_t *outs = json_object_get(n->answer, "outs");
    const char *said = tw_json_text_at(outs, "inspect");
    tw_toolbox_probe_parse(said, &p);
    if (p.n_rccl == 0)
        return tw_err_set(err, -ENOENT,
                          "--rccl: the image has no librccl.so that one could replace");
    if (tw_toolbox_rccl_supports(&p) == TW_YES && !anyway)
        return tw_err_set(err, -EEXIST,
                          "--rccl: the image's own %s%s%s runs on gfx1151: another may only break "
                          "`import torch`. Leave it out, or --rccl-anyway",
                          p.rccl[0], p.rocm[0] != '\0' ? ", of ROCm " : "", p.rocm);
    w->n_rccl = TW_MIN(p.n_rccl, (size_t)TW_TOOLBOX_RCCL_MAX);
    for (size_t i = 0; i < w->n_rccl; i++)
        memcpy(w->rccl[i], p.rccl[i], sizeof w->rccl[i]);
    return tw_toolbox_run_plan(r, w, err);
}

static const tw_toolbox_image *image_of(const run_node *n, const char *box)
{
    const tw_toolbox_box *b = tw_toolbox_find_box(n->look, box);
    return b != NULL ? tw_toolbox_find_image(n->look, b->image_id) : NULL;
}

int tw_toolbox_run_compare(const tw_toolbox_run *r, const char *box, tw_err *err)
{
    const tw_toolbox_image *first = image_of(&r->v[0], box);
    for (size_t i = 0; i < r->n; i++) {
        const tw_toolbox_image *m = image_of(&r->v[i], box);
        if (m == NULL)
            return tw_err_set(err, -ENOENT, "%s: no container %s there: twinax toolbox refresh",
                              r->v[i].spec->name, box);
        if (strcmp(m->id, first->id) != 0)
            return tw_err_set(err, -EBADMSG,
                              "container %s is of image %.12s on %s, but of %.12s on %s: twinax "
                              "toolbox refresh",
                              box, first->id, r->v[0].spec->name, m->id, r->v[i].spec->name);
    }
    return 0;
}

int tw_toolbox_run_swap(tw_toolbox_run *r, const tw_toolbox_want *w, tw_err *err)
{
    r->swapping = true;
    int rc = on_all(r, swap_node, err);
    r->swapping = false;
    r->changes = false;
    r->again = true; /* there: the whole look, it is as quick as a question more */
    if (rc == 0)
        rc = on_all(r, look_node, err);
    r->again = false;
    return rc == 0 ? tw_toolbox_run_compare(r, w->box, err) : rc;
}

int tw_toolbox_run_remove(tw_toolbox_run *r, json_t *const *lists, tw_err *err)
{
    for (size_t i = 0; i < r->n; i++)
        r->v[i].steps = lists[i];
    int rc = on_all(r, steps_node, err);
    for (size_t i = 0; i < r->n; i++)
        r->v[i].steps = NULL;
    return rc;
}

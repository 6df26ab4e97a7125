/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/setup_run.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/push.h"
#include "cluster/remote.h"
#include "host/setup_exec.h"
#include "host/setup_plan.h"
#include "os/signal.h"

enum { PASSWORD_TRIES = 3, RETRY_US = 500000, UNDO_BREAKS = 3 };
#define OPEN_LIMIT_NS    (40 * TW_NS_PER_S)
#define LOOK_LIMIT_NS    (120 * TW_NS_PER_S)
#define STEP_LIMIT_NS    (1800 * TW_NS_PER_S)
#define CONFIRM_LIMIT_NS (45 * TW_NS_PER_S) /* the node waits 60 s */
#define REBOOT_LIMIT_NS  (900 * TW_NS_PER_S)
#define WORD_NS          (30 * TW_NS_PER_S) /* who waits hears that it goes on */
#define EXIT_LIMIT_NS    (10 * TW_NS_PER_S)

typedef struct run_node {
    tw_setup_run *run;
    size_t i;
    const tw_node_spec *spec;
    tw_remote *remote;
    bool pushed;    /* our twinax-node is there, and is what answers */
    char *password; /* sudo's, for as long as this runs; NULL: none needed */
    char user[64], boot_id[64];
    json_t *plan, *status;
    unsigned n_kept;
    tw_net net;
    tw_err err; /* of its thread */
} run_node;

struct tw_setup_run {
    tw_setup_run_opts o;
    tw_config config;
    tw_setup_face face;
    pthread_mutex_t lock; /* of the face */
    tw_setup_want want;
    size_t n;
    run_node nodes[TW_NODES_MAX];
};

static void tell(run_node *n, enum tw_setup_word what, const char *text)
{
    tw_setup_run *r = n->run;
    if (r->face.tell == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    r->face.tell(r->face.ctx, n->spec->name, what, text);
    pthread_mutex_unlock(&r->lock);
}

static void wipe(char **password)
{
    if (*password != NULL) {
        explicit_bzero(*password, strlen(*password));
        tw_mem_free(*password);
    }
    *password = NULL;
}

static void take_event(void *ctx, const json_t *event)
{
    const char *line = json_string_value(json_object_get(event, "line"));
    const char *kind = json_string_value(json_object_get(event, "event"));
    if (line != NULL && kind != NULL && strcmp(kind, "line") == 0)
        tell(ctx, TW_SETUP_LINE, line);
}

static int call(run_node *n, const char *op, json_t *args, uint64_t limit_ns, json_t **ret,
                tw_err *err)
{
    if (n->remote == NULL) {
        json_decref(args);
        return tw_err_set(err, -ENOTCONN, "%s: no connection", n->spec->name);
    }
    return tw_remote_call(n->remote, op, args, limit_ns, ret, err);
}

/* ---- opening ---- */

static int open_hand(run_node *n, tw_err *err)
{
    bool wrong = false;
    for (int i = 0;; i++) {
        TW_CLEANUP(tw_json_freep) json_t *got = NULL;
        json_t *args =
            json_pack("{s:b, s:s*}", "as_root", n->run->o.as_root, "password", n->password);
        int rc = call(n, "setup-open", args, OPEN_LIMIT_NS, &got, err);
        if (rc == 0 && !json_is_true(json_object_get(got, "needs_password")))
            return 0;
        if (rc != 0 && rc != -EKEYREJECTED)
            return rc;
        wrong = rc == -EKEYREJECTED;
        wipe(&n->password);
        if (i == PASSWORD_TRIES || n->run->face.ask_password == NULL)
            return rc != 0 ? rc
                           : tw_err_set(err, -EACCES,
                                        "%s: sudo wants a password: run this in a terminal, or "
                                        "allow it without (visudo)",
                                        n->spec->name);
        pthread_mutex_lock(&n->run->lock);
        n->password = n->run->face.ask_password(n->run->face.ctx, n->spec->name, wrong);
        pthread_mutex_unlock(&n->run->lock);
        if (n->password == NULL)
            return tw_err_set(err, -EACCES, "%s: without sudo's password nothing can be done there",
                              n->spec->name);
    }
}

static const char *ssh_name(const run_node *n)
{
    return n->i == 0 ? "local" : n->spec->ssh;
}

static const char *agent_path(const run_node *n)
{
    if (n->pushed)
        return TW_PUSH_PATH;
    return n->i > 0 && n->spec->agent_path[0] != '\0' ? n->spec->agent_path : NULL;
}

static int connect_node(run_node *n, tw_err *err)
{
    tw_remote_close(n->remote);
    n->remote = NULL;
    int rc = tw_remote_start(ssh_name(n), agent_path(n), &n->remote, err);
    if (rc == 0)
        rc = tw_remote_greet(n->remote, err);
    if (rc == 0) {
        tw_remote_on_event(n->remote, take_event, n);
        rc = open_hand(n, err);
    }
    return rc;
}

static int greet(run_node *n, tw_err *err)
{
    const tw_push_face *push = n->i > 0 ? n->run->o.push : NULL;
    const int rc_first = tw_remote_push_greet(push, n->remote, err);
    int rc = tw_remote_push_mend(push, n->spec->name, ssh_name(n), rc_first, &n->remote, err);
    n->pushed = rc == 0 && rc_first != 0;
    return rc;
}

static int open_all(tw_setup_run *r, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < r->n && rc == 0; i++)
        rc = tw_remote_start(ssh_name(&r->nodes[i]), agent_path(&r->nodes[i]), &r->nodes[i].remote,
                             err);
    for (size_t i = 0; i < r->n && rc == 0; i++)
        rc = greet(&r->nodes[i], err);
    for (size_t i = 0; i < r->n && rc == 0; i++) {
        tw_remote_on_event(r->nodes[i].remote, take_event, &r->nodes[i]);
        rc = open_hand(&r->nodes[i], err);
    }
    return rc;
}

int tw_setup_run_open(const tw_setup_run_opts *o, const tw_setup_face *face, tw_setup_run **ret,
                      tw_err *err)
{
    TW_CLEANUP(tw_setup_run_closep) tw_setup_run *r = tw_mem_calloc(1, sizeof *r);
    if (r == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for setup");
    r->o = *o;
    r->config = *o->config;
    r->o.config = &r->config;
    r->face = *face;
    pthread_mutex_init(&r->lock, NULL);
    r->n = r->config.nodes.n;
    for (size_t i = 0; i < r->n; i++)
        r->nodes[i] = (run_node){.run = r, .i = i, .spec = &r->config.nodes.v[i]};
    int rc = open_all(r, err);
    if (rc != 0)
        return rc;
    *ret = r;
    r = NULL;
    return 0;
}

void tw_setup_run_close(tw_setup_run *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n; i++) {
        tw_remote_close(r->nodes[i].remote);
        wipe(&r->nodes[i].password);
        json_decref(r->nodes[i].plan);
        json_decref(r->nodes[i].status);
    }
    pthread_mutex_destroy(&r->lock);
    tw_mem_free(r);
}

void tw_setup_run_closep(tw_setup_run **r)
{
    tw_setup_run_close(*r);
    *r = NULL;
}

size_t tw_setup_run_n(const tw_setup_run *r)
{
    return r->n;
}

const char *tw_setup_run_name(const tw_setup_run *r, size_t i)
{
    return r->nodes[i].spec->name;
}

const tw_setup_want *tw_setup_run_want(const tw_setup_run *r)
{
    return &r->want;
}

const json_t *tw_setup_run_plan_of(const tw_setup_run *r, size_t i)
{
    return r->nodes[i].plan;
}

const json_t *tw_setup_run_status_of(const tw_setup_run *r, size_t i)
{
    return r->nodes[i].status;
}

/* ---- planning ---- */

int tw_setup_run_mend(tw_setup_run *r, unsigned *ret_n, tw_err *err)
{
    unsigned all = 0;
    for (size_t i = 0; i < r->n; i++) {
        TW_CLEANUP(tw_json_freep) json_t *got = NULL;
        int rc = call(&r->nodes[i], "setup-mend", NULL, STEP_LIMIT_NS, &got, err);
        if (rc != 0)
            return rc;
        all += (unsigned)json_integer_value(json_object_get(got, "n"));
    }
    *ret_n = all;
    return 0;
}

static void copy_text(const json_t *v, const char *key, char *out, size_t out_bytes)
{
    const char *s = json_string_value(json_object_get(v, key));
    snprintf(out, out_bytes, "%s", s != NULL ? s : "");
}

static int read_keys(run_node *n, tw_setup_node *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = call(n, "setup-keys", NULL, LOOK_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    const char *key = json_string_value(json_object_get(got, "key"));
    const char *host_key = json_string_value(json_object_get(got, "host_key"));
    /* They go into the other nodes' files. */
    if (!tw_setup_is_key(key != NULL ? key : "") ||
        !tw_setup_is_key(host_key != NULL ? host_key : ""))
        return tw_err_set(err, -EPROTO,
                          "%s: what it calls its public ssh key is none (one line, ssh-ed25519 "
                          "AAAA...): see ~/.ssh/id_*.pub and /etc/ssh/ssh_host_*_key.pub there",
                          n->spec->name);
    copy_text(got, "key", ret->key, sizeof ret->key);
    copy_text(got, "host_key", ret->host_key, sizeof ret->host_key);
    copy_text(got, "user", n->user, sizeof n->user);
    copy_text(got, "boot_id", n->boot_id, sizeof n->boot_id);
    return 0;
}

static bool any_step(const json_t *steps, const char *flag)
{
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (json_is_true(json_object_get(json_array_get(steps, i), flag)))
            return true;
    return false;
}

/* What every node wants to know of all. */
static int gather(tw_setup_run *r, tw_err *err)
{
    tw_setup_want *w = &r->want;
    const tw_net *nets[TW_NODES_MAX];
    *w = (tw_setup_want){.n = r->n,
                         .vllm = strcmp(r->config.serve.engine, "native") != 0,
                         .kernel = r->o.only != NULL && tw_setup_only_has(r->o.only, "kernel")};
    int rc = 0;
    for (size_t i = 0; i < r->n && rc == 0; i++) {
        run_node *n = &r->nodes[i];
        tw_setup_node *to = &w->nodes[i];
        nets[i] = &n->net;
        snprintf(to->name, sizeof to->name, "%s", n->spec->name);
        snprintf(to->ip, sizeof to->ip, "%s", n->spec->ip);
        snprintf(to->interface, sizeof to->interface, "%s",
                 tw_config_interface(&r->config, n->spec));
        rc = tw_remote_facts(n->remote, &n->net, err);
        if (rc == 0)
            rc = read_keys(n, to, err);
    }
    const char *transport = r->config.transport[0] != '\0' ? r->config.transport : "auto";
    return rc != 0 ? rc : tw_setup_want_complete(w, transport, nets, err);
}

static int plan_node(run_node *n, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_setup_want *w = &n->run->want;
    w->self = n->i;
    json_t *want = tw_setup_want_print(w);
    int rc = want == NULL ? tw_err_set(err, -ENOMEM, "no memory for a plan")
                          : call(n, "setup-plan", json_pack("{s:o}", "want", want), LOOK_LIMIT_NS,
                                 &got, err);
    if (rc != 0)
        return rc;
    json_t *plan = json_object_get(got, "plan"), *steps = json_object_get(plan, "steps");
    if (!json_is_array(steps))
        return tw_err_set(err, -EPROTO, "%s: its plan makes no sense", n->spec->name);
    const char *only = n->run->o.only;
    /* Of an earlier run, or of a new kernel. */
    const bool pending =
        json_is_true(json_object_get(plan, "reboot")) && !any_step(steps, "reboot");
    for (size_t i = json_array_size(steps); i > 0; i--) {
        const char *id = json_string_value(json_object_get(json_array_get(steps, i - 1), "id"));
        if (id == NULL || !tw_setup_only_has(only, id))
            json_array_remove(steps, i - 1);
    }
    if (only != NULL) {
        const bool asked = tw_setup_only_has(only, "kernel") || tw_setup_only_has(only, "packages");
        json_object_set_new(plan, "reboot",
                            json_boolean(any_step(steps, "reboot") || (pending && asked)));
        json_object_set_new(plan, "login", json_boolean(any_step(steps, "login")));
    }
    json_decref(n->plan);
    n->plan = json_incref(plan);
    return 0;
}

int tw_setup_run_plan(tw_setup_run *r, tw_err *err)
{
    int rc = gather(r, err);
    for (size_t i = 0; i < r->n && rc == 0; i++)
        rc = plan_node(&r->nodes[i], err);
    return rc;
}

/* ---- doing ---- */

static const char *id_of(const json_t *step)
{
    return json_string_value(json_object_get(step, "id"));
}

/* The journal's last entry of this step; its state tells how far it came. */
static int find_entry(run_node *n, const char *id, json_int_t *ret_n, bool *ret_done, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = call(n, "setup-status", NULL, LOOK_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    const json_t *steps = json_object_get(got, "steps");
    const json_t *last = json_array_get(steps, json_array_size(steps) - 1);
    if (last == NULL || id_of(last) == NULL || strcmp(id_of(last), id) != 0)
        return tw_err_set(err, -ENOENT, "%s: %s was undone again", n->spec->name, id);
    const char *state = json_string_value(json_object_get(last, "state"));
    *ret_n = json_integer_value(json_object_get(last, "n"));
    *ret_done = state != NULL && strcmp(state, "done") == 0;
    return 0;
}

/* The head must be able to come in anew; for the head's own steps, to go out to the others. */
static int reconnect(run_node *n, tw_err *err)
{
    if (n->i == 0 && n->run->n > 1) {
        const run_node *other = &n->run->nodes[1];
        TW_CLEANUP(tw_remote_closep) tw_remote *probe = NULL;
        int rc = tw_remote_start(ssh_name(other), agent_path(other), &probe, err);
        if (rc == 0)
            rc = tw_remote_greet(probe, err);
        if (rc != 0)
            return rc;
    }
    return connect_node(n, err);
}

/* Less than the node waits. */
static uint64_t confirm_limit_ns(void)
{
    const char *wait = getenv("TW_SETUP_REVERT_S"); /* tests */
    return wait != NULL ? strtoul(wait, NULL, 10) * TW_NS_PER_S / 4 * 3 : CONFIRM_LIMIT_NS;
}

/* The connection broke, whatever became of the step. */
static bool is_break(int rc)
{
    return rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -EPIPE || rc == -ENOTCONN;
}

/* rc_step: the error of the step's own call; the connection may have broken under it while the step
 * went well. */
static int confirm(run_node *n, const char *id, int rc_step, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + confirm_limit_ns();
    tw_err why = {0}, first = *err;
    tell(n, TW_SETUP_WAITS, "for a new connection, to confirm it");
    while (tw_clock_now_ns() < until && !tw_signal_asked_to_stop()) {
        json_int_t entry = 0;
        bool done = false;
        int rc = reconnect(n, &why);
        if (rc == 0)
            rc = find_entry(n, id, &entry, &done, &why);
        if (rc == -ENOENT && rc_step != 0 && !is_break(rc_step)) { /* it failed by itself */
            *err = first;
            return first.code;
        }
        if (rc == -ENOENT)
            return tw_err_set(err, -ENETDOWN,
                              "%s: %s: it cut the head's connection, so the node took it back: its "
                              "network is as before",
                              n->spec->name, id);
        if (rc == 0 && done)
            return call(n, "setup-confirm", json_pack("{s:I}", "n", entry), LOOK_LIMIT_NS, NULL,
                        err);
        usleep(RETRY_US);
    }
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -ECANCELED,
                          "%s: %s: interrupted before it was confirmed: the node undoes it by "
                          "itself",
                          n->spec->name, id);
    return tw_err_set(err, -ETIMEDOUT,
                      "%s: %s: the head could not come in again (%.100s): the node undoes the step "
                      "by itself",
                      n->spec->name, id, why.msg);
}

static int do_step(run_node *n, const json_t *step, tw_err *err)
{
    char text[200];
    const char *id = id_of(step), *title = json_string_value(json_object_get(step, "title"));
    snprintf(text, sizeof text, "%s: %s", id, title != NULL ? title : "");
    tell(n, TW_SETUP_BEGINS, text);
    json_t *copy = json_deep_copy(step);
    int rc = call(n, "setup-apply", json_pack("{s:o}", "step", copy), STEP_LIMIT_NS, NULL, err);
    if (json_is_true(json_object_get(step, "cuts")))
        rc = confirm(n, id, rc, err);
    if (rc == 0)
        tell(n, TW_SETUP_DONE, id);
    else
        tell(n, TW_SETUP_FAILED, err->msg);
    return rc;
}

static void *do_node(void *arg)
{
    run_node *n = arg;
    const json_t *steps = json_object_get(n->plan, "steps");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(steps) && rc == 0; i++) {
        const json_t *step = json_array_get(steps, i);
        if (tw_signal_asked_to_stop())
            rc = tw_err_set(&n->err, -ECANCELED, "%s: interrupted before step %s", n->spec->name,
                            id_of(step));
        else if (strcmp(id_of(step), "ssh-key") != 0) /* they were made first */
            rc = do_step(n, step, &n->err);
    }
    /* What was opened in this thread ends with it. */
    tw_remote_close(n->remote);
    n->remote = NULL;
    return NULL;
}

/* ---- keys: made first, then known to the others ---- */

static int replace_key(json_t *step, const char *name, const char *key)
{
    char later[96];
    snprintf(later, sizeof later, "@key:%s@", name);
    json_t *actions = json_object_get(step, "do");
    for (size_t i = 0; i < json_array_size(actions); i++) {
        json_t *a = json_array_get(actions, i);
        const char *text = json_string_value(json_object_get(a, "after"));
        const char *at = text != NULL ? strstr(text, later) : NULL;
        TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(1 << 20);
        if (at == NULL)
            continue;
        if (tw_buf_append(&out, text, (size_t)(at - text)) != 0 || tw_buf_puts(&out, key) != 0 ||
            tw_buf_puts(&out, at + strlen(later)) != 0 ||
            json_object_set_new(a, "after", json_string(out.data)) != 0)
            return -ENOMEM;
    }
    return 0;
}

static json_t *find_step(const run_node *n, const char *id)
{
    json_t *steps = json_object_get(n->plan, "steps");
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (strcmp(id_of(json_array_get(steps, i)), id) == 0)
            return json_array_get(steps, i);
    return NULL;
}

static int make_keys(tw_setup_run *r, tw_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        run_node *n = &r->nodes[i];
        const json_t *step = find_step(n, "ssh-key");
        int rc = step != NULL ? do_step(n, step, err) : 0;
        if (rc == 0 && step != NULL)
            rc = read_keys(n, &r->want.nodes[i], err);
        if (rc != 0)
            return rc;
    }
    for (size_t i = 0; i < r->n; i++) {
        json_t *step = find_step(&r->nodes[i], "ssh-trust");
        for (size_t k = 0; k < r->n && step != NULL; k++) {
            if (r->want.nodes[k].key[0] == '\0' && k != i)
                return tw_err_set(err, -ENOENT,
                                  "%s has no ssh key: leave the step ssh-key in, or make one",
                                  r->want.nodes[k].name);
            if (replace_key(step, r->want.nodes[k].name, r->want.nodes[k].key) != 0)
                return tw_err_set(err, -ENOMEM, "no memory for keys");
        }
    }
    return 0;
}

static int on_all(tw_setup_run *r, void *(*what)(void *), tw_err *err)
{
    pthread_t threads[TW_NODES_MAX];
    bool has[TW_NODES_MAX] = {false};
    int rc = 0;
    for (size_t i = 0; i < r->n; i++) {
        r->nodes[i].err = (tw_err){0};
        int rc_thread = -pthread_create(&threads[i], NULL, what, &r->nodes[i]);
        has[i] = rc_thread == 0;
        if (!has[i])
            tw_err_set(&r->nodes[i].err, rc_thread, "no thread: %s", strerror(-rc_thread));
    }
    for (size_t i = 0; i < r->n; i++)
        if (has[i])
            pthread_join(threads[i], NULL);
    /* The head's own error may be that of a worker: theirs first. */
    for (size_t i = r->n; i > 0 && rc == 0; i--)
        if (r->nodes[i - 1].err.code != 0) {
            *err = r->nodes[i - 1].err;
            rc = err->code;
        }
    return rc;
}

/* The threads took their connections with them. */
static int come_back(tw_setup_run *r, int rc, tw_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        tw_err why = {0};
        if (r->nodes[i].remote == NULL && !tw_signal_asked_to_stop() &&
            connect_node(&r->nodes[i], &why) != 0 && rc == 0) {
            *err = why;
            rc = why.code;
        }
    }
    return rc;
}

int tw_setup_run_do(tw_setup_run *r, tw_err *err)
{
    int rc = make_keys(r, err);
    if (rc != 0)
        return rc;
    rc = on_all(r, do_node, err);
    tw_setup_run_end_logins(r);
    return come_back(r, rc, err);
}

void tw_setup_run_end_logins(tw_setup_run *r)
{
    for (size_t i = 1; i < r->n; i++) {
        const run_node *n = &r->nodes[i];
        const char *const argv[] = {"ssh", "-O", "exit", "--", n->spec->ssh, NULL};
        tw_err ignored;
        if (json_is_true(json_object_get(n->plan, "login")) && strcmp(n->spec->ssh, "local") != 0)
            (void)!tw_setup_exec(argv, EXIT_LIMIT_NS, true, NULL, NULL, NULL, &ignored);
    }
}

/* ---- undoing ---- */

int tw_setup_run_status(tw_setup_run *r, tw_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        run_node *n = &r->nodes[i];
        json_t *got = NULL;
        int rc = call(n, "setup-status", NULL, LOOK_LIMIT_NS, &got, err);
        if (rc != 0)
            return rc;
        json_decref(n->status);
        n->status = got;
    }
    return 0;
}

static void tell_kept(run_node *n, const json_t *got)
{
    const json_t *said = json_object_get(got, "said");
    n->n_kept += (unsigned)json_array_size(json_object_get(got, "kept"));
    for (size_t i = 0; i < json_array_size(said); i++)
        tell(n, TW_SETUP_SAYS, json_string_value(json_array_get(said, i)));
}

/* The reply was lost with the connection: the journal knows what is kept. */
static void tell_lost(run_node *n, const json_t *step)
{
    const json_t *kept = json_object_get(step, "kept");
    char text[400];
    n->n_kept += (unsigned)json_array_size(kept);
    for (size_t i = 0; i < json_array_size(kept); i++) {
        const char *path = json_string_value(json_array_get(kept, i));
        snprintf(text, sizeof text, "%s was changed by others since: it is left as it is",
                 path != NULL ? path : "?");
        tell(n, TW_SETUP_SAYS, text);
    }
}

/* Over a connection that may be new: how far is it? 1: not yet known. heard: its reply came. */
static int look_undone(run_node *n, bool heard, json_int_t *left, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err why = {0};
    if (call(n, "setup-status", NULL, LOOK_LIMIT_NS, &got, &why) != 0)
        return 1;
    const json_t *steps = json_object_get(got, "steps");
    const size_t n_steps = json_array_size(steps);
    const json_t *last = n_steps > 0 ? json_array_get(steps, n_steps - 1) : NULL;
    const char *state = tw_json_text_at(last, "state");
    *left = (json_int_t)n_steps;
    if (strcmp(state, "undoing") == 0)
        return 1;
    if (json_is_true(json_object_get(last, "redone")))
        return tw_err_set(err, -ENETDOWN,
                          "%s: undoing %s cut the head's connection, so the node did it again: its "
                          "network is as setup had made it",
                          n->spec->name, tw_json_text_at(last, "id"));
    if (strcmp(state, "undone") != 0)
        return 0;
    json_t *args = json_pack("{s:O, s:b}", "n", json_object_get(last, "n"), "undone", 1);
    if (call(n, "setup-confirm", args, LOOK_LIMIT_NS, NULL, &why) != 0)
        return 1;
    if (!heard) {
        tell_lost(n, last);
        tell(n, TW_SETUP_DONE, tw_json_text_at(last, "id"));
    }
    --*left;
    return 0;
}

/* What is undone may have been the way that the head comes in by. */
static int confirm_undone(run_node *n, bool heard, json_int_t *left, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + confirm_limit_ns();
    tw_err why = {0};
    tell(n, TW_SETUP_WAITS, "for a new connection, to confirm that it is undone");
    while (tw_clock_now_ns() < until && !tw_signal_asked_to_stop()) {
        int rc = reconnect(n, &why) == 0 ? look_undone(n, heard, left, err) : 1;
        if (rc <= 0)
            return rc;
        usleep(RETRY_US);
    }
    if (tw_signal_asked_to_stop())
        return tw_err_set(err, -ECANCELED,
                          "%s: interrupted before it was confirmed that a step is undone: the node "
                          "does the step again by itself",
                          n->spec->name);
    return tw_err_set(err, -ETIMEDOUT,
                      "%s: the head could not come in again (%.100s): the node does the step again "
                      "by itself",
                      n->spec->name, why.msg);
}

static int undo_one(run_node *n, unsigned *n_breaks, json_int_t *left, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = call(n, "setup-undo", NULL, STEP_LIMIT_NS, &got, err);
    if (rc != 0 && !(is_break(rc) && n->remote != NULL && ++*n_breaks <= UNDO_BREAKS))
        return rc;
    if (rc != 0) {
        *err = (tw_err){0};
        return confirm_undone(n, false, left, err);
    }
    *left = json_integer_value(json_object_get(got, "left"));
    tell_kept(n, got);
    if (json_is_true(json_object_get(got, "unconfirmed")))
        rc = confirm_undone(n, true, left, err);
    if (rc == 0 && id_of(got) != NULL)
        tell(n, TW_SETUP_DONE, id_of(got));
    return rc;
}

static void *undo_node(void *arg)
{
    run_node *n = arg;
    json_int_t left = 1;
    unsigned n_breaks = 0;
    int rc = 0;
    while (left > 0 && rc == 0 && !tw_signal_asked_to_stop())
        rc = undo_one(n, &n_breaks, &left, &n->err);
    if (rc != 0)
        tell(n, TW_SETUP_FAILED, n->err.msg);
    tw_remote_close(n->remote);
    n->remote = NULL;
    return NULL;
}

int tw_setup_run_undo(tw_setup_run *r, unsigned *ret_kept, tw_err *err)
{
    int rc = on_all(r, undo_node, err);
    *ret_kept = 0;
    for (size_t i = 0; i < r->n; i++)
        *ret_kept += r->nodes[i].n_kept;
    return come_back(r, rc, err);
}

/* ---- rebooting ---- */

static bool is_back(run_node *n, const char *boot_id)
{
    tw_setup_node now = {.name = ""};
    tw_err why;
    return connect_node(n, &why) == 0 && read_keys(n, &now, &why) == 0 &&
           strcmp(n->boot_id, boot_id) != 0;
}

int tw_setup_run_reboot(tw_setup_run *r, size_t i, tw_err *err)
{
    run_node *n = &r->nodes[i];
    char boot_id[64];
    tw_err why = {0};
    snprintf(boot_id, sizeof boot_id, "%s", n->boot_id);
    tell(n, TW_SETUP_BEGINS, "reboot");
    int rc = call(n, "setup-reboot", NULL, LOOK_LIMIT_NS, NULL, &why);
    if (rc != 0 && rc != -ECONNRESET && rc != -ETIMEDOUT && rc != -EPIPE)
        return tw_err_set(err, rc, "%s", why.msg);
    if (i == 0)
        return 0;
    const uint64_t until = tw_clock_now_ns() + REBOOT_LIMIT_NS;
    tell(n, TW_SETUP_WAITS, "until it is back");
    const uint64_t since = tw_clock_now_ns();
    uint64_t told = since;
    while (!is_back(n, boot_id)) {
        if (tw_clock_now_ns() - told > WORD_NS) {
            char text[60];
            told = tw_clock_now_ns();
            snprintf(text, sizeof text, "until it is back (%u s so far)",
                     (unsigned)((told - since) / TW_NS_PER_S));
            tell(n, TW_SETUP_WAITS, text);
        }
        if (tw_signal_asked_to_stop())
            return tw_err_set(err, -ECANCELED, "%s: interrupted while it rebooted", n->spec->name);
        if (tw_clock_now_ns() > until)
            return tw_err_set(err, -ETIMEDOUT, "%s: did not come back within %u s", n->spec->name,
                              (unsigned)(REBOOT_LIMIT_NS / TW_NS_PER_S));
        usleep(4 * RETRY_US);
    }
    tell(n, TW_SETUP_DONE, "reboot");
    return 0;
}

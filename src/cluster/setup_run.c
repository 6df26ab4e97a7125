/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/setup_run_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/push.h"
#include "host/setup_plan.h"
#include "os/signal.h"

enum { PASSWORD_TRIES = 3 };
#define OPEN_LIMIT_NS    (40 * TW_NS_PER_S)
#define CONFIRM_LIMIT_NS (45 * TW_NS_PER_S) /* the node waits 60 s */
#define REBOOT_LIMIT_NS  (900 * TW_NS_PER_S)
#define WORD_NS          (30 * TW_NS_PER_S) /* who waits hears that it goes on */

void tw_setup_node_tell(tw_setup_run_node *n, enum tw_setup_word what, const char *text)
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
        tw_setup_node_tell(ctx, TW_SETUP_LINE, line);
}

int tw_setup_node_call(tw_setup_run_node *n, const char *op, json_t *args, uint64_t limit_ns,
                       json_t **ret, tw_err *err)
{
    if (n->remote == NULL) {
        json_decref(args);
        return tw_err_set(err, -ENOTCONN, "%s: no connection", n->spec->name);
    }
    return tw_remote_call(n->remote, op, args, limit_ns, ret, err);
}

/* ---- opening ---- */

static int open_hand(tw_setup_run_node *n, tw_err *err)
{
    bool wrong = false;
    for (int i = 0;; i++) {
        TW_CLEANUP(tw_json_freep) json_t *got = NULL;
        json_t *args =
            json_pack("{s:b, s:s*}", "as_root", n->run->o.as_root, "password", n->password);
        int rc = tw_setup_node_call(n, "setup-open", args, OPEN_LIMIT_NS, &got, err);
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

static const char *ssh_name(const tw_setup_run_node *n)
{
    return n->i == 0 ? "local" : n->spec->ssh;
}

static const char *agent_path(const tw_setup_run_node *n)
{
    if (n->pushed)
        return TW_PUSH_PATH;
    return n->i > 0 && n->spec->agent_path[0] != '\0' ? n->spec->agent_path : NULL;
}

int tw_setup_node_connect(tw_setup_run_node *n, tw_err *err)
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

static int greet(tw_setup_run_node *n, tw_err *err)
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
        r->nodes[i] = (tw_setup_run_node){.run = r, .i = i, .spec = &r->config.nodes.v[i]};
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
        int rc =
            tw_setup_node_call(&r->nodes[i], "setup-mend", NULL, TW_SETUP_STEP_LIMIT_NS, &got, err);
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

int tw_setup_node_read_keys(tw_setup_run_node *n, tw_setup_node *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_setup_node_call(n, "setup-keys", NULL, TW_SETUP_LOOK_LIMIT_NS, &got, err);
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
        tw_setup_run_node *n = &r->nodes[i];
        tw_setup_node *to = &w->nodes[i];
        nets[i] = &n->net;
        snprintf(to->name, sizeof to->name, "%s", n->spec->name);
        snprintf(to->ip, sizeof to->ip, "%s", n->spec->ip);
        snprintf(to->interface, sizeof to->interface, "%s",
                 tw_config_interface(&r->config, n->spec));
        rc = tw_remote_facts(n->remote, &n->net, err);
        if (rc == 0)
            rc = tw_setup_node_read_keys(n, to, err);
    }
    const char *transport = r->config.transport[0] != '\0' ? r->config.transport : "auto";
    return rc != 0 ? rc : tw_setup_want_complete(w, transport, nets, err);
}

static int plan_node(tw_setup_run_node *n, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_setup_want *w = &n->run->want;
    w->self = n->i;
    json_t *want = tw_setup_want_print(w);
    int rc = want == NULL ? tw_err_set(err, -ENOMEM, "no memory for a plan")
                          : tw_setup_node_call(n, "setup-plan", json_pack("{s:o}", "want", want),
                                               TW_SETUP_LOOK_LIMIT_NS, &got, err);
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

/* ---- coming in anew ---- */

const char *tw_setup_id_of(const json_t *step)
{
    return json_string_value(json_object_get(step, "id"));
}

int tw_setup_node_reconnect(tw_setup_run_node *n, tw_err *err)
{
    if (n->i == 0 && n->run->n > 1) {
        const tw_setup_run_node *other = &n->run->nodes[1];
        TW_CLEANUP(tw_remote_closep) tw_remote *probe = NULL;
        int rc = tw_remote_start(ssh_name(other), agent_path(other), &probe, err);
        if (rc == 0)
            rc = tw_remote_greet(probe, err);
        if (rc != 0)
            return rc;
    }
    return tw_setup_node_connect(n, err);
}

uint64_t tw_setup_confirm_limit_ns(void)
{
    const char *wait = getenv("TW_SETUP_REVERT_S"); /* tests */
    return wait != NULL ? strtoul(wait, NULL, 10) * TW_NS_PER_S / 4 * 3 : CONFIRM_LIMIT_NS;
}

bool tw_setup_is_break(int rc)
{
    return rc == -ETIMEDOUT || rc == -ECONNRESET || rc == -EPIPE || rc == -ENOTCONN;
}

int tw_setup_on_all(tw_setup_run *r, void *(*what)(void *), tw_err *err)
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
int tw_setup_come_back(tw_setup_run *r, int rc, tw_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        tw_err why = {0};
        if (r->nodes[i].remote == NULL && !tw_signal_asked_to_stop() &&
            tw_setup_node_connect(&r->nodes[i], &why) != 0 && rc == 0) {
            *err = why;
            rc = why.code;
        }
    }
    return rc;
}

/* ---- rebooting ---- */

static bool is_back(tw_setup_run_node *n, const char *boot_id)
{
    tw_setup_node now = {.name = ""};
    tw_err why;
    return tw_setup_node_connect(n, &why) == 0 && tw_setup_node_read_keys(n, &now, &why) == 0 &&
           strcmp(n->boot_id, boot_id) != 0;
}

int tw_setup_run_reboot(tw_setup_run *r, size_t i, tw_err *err)
{
    tw_setup_run_node *n = &r->nodes[i];
    char boot_id[64];
    tw_err why = {0};
    snprintf(boot_id, sizeof boot_id, "%s", n->boot_id);
    tw_setup_node_tell(n, TW_SETUP_BEGINS, "reboot");
    int rc = tw_setup_node_call(n, "setup-reboot", NULL, TW_SETUP_LOOK_LIMIT_NS, NULL, &why);
    if (rc != 0 && rc != -ECONNRESET && rc != -ETIMEDOUT && rc != -EPIPE)
        return tw_err_set(err, rc, "%s", why.msg);
    if (i == 0)
        return 0;
    const uint64_t until = tw_clock_now_ns() + REBOOT_LIMIT_NS;
    tw_setup_node_tell(n, TW_SETUP_WAITS, "until it is back");
    const uint64_t since = tw_clock_now_ns();
    uint64_t told = since;
    while (!is_back(n, boot_id)) {
        if (tw_clock_now_ns() - told > WORD_NS) {
            char text[60];
            told = tw_clock_now_ns();
            snprintf(text, sizeof text, "until it is back (%u s so far)",
                     (unsigned)((told - since) / TW_NS_PER_S));
            tw_setup_node_tell(n, TW_SETUP_WAITS, text);
        }
        if (tw_signal_asked_to_stop())
            return tw_err_set(err, -ECANCELED, "%s: interrupted while it rebooted", n->spec->name);
        if (tw_clock_now_ns() > until)
            return tw_err_set(err, -ETIMEDOUT, "%s: did not come back within %u s", n->spec->name,
                              (unsigned)(REBOOT_LIMIT_NS / TW_NS_PER_S));
        usleep(4 * TW_SETUP_RETRY_US);
    }
    tw_setup_node_tell(n, TW_SETUP_DONE, "reboot");
    return 0;
}

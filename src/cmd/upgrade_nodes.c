/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/push.h"
#include "cluster/ssh.h"
#include "cluster/upgrade_file.h"
#include "cmd/upgrade.h"
#include "os/child.h"
#include "os/signal.h"

#define CALL_LIMIT_NS (30 * TW_NS_PER_S)

static bool is_local(const tw_node_spec *s)
{
    return strcmp(s->ssh, "local") == 0;
}

static void take_text(const json_t *v, const char *key, char *out, size_t out_bytes)
{
    const char *text = json_string_value(json_object_get(v, key));
    snprintf(out, out_bytes, "%s", text != NULL ? text : "?");
    for (char *p = out; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

static int look(upgrade_nodes *n, size_t i, tw_err *err)
{
    upgrade_node *v = &n->v[i];
    TW_CLEANUP(tw_json_freep) json_t *reply = NULL;
    const char *name = tw_others_name(&n->others, i);
    int rc = tw_remote_call(n->others.v[i], "upgrade-look", NULL, CALL_LIMIT_NS, &reply, err);
    if (rc != 0)
        return rc;
    take_text(reply, "program", v->program, sizeof v->program);
    take_text(reply, "version", v->version, sizeof v->version);
    v->has_old = json_is_true(json_object_get(reply, "old"));
    if (json_is_true(json_object_get(reply, "pushed")))
        return 0;
    return tw_err_set(err, -ENOTSUP,
                      "%s: runs %.90s, which was not pushed from here: upgrade it there, or remove "
                      "it there and `--push` (run, serve, up) once",
                      name, v->program);
}

int tw_upgrade_nodes_look(upgrade_nodes *n, tw_err *err)
{
    int rc = 0;
    for (size_t i = 1; i < n->others.nodes.n; i++)
        n->v[i].skip = is_local(&n->others.nodes.v[i]);
    tw_others_open(&n->others);
    for (size_t i = 1; i < n->others.nodes.n && rc == 0; i++) {
        if (n->v[i].skip)
            continue;
        if (n->others.v[i] != NULL)
            rc = look(n, i, err);
        else if (tw_push_mends(n->others.why[i].code)) /* none, or none that runs: it gets one */
            snprintf(n->v[i].program, sizeof n->v[i].program, "none that runs");
        else
            rc = (*err = n->others.why[i], err->code);
    }
    return rc;
}

/* ---- forward ---- */

static int push_one(upgrade_nodes *n, size_t i, const char *file, tw_err *err)
{
    upgrade_node *v = &n->v[i];
    TW_CLEANUP(tw_json_freep) json_t *reply = NULL;
    bool copied = false;
    int rc = 0;
    if (n->others.v[i] != NULL) {
        rc = tw_remote_call(n->others.v[i], "upgrade-keep", NULL, CALL_LIMIT_NS, &reply, err);
        v->had = json_is_true(json_object_get(reply, "had"));
    }
    if (rc != 0)
        return rc;
    v->step = NODE_KEPT;
    const tw_push_opts o = {.name = n->others.nodes.v[i].ssh, .file = file};
    rc = tw_push_node(&o, &copied, err);
    if (rc == 0)
        v->step = NODE_PUSHED;
    return rc;
}

int tw_upgrade_nodes_push(upgrade_nodes *n, const char *file, tw_err *err)
{
    int rc = 0;
    for (size_t i = 1; i < n->others.nodes.n && rc == 0; i++)
        if (!n->v[i].skip)
            rc = push_one(n, i, file, err);
    return rc;
}

/* ---- back ---- */

/* The version before speaks our protocol, whatever the new one does: it is asked to take its place
 * again. */
static int call_old(upgrade_nodes *n, size_t i, bool swap, tw_err *err)
{
    TW_CLEANUP(tw_remote_closep) tw_remote *r = NULL;
    int rc = tw_remote_open(n->others.nodes.v[i].ssh, TW_PUSH_PATH TW_UPGRADE_OLD, &r, err);
    if (rc == 0)
        rc = tw_remote_call(r, "upgrade-back", json_pack("{s:b}", "swap", swap), CALL_LIMIT_NS,
                            NULL, err);
    return rc;
}

/* It had none: what was pushed is taken away. */
static int remove_pushed(upgrade_nodes *n, size_t i, tw_err *err)
{
    tw_ssh_command c;
    int rc = tw_ssh_words_make(n->others.nodes.v[i].ssh, "exec rm -f " TW_PUSH_PATH, &c, err);
    return rc == 0 ? tw_child_run_for(c.argv, CALL_LIMIT_NS, err) : rc;
}

bool tw_upgrade_nodes_restore(upgrade_nodes *n)
{
    bool good = true;
    (void)tw_signal_take(); /* ctrl-C is why we are here: another one ends this too */
    for (size_t i = n->others.nodes.n; i > 1; i--) {
        upgrade_node *v = &n->v[i - 1];
        tw_err err = {0};
        int rc = 0;
        if (v->step != NODE_UNTOUCHED && v->had)
            rc = call_old(n, i - 1, false, &err);
        else if (v->step == NODE_PUSHED)
            rc = remove_pushed(n, i - 1, &err);
        v->step = rc == 0 ? NODE_UNTOUCHED : v->step;
        good = good && rc == 0;
        if (rc != 0)
            fprintf(stderr,
                    "%s: not rolled back: %s\n  there, by hand: mv ~/.local/bin/twinax-node.old "
                    "~/.local/bin/twinax-node\n",
                    tw_others_name(&n->others, i - 1), err.msg);
    }
    return good;
}

int tw_upgrade_nodes_back(upgrade_nodes *n, tw_err *err)
{
    size_t i = 1;
    int rc = 0;
    for (; i < n->others.nodes.n && rc == 0; i++)
        if (!n->v[i].skip)
            rc = call_old(n, i, true, err);
    if (rc != 0)
        (void)tw_signal_take();
    for (size_t k = 1; rc != 0 && k + 1 < i; k++) { /* forward again: all or none */
        tw_err why;
        if (!n->v[k].skip && call_old(n, k, true, &why) != 0)
            fprintf(stderr, "%s: stays rolled back: %s\n", tw_others_name(&n->others, k), why.msg);
    }
    return rc;
}

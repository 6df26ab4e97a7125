/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/setup_run_inside.h"
#include "host/setup_exec.h"
#include "os/signal.h"

#define EXIT_LIMIT_NS (10 * TW_NS_PER_S)

/* The journal's last entry of this step; its state tells how far it came. */
static int find_entry(tw_setup_run_node *n, const char *id, json_int_t *ret_n, bool *ret_done,
                      tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_setup_node_call(n, "setup-status", NULL, TW_SETUP_LOOK_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    const json_t *steps = json_object_get(got, "steps");
    const json_t *last = json_array_get(steps, json_array_size(steps) - 1);
    if (last == NULL || tw_setup_id_of(last) == NULL || strcmp(tw_setup_id_of(last), id) != 0)
        return tw_err_set(err, -ENOENT, "%s: %s was undone again", n->spec->name, id);
    const char *state = json_string_value(json_object_get(last, "state"));
    *ret_n = json_integer_value(json_object_get(last, "n"));
    *ret_done = state != NULL && strcmp(state, "done") == 0;
    return 0;
}

/* rc_step: the error of the step's own call; the connection may have broken under it while the step
 * went well. */
static int confirm(tw_setup_run_node *n, const char *id, int rc_step, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + tw_setup_confirm_limit_ns();
    tw_err why = {0}, first = *err;
    tw_setup_node_tell(n, TW_SETUP_WAITS, "for a new connection, to confirm it");
    while (tw_clock_now_ns() < until && !tw_signal_asked_to_stop()) {
        json_int_t entry = 0;
        bool done = false;
        int rc = tw_setup_node_reconnect(n, &why);
        if (rc == 0)
            rc = find_entry(n, id, &entry, &done, &why);
        if (rc == -ENOENT && rc_step != 0 &&
            !tw_setup_is_break(rc_step)) { /* it failed by itself */
            *err = first;
            return first.code;
        }
        if (rc == -ENOENT)
            return tw_err_set(err, -ENETDOWN,
                              "%s: %s: it cut the head's connection, so the node took it back: its "
                              "network is as before",
                              n->spec->name, id);
        if (rc == 0 && done)
            return tw_setup_node_call(n, "setup-confirm", json_pack("{s:I}", "n", entry),
                                      TW_SETUP_LOOK_LIMIT_NS, NULL, err);
        usleep(TW_SETUP_RETRY_US);
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

static int do_step(tw_setup_run_node *n, const json_t *step, tw_err *err)
{
    char text[200];
    const char *id = tw_setup_id_of(step),
               *title = json_string_value(json_object_get(step, "title"));
    snprintf(text, sizeof text, "%s: %s", id, title != NULL ? title : "");
    tw_setup_node_tell(n, TW_SETUP_BEGINS, text);
    json_t *copy = json_deep_copy(step);
    int rc = tw_setup_node_call(n, "setup-apply", json_pack("{s:o}", "step", copy),
                                TW_SETUP_STEP_LIMIT_NS, NULL, err);
    if (json_is_true(json_object_get(step, "cuts")))
        rc = confirm(n, id, rc, err);
    if (rc == 0)
        tw_setup_node_tell(n, TW_SETUP_DONE, id);
    else
        tw_setup_node_tell(n, TW_SETUP_FAILED, err->msg);
    return rc;
}

static void *do_node(void *arg)
{
    tw_setup_run_node *n = arg;
    const json_t *steps = json_object_get(n->plan, "steps");
    int rc = 0;
    for (size_t i = 0; i < json_array_size(steps) && rc == 0; i++) {
        const json_t *step = json_array_get(steps, i);
        if (tw_signal_asked_to_stop())
            rc = tw_err_set(&n->err, -ECANCELED, "%s: interrupted before step %s", n->spec->name,
                            tw_setup_id_of(step));
        else if (strcmp(tw_setup_id_of(step), "ssh-key") != 0) /* they were made first */
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

static json_t *find_step(const tw_setup_run_node *n, const char *id)
{
    json_t *steps = json_object_get(n->plan, "steps");
    for (size_t i = 0; i < json_array_size(steps); i++)
        if (strcmp(tw_setup_id_of(json_array_get(steps, i)), id) == 0)
            return json_array_get(steps, i);
    return NULL;
}

static int make_keys(tw_setup_run *r, tw_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        tw_setup_run_node *n = &r->nodes[i];
        const json_t *step = find_step(n, "ssh-key");
        int rc = step != NULL ? do_step(n, step, err) : 0;
        if (rc == 0 && step != NULL)
            rc = tw_setup_node_read_keys(n, &r->want.nodes[i], err);
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

int tw_setup_run_do(tw_setup_run *r, tw_err *err)
{
    int rc = make_keys(r, err);
    if (rc != 0)
        return rc;
    rc = tw_setup_on_all(r, do_node, err);
    tw_setup_run_end_logins(r);
    return tw_setup_come_back(r, rc, err);
}

void tw_setup_run_end_logins(tw_setup_run *r)
{
    for (size_t i = 1; i < r->n; i++) {
        const tw_setup_run_node *n = &r->nodes[i];
        const char *const argv[] = {"ssh", "-O", "exit", "--", n->spec->ssh, NULL};
        tw_err ignored;
        if (json_is_true(json_object_get(n->plan, "login")) && strcmp(n->spec->ssh, "local") != 0)
            (void)!tw_setup_exec(argv, EXIT_LIMIT_NS, true, NULL, NULL, NULL, &ignored);
    }
}

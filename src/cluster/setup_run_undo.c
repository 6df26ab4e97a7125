/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/scope.h"
#include "cluster/setup_run_inside.h"
#include "os/signal.h"

enum { UNDO_BREAKS = 3 };

int tw_setup_run_status(tw_setup_run *r, tw_err *err)
{
    for (size_t i = 0; i < r->n; i++) {
        tw_setup_run_node *n = &r->nodes[i];
        json_t *got = NULL;
        int rc = tw_setup_node_call(n, "setup-status", NULL, TW_SETUP_LOOK_LIMIT_NS, &got, err);
        if (rc != 0)
            return rc;
        json_decref(n->status);
        n->status = got;
    }
    return 0;
}

static void tell_kept(tw_setup_run_node *n, const json_t *got)
{
    const json_t *said = json_object_get(got, "said");
    n->n_kept += (unsigned)json_array_size(json_object_get(got, "kept"));
    for (size_t i = 0; i < json_array_size(said); i++)
        tw_setup_node_tell(n, TW_SETUP_SAYS, json_string_value(json_array_get(said, i)));
}

/* The reply was lost with the connection: the journal knows what is kept. */
static void tell_lost(tw_setup_run_node *n, const json_t *step)
{
    const json_t *kept = json_object_get(step, "kept");
    char text[400];
    n->n_kept += (unsigned)json_array_size(kept);
    for (size_t i = 0; i < json_array_size(kept); i++) {
        const char *path = json_string_value(json_array_get(kept, i));
        snprintf(text, sizeof text, "%s was changed by others since: it is left as it is",
                 path != NULL ? path : "?");
        tw_setup_node_tell(n, TW_SETUP_SAYS, text);
    }
}

/* Over a connection that may be new: how far is it? 1: not yet known. heard: its reply came. */
static int look_undone(tw_setup_run_node *n, bool heard, json_int_t *left, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    tw_err why = {0};
    if (tw_setup_node_call(n, "setup-status", NULL, TW_SETUP_LOOK_LIMIT_NS, &got, &why) != 0)
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
    if (tw_setup_node_call(n, "setup-confirm", args, TW_SETUP_LOOK_LIMIT_NS, NULL, &why) != 0)
        return 1;
    if (!heard) {
        tell_lost(n, last);
        tw_setup_node_tell(n, TW_SETUP_DONE, tw_json_text_at(last, "id"));
    }
    --*left;
    return 0;
}

/* What is undone may have been the way that the head comes in by. */
static int confirm_undone(tw_setup_run_node *n, bool heard, json_int_t *left, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + tw_setup_confirm_limit_ns();
    tw_err why = {0};
    tw_setup_node_tell(n, TW_SETUP_WAITS, "for a new connection, to confirm that it is undone");
    while (tw_clock_now_ns() < until && !tw_signal_asked_to_stop()) {
        int rc = tw_setup_node_reconnect(n, &why) == 0 ? look_undone(n, heard, left, err) : 1;
        if (rc <= 0)
            return rc;
        usleep(TW_SETUP_RETRY_US);
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

static int undo_one(tw_setup_run_node *n, unsigned *n_breaks, json_int_t *left, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_setup_node_call(n, "setup-undo", NULL, TW_SETUP_STEP_LIMIT_NS, &got, err);
    if (rc != 0 && !(tw_setup_is_break(rc) && n->remote != NULL && ++*n_breaks <= UNDO_BREAKS))
        return rc;
    if (rc != 0) {
        *err = (tw_err){0};
        return confirm_undone(n, false, left, err);
    }
    *left = json_integer_value(json_object_get(got, "left"));
    tell_kept(n, got);
    if (json_is_true(json_object_get(got, "unconfirmed")))
        rc = confirm_undone(n, true, left, err);
    if (rc == 0 && tw_setup_id_of(got) != NULL)
        tw_setup_node_tell(n, TW_SETUP_DONE, tw_setup_id_of(got));
    return rc;
}

static void *undo_node(void *arg)
{
    tw_setup_run_node *n = arg;
    json_int_t left = 1;
    unsigned n_breaks = 0;
    int rc = 0;
    while (left > 0 && rc == 0 && !tw_signal_asked_to_stop())
        rc = undo_one(n, &n_breaks, &left, &n->err);
    if (rc != 0)
        tw_setup_node_tell(n, TW_SETUP_FAILED, n->err.msg);
    tw_remote_close(n->remote);
    n->remote = NULL;
    return NULL;
}

int tw_setup_run_undo(tw_setup_run *r, unsigned *ret_kept, tw_err *err)
{
    int rc = tw_setup_on_all(r, undo_node, err);
    *ret_kept = 0;
    for (size_t i = 0; i < r->n; i++)
        *ret_kept += r->nodes[i].n_kept;
    return tw_setup_come_back(r, rc, err);
}

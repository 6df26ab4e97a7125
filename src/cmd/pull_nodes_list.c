/* SPDX-License-Identifier: Apache-2.0 */
/* The list of a model's files when this machine cannot ask the hub: from a node that can, else from
 * a cache that has the model whole, this one's first. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent_pull.h"
#include "cmd/pull_nodes.h"
#include "hub/list_here.h"
#include "hub/scan.h"
#include "os/signal.h"

#define LIST_LIMIT_NS (180 * TW_NS_PER_S)
/* Others may be able to: then this machine's own net is not waited for as long as for one alone. */
#define OWN_LIMIT_NS (5 * TW_NS_PER_S)

static bool is_late(void *until)
{
    return tw_signal_asked_to_stop() || tw_clock_now_ns() > *(const uint64_t *)until;
}

static json_t *patterns(const char *const *v, unsigned n)
{
    json_t *a = json_array();
    for (unsigned i = 0; i < n; i++)
        (void)!json_array_append_new(a, json_string(v[i]));
    return a;
}

/* Refusals are for who asked; what is left is the net's fault. */
static bool is_net(int rc)
{
    return rc == -EIO || rc == -ENETDOWN || rc == -EAGAIN || rc == -EPROTO || rc == -ETIMEDOUT;
}

static int ask_node(const tw_pull_nodes_opts *o, tw_share_spec *s, const tw_hub_place *p,
                    const char *text, bool by_net, tw_hub_list *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = 0;
    if (s->remote == NULL) {
        rc = tw_remote_start(s->ssh, s->agent_path, &s->remote, err);
        if (rc == 0)
            rc = tw_remote_push_greet(o->push, s->remote, err);
        if (rc != 0) {
            tw_remote_close(s->remote);
            s->remote = NULL;
            return rc;
        }
    }
    rc =
        tw_remote_call(s->remote, "pull",
                       json_pack("{s:s, s:s, s:o, s:o, s:b, s:s, s:s}", "do", "list", "model", text,
                                 "include", patterns(o->choice->include, o->choice->n_include),
                                 "exclude", patterns(o->choice->exclude, o->choice->n_exclude),
                                 "net", by_net, "endpoint", p->endpoint, "hf_token", p->token),
                       LIST_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    const char *sha = json_string_value(json_object_get(got, "sha"));
    return tw_pull_files_parse(text, sha != NULL ? sha : "", json_object_get(got, "siblings"), ret,
                               err);
}

int tw_pull_nodes_list(const tw_pull_nodes_opts *o, const tw_hub_place *p, const char *text,
                       const tw_hub_name *name, tw_share_job *j, tw_hub_list *ret, tw_err *err)
{
    uint64_t until = p->offline ? TW_NEVER_NS : tw_clock_now_ns() + OWN_LIMIT_NS;
    const tw_hub_watch w = {.should_stop = is_late, .arg = &until};
    const tw_hub_pull_opts po = {.choice = o->choice, .watch = &w};
    tw_err why = {0}, ignored;
    int rc = tw_hub_pull_list(p, name, &po, ret, err);
    if (rc == -EINTR && !tw_signal_asked_to_stop())
        rc = tw_err_set(err, -ETIMEDOUT, "%.100s gave no list within %d s", p->endpoint,
                        (int)(OWN_LIMIT_NS / TW_NS_PER_S));
    if (!is_net(rc))
        return rc;
    fprintf(stderr, "%s: %s\n", j->nodes[0].name, err->msg);
    for (unsigned i = 1; i < j->n && !p->offline; i++) {
        rc = ask_node(o, &j->nodes[i], p, text, true, ret, &why);
        if (rc == 0)
            fprintf(stderr, "%s: asks the hub instead\n", j->nodes[i].name);
        if (rc == 0 || rc == -ECANCELED)
            return rc;
    }
    j->no_net = true;
    if (tw_hub_list_cached(p, name, o->choice, ret, &ignored) == 0)
        return 0;
    for (unsigned i = 1; i < j->n; i++)
        if (ask_node(o, &j->nodes[i], p, text, false, ret, &why) == 0) {
            fprintf(stderr, "%s: has it: its revision is taken\n", j->nodes[i].name);
            return 0;
        }
    return err->code;
}

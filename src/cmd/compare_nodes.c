/* SPDX-License-Identifier: Apache-2.0 */
/* Which machines are compared, and the connections to them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/ssh.h"
#include "cmd/compare.h"
#include "cmd/find_config.h"
#include "cmd/push.h"

static int find_in_file(tw_nodes *ret, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_config_found *f = tw_mem_calloc(1, sizeof *f);
    if (f == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the configuration");
    int rc = tw_find_config(f, err);
    if (rc != 0)
        return rc;
    *ret = f->config.nodes;
    if (ret->n < 2)
        return tw_err_set(err, -EINVAL,
                          "which machine? --node NAME (by ssh), --nodes LIST or twinax.conf, or "
                          "--listen there and --connect here; see `twinax compare --help`");
    tw_log(TW_LOG_INFO, "config", "%zu nodes from %s", ret->n, f->path);
    return 0;
}

int tw_compare_find_nodes(compare_opts *o, tw_err *err)
{
    const char *other = o->connect != NULL ? "by hand" : o->node;
    int rc = 0;
    if (other != NULL) {
        o->nodes.n = 2;
        snprintf(o->nodes.v[0].name, sizeof o->nodes.v[0].name, "here");
        snprintf(o->nodes.v[1].name, sizeof o->nodes.v[1].name, "%s", other);
        snprintf(o->nodes.v[1].ssh, sizeof o->nodes.v[1].ssh, "%s", other);
        rc = o->connect == NULL ? tw_ssh_name_check(o->node, err) : 0;
    } else {
        rc = o->nodes_list != NULL ? tw_nodes_parse(o->nodes_list, &o->nodes, err)
                                   : find_in_file(&o->nodes, err);
    }
    if (rc == 0 && o->nodes.n < 2)
        return tw_err_set(err, -EINVAL, "--nodes %s: wanted two or more, this machine first",
                          o->nodes_list);
    for (size_t i = 1; i < o->nodes.n && rc == 0 && o->agent_path != NULL; i++) {
        tw_node_spec *s = &o->nodes.v[i];
        if (snprintf(s->agent_path, sizeof s->agent_path, "%s", o->agent_path) >=
            (int)sizeof s->agent_path)
            rc = tw_err_set(err, -ENAMETOOLONG, "--agent-path %.60s...: too long", o->agent_path);
    }
    for (int k = 0; k < TW_PATHS && rc == 0 && o->nodes.n > 2; k++)
        if (o->given[k] != NULL)
            rc = tw_err_set(err, -EINVAL,
                            "%s: addresses are of one pair of machines, and these are %zu: "
                            "twinax.conf has each one's (ip), or compare two: --nodes A,B",
                            o->given[k], o->nodes.n);
    return rc;
}

/* ---- connections ---- */

static int greet(compare_node *n, const tw_push_face *push, tw_err *err)
{
    int rc = tw_remote_push_greet(push, n->remote, err);
    rc = tw_remote_push_mend(push, n->spec->name, n->spec->ssh, rc, &n->remote, err);
    if (rc == 0)
        rc = tw_remote_facts(n->remote, &n->net, err);
    return rc;
}

static int start(compare_node *n, tw_err *err)
{
    const char *path = n->spec->agent_path[0] != '\0' ? n->spec->agent_path : NULL;
    return tw_remote_start(n->spec->ssh, path, &n->remote, err);
}

/* All connect at a time: ssh takes a while. */
static int open_others(compare_all *c, tw_err *err)
{
    for (size_t i = 1; i < c->n_nodes; i++)
        (void)!start(&c->nodes[i], &c->nodes[i].why);
    for (size_t i = 1; i < c->n_nodes; i++) {
        compare_node *n = &c->nodes[i];
        if (n->why.code == 0)
            (void)!greet(n, tw_push_face_of(c->opts->push), &n->why);
        if (n->why.code == -ECANCELED || (n->why.code != 0 && c->n_nodes == 2)) {
            *err = n->why;
            return err->code;
        }
        if (n->why.code != 0) {
            tw_remote_closep(&n->remote);
            continue;
        }
        if (c->n_nodes == 2)
            snprintf(n->name, sizeof n->name, "%s", tw_remote_host(n->remote));
    }
    return 0;
}

static int open_by_hand(compare_all *c, tw_err *err)
{
    compare_node *n = &c->nodes[1];
    int rc = tw_compare_connect(c->opts, &n->remote, err);
    if (rc == 0)
        rc = tw_remote_facts(n->remote, &n->net, err);
    if (rc == 0)
        snprintf(n->name, sizeof n->name, "%s", tw_remote_host(n->remote));
    return rc;
}

static compare_report *new_pair(const compare_all *c, size_t i, size_t k)
{
    compare_report *r = tw_mem_calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    const compare_node *there = &c->nodes[k];
    *r = (compare_report){.opts = c->opts,
                          .here = &c->nodes[i],
                          .there = there,
                          .via = c->opts->connect != NULL                 ? "by hand"
                                 : strcmp(there->spec->ssh, "local") == 0 ? "local"
                                                                          : "ssh",
                          .n_layers = c->n_layers,
                          .d_model = c->d_model};
    return r;
}

int tw_compare_open(compare_all *c, const compare_opts *o, tw_err *err)
{
    c->opts = o;
    c->n_nodes = o->nodes.n;
    c->nodes = tw_mem_calloc(c->n_nodes, sizeof *c->nodes);
    c->pairs = tw_mem_calloc(COMPARE_PAIRS_MAX, sizeof(compare_report *));
    if (c->nodes == NULL || c->pairs == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %zu nodes", c->n_nodes);
    for (size_t i = 0; i < c->n_nodes; i++) {
        c->nodes[i].spec = &o->nodes.v[i];
        snprintf(c->nodes[i].name, sizeof c->nodes[i].name, "%s", o->nodes.v[i].name);
    }
    for (size_t i = 0; i < c->n_nodes; i++)
        for (size_t k = i + 1; k < c->n_nodes; k++)
            if ((c->pairs[c->n_pairs++] = new_pair(c, i, k)) == NULL)
                return tw_err_set(err, -ENOMEM, "no memory for %zu nodes", c->n_nodes);
    int rc = o->connect != NULL ? open_by_hand(c, err) : open_others(c, err);
    return rc == 0 ? tw_net_read(NULL, &c->nodes[0].net, err) : rc;
}

void tw_compare_close(compare_all *c)
{
    for (size_t i = 0; i < c->n_nodes && c->nodes != NULL; i++)
        tw_remote_close(c->nodes[i].remote);
    for (size_t i = 0; i < c->n_pairs; i++)
        tw_mem_free(c->pairs[i]);
    tw_mem_free(c->pairs);
    tw_mem_free(c->nodes);
}

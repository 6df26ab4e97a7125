/* SPDX-License-Identifier: Apache-2.0 */
#include "host/check_record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "host/facts_field.h"

static const char *const engines[] = {"auto", "native", "vllm"};
static const char *const transports[] = {"auto", "rdma", "tcp"};

const char *tw_check_engine_name(enum tw_check_engine e)
{
    return engines[e];
}

const char *tw_check_transport_name(enum tw_check_transport t)
{
    return transports[t];
}

void tw_check_record_done(tw_check_record *r)
{
    for (size_t i = 0; i < TW_CHECK_NODES_MAX; i++) {
        tw_mem_free(r->facts[i]);
        r->facts[i] = NULL;
    }
    tw_mem_free(r->proofs);
    r->proofs = NULL;
}

/* ---- parsing ---- */

static void read_text(tw_json_obj *o, const char *key, char *out, size_t out_bytes)
{
    tw_field_text(tw_json_text(o, key, ""), out, out_bytes);
}

static unsigned read_choice(tw_json_obj *o, const char *key, const char *const names[3])
{
    const char *text = tw_json_text(o, key, names[0]);
    for (unsigned k = 0; k < 3; k++)
        if (strcmp(text, names[k]) == 0)
            return k;
    char want[64];
    snprintf(want, sizeof want, "%s, %s or %s", names[0], names[1], names[2]);
    tw_json_refuse(o, key, want);
    return 0;
}

static int read_config(const char *name, const json_t *v, tw_check_config *ret, tw_err *err)
{
    tw_json_obj o = {.file = name, .prefix = "config.", .v = v, .err = err};
    if (v == NULL)
        return 0;
    if (!json_is_object(v))
        return tw_err_set(err, -EINVAL, "%.100s: config is no object", name);
    ret->engine = (enum tw_check_engine)read_choice(&o, "engine", engines);
    ret->transport = (enum tw_check_transport)read_choice(&o, "transport", transports);
    read_text(&o, "model", ret->model, sizeof ret->model);
    return o.rc;
}

static int read_facts(const char *name, const json_t *v, tw_facts **ret, tw_err *err)
{
    *ret = tw_mem_calloc(1, sizeof **ret);
    if (*ret == NULL)
        return tw_err_set(err, -ENOMEM, "%.100s: no memory for the facts", name);
    return tw_facts_parse(v, *ret, err);
}

static int read_node(const char *name, const json_t *v, tw_check_record *r, tw_err *err)
{
    const size_t i = r->world.n_nodes;
    tw_check_node *n = &r->world.nodes[i];
    tw_json_obj o = {.file = name, .prefix = "nodes.", .v = v, .err = err};
    if (!json_is_object(v))
        return tw_err_set(err, -EINVAL, "%.100s: a node that is no object", name);
    read_text(&o, "name", n->name, sizeof n->name);
    read_text(&o, "ssh", n->ssh, sizeof n->ssh);
    read_text(&o, "ip", n->ip, sizeof n->ip);
    read_text(&o, "interface", n->interface, sizeof n->interface);
    read_text(&o, "why", n->why, sizeof n->why);
    if (n->name[0] == '\0')
        snprintf(n->name, sizeof n->name, "box%zu", i + 1);
    const json_t *facts = tw_json_get(&o, "facts");
    int rc = o.rc;
    if (rc == 0 && facts != NULL)
        rc = read_facts(name, facts, &r->facts[i], err);
    n->facts = r->facts[i];
    r->world.n_nodes++;
    return rc;
}

static int read_nodes(const char *name, const json_t *list, tw_check_record *r, tw_err *err)
{
    const size_t n = json_array_size(list);
    int rc = 0;
    if (!json_is_array(list) || n == 0 || n > TW_CHECK_NODES_MAX)
        return tw_err_set(err, -EINVAL, "%.100s: nodes: wanted a list of 1 to %d", name,
                          TW_CHECK_NODES_MAX);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = read_node(name, json_array_get(list, i), r, err);
    return rc;
}

static int read_proofs(const char *name, const json_t *v, tw_check_record *r, tw_err *err)
{
    if (v == NULL)
        return 0;
    r->proofs = tw_mem_calloc(1, sizeof *r->proofs);
    if (r->proofs == NULL)
        return tw_err_set(err, -ENOMEM, "%.100s: no memory for the proofs", name);
    int rc = tw_proofs_parse(v, r->proofs, err);
    r->world.proofs = r->proofs;
    return rc;
}

/* One host's facts, as the agent sends them. */
static int read_single(const char *name, const json_t *v, tw_check_record *r, tw_err *err)
{
    if (json_object_get(v, "os") == NULL && json_object_get(v, "net") == NULL)
        return tw_err_set(err, -EINVAL,
                          "%.100s: no record: wanted \"nodes\", as `twinax doctor --record` writes",
                          name);
    r->world.n_nodes = 1;
    snprintf(r->world.nodes[0].name, sizeof r->world.nodes[0].name, "box1");
    int rc = read_facts(name, v, &r->facts[0], err);
    r->world.nodes[0].facts = r->facts[0];
    return rc;
}

int tw_check_record_parse(const char *name, const char *p, size_t n, tw_check_record *ret,
                          tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    memset(ret, 0, sizeof *ret);
    int rc = tw_json_parse(name, p, n, &v, err);
    if (rc != 0)
        return rc;
    if (!json_is_object(v))
        return tw_err_set(err, -EINVAL, "%.100s: no JSON object", name);
    tw_json_obj o = {.file = name, .prefix = "", .v = v, .err = err};
    const json_t *nodes = tw_json_get(&o, "nodes");
    uint64_t schema = tw_json_u64(&o, "schema", TW_FACTS_SCHEMA, 0, UINT32_MAX);
    if (o.rc == 0 && schema > TW_FACTS_SCHEMA)
        return tw_err_set(err, -EINVAL,
                          "%.100s: a record of schema %u, this twinax reads up to %d: take a newer "
                          "one",
                          name, (unsigned)schema, TW_FACTS_SCHEMA);
    read_text(&o, "source", ret->source, sizeof ret->source);
    if (o.rc != 0)
        return o.rc;
    if (nodes == NULL)
        return read_single(name, v, ret, err);
    rc = read_config(name, tw_json_get(&o, "config"), &ret->world.config, err);
    if (rc == 0)
        rc = read_nodes(name, nodes, ret, err);
    return rc == 0 ? read_proofs(name, tw_json_get(&o, "proofs"), ret, err) : rc;
}

/* ---- printing ---- */

static void put_text(json_t *v, const char *key, const char *text)
{
    if (text[0] != '\0')
        json_object_set_new(v, key, json_string(text));
}

static json_t *print_node(const tw_check_node *n)
{
    json_t *v = json_object();
    put_text(v, "name", n->name);
    put_text(v, "ssh", n->ssh);
    put_text(v, "ip", n->ip);
    put_text(v, "interface", n->interface);
    put_text(v, "why", n->why);
    return v;
}

json_t *tw_check_record_print(const tw_check_record *r)
{
    const tw_check_world *w = &r->world;
    json_t *v = json_object(), *config = json_object(), *nodes = json_array();
    json_object_set_new(v, "schema", json_integer(TW_FACTS_SCHEMA));
    put_text(v, "source", r->source);
    put_text(config, "engine", engines[w->config.engine]);
    put_text(config, "transport", transports[w->config.transport]);
    put_text(config, "model", w->config.model);
    json_object_set_new(v, "config", config);
    for (size_t i = 0; i < w->n_nodes; i++) {
        json_t *node = print_node(&w->nodes[i]);
        if (w->nodes[i].facts != NULL)
            json_object_set_new(node, "facts", tw_facts_print(w->nodes[i].facts));
        json_array_append_new(nodes, node);
    }
    json_object_set_new(v, "nodes", nodes);
    if (w->proofs != NULL)
        json_object_set_new(v, "proofs", tw_proofs_print(w->proofs));
    return v;
}

static json_t *print_result(const tw_check_world *w, const tw_check_result *r)
{
    json_t *v = json_object();
    put_text(v, "id", r->check->id);
    put_text(v, "title", r->check->title);
    if (r->check->scope != TW_CHECK_CLUSTER)
        put_text(v, "node", w->nodes[r->node].name);
    if (r->check->scope == TW_CHECK_PAIR)
        put_text(v, "peer", w->nodes[r->peer].name);
    put_text(v, "status", tw_check_status_name(r->status));
    put_text(v, "found", r->found);
    put_text(v, "wanted", r->wanted);
    put_text(v, "mend", r->mend);
    if (r->step != NULL)
        put_text(v, "step", r->step);
    return v;
}

json_t *tw_check_results_print(const tw_check_world *w, const tw_check_result *v, size_t n)
{
    json_t *nodes = json_array(), *checks = json_array(), *sum = json_object();
    size_t counts[TW_CHECK_STATUSES] = {0};
    for (size_t i = 0; i < w->n_nodes; i++) {
        json_t *node = print_node(&w->nodes[i]);
        json_object_set_new(node, "reached", json_boolean(w->nodes[i].facts != NULL));
        json_array_append_new(nodes, node);
    }
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(checks, print_result(w, &v[i]));
        counts[v[i].status]++;
    }
    for (int k = 0; k < TW_CHECK_STATUSES; k++)
        json_object_set_new(sum, tw_check_status_name((enum tw_check_status)k),
                            json_integer((json_int_t)counts[k]));
    return json_pack("{s:i, s:o, s:o, s:o}", "schema", TW_FACTS_SCHEMA, "nodes", nodes, "checks",
                     checks, "summary", sum);
}

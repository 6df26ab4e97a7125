/* SPDX-License-Identifier: Apache-2.0 */
#include "host/proof.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_field.h"

static const char *const ports[TW_PORTS] = {"unknown", "passes", "refused", "filtered",
                                            "unreachable"};

static const char *const causes[TW_SSH_CAUSES] = {"other", "key-changed", "key-unknown", "denied"};

const char *tw_proof_ssh_name(enum tw_proof_ssh s)
{
    return causes[s];
}

/* What is not known is "other": a newer twinax may tell more apart. */
enum tw_proof_ssh tw_proof_ssh_parse(const char *name)
{
    for (int k = 0; k < TW_SSH_CAUSES; k++)
        if (strcmp(name, causes[k]) == 0)
            return (enum tw_proof_ssh)k;
    return TW_SSH_OTHER;
}

const char *tw_proof_port_name(enum tw_proof_port p)
{
    return ports[p];
}

/* ---- printing ---- */

static json_t *print_end(const tw_proof_end *e)
{
    json_t *v = json_object();
    for (size_t i = 0; i < e->n_grown; i++)
        json_object_set_new(v, e->grown[i].name, json_integer((json_int_t)e->grown[i].by));
    return v;
}

static json_t *print_node(const tw_proof_node *n)
{
    json_t *v = json_object();
    if (n->clock == TW_YES) {
        json_object_set_new(v, "clock_ahead_s", json_real(n->clock_ahead_s));
        json_object_set_new(v, "round_trip_ms", json_real(n->round_trip_ms));
    }
    if (n->ssh_back != TW_UNKNOWN)
        json_object_set_new(v, "ssh_back", json_boolean(n->ssh_back == TW_YES));
    if (n->ssh_back_cause != TW_SSH_OTHER)
        json_object_set_new(v, "ssh_back_cause", json_string(causes[n->ssh_back_cause]));
    if (n->ssh_back_why[0] != '\0')
        json_object_set_new(v, "ssh_back_why", json_string(n->ssh_back_why));
    return v;
}

static json_t *print_way(const tw_proof_way *w, size_t from, size_t to)
{
    json_t *v =
        json_pack("{s:i, s:i, s:s}", "from", (int)from, "to", (int)to, "port", ports[w->port]);
    if (w->mtu_tried != 0) {
        json_object_set_new(v, "mtu", json_integer(w->mtu));
        json_object_set_new(v, "mtu_tried", json_integer(w->mtu_tried));
    }
    if (w->why[0] != '\0')
        json_object_set_new(v, "why", json_string(w->why));
    return v;
}

static json_t *print_load(const tw_proof_load *l, size_t i, size_t j)
{
    json_t *v = json_pack("{s:i, s:i, s:f, s:f, s:f, s:o, s:o}", "a", (int)i, "b", (int)j,
                          "seconds", l->seconds, "to_gbit", l->to_gbit, "from_gbit", l->from_gbit,
                          "a_grown", print_end(&l->ends[0]), "b_grown", print_end(&l->ends[1]));
    if (l->why[0] != '\0')
        json_object_set_new(v, "why", json_string(l->why));
    return v;
}

json_t *tw_proofs_print(const tw_proofs *p)
{
    json_t *nodes = json_array(), *ways = json_array(), *loads = json_array();
    for (size_t i = 0; i < p->n_nodes; i++) {
        json_array_append_new(nodes, print_node(&p->nodes[i]));
        for (size_t j = 0; j < p->n_nodes; j++) {
            const tw_proof_way *w = &p->ways[i][j];
            const tw_proof_load *l = &p->loads[i][j];
            if (w->port != TW_PORT_UNKNOWN || w->mtu_tried != 0)
                json_array_append_new(ways, print_way(w, i, j));
            if (i < j && (l->seconds > 0 || l->why[0] != '\0'))
                json_array_append_new(loads, print_load(l, i, j));
        }
    }
    return json_pack("{s:o, s:o, s:o}", "nodes", nodes, "ways", ways, "loads", loads);
}

/* ---- parsing: a record, or what another machine says, is another's word ---- */

static void read_text(tw_json_obj *o, const char *key, char *out, size_t out_bytes)
{
    tw_field_text(tw_json_text(o, key, ""), out, out_bytes);
}

static void read_end(tw_json_obj *o, const char *key, tw_proof_end *ret)
{
    const json_t *v = tw_json_get(o, key);
    const char *name;
    const json_t *by;
    for (void *at = json_object_iter((json_t *)(uintptr_t)v); at != NULL;
         at = json_object_iter_next((json_t *)(uintptr_t)v, at)) {
        name = json_object_iter_key(at);
        by = json_object_iter_value(at);
        if (!json_is_integer(by) || json_integer_value(by) < 0 ||
            ret->n_grown == TW_PROOF_GROWN_MAX)
            continue;
        tw_proof_grown *g = &ret->grown[ret->n_grown++];
        size_t n = 0;
        for (; name[n] != '\0' && n + 1 < sizeof g->name; n++)
            g->name[n] = (unsigned char)name[n] <= 0x20 || name[n] == 0x7f ? '?' : name[n];
        g->name[n] = '\0';
        g->by = (uint64_t)json_integer_value(by);
    }
}

static void read_node(tw_json_obj *o, tw_proof_node *ret)
{
    if (tw_json_get(o, "clock_ahead_s") != NULL) {
        ret->clock = TW_YES;
        ret->clock_ahead_s = tw_json_f64(o, "clock_ahead_s", 0, -1e10, 1e10);
        ret->round_trip_ms = tw_json_f64(o, "round_trip_ms", 0, 0, 1e7);
    }
    if (tw_json_get(o, "ssh_back") != NULL)
        ret->ssh_back = tw_tri_of(tw_json_bool(o, "ssh_back", false));
    ret->ssh_back_cause = tw_proof_ssh_parse(tw_json_text(o, "ssh_back_cause", ""));
    read_text(o, "ssh_back_why", ret->ssh_back_why, sizeof ret->ssh_back_why);
}

static void read_way(tw_json_obj *o, tw_proofs *ret)
{
    size_t from = tw_json_u64(o, "from", 0, 0, ret->n_nodes - 1);
    size_t to = tw_json_u64(o, "to", 0, 0, ret->n_nodes - 1);
    tw_proof_way *w = &ret->ways[from][to];
    const char *port = tw_json_text(o, "port", "unknown");
    if (o->rc != 0)
        return;
    for (int k = 0; k < TW_PORTS; k++)
        if (strcmp(port, ports[k]) == 0)
            w->port = (enum tw_proof_port)k;
    w->mtu = (uint32_t)tw_json_u64(o, "mtu", 0, 0, 1 << 20);
    w->mtu_tried = (uint32_t)tw_json_u64(o, "mtu_tried", 0, 0, 1 << 20);
    read_text(o, "why", w->why, sizeof w->why);
}

static void read_load(tw_json_obj *o, tw_proofs *ret)
{
    size_t i = tw_json_u64(o, "a", 0, 0, ret->n_nodes - 1);
    size_t j = tw_json_u64(o, "b", 0, 0, ret->n_nodes - 1);
    if (o->rc == 0 && i >= j)
        tw_json_refuse(o, "b", "more than a");
    if (o->rc != 0)
        return;
    tw_proof_load *l = &ret->loads[i][j];
    *l = (tw_proof_load){0};
    l->seconds = tw_json_f64(o, "seconds", 0, 0, 1e6);
    l->to_gbit = tw_json_f64(o, "to_gbit", 0, 0, 1e6);
    l->from_gbit = tw_json_f64(o, "from_gbit", 0, 0, 1e6);
    read_end(o, "a_grown", &l->ends[0]);
    read_end(o, "b_grown", &l->ends[1]);
    read_text(o, "why", l->why, sizeof l->why);
}

static int read_list(tw_json_obj *o, const char *key, void (*read)(tw_json_obj *, tw_proofs *),
                     tw_proofs *ret)
{
    const json_t *list = tw_json_get(o, key);
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n && o->rc == 0; i++) {
        tw_json_obj e = {.file = o->file,
                         .prefix = "proofs.",
                         .v = json_array_get(list, i),
                         .err = o->err};
        if (!json_is_object(e.v))
            tw_json_refuse(o, key, "a list of objects");
        else
            read(&e, ret);
        o->rc = o->rc != 0 ? o->rc : e.rc;
    }
    return o->rc;
}

int tw_proofs_parse(const json_t *v, tw_proofs *ret, tw_err *err)
{
    memset(ret, 0, sizeof *ret);
    if (!json_is_object(v))
        return tw_err_set(err, -EINVAL, "proofs: no object");
    tw_json_obj o = {.file = "proofs", .prefix = "", .v = v, .err = err};
    const json_t *nodes = tw_json_get(&o, "nodes");
    ret->n_nodes = TW_MIN(json_array_size(nodes), (size_t)TW_PROOF_NODES_MAX);
    for (size_t i = 0; i < ret->n_nodes && o.rc == 0; i++) {
        tw_json_obj n = {.file = "proofs",
                         .prefix = "nodes.",
                         .v = json_array_get(nodes, i),
                         .err = err};
        if (!json_is_object(n.v))
            tw_json_refuse(&o, "nodes", "a list of objects");
        else
            read_node(&n, &ret->nodes[i]);
        o.rc = o.rc != 0 ? o.rc : n.rc;
    }
    if (ret->n_nodes == 0)
        return o.rc;
    if (o.rc == 0)
        o.rc = read_list(&o, "ways", read_way, ret);
    return o.rc == 0 ? read_list(&o, "loads", read_load, ret) : o.rc;
}

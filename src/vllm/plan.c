/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/plan.h"

#include <errno.h>

#include "base/scope.h"
#include "vllm/env.h"
#include "vllm/show.h"

enum { MASTER_PORT = 29501 };

static uint32_t ray_port(const tw_vllm_ask *ask)
{
    return ask->ray_port > 0 ? ask->ray_port : TW_VLLM_RAY_PORT;
}

static json_t *ray_words(const tw_vllm_ask *ask, size_t i)
{
    if (ask->serve.executor != TW_VLLM_RAY)
        return json_null();
    return tw_vllm_own_words(ask->place,
                             tw_vllm_ray_start(ask->nodes[i].ip, i == 0 ? NULL : ask->nodes[0].ip,
                                               ray_port(ask)));
}

static json_t *serve_words(const tw_vllm_ask *ask, size_t i)
{
    tw_vllm_serve s = ask->serve;
    if (s.model == NULL || (i > 0 && s.executor == TW_VLLM_RAY))
        return json_null();
    s.n_nodes = (uint32_t)ask->n_nodes;
    s.i_node = (uint32_t)i;
    s.model = ask->models[i] != NULL ? ask->models[i] : s.model;
    s.head_ip = ask->nodes[0].ip;
    s.master_port = s.master_port > 0 ? s.master_port : MASTER_PORT;
    return tw_vllm_own_words(ask->place, tw_vllm_serve_words(&s));
}

static int add_part(const tw_vllm_ask *ask, const tw_vllm_link *l, size_t i, json_t *nodes)
{
    json_t *part =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:o}", "node", ask->nodes[i].name,
                  "transport", tw_vllm_transport_name(l->transport), "interface", l->interface,
                  "hca", l->hca, "gid_index", l->gid_index, "env", tw_vllm_env(l), "ray",
                  ray_words(ask, i), "serve", serve_words(ask, i));
    if (part != NULL && ask->folders[i] != NULL &&
        json_object_set_new(part, "model",
                            json_pack("{s:s, s:b}", "path", ask->folders[i], "link",
                                      (int)ask->links)) != 0) {
        json_decref(part);
        return -ENOMEM;
    }
    return json_array_append_new(nodes, part);
}

static json_t *status_words(const tw_vllm_ask *ask)
{
    if (ask->serve.executor != TW_VLLM_RAY)
        return json_null();
    return tw_vllm_own_words(ask->place, tw_vllm_ray_status(ask->nodes[0].ip, ray_port(ask)));
}

static json_t *outer_words(const tw_vllm_ask *ask)
{
    return ask->place->where == TW_VLLM_IN_CONTAINER ? tw_vllm_outer_words(ask->place)
                                                     : json_null();
}

static json_t *before_words(const tw_vllm_ask *ask)
{
    return ask->place->where == TW_VLLM_IN_CONTAINER ? tw_vllm_before_words(ask->place)
                                                     : json_null();
}

/* Who may come to what Ray and torch open to all networks: the nodes. The API has its key. */
static json_t *door_of(const tw_vllm_ask *ask)
{
    json_t *peers = json_array();
    for (size_t i = 0; i < ask->n_nodes; i++)
        if (json_array_append_new(peers, json_string(ask->nodes[i].ip)) != 0) {
            json_decref(peers);
            return NULL;
        }
    return json_pack("{s:o, s:i}", "peers", peers, "open", (int)ask->serve.port);
}

int tw_vllm_plan(const tw_vllm_ask *ask, json_t **ret, tw_err *err)
{
    tw_vllm_link links[TW_VLLM_NODES_MAX];
    char why[300];
    int rc =
        tw_vllm_links_find(ask->nodes, ask->n_nodes, ask->transport, links, why, sizeof why, err);
    if (rc != 0)
        return rc;
    TW_CLEANUP(tw_json_freep) json_t *nodes = json_array();
    for (size_t i = 0; i < ask->n_nodes && rc == 0; i++)
        rc = add_part(ask, &links[i], i, nodes);
    json_t *plan =
        rc == 0 ? json_pack("{s:s, s:o, s:o, s:o, s:O}", "why", why, "before", before_words(ask),
                            "outer", outer_words(ask), "status", status_words(ask), "nodes", nodes)
                : NULL;
    if (plan != NULL && json_object_set_new(plan, "door", door_of(ask)) != 0) {
        json_decref(plan);
        plan = NULL;
    }
    if (plan == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the plan of %zu nodes", ask->n_nodes);
    *ret = plan;
    return 0;
}

/* As it would be typed: a container's command behind podman's. */
static int put_words(const json_t *outer, const json_t *words, tw_buf *out)
{
    if (json_is_null(words))
        return 0;
    TW_CLEANUP(tw_json_freep)
    json_t *all = json_is_null(outer) ? json_array() : json_copy((json_t *)(uintptr_t)outer);
    if (all == NULL ||
        (!json_is_null(outer) && json_array_append_new(all, json_string("--")) != 0) ||
        json_array_extend(all, (json_t *)(uintptr_t)words) != 0)
        return -ENOMEM;
    return tw_vllm_show_words(all, out);
}

static int put_part(const json_t *plan, json_t *part, tw_buf *out)
{
    const json_t *none = json_null(), *outer = json_object_get(plan, "outer");
    static const char *const commands[] = {"ray", "serve"};
    int rc = tw_buf_printf(out, "\n# %s\n", tw_json_text_at(part, "node"));
    if (rc == 0)
        rc = tw_vllm_show_env(json_object_get(part, "env"), out);
    if (rc == 0)
        rc = put_words(none, json_object_get(plan, "before"), out);
    for (size_t k = 0; k < TW_ARRAY_LEN(commands) && rc == 0; k++)
        rc = put_words(outer, json_object_get(part, commands[k]), out);
    return rc;
}

int tw_vllm_plan_text(const json_t *plan, tw_buf *out, tw_err *err)
{
    json_t *part;
    size_t i;
    int rc = tw_buf_printf(out, "# transport %s\n", tw_json_text_at(plan, "why"));
    json_array_foreach(json_object_get(plan, "nodes"), i, part) rc =
        rc != 0 ? rc : put_part(plan, part, out);
    return rc == 0 ? 0 : tw_err_set(err, rc, "the plan is too long to be shown");
}

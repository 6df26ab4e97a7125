/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/ray_shape.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"

enum { TEXT_BYTES = 512 };

static json_t *node_of(const json_t *part)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "node", tw_json_text_at(part, "node"), "ip",
                     tw_json_text_at(json_object_get(part, "env"), "VLLM_HOST_IP"), "transport",
                     tw_json_text_at(part, "transport"), "interface",
                     tw_json_text_at(part, "interface"), "hca", tw_json_text_at(part, "hca"));
}

json_t *tw_vllm_ray_shape(const json_t *plan, const tw_vllm_place *place)
{
    const json_t *parts = json_object_get(plan, "nodes");
    json_t *nodes = json_array(), *v = NULL;
    int rc = nodes == NULL ? -ENOMEM : 0;
    for (size_t i = 0; i < json_array_size(parts) && rc == 0; i++)
        rc = json_array_append_new(nodes, node_of(json_array_get(parts, i)));
    if (rc == 0)
        v = json_pack("{s:O}", "nodes", nodes);
    json_decref(nodes);
    if (v != NULL && place->where != TW_VLLM_ON_PATH &&
        json_object_set_new(v, place->where == TW_VLLM_IN_VENV ? "venv" : "container",
                            json_string(place->name)) != 0) {
        json_decref(v);
        return NULL;
    }
    return v;
}

static void print_place(const json_t *v, char out[TEXT_BYTES])
{
    const char *venv = tw_json_text_at(v, "venv"), *box = tw_json_text_at(v, "container");
    if (venv[0] != '\0')
        snprintf(out, TEXT_BYTES, "--venv %.200s", venv);
    else if (box[0] != '\0')
        snprintf(out, TEXT_BYTES, "--container %.200s", box);
    else
        snprintf(out, TEXT_BYTES, "vllm on PATH");
}

static void print_nodes(const json_t *v, char out[TEXT_BYTES])
{
    const json_t *nodes = json_object_get(v, "nodes");
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < json_array_size(nodes) && at + 1 < TEXT_BYTES; i++) {
        const json_t *n = json_array_get(nodes, i);
        const int len = snprintf(out + at, TEXT_BYTES - at, "%s%.40s (%.40s)", i > 0 ? ", " : "",
                                 tw_json_text_at(n, "node"), tw_json_text_at(n, "ip"));
        at += len > 0 ? (size_t)len : 0;
    }
}

static void print_wire(const json_t *n, char out[TEXT_BYTES])
{
    const char *hca = tw_json_text_at(n, "hca");
    snprintf(out, TEXT_BYTES, "%.20s (%.20s%s%.80s)", tw_json_text_at(n, "transport"),
             tw_json_text_at(n, "interface"), hca[0] != '\0' ? " " : "", hca);
}

static int differ(const char *what, const char *found, const char *wanted, tw_err *err)
{
    return tw_err_set(err, -EEXIST,
                      "Ray is up with another %s: %.70s; asked for: %.70s. Ask for the same, or "
                      "`twinax down` first",
                      what, found, wanted);
}

int tw_vllm_ray_same(const json_t *runs, const json_t *wanted, tw_err *err)
{
    const json_t *has = json_object_get(runs, "nodes"), *wants = json_object_get(wanted, "nodes");
    char found[TEXT_BYTES], asked[TEXT_BYTES], what[80];
    print_place(runs, found);
    print_place(wanted, asked);
    if (strcmp(found, asked) != 0)
        return differ("vLLM", found, asked, err);
    print_nodes(runs, found);
    print_nodes(wanted, asked);
    if (strcmp(found, asked) != 0 || json_array_size(has) != json_array_size(wants))
        return differ("set of nodes", found, asked, err);
    for (size_t i = 0; i < json_array_size(wants); i++) {
        const json_t *n = json_array_get(wants, i);
        print_wire(json_array_get(has, i), found);
        print_wire(n, asked);
        snprintf(what, sizeof what, "wire on %.60s", tw_json_text_at(n, "node"));
        if (strcmp(found, asked) != 0)
            return differ(what, found, asked, err);
    }
    return 0;
}

const char *tw_vllm_ray_wire(const json_t *shape)
{
    return tw_json_text_at(json_array_get(json_object_get(shape, "nodes"), 0), "transport");
}

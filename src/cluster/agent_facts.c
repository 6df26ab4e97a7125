/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/facts.h"

static int no_memory(tw_err *err)
{
    return tw_err_set(err, -ENOMEM, "no memory for the facts");
}

/* The list's texts that are there; borrowed from it. */
static size_t take_names(const json_t *list, const char **names, size_t max)
{
    size_t n = 0, i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        if (n < max && json_is_string(v))
            names[n++] = json_string_value(v);
    }
    return n;
}

int tw_agent_host_facts(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    (void)a;
    tw_json_obj o = {.file = "host-facts", .prefix = "", .v = request, .err = err};
    tw_facts_opts opts = {.interface = tw_json_text(&o, "interface", NULL),
                          .model_path = tw_json_text(&o, "model", NULL),
                          .cache_dir = tw_json_text(&o, "cache", NULL),
                          .containers = tw_json_bool(&o, "containers", false),
                          .ask_sudo = tw_json_bool(&o, "sudo", false)};
    opts.n_peers = take_names(tw_json_get(&o, "peers"), opts.peers, TW_FACTS_PEERS_MAX);
    if (o.rc != 0)
        return o.rc;
    TW_CLEANUP(tw_mem_freep) tw_facts *f = tw_mem_alloc(sizeof *f);
    int rc = f == NULL ? no_memory(err) : tw_facts_read(&opts, f, err);
    if (rc != 0)
        return rc;
    *ret = json_pack("{s:o}", "facts", tw_facts_print(f));
    return *ret != NULL ? 0 : no_memory(err);
}

int tw_agent_counters(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    (void)a;
    const char *names[TW_FACTS_NICS_MAX];
    size_t n = take_names(json_object_get(request, "interfaces"), names, TW_FACTS_NICS_MAX);
    TW_CLEANUP(tw_json_freep) json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        tw_facts_counters c;
        tw_facts_counters_read(NULL, names[i], &c);
        if (json_array_append_new(list, tw_facts_counters_print(&c)) != 0)
            return no_memory(err);
    }
    *ret = json_pack("{s:O}", "counters", list);
    return *ret != NULL ? 0 : no_memory(err);
}

int tw_agent_heat(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    (void)a;
    (void)request;
    tw_facts_heat h;
    tw_facts_heat_read(NULL, &h);
    *ret = json_pack("{s:o}", "heat", tw_facts_heat_print(&h));
    return *ret != NULL ? 0 : no_memory(err);
}

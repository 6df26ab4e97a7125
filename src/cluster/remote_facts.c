/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/facts.h"

#define FACTS_LIMIT_NS (15 * TW_NS_PER_S)
#define QUICK_LIMIT_NS (5 * TW_NS_PER_S)

static void put_text(json_t *o, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_object_set_new(o, key, json_string(text));
}

static json_t *name_list(const char *const *names, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

/* Another's word that is wrong: say whose. */
static int name_node(const tw_remote *n, int rc, const tw_err *why, tw_err *err)
{
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: %s", tw_remote_name(n), why->msg);
}

int tw_remote_host_facts(tw_remote *n, const tw_facts_opts *o, tw_facts *ret, tw_err *err)
{
    tw_err why = {0};
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    json_t *args = json_pack("{s:b, s:b, s:o}", "containers", o->containers, "sudo", o->ask_sudo,
                             "peers", name_list(o->peers, TW_MIN(o->n_peers, TW_FACTS_PEERS_MAX)));
    if (args == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to ask for facts");
    put_text(args, "interface", o->interface);
    put_text(args, "model", o->model_path);
    put_text(args, "cache", o->cache_dir);
    int rc = tw_remote_call(n, "host-facts", args, FACTS_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    return name_node(n, tw_facts_parse(json_object_get(got, "facts"), ret, &why), &why, err);
}

int tw_remote_counters(tw_remote *n, const char *const *names, size_t n_names,
                       tw_facts_counters *ret, tw_err *err)
{
    tw_err why = {0};
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    json_t *args = json_pack("{s:o}", "interfaces", name_list(names, n_names));
    if (args == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to ask for counters");
    int rc = tw_remote_call(n, "counters", args, QUICK_LIMIT_NS, &got, err);
    const json_t *list = json_object_get(got, "counters");
    for (size_t i = 0; rc == 0 && i < n_names; i++)
        rc = name_node(n, tw_facts_counters_parse(json_array_get(list, i), &ret[i], &why), &why,
                       err);
    return rc;
}

int tw_remote_heat(tw_remote *n, tw_facts_heat *ret, tw_err *err)
{
    tw_err why = {0};
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    int rc = tw_remote_call(n, "heat", NULL, QUICK_LIMIT_NS, &got, err);
    if (rc != 0)
        return rc;
    return name_node(n, tw_facts_heat_parse(json_object_get(got, "heat"), ret, &why), &why, err);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What there is: on the hub, in this cache, of a model with a given id. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/agent_pull_inside.h"
#include "hub/list_here.h"
#include "hub/pull.h"
#include "hub/scan.h"
#include "os/secret.h"

static tw_agent_has_model has_model; /* set once, before the agent runs */

void tw_agent_on_has_model(tw_agent_has_model fn)
{
    has_model = fn;
}

int tw_pull_tell_has(const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "pull", .prefix = "", .v = request, .err = err};
    const char *path = tw_json_text(&o, "path", ""), *id = tw_json_text(&o, "model_id", "");
    if (o.rc != 0)
        return o.rc;
    if (has_model == NULL)
        return tw_err_set(err, -ENOSYS, "pull: this program knows no models");
    tw_err why = {0};
    char at[TW_HUB_PATH_BYTES] = "";
    const int rc = has_model(path, id, at, sizeof at, &why);
    if (rc >= 0)
        *ret = json_pack("{s:b, s:s, s:s}", "has", rc, "why", rc > 0 ? "" : why.msg, "path", at);
    else
        *err = why;
    return rc < 0 ? rc : 0;
}

/* ---- the list ---- */

json_t *tw_pull_files_print(const tw_hub_list *l, size_t from, size_t to)
{
    json_t *v = json_array();
    for (size_t i = from; i < to && v != NULL; i++)
        (void)!json_array_append_new(v, json_pack("{s:s, s:s, s:I}", "rfilename", l->v[i].path,
                                                  "blobId", l->v[i].etag, "size",
                                                  (json_int_t)l->v[i].size));
    if (json_array_size(v) == to - from)
        return v;
    json_decref(v);
    return NULL;
}

int tw_pull_files_parse(const char *name, const char *commit, json_t *files, tw_hub_list *ret,
                        tw_err *err)
{
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:s, s:O}", "sha", commit, "siblings", files);
    TW_CLEANUP(tw_mem_freep) char *text = v != NULL ? json_dumps(v, JSON_COMPACT) : NULL;
    if (text == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the list of files");
    return tw_hub_list_parse(name, text, strlen(text), ret, err);
}

int tw_pull_take_hub(tw_hub_place *p, tw_json_obj *o, tw_err *err)
{
    const char *endpoint = tw_json_text(o, "endpoint", ""),
               *token = tw_json_text(o, "hf_token", "");
    if (o->rc != 0)
        return o->rc;
    if (strlen(endpoint) >= sizeof p->endpoint || strlen(token) >= sizeof p->token)
        return tw_err_set(err, -EINVAL, "pull: too long a name of a hub, or token");
    const char *own = getenv("HF_ENDPOINT");
    if ((own == NULL || own[0] == '\0') && strncmp(endpoint, "http", 4) == 0)
        snprintf(p->endpoint, sizeof p->endpoint, "%s", endpoint);
    if (p->token[0] == '\0' && strcmp(endpoint, p->endpoint) == 0 && token[0] != '\0') {
        tw_secret_guard();
        snprintf(p->token, sizeof p->token, "%s", token);
        snprintf(p->token_from, sizeof p->token_from, "the head's token");
    }
    return 0;
}

static void read_patterns(const json_t *v, const char **out, unsigned *n)
{
    for (size_t i = 0; i < json_array_size(v) && *n < TW_HUB_PATTERNS_MAX; i++)
        if (json_is_string(json_array_get(v, i)))
            out[(*n)++] = json_string_value(json_array_get(v, i));
}

int tw_pull_tell_list(const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "pull", .prefix = "", .v = request, .err = err};
    TW_CLEANUP(tw_hub_place_done) tw_hub_place p = {.offline = false};
    TW_CLEANUP(tw_hub_list_done) tw_hub_list l = {.n = 0};
    tw_hub_choice c = {.n_include = 0};
    tw_hub_name name;
    const char *model = tw_json_text(&o, "model", "");
    const bool by_net = tw_json_bool(&o, "net", true);
    read_patterns(json_object_get(request, "include"), c.include, &c.n_include);
    read_patterns(json_object_get(request, "exclude"), c.exclude, &c.n_exclude);
    const tw_hub_pull_opts po = {.choice = &c};
    int rc = o.rc != 0 ? o.rc : tw_hub_name_parse(model, &name, err);
    if (rc == 0)
        rc = tw_hub_place_get(&p, err);
    if (rc == 0)
        rc = tw_pull_take_hub(&p, &o, err);
    if (rc == 0)
        rc = by_net ? tw_hub_pull_list(&p, &name, &po, &l, err)
                    : tw_hub_list_cached(&p, &name, &c, &l, err);
    if (rc == 0)
        *ret =
            json_pack("{s:s, s:o}", "sha", l.commit, "siblings", tw_pull_files_print(&l, 0, l.n));
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/part.h"

#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "vllm/env.h"

enum { REPORT_MS = 500 }; /* the first answer's proof waits for two of them */

static int put(json_t *env, const char *name, const char *value)
{
    return value == NULL ? 0 : json_object_set_new(env, name, json_string(value));
}

static json_t *env_of(const json_t *node, size_t i, const json_t *more, const tw_vllm_secrets *s)
{
    json_t *env = json_copy(json_object_get(node, "env"));
    int rc = env == NULL ? -1 : 0;
    if (rc == 0 && more != NULL)
        rc = json_object_update(env, (json_t *)(uintptr_t)more);
    /* Ray's files lie in the folder of the holder that started it, and go with it. */
    if (rc == 0)
        rc = put(env, "RAY_AUTH_TOKEN_PATH", "@DIR@/token") | put(env, "RAY_TMPDIR", "@DIR@") |
             put(env, "VLLM_CONFIG_ROOT", "@DIR@") | put(env, "VLLM_API_KEY", s->api_key) |
             put(env, "HF_TOKEN", s->hf_token);
    if (rc == 0 && i == 0)
        rc = put(env, "HF_HOME", s->hf_home) | put(env, "HF_HUB_CACHE", s->hf_cache);
    if (rc == 0)
        return env;
    json_decref(env);
    return NULL;
}

static json_t *files_of(const tw_vllm_secrets *s)
{
    TW_CLEANUP(tw_json_freep) json_t *names = tw_vllm_env_own_names();
    char list[512];
    const size_t n = names != NULL ? json_dumpb(names, list, sizeof list - 1, JSON_COMPACT) : 0;
    if (n == 0 || n >= sizeof list)
        return NULL;
    list[n] = '\0';
    return json_pack("{s:s, s:s}", "token", s->token, "ray_non_carry_over_env_vars.json", list);
}

json_t *tw_vllm_part(const json_t *plan, size_t i, const char *what, const json_t *more,
                     const tw_vllm_secrets *s)
{
    const json_t *node = json_array_get(json_object_get(plan, "nodes"), i);
    const bool asks = strcmp(what, "status") == 0;
    json_t *words = json_object_get(asks ? plan : node, what),
           *outer = json_object_get(plan, "outer");
    char dir[64];
    snprintf(dir, sizeof dir, "/tmp/twinax-%.32s-%.8s", s->run, what);
    json_t *part = json_pack("{s:O, s:o, s:s, s:o}", "argv", words, "env", env_of(node, i, more, s),
                             "dir", dir, "files", files_of(s));
    json_t *door = json_object_get(plan, "door");
    if (part != NULL && door != NULL && json_object_set(part, "door", door) != 0) {
        json_decref(part);
        return NULL;
    }
    json_t *model = json_object_get(node, "model");
    if (part != NULL && model != NULL && !asks && json_object_set(part, "model", model) != 0) {
        json_decref(part);
        return NULL;
    }
    if (part != NULL && s->erase && !asks && json_object_set_new(part, "erase", json_true()) != 0) {
        json_decref(part);
        return NULL;
    }
    if (part != NULL && !json_is_null(outer))
        part = json_pack("{s:O, s:O, s:o}", "before", json_object_get(plan, "before"), "argv",
                         outer, "stdin", part);
    /* Of the outermost holder: a container need not see the card. */
    if (part != NULL && !asks &&
        (json_object_set_new(part, "count",
                             json_pack("{s:s, s:s}", "interface",
                                       tw_json_text_at(node, "interface"), "hca",
                                       tw_json_text_at(node, "hca"))) != 0 ||
         json_object_set_new(part, "rank", json_integer((json_int_t)i)) != 0 ||
         json_object_set_new(part, "report_ms", json_integer(REPORT_MS)) != 0)) {
        json_decref(part);
        return NULL;
    }
    return part;
}

json_t *tw_vllm_short_part(const tw_vllm_place *place, json_t *part)
{
    if (part == NULL || place->where != TW_VLLM_IN_CONTAINER)
        return part;
    return json_pack("{s:o, s:o, s:o}", "before", tw_vllm_before_words(place), "argv",
                     tw_vllm_outer_words(place), "stdin", part);
}

json_t *tw_vllm_erase_part(const tw_vllm_place *place)
{
    return tw_vllm_short_part(place, json_pack("{s:[s], s:b}", "argv", "true", "erase", 1));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/serve_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/find_config.h"
#include "vllm/command.h"

static bool is_set(const char *text)
{
    return text[0] != '\0';
}

static int pick(const char *key, const char *value, const char *const names[], unsigned *ret,
                tw_err *err)
{
    for (unsigned i = 0; names[i] != NULL; i++)
        if (strcmp(value, names[i]) == 0) {
            *ret = i;
            return 0;
        }
    return tw_err_set(err, -EINVAL, "twinax.conf: [serve] %s = %s: not known here", key, value);
}

static int take_names(const tw_serve_spec *s, tw_args *a, tw_err *err)
{
    static const char *const kvs[] = {"auto", "bf16", "f32", NULL};
    static const char *const quants[] = {"none", "q8", "q4", NULL};
    static const char *const ariths[] = {"exact", "wire16", NULL};
    static const char *const engines[] = {"auto", "native", "vllm", NULL};
    unsigned v = 0;
    int rc = 0;
    if (is_set(s->kv) && (rc = pick("kv", s->kv, kvs, &v, err)) == 0)
        a->engine.kv = (enum tw_kv_type)v;
    if (rc == 0 && is_set(s->quant) && (rc = pick("quant", s->quant, quants, &v, err)) == 0)
        a->engine.quant = (enum tw_quant)v;
    if (rc == 0 && is_set(s->arith) && (rc = pick("arith", s->arith, ariths, &v, err)) == 0)
        a->engine.arith = (enum tw_arith)v;
    if (rc == 0 && is_set(s->engine) && (rc = pick("engine", s->engine, engines, &v, err)) == 0)
        a->engine_kind = (enum tw_engine_kind)v;
    return rc;
}

static int take_key(const tw_serve_spec *s, tw_args *a, tw_err *err)
{
    char key[512];
    if (!is_set(s->api_key_file))
        return 0;
    int rc = tw_config_key_read(s->api_key_file, key, sizeof key, err);
    if (rc == 0)
        rc = tw_args_keep_key(a, "api_key_file", key, err);
    explicit_bzero(key, sizeof key);
    return rc;
}

/* Of what lives as long as the program. */
static int take_config(const tw_config *c, tw_args *a, tw_err *err)
{
    const tw_serve_spec *s = &c->serve;
    if (is_set(s->model))
        a->model = s->model;
    if (is_set(s->host))
        a->host = s->host;
    if (is_set(s->cors))
        a->cors = s->cors;
    if (s->port != 0)
        a->port = (uint16_t)s->port;
    if (s->tp != 0) {
        a->tp = s->tp;
        a->has_tp = true;
    }
    if (is_set(c->rdma_device))
        a->rdma_device = c->rdma_device;
    a->engine.ctx = s->ctx;
    a->engine.max_seqs = s->max_seqs;
    a->engine.chunk = s->chunk;
    a->engine.n_threads = s->threads;
    a->no_auth = s->no_auth;
    a->vllm.restart = s->restart;
    a->no_packs = s->no_pack_cache;
    a->packs_gib = s->pack_cache_gib;
    int rc = is_set(c->transport) ? tw_transport_parse(c->transport, &a->transport, err) : 0;
    if (rc == 0)
        rc = take_names(s, a, err);
    return rc;
}

static int parse_over(const tw_command *c, int argc, char **argv, tw_args *a, tw_err *err)
{
    int first = 0;
    int rc = tw_options_parse(c->tables, argc, argv, a, &first, err);
    if (rc == 0 && first + 1 < argc)
        rc = tw_err_set(err, -EINVAL, "%s: only one MODEL is wanted", argv[first + 1]);
    if (rc == 0 && first < argc)
        a->model = argv[first];
    return rc;
}

/* Said by nobody: who may say it, and where. */
static int miss_model(bool has_file, const char *path, tw_err *err)
{
    static const char wanted[] =
        "no MODEL given: a folder in Hugging Face layout or org/name is wanted";
    if (!has_file)
        return tw_err_set(err, -EINVAL,
                          "%s (with --local, --nodes or --tp 1 twinax.conf is not read)", wanted);
    if (!is_set(path))
        return tw_err_set(err, -EINVAL, "%s, or [serve] model in twinax.conf (there is none yet)",
                          wanted);
    return tw_err_set(err, -EINVAL, "%s, or [serve] model in %.100s", wanted, path);
}

/* `up --engine vllm` that has no model anywhere means Ray alone, as --ray-only says. */
static int settle_ray(const tw_command *c, bool has_word, tw_args *a, tw_err *err)
{
    const bool vllm = a->engine_kind == TW_ENGINE_VLLM, mp = a->vllm.executor == TW_VLLM_MP;
    if (c == &tw_command_up && a->model == NULL && vllm && !mp)
        a->vllm.ray_only = true;
    if (!a->vllm.ray_only)
        return 0;
    if (has_word)
        return tw_err_set(err, -EINVAL,
                          "--ray-only: without MODEL; `twinax up %.100s --engine vllm` then uses "
                          "that Ray",
                          a->model);
    if (!vllm || mp)
        return tw_err_set(err, -EINVAL, "--ray-only wants --engine vllm%s",
                          mp ? " and --executor ray: mp has no Ray" : "");
    a->model = NULL;
    return 0;
}

int tw_serve_args_parse(const tw_command *c, int argc, char **argv, tw_args *a, tw_err *err)
{
    static tw_config_found found; /* the args point into it */
    const tw_args defaults = *a;
    int rc = parse_over(c, argc, argv, a, err);
    const bool has_key = a->api_key != NULL, has_word = a->model != NULL;
    char key[TW_ARGS_KEY_BYTES];
    snprintf(key, sizeof key, "%s", has_key ? a->api_key : "");
    const bool has_file = !a->local && a->nodes_list == NULL && !(a->has_tp && a->tp == 1);
    if (rc == 0 && has_file)
        rc = tw_find_config(&found, err);
    if (rc == 0 && has_file && is_set(found.path)) {
        *a = defaults;
        rc = take_config(&found.config, a, err);
        if (rc == 0) /* again, over it; the words are where the first time has put them */
            rc = parse_over(c, argc, argv, a, err);
        a->api_key = NULL; /* what stands in argv now are asterisks */
        if (rc == 0)
            rc = has_key ? tw_args_keep_key(a, "--api-key", key, err)
                         : take_key(&found.config.serve, a, err);
    }
    explicit_bzero(key, sizeof key);
    if (rc == 0)
        rc = settle_ray(c, has_word, a, err);
    if (rc == 0 && a->model == NULL && !a->vllm.ray_only)
        rc = miss_model(has_file, found.path, err);
    return rc == 0 ? tw_args_check_ranks(a, err) : rc;
}

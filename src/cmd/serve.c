/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax serve`: the OpenAI server in the foreground, until ctrl-C or until a rank is lost. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cmd/commands.h"
#include "cmd/node.h"
#include "cmd/serve_config.h"
#include "cmd/serve_status.h"
#include "cmd/vllm.h"
#include "os/secret.h"
#include "os/signal.h"
#include "serve/serve.h"

static void print_end(const tw_node *n)
{
    tw_engine_info info;
    tw_engine_get_info(n->engine, &info);
    tw_log(TW_LOG_INFO, "serve", "%llu prompt tokens, %llu generated in %llu steps",
           (unsigned long long)info.n_prompt_tokens, (unsigned long long)info.n_generated_tokens,
           (unsigned long long)info.n_steps);
    tw_node_print_proof(n, info.n_generated_tokens);
}

static tw_serve_opts opts_of(const tw_args *a)
{
    return (tw_serve_opts){.host = a->host,
                           .port = a->port,
                           .api_key = a->api_key,
                           .cors = a->cors,
                           .no_auth = a->no_auth};
}

static int serve(tw_node *n, tw_serve_status *status, tw_err *err)
{
    char url[160];
    const tw_args *a = &n->args;
    tw_serve_opts o = opts_of(a);
    o.engine = n->engine;
    o.model = n->model;
    tw_serve *s;
    tw_engine_info info;
    int rc = tw_serve_open(&o, &s, err);
    if (rc != 0) {
        tw_serve_status_stop(status);
        return rc;
    }
    tw_engine_get_info(n->engine, &info);
    tw_log(TW_LOG_INFO, "serve",
           "%s: %u ranks x %u threads, context %u, %u sequences at once, "
           "kernels %s, ready after %.2f s",
           tw_model_name(n->model), info.n_ranks, info.n_threads, info.ctx, info.max_seqs, info.cpu,
           (double)n->open_ns / 1e9);
    snprintf(url, sizeof url, "http://%s:%u", tw_serve_host(s), (unsigned)tw_serve_port(s));
    tw_serve_status_ready(status, n, url);
    printf("listening on %s\n", url);
    fflush(stdout);
    rc = tw_serve_run(s, tw_signal_fd(), true, err);
    tw_serve_status_stop(status);
    tw_serve_close(s);
    if (rc == 0)
        print_end(n);
    return rc;
}

static int cmd_serve(int argc, char **argv)
{
    tw_args a;
    tw_node n;
    tw_err err = {0};
    tw_args_init(&a);
    if (tw_serve_args_parse(&tw_command_serve, argc, argv, &a, &err) != 0 ||
        (a.cors != NULL && tw_serve_cors_check(a.cors, &err) != 0) ||
        tw_far_find_nodes(&a, &err) != 0)
        return tw_command_misused(&tw_command_serve, &err);
    if (getenv("TWINAX_API_KEY") != NULL) {
        if (a.api_key == NULL &&
            tw_args_keep_key(&a, "TWINAX_API_KEY", getenv("TWINAX_API_KEY"), &err) != 0)
            return tw_command_misused(&tw_command_serve, &err);
        tw_secret_env_wipe("TWINAX_API_KEY"); /* the other ranks have no use for it */
    }
    bool vllm = false;
    const tw_serve_opts o = opts_of(&a);
    int rc = a.vllm.ray_only ? 0 : tw_serve_check(&o, &err); /* before a large model is loaded */
    if (rc == 0)
        rc = tw_vllm_is_wanted(&a, &vllm, &err);
    tw_serve_status *status = NULL;
    if (rc == 0 && !a.vllm.print)
        rc = tw_serve_status_start(&a, &status, &err);
    if (rc == 0 && vllm)
        return tw_command_end(&tw_command_serve, tw_cmd_serve_vllm(&a, status, &err), &err);
    if (rc == 0)
        rc = tw_node_open(&a, &n, &err);
    if (rc == 0) {
        rc = serve(&n, status, &err);
        tw_node_close(&n);
    } else {
        tw_serve_status_stop(status);
    }
    tw_far_name_ranks(&a, &err);
    return tw_command_end(&tw_command_serve, rc, &err);
}

const tw_option_table tw_serve_tables[] = {
    {"server", tw_options_serve},
    {"ranks", tw_options_ranks},
    {"other machines (docs/nodes.md)", tw_options_nodes},
    {"model", tw_options_model},
    {"--engine vllm (docs/vllm.md)", tw_options_vllm},
    {NULL, NULL},
};

static const tw_note serve_env[] = {
    {"TWINAX_API_KEY", "as --api-key, but no other user sees it"},
    {NULL, NULL},
};

static const tw_note serve_examples[] = {
    {"twinax serve MODEL --port 8000",
     "on this machine, for this machine: http://127.0.0.1:8000/v1"},
    {"TWINAX_API_KEY=... twinax serve MODEL --local --tp 2 --host 10.0.0.5",
     "for others too, two ranks here"},
    {"twinax serve MODEL --cors http://localhost:3000", "for a web page too, from its browser"},
    {NULL, NULL},
};

static const tw_note serve_exits[] = {
    {"0", "it served until ctrl-C"},
    {"1", "it failed; the last line says why"},
    {"2", "the command line is wrong"},
    {"130", "interrupted before it served"},
    {NULL, NULL},
};

const tw_command tw_command_serve = {
    .name = "serve",
    .args = "MODEL",
    .summary = "OpenAI server in the foreground",
    .about = "Until ctrl-C, or until a rank is lost. stdout has one line: where it listens.",
    .tables = tw_serve_tables,
    .run = cmd_serve,
    .group = TW_GROUP_MODEL,
    .examples = serve_examples,
    .env = serve_env,
    .exits = serve_exits,
};

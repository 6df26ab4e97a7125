/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax run`: generate once, or chat line by line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cmd/chat.h"
#include "cmd/commands.h"
#include "cmd/generation.h"
#include "cmd/node.h"
#include "cmd/vllm_auto.h"
#include "cmd/out.h"
#include "cmd/profile_show.h"
#include "os/file.h"

static int parse_ids(const char *text, uint32_t **ret, size_t *ret_n, tw_err *err)
{
    size_t cap = strlen(text) / 2 + 1, n = 0;
    uint32_t *ids = tw_mem_alloc(cap * sizeof(*ids));
    if (ids == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %zu ids", cap);
    const char *at = text;
    while (*at != '\0') {
        char *end;
        errno = 0;
        unsigned long long v = strtoull(at, &end, 10);
        if (end == at || errno != 0 || v > UINT32_MAX || *at == '-') {
            tw_mem_free(ids);
            return tw_err_set(err, -EINVAL, "--prompt-ids: \"%.20s\" is no id; wanted 1,2,3", at);
        }
        ids[n++] = (uint32_t)v;
        at = end + strspn(end, ", \n");
    }
    *ret = ids;
    *ret_n = n;
    return 0;
}

static int write_logits(const tw_args *a, const float *logits, uint32_t vocab, tw_err *err)
{
    return a->logits_path != NULL
               ? tw_file_write(a->logits_path, logits, (size_t)vocab * sizeof(float), err)
               : 0;
}

static int run_once(tw_node *n, tw_err *err)
{
    const tw_args *a = &n->args;
    uint32_t *ids TW_CLEANUP(tw_mem_freep) = NULL;
    float *logits TW_CLEANUP(tw_mem_freep) = NULL;
    tw_engine_info info;
    size_t n_ids = 0;
    int rc = a->prompt_ids != NULL ? parse_ids(a->prompt_ids, &ids, &n_ids, err)
                                   : tw_model_tokenize(n->model, a->prompt, strlen(a->prompt), true,
                                                       &ids, &n_ids, err);
    if (rc != 0)
        return rc;
    tw_engine_get_info(n->engine, &info);
    logits = a->logits_path != NULL ? tw_mem_calloc(info.vocab, sizeof(float)) : NULL;
    if (a->logits_path != NULL && logits == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for %u logits", info.vocab);
    tw_generation g = {.print_ids = a->ids, .echo = !a->ids};
    tw_request r = {.prompt = ids,
                    .n_prompt = n_ids,
                    .max_tokens = a->max_tokens,
                    .ignore_eos = a->ignore_eos,
                    .stops = &a->stop,
                    .n_stops = a->stop != NULL,
                    .ret_logits = logits};
    tw_args_sampling(a, n->model, &r.sampling);
    rc = tw_generation_run(n, &r, &g, err);
    if (g.out_errno == 0 && (g.n_ids > 0 || g.echo))
        printf("\n");
    if (rc == 0)
        rc = tw_out_flush(err); /* the line ends before the lines on stderr begin */
    if (rc == 0)
        rc = write_logits(a, logits, info.vocab, err);
    if (rc == 0)
        tw_generation_print_speed(n, &g);
    return rc == 0 ? tw_profile_show(n, false, stderr, err) : rc;
}

static int cmd_run(int argc, char **argv)
{
    tw_args a;
    tw_node n;
    tw_err err = {0};
    if (tw_args_parse(&tw_command_run, argc, argv, &a, &err) != 0 ||
        tw_far_find_nodes(&a, &err) != 0)
        return tw_command_misused(&tw_command_run, &err);
    const bool once = a.prompt != NULL || a.prompt_ids != NULL;
    if (once && a.system != NULL) {
        (void)!tw_err_set(&err, -EINVAL,
                          "--system goes with a chat: -p gives the model just its text");
        return tw_command_misused(&tw_command_run, &err);
    }
    tw_vllm_say_unused(&a, "run");
    int rc = tw_node_open(&a, &n, &err);
    if (rc == 0) {
        rc = once ? run_once(&n, &err) : tw_chat(&n, &err);
        tw_node_close(&n);
    }
    tw_far_name_ranks(&a, &err);
    return tw_command_end(&tw_command_run, rc, &err);
}

#define AT(field) .offset = offsetof(tw_args, field)

static const tw_option run_options[] = {
    {"prompt", 'p', "TEXT", "one answer to TEXT, then the end", TW_OPT_ANY, AT(prompt)},
    {"prompt-ids", .arg = "1,2,...", .help = "the same, from token ids", .type = TW_OPT_ANY,
     AT(prompt_ids)},
    {"n-tokens", 'n', "N", "at most N tokens (-p: 128; chat: what the context holds)", TW_OPT_U32,
     AT(max_tokens), .has_offset = offsetof(tw_args, has_max_tokens), .min = 1, .max = 1u << 20},
    {"system", .arg = "TEXT", .help = "chat: what the model is told before the first question",
     .type = TW_OPT_TEXT, AT(system)},
    {"stop", .arg = "TEXT", .help = "end where the answer has TEXT", .type = TW_OPT_TEXT, AT(stop)},
    {"ignore-eos", .help = "go on after the model's own end", .type = TW_OPT_FLAG, AT(ignore_eos)},
    {"ids", .help = "generated ids on one line instead of text", .type = TW_OPT_FLAG, AT(ids)},
    {"logits", .arg = "FILE", .help = "raw f32 [V] of the last prompt position",
     .type = TW_OPT_TEXT, AT(logits_path)},
    {"verbose", 'v', NULL, "chat: speed and transport after each answer", TW_OPT_COUNT,
     AT(verbose)},
    {.name = NULL},
};

static const tw_option_table run_tables[] = {
    {NULL, run_options},
    {"sampling (default: what the model's folder wishes)", tw_options_sampling},
    {"where time goes (with -p)", tw_options_profile},
    {"ranks", tw_options_ranks},
    {"other machines (docs/nodes.md)", tw_options_nodes},
    {"model", tw_options_model},
    {NULL, NULL},
};

static const tw_note run_examples[] = {
    {"twinax run models/demo -p \"What is twinax?\"", "one answer, all cores"},
    {"twinax run MODEL --nodes box1=192.168.100.1,box2=192.168.100.2",
     "chat with a model that two machines share"},
    {NULL, NULL},
};

const tw_command tw_command_run = {
    .name = "run",
    .args = "MODEL [-p TEXT]",
    .summary = "generate once, or chat when no -p",
    .about =
        "MODEL is a folder in Hugging Face layout. Text goes to stdout; speed, and what carried "
        "the bytes between ranks, to stderr.\n\n"
        "Without -p it is a chat, a question a line. What no longer fits the context is forgotten, "
        "the oldest question first; a line on stderr says so.",
    .tables = run_tables,
    .run = cmd_run,
    .group = TW_GROUP_MODEL,
    .examples = run_examples,
};

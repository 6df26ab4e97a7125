/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax pull`: a model from the hub. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/out.h"
#include "cmd/give_model.h"
#include "cmd/model_file.h"
#include "cmd/pull_model.h"
#include "cmd/pull_nodes.h"
#include "cmd/push.h"
#include "fmt/json.h"
#include "os/file.h"
#include "os/secret.h"

typedef struct pull_opts {
    tw_hub_choice choice;
    bool json, verify, local, from_net, push, copy;
    uint32_t n_connections, range_kib;
    const char *nodes_list, *agent_path;
} pull_opts;

static int add_pattern(const char **v, unsigned *n, const char *what, char *value, tw_err *err)
{
    if (value[0] == '\0')
        return tw_err_set(err, -EINVAL, "%s: a pattern is wanted, such as '*.json'", what);
    if (*n == TW_HUB_PATTERNS_MAX)
        return tw_err_set(err, -EINVAL, "%s: more than %d", what, TW_HUB_PATTERNS_MAX);
    v[(*n)++] = value;
    return 0;
}

static int add_include(void *opts, char *value, tw_err *err)
{
    tw_hub_choice *c = &((pull_opts *)opts)->choice;
    return add_pattern(c->include, &c->n_include, "--include", value, err);
}

static int add_exclude(void *opts, char *value, tw_err *err)
{
    tw_hub_choice *c = &((pull_opts *)opts)->choice;
    return add_pattern(c->exclude, &c->n_exclude, "--exclude", value, err);
}

static void print(const char *name, const tw_hub_pulled *r, double s)
{
    char total[16], fetched[16], rate[16];
    tw_pull_size(r->total_bytes, total);
    tw_pull_size(r->fetched_bytes, fetched);
    tw_pull_size((uint64_t)(s > 0 ? (double)r->fetched_bytes / s : 0), rate);
    if (r->fetched_bytes > 0)
        fprintf(stderr, "%s: %zu files, %s; %s of it fetched and verified in %.1f s (%s/s)\n", name,
                r->n_files, total, fetched, s, rate);
    else
        fprintf(stderr, "%s: %zu files, %s: all were here\n", name, r->n_files, total);
    puts(r->path);
}

static void print_json(const char *name, const tw_hub_pulled *r, double s)
{
    TW_CLEANUP(tw_json_freep)
    json_t *v = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:f}", "event", "done", "model",
                          name, "commit", r->commit, "path", r->path, "files",
                          (json_int_t)r->n_files, "files_fetched", (json_int_t)r->n_fetched,
                          "total_bytes", (json_int_t)r->total_bytes, "fetched_bytes",
                          (json_int_t)r->fetched_bytes, "seconds", s);
    (void)!json_dumpf(v, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
}

static int pull(const pull_opts *p, const char *text, const tw_hub_name *name, tw_err *err)
{
    TW_CLEANUP(tw_hub_place_done) tw_hub_place place = {.offline = false};
    tw_pull_show show;
    tw_hub_pulled got;
    const tw_hub_watch w = {.progress = tw_pull_show_progress,
                            .should_stop = tw_pull_should_stop,
                            .arg = &show};
    const tw_hub_pull_opts o = {.choice = &p->choice,
                                .n_connections = p->n_connections,
                                .range_bytes = (uint64_t)p->range_kib << 10,
                                .verify = p->verify,
                                .watch = &w};
    const uint64_t t0 = tw_clock_now_ns();
    tw_secret_guard();
    int rc = tw_hub_place_get(&place, err);
    if (rc != 0)
        return rc;
    tw_pull_show_init(&show, text, p->json);
    rc = tw_hub_pull(&place, name, &o, &got, err);
    tw_pull_show_end(&show);
    if (rc != 0)
        return rc;
    (p->json ? print_json : print)(text, &got, (double)(tw_clock_now_ns() - t0) / 1e9);
    return tw_out_flush(err);
}

/* On all nodes, where there are several. name NULL: text is a folder. */
static int pull_all(const pull_opts *p, const char *text, const tw_hub_name *name, tw_err *err)
{
    const tw_pull_nodes_opts o = {.nodes_list = p->nodes_list,
                                  .agent_path = p->agent_path,
                                  .local = p->local,
                                  .from_net = p->from_net,
                                  .verify = p->verify,
                                  .json = p->json,
                                  .n_connections = p->n_connections,
                                  .range_bytes = (uint64_t)p->range_kib << 10,
                                  .choice = &p->choice,
                                  .push = tw_push_face_of(p->push)};
    TW_CLEANUP(tw_mem_freep) tw_nodes *nodes = tw_mem_calloc(1, sizeof *nodes);
    if (nodes == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    int rc = tw_pull_find_nodes(&o, nodes, err);
    if (rc != 0)
        return rc;
    if (name == NULL && nodes->n < 2)
        return tw_err_set(
            err, -EINVAL,
            "%.100s is a folder of this machine, and there is no other one to copy it "
            "to: --nodes LIST or twinax.conf",
            text);
    if (name == NULL)
        return tw_copy_model(text, nodes, p->copy, p->json, o.push, err);
    return nodes->n > 1 ? tw_pull_nodes(&o, nodes, text, name, err) : pull(p, text, name, err);
}

static int cmd_pull(int argc, char **argv)
{
    pull_opts p = {.json = false};
    tw_hub_name name;
    tw_err err = {0};
    int first = 0;
    int rc = tw_options_parse(tw_command_pull.tables, argc, argv, &p, &first, &err);
    if (rc == 0 && first + 1 != argc)
        rc = tw_err_set(&err, -EINVAL,
                        first == argc ? "no MODEL given: org/name or org/name@revision is wanted"
                                      : "only one MODEL is wanted");
    const char *text = rc == 0 ? argv[first] : "";
    const bool is_path = rc == 0 && tw_file_exists(text) && !tw_hub_name_is(text);
    tw_model_file_name part;
    if (rc == 0 && !is_path && p.choice.n_include == 0 && tw_model_file_parse(text, &part)) {
        text = part.repo;
        p.choice.include[p.choice.n_include++] = part.pattern;
    }
    if (rc == 0 && !is_path)
        rc = tw_hub_name_parse(text, &name, &err);
    if (rc != 0)
        return tw_command_misused(&tw_command_pull, &err);
    rc = pull_all(&p, text, is_path ? NULL : &name, &err);
    return tw_command_end(&tw_command_pull, rc, &err);
}

static const tw_option options[] = {
    {"include", .arg = "PATTERN",
     .help = "files to take instead of those that are needed: '*' matches '/' too; may be repeated",
     .type = TW_OPT_CALL, .call = add_include},
    {"exclude", .arg = "PATTERN", .help = "files to leave out; may be repeated",
     .type = TW_OPT_CALL, .call = add_exclude},
    {"from-net", .help = "every node fetches all of it, none from another", .type = TW_OPT_FLAG,
     .offset = offsetof(pull_opts, from_net)},
    {"nodes", .arg = "LIST", .help = "the machines: box1=IP,box2=IP; default: twinax.conf",
     .type = TW_OPT_TEXT, .offset = offsetof(pull_opts, nodes_list)},
    {"local", .help = "this machine alone", .type = TW_OPT_FLAG,
     .offset = offsetof(pull_opts, local)},
    TW_AGENT_OPTIONS(pull_opts),
    {"copy", .help = "MODEL is a folder: copy it to nodes that lack it, without asking",
     .type = TW_OPT_FLAG, .offset = offsetof(pull_opts, copy)},
    {"verify", .help = "hash what is here already; what is not as it was is fetched again",
     .type = TW_OPT_FLAG, .offset = offsetof(pull_opts, verify)},
    {"connections", .arg = "N", .help = "ranges that are fetched at a time; default 8",
     .type = TW_OPT_U32, .offset = offsetof(pull_opts, n_connections), .min = 1,
     .max = TW_HUB_CONNECTIONS_MAX},
    {"range-kib", .arg = "N", .help = NULL, .type = TW_OPT_U32,
     .offset = offsetof(pull_opts, range_kib), .min = 1, .max = 1u << 20},
    {"json", .help = "one JSON object a line: progress, then what came", .type = TW_OPT_FLAG,
     .offset = offsetof(pull_opts, json)},
    {.name = NULL},
};

static const tw_option_table tables[] = {{NULL, options}, {NULL, NULL}};

static const tw_note examples[] = {
    {"twinax pull Qwen/Qwen3-8B", "settings, tokenizer and weights"},
    {"twinax pull org/name/name-Q4_K_M.gguf", "one of several files, or all parts of a split one"},
    {"twinax pull org/name@v2 --include '*.json'", "of revision v2, small files alone"},
    {NULL, NULL},
};

static const tw_note env[] = {
    {"HF_TOKEN", "for gated and private models; else the file of `hf auth login`"},
    {"HF_HOME, HF_HUB_CACHE", "where models are kept; default ~/.cache/huggingface"},
    {"HF_ENDPOINT", "another hub; default https://huggingface.co"},
    {"HF_HUB_OFFLINE", "1: nothing is fetched"},
    {"CURL_CA_BUNDLE", "certificates to trust instead of the system's"},
    {NULL, NULL},
};

const tw_command tw_command_pull = {
    .name = "pull",
    .args = "ORG/NAME[@REVISION][/FILE.gguf] | FOLDER | FILE.gguf",
    .summary = "get a model from the hub, on all nodes",
    .about =
        "Takes the files that are needed into the cache that every tool of Hugging Face shares, in "
        "parallel ranges, verifies each by its hash, and prints the folder. What is here already "
        "is not fetched again; what was broken off goes on where it was.\n\n"
        "With several nodes each one fetches a part and gets the rest from the others over the "
        "cluster link; what one of them has is not fetched at all. A FOLDER of this machine is "
        "copied to "
        "the nodes that have no model with its id.",
    .tables = tables,
    .run = cmd_pull,
    .group = TW_GROUP_MODEL,
    .examples = examples,
    .env = env,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "cmd/push.h"

#define AT(field)  .offset = offsetof(tw_args, field)
#define HAS(field) .has_offset = offsetof(tw_args, field)

static const char *const transports[] = {
    [TW_TRANSPORT_AUTO] = "auto",
    [TW_TRANSPORT_TCP] = "tcp",
    [TW_TRANSPORT_SHM] = "shm",
    [TW_TRANSPORT_RDMA] = "rdma",
    NULL,
};
static const char *const kv_types[] = {
    [TW_KV_AUTO] = "auto", [TW_KV_BF16] = "bf16", [TW_KV_F32] = "f32", NULL};
static const char *const ariths[] = {
    [TW_ARITH_EXACT] = "exact", [TW_ARITH_WIRE16] = "wire16", NULL};

static const char *const quants[] = {
    [TW_QUANT_NONE] = "none", [TW_QUANT_Q8] = "q8", [TW_QUANT_Q4] = "q4", NULL};

static const char *const overlaps[] = {
    [TW_OVERLAP_AUTO] = "auto", [TW_OVERLAP_OFF] = "off", [TW_OVERLAP_ON] = "on", NULL};

static const char *const engines[] = {
    [TW_ENGINE_AUTO] = "auto", [TW_ENGINE_NATIVE] = "native", [TW_ENGINE_VLLM] = "vllm", NULL};

const char *tw_transport_name(enum tw_transport t)
{
    return transports[t];
}

int tw_transport_parse(const char *name, enum tw_transport *ret, tw_err *err)
{
    for (unsigned i = 0; transports[i] != NULL; i++)
        if (strcmp(name, transports[i]) == 0) {
            *ret = (enum tw_transport)i;
            return 0;
        }
    return tw_err_set(err, -EINVAL, "--transport %s: wanted auto, tcp, shm or rdma", name);
}

/* ---- options that are no plain value ---- */

static int set_tp(void *opts, char *value, tw_err *err)
{
    tw_args *a = opts;
    uint64_t v;
    if (tw_str_to_u64(value, &v) != 0 || v < 1 || v > TW_RANKS_MAX || (v & (v - 1)) != 0)
        return tw_err_set(err, -EINVAL, "--tp %s: wanted 1, 2, 4 or 8", value);
    a->tp = (unsigned)v;
    return 0;
}

static int set_rdma_device(void *opts, char *value, tw_err *err)
{
    if (*value == '\0' || *value == ':')
        return tw_err_set(err, -EINVAL, "--rdma-device '%s': wanted NAME or NAME:PORT", value);
    ((tw_args *)opts)->rdma_device = value;
    return 0;
}

static int add_model_path(void *opts, char *value, tw_err *err)
{
    tw_args *a = opts;
    if (a->n_model_paths == TW_NODES_MAX)
        return tw_err_set(err, -EINVAL, "--model-path: more than %d", TW_NODES_MAX);
    a->model_paths[a->n_model_paths++] =
        value; /* far_nodes.c checks it: the nodes are known there */
    return 0;
}

static int set_api_key(void *opts, char *value, tw_err *err)
{
    int rc = tw_args_keep_key(opts, "--api-key", value, err);
    memset(value, '*', strlen(value)); /* every user of this machine can read command lines */
    return rc;
}

/* ---- tables ---- */

const tw_option tw_options_ranks[] = {
    {"local", .help = "all ranks on this machine", .type = TW_OPT_FLAG, AT(local)},
    {"tp", .arg = "R", .help = "tensor parallel over R = 1, 2, 4 or 8 ranks", .type = TW_OPT_CALL,
     .call = set_tp, HAS(has_tp)},
    {"netns",
     .help = "with --local --tp 2: rank 1 in a network namespace of its own, joined by veth",
     .type = TW_OPT_FLAG, AT(netns)},
    {"transport", .arg = "T", .help = "auto, rdma, tcp or shm; what is asked for is what is used",
     .type = TW_OPT_CHOICE, .choices = transports, AT(transport)},
    {"rdma-device", .arg = "NAME", .help = "or NAME:PORT; default: the port that has our address",
     .type = TW_OPT_CALL, .call = set_rdma_device},
    {"verify", .help = "a checksum on every data message", .type = TW_OPT_FLAG, AT(verify)},
    {"arith", .arg = "A",
     .help = "exact or wire16: half the bytes between two ranks; other, still equal bits",
     .type = TW_OPT_CHOICE, .choices = ariths, AT(engine.arith)},
    {"overlap", .arg = "O",
     .help = "auto, off or on: prompts are exchanged while they are computed, where that is faster",
     .type = TW_OPT_CHOICE, .choices = overlaps, AT(engine.overlap)},
    {"fault", .arg = "KIND", .type = TW_OPT_TEXT, AT(fault)},
    {.name = NULL},
};

const tw_option tw_options_nodes[] = {
    {"nodes", .arg = "A=IP,B=IP",
     .help = "the machines by ssh name and cluster address, this one first; default: twinax.conf",
     .type = TW_OPT_TEXT, AT(nodes_list)},
    TW_AGENT_OPTIONS(tw_args),
    {.name = NULL},
};

const tw_option tw_options_model[] = {
    {"threads", .arg = "N", .help = "per rank; default: the cores, shared by the local ranks",
     .type = TW_OPT_U32, AT(engine.n_threads), .min = 1, .max = 1024},
    {"ctx", .arg = "N", .help = "context; default: the model's own, 8192 at most",
     .type = TW_OPT_U32, AT(engine.ctx), .min = 16, .max = 1u << 20},
    {"max-seqs", .arg = "N", .help = "sequences at once", .type = TW_OPT_U32, AT(engine.max_seqs),
     .min = 1, .max = 256},
    {"chunk", .arg = "N", .help = "prompt tokens a step", .type = TW_OPT_U32, AT(engine.chunk),
     .min = 1, .max = 8192},
    {"kv", .arg = "TYPE", .help = "auto, bf16 or f32: type of the KV cache", .type = TW_OPT_CHOICE,
     .choices = kv_types, AT(engine.kv)},
    {"quant", .arg = "Q",
     .help =
         "none, q8 or q4: weights that are plain in the files get so few bits as they are loaded",
     .type = TW_OPT_CHOICE, .choices = quants, AT(engine.quant)},
    {"no-pack-cache", .help = "packed weights are neither kept for the next start nor looked for",
     .type = TW_OPT_FLAG, AT(no_packs)},
    {"pack-cache-gib", .arg = "N",
     .help = "GiB for all packed weights that are kept; default: a quarter of the free disk",
     .type = TW_OPT_U32, AT(packs_gib), .min = 1, .max = 1u << 20},
    {"engine", .arg = "E", .help = "auto, native or vllm (serve and up only)",
     .type = TW_OPT_CHOICE, .choices = engines, AT(engine_kind)},
    {"copy", .help = "a model's folder that a node lacks is copied there over the cluster link",
     .type = TW_OPT_FLAG, AT(copy)},
    {"model-path", .arg = "NODE=PATH",
     .help = "where the model is on that node, when not where it is here; may be repeated",
     .type = TW_OPT_CALL, .call = add_model_path},
    {.name = NULL},
};

const tw_option tw_options_sampling[] = {
    {"temp", .arg = "T", .help = "temperature; 0: the likeliest token", .type = TW_OPT_F32,
     AT(sampling.temperature), HAS(has_temp), .min = 0, .max = 100},
    {"top-k", .arg = "K", .help = "of the K likeliest tokens only; 0: all", .type = TW_OPT_U32,
     AT(sampling.top_k), HAS(has_top_k), .min = 0, .max = UINT32_MAX},
    {"top-p", .arg = "P", .help = "of the likeliest tokens that together have P",
     .type = TW_OPT_F32, AT(sampling.top_p), HAS(has_top_p), .min = 1e-6, .max = 1},
    {"min-p", .arg = "P", .help = "of tokens with P of the likeliest one's probability or more",
     .type = TW_OPT_F32, AT(sampling.min_p), HAS(has_min_p), .min = 0, .max = 1},
    {"seed", .arg = "S", .help = "the same seed, the same text", .type = TW_OPT_U64,
     AT(sampling.seed), HAS(has_seed)},
    {.name = NULL},
};

const tw_option tw_options_serve[] = {
    {"host", .arg = "H", .help = "address to listen on (127.0.0.1)", .type = TW_OPT_TEXT, AT(host)},
    {"port", .arg = "P", .help = "port (8000); 0: the kernel chooses", .type = TW_OPT_U16, AT(port),
     .min = 0, .max = 65535},
    {"api-key", .arg = "K",
     .help = "wanted from clients; any other host than loopback needs it or --no-auth",
     .type = TW_OPT_CALL, .call = set_api_key},
    {"no-auth", .help = "everybody who reaches the address may use it", .type = TW_OPT_FLAG,
     AT(no_auth)},
    {"cors", .arg = "ORIGIN",
     .help =
         "web pages that may ask from a browser: https://host[:port], several with commas, or *",
     .type = TW_OPT_TEXT, AT(cors)},
    {.name = NULL},
};

int tw_args_keep_key(tw_args *a, const char *name, const char *key, tw_err *err)
{
    static char kept[TW_ARGS_KEY_BYTES];
    size_t n = strlen(key);
    if (n == 0)
        return tw_err_set(err, -EINVAL, "%s is empty: wanted the key that clients must send", name);
    if (n >= sizeof(kept))
        return tw_err_set(err, -EINVAL, "%s has %zu characters: wanted at most %zu", name, n,
                          sizeof(kept) - 1);
    memcpy(kept, key, n + 1);
    a->api_key = kept;
    return 0;
}

void tw_args_init(tw_args *a)
{
    *a = (tw_args){.tp = 1, .port = 8000, .host = "127.0.0.1", .max_tokens = 128};
    a->engine.cpu = getenv("TW_CPU");
}

int tw_args_parse(const tw_command *c, int argc, char **argv, tw_args *ret, tw_err *err)
{
    int first;
    tw_args_init(ret);
    int rc = tw_options_parse(c->tables, argc, argv, ret, &first, err);
    if (rc != 0)
        return rc;
    if (first + 1 < argc)
        return tw_err_set(err, -EINVAL, "%s: only one MODEL is wanted", argv[first + 1]);
    if (first == argc)
        return tw_err_set(err, -EINVAL,
                          "no MODEL given: a folder in Hugging Face layout is wanted");
    ret->model = argv[first];
    return tw_args_check_ranks(ret, err);
}

int tw_args_check_ranks(const tw_args *a, tw_err *err)
{
    if (a->netns && (a->tp != 2 || !a->local))
        return tw_err_set(err, -EINVAL, "--netns joins two ranks: wanted --local --tp 2");
    return 0;
}

void tw_args_sampling(const tw_args *a, const tw_model *m, tw_sampling *ret)
{
    tw_sampling_defaults(m, ret);
    if (a->has_temp)
        ret->temperature = a->sampling.temperature;
    if (a->has_top_k)
        ret->top_k = a->sampling.top_k;
    if (a->has_top_p)
        ret->top_p = a->sampling.top_p;
    if (a->has_min_p)
        ret->min_p = a->sampling.min_p;
    if (a->has_seed)
        ret->seed = a->sampling.seed;
}

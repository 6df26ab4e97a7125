/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/args.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"

enum {
    OPT_TP = 256,
    OPT_LOCAL,
    OPT_NETNS,
    OPT_TRANSPORT,
    OPT_THREADS,
    OPT_CTX,
    OPT_MAX_SEQS,
    OPT_CHUNK,
    OPT_KV,
    OPT_TEMP,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_SEED,
    OPT_PROMPT_IDS,
    OPT_IDS,
    OPT_IGNORE_EOS,
    OPT_LOGITS,
    OPT_STOP,
    OPT_JSON,
    OPT_VERIFY,
    OPT_HOST,
    OPT_PORT,
    OPT_API_KEY,
    OPT_NO_AUTH,
    OPT_FAULT,
    OPT_ENGINE,
    OPT_ARITH,
    OPT_SIZES,
    OPT_PEERS,
    OPT_RDMA_DEVICE,
    OPT_NODES,
    OPT_AGENT_PATH,
    OPT_MODEL_PATH,
};

static const struct option options[] = {
    {"prompt", required_argument, NULL, 'p'},
    {"n-tokens", required_argument, NULL, 'n'},
    {"verbose", no_argument, NULL, 'v'},
    {"tp", required_argument, NULL, OPT_TP},
    {"local", no_argument, NULL, OPT_LOCAL},
    {"netns", no_argument, NULL, OPT_NETNS},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"ctx", required_argument, NULL, OPT_CTX},
    {"max-seqs", required_argument, NULL, OPT_MAX_SEQS},
    {"chunk", required_argument, NULL, OPT_CHUNK},
    {"kv", required_argument, NULL, OPT_KV},
    {"temp", required_argument, NULL, OPT_TEMP},
    {"top-k", required_argument, NULL, OPT_TOP_K},
    {"top-p", required_argument, NULL, OPT_TOP_P},
    {"min-p", required_argument, NULL, OPT_MIN_P},
    {"seed", required_argument, NULL, OPT_SEED},
    {"prompt-ids", required_argument, NULL, OPT_PROMPT_IDS},
    {"ids", no_argument, NULL, OPT_IDS},
    {"ignore-eos", no_argument, NULL, OPT_IGNORE_EOS},
    {"logits", required_argument, NULL, OPT_LOGITS},
    {"stop", required_argument, NULL, OPT_STOP},
    {"json", no_argument, NULL, OPT_JSON},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"host", required_argument, NULL, OPT_HOST},
    {"port", required_argument, NULL, OPT_PORT},
    {"api-key", required_argument, NULL, OPT_API_KEY},
    {"no-auth", no_argument, NULL, OPT_NO_AUTH},
    {"fault", required_argument, NULL, OPT_FAULT},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"sizes", required_argument, NULL, OPT_SIZES},
    {"peers", no_argument, NULL, OPT_PEERS},
    {"arith", required_argument, NULL, OPT_ARITH},
    {"rdma-device", required_argument, NULL, OPT_RDMA_DEVICE},
    {"nodes", required_argument, NULL, OPT_NODES},
    {"agent-path", required_argument, NULL, OPT_AGENT_PATH},
    {"model-path", required_argument, NULL, OPT_MODEL_PATH},
    {NULL, 0, NULL, 0},
};

static const char *const transports[] = {
    [TW_TRANSPORT_AUTO] = "auto",
    [TW_TRANSPORT_TCP] = "tcp",
    [TW_TRANSPORT_SHM] = "shm",
    [TW_TRANSPORT_RDMA] = "rdma",
};

const char *tw_transport_name(enum tw_transport t)
{
    return transports[t];
}

int tw_transport_parse(const char *name, enum tw_transport *ret, tw_err *err)
{
    for (unsigned i = 0; i < TW_ARRAY_LEN(transports); i++)
        if (strcmp(name, transports[i]) == 0) {
            *ret = (enum tw_transport)i;
            return 0;
        }
    return tw_err_set(err, -EINVAL, "--transport %s: wanted auto, tcp, shm or rdma", name);
}

static int parse_u32(const char *name, const char *text, uint64_t min, uint64_t max, uint32_t *ret,
                     tw_err *err)
{
    uint64_t v;
    if (tw_str_to_u64(text, &v) != 0 || v < min || v > max)
        return tw_err_set(err, -EINVAL, "%s %s: wanted a number from %llu to %llu", name, text,
                          (unsigned long long)min, (unsigned long long)max);
    *ret = (uint32_t)v;
    return 0;
}

static int parse_float(const char *name, const char *text, double min, double max, float *ret,
                       tw_err *err)
{
    double v;
    if (tw_str_to_f64(text, &v) != 0 || !(v >= min && v <= max))
        return tw_err_set(err, -EINVAL, "%s %s: wanted a number from %g to %g", name, text, min,
                          max);
    *ret = (float)v;
    return 0;
}

static int parse_kv(const char *text, tw_args *a, tw_err *err)
{
    if (strcmp(text, "auto") == 0)
        a->engine.kv = TW_KV_AUTO;
    else if (strcmp(text, "bf16") == 0)
        a->engine.kv = TW_KV_BF16;
    else if (strcmp(text, "f32") == 0)
        a->engine.kv = TW_KV_F32;
    else
        return tw_err_set(err, -EINVAL, "--kv %s: wanted auto, bf16 or f32", text);
    return 0;
}

static int parse_arith(const char *text, tw_args *a, tw_err *err)
{
    if (strcmp(text, "exact") == 0)
        a->engine.arith = TW_ARITH_EXACT;
    else if (strcmp(text, "wire16") == 0)
        a->engine.arith = TW_ARITH_WIRE16;
    else
        return tw_err_set(err, -EINVAL, "--arith %s: wanted exact or wire16", text);
    return 0;
}

static int parse_tp(const char *text, tw_args *a, tw_err *err)
{
    uint32_t v = 1;
    int rc = parse_u32("--tp", text, 1, TW_RANKS_MAX, &v, err);
    if (rc == 0 && (v & (v - 1)) != 0)
        rc = tw_err_set(err, -EINVAL, "--tp %s: wanted 1, 2, 4 or 8", text);
    a->tp = v;
    a->has_tp = true;
    return rc;
}

static int parse_engine(const char *text, tw_err *err)
{
    if (strcmp(text, "native") == 0 || strcmp(text, "auto") == 0)
        return 0;
    return tw_err_set(err, -ENOTSUP, "--engine %s: this version has the native engine only", text);
}

static int parse_sampling(int opt, const char *v, tw_args *a, tw_err *err)
{
    tw_sampling *s = &a->sampling;
    switch (opt) {
    case OPT_TEMP:
        a->has_temp = true;
        return parse_float("--temp", v, 0, 100, &s->temperature, err);
    case OPT_TOP_K:
        a->has_top_k = true;
        return parse_u32("--top-k", v, 0, UINT32_MAX, &s->top_k, err);
    case OPT_TOP_P:
        a->has_top_p = true;
        return parse_float("--top-p", v, 1e-6, 1, &s->top_p, err);
    case OPT_MIN_P:
        a->has_min_p = true;
        return parse_float("--min-p", v, 0, 1, &s->min_p, err);
    default:
        a->has_seed = true;
        if (tw_str_to_u64(v, &s->seed) == 0)
            return 0;
        return tw_err_set(err, -EINVAL, "--seed %s: wanted a whole number", v);
    }
}

static int parse_nodes_option(int opt, const char *v, tw_args *a, tw_err *err)
{
    if (*v == '\0')
        return tw_err_set(err, -EINVAL, "--nodes, --agent-path, --model-path: empty");
    if (opt == OPT_NODES)
        a->nodes_list = v;
    else if (opt == OPT_AGENT_PATH)
        a->agent_path = v;
    else if (a->n_model_paths < TW_NODES_MAX)
        a->model_paths[a->n_model_paths++] = v;
    else
        return tw_err_set(err, -EINVAL, "--model-path: more than %d", TW_NODES_MAX);
    return 0;
}

static int parse_model_option(int opt, const char *v, tw_args *a, tw_err *err)
{
    switch (opt) {
    case OPT_TP:
        return parse_tp(v, a, err);
    case OPT_TRANSPORT:
        return tw_transport_parse(v, &a->transport, err);
    case OPT_THREADS:
        return parse_u32("--threads", v, 1, 1024, &a->engine.n_threads, err);
    case OPT_CTX:
        return parse_u32("--ctx", v, 16, 1u << 20, &a->engine.ctx, err);
    case OPT_MAX_SEQS:
        return parse_u32("--max-seqs", v, 1, 256, &a->engine.max_seqs, err);
    case OPT_CHUNK:
        return parse_u32("--chunk", v, 1, 8192, &a->engine.chunk, err);
    case OPT_KV:
        return parse_kv(v, a, err);
    case OPT_ARITH:
        return parse_arith(v, a, err);
    case OPT_ENGINE:
        return parse_engine(v, err);
    case OPT_NODES:
    case OPT_AGENT_PATH:
    case OPT_MODEL_PATH:
        return parse_nodes_option(opt, v, a, err);
    case OPT_TEMP:
    case OPT_TOP_K:
    case OPT_TOP_P:
    case OPT_MIN_P:
    case OPT_SEED:
        return parse_sampling(opt, v, a, err);
    default:
        return tw_err_set(err, -EINVAL, "unknown or incomplete option; see `twinax help`");
    }
}

int tw_args_keep_key(tw_args *a, const char *name, const char *key, tw_err *err)
{
    static char kept[512];
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

static int parse_option(int opt, char *v, tw_args *a, tw_err *err)
{
    uint32_t port = 0;
    int rc = 0;
    switch (opt) {
    case 'p':
        a->prompt = v;
        break;
    case 'n':
        a->has_max_tokens = true;
        return parse_u32("-n", v, 1, 1u << 20, &a->max_tokens, err);
    case 'b':
        a->batches = v;
        break;
    case 'd':
        a->depths = v;
        break;
    case 'v':
        a->verbose++;
        break;
    case OPT_LOCAL:
        a->local = true;
        break;
    case OPT_NETNS:
        a->netns = true;
        break;
    case OPT_PROMPT_IDS:
        a->prompt_ids = v;
        break;
    case OPT_IDS:
        a->ids = true;
        break;
    case OPT_IGNORE_EOS:
        a->ignore_eos = true;
        break;
    case OPT_LOGITS:
        a->logits_path = v;
        break;
    case OPT_STOP:
        if (*v == '\0')
            return tw_err_set(err, -EINVAL, "--stop is empty: wanted the text to stop at");
        a->stop = v;
        break;
    case OPT_JSON:
        a->json = true;
        break;
    case OPT_VERIFY:
        a->verify = true;
        break;
    case OPT_HOST:
        a->host = v;
        break;
    case OPT_PORT:
        rc = parse_u32("--port", v, 0, 65535, &port, err);
        a->port = (uint16_t)port;
        break;
    case OPT_API_KEY:
        rc = tw_args_keep_key(a, "--api-key", v, err);
        memset(v, '*', strlen(v)); /* every user of this machine can read command lines */
        break;
    case OPT_NO_AUTH:
        a->no_auth = true;
        break;
    case OPT_FAULT:
        a->fault = v;
        break;
    case OPT_SIZES:
        a->sizes = v;
        break;
    case OPT_PEERS:
        a->peers = true;
        break;
    case OPT_RDMA_DEVICE:
        if (*v == '\0' || *v == ':')
            return tw_err_set(err, -EINVAL, "--rdma-device '%s': wanted NAME or NAME:PORT", v);
        a->rdma_device = v;
        break;
    default:
        return parse_model_option(opt, v, a, err);
    }
    return rc;
}

int tw_args_parse(int argc, char **argv, tw_args *ret, tw_err *err)
{
    *ret = (tw_args){.tp = 1, .port = 8000, .host = "127.0.0.1", .max_tokens = 128};
    ret->engine.cpu = getenv("TW_CPU");
    optind = 0;
    opterr = 0;
    int opt;
    while ((opt = getopt_long(argc, argv, "p:n:b:d:v", options, NULL)) != -1) {
        if (opt == '?')
            return tw_err_set(err, -EINVAL,
                              "%s: unknown option, or its value is missing; see "
                              "`twinax help`",
                              argv[optind - 1]);
        int rc = parse_option(opt, optarg, ret, err);
        if (rc != 0)
            return rc;
    }
    if (optind + 1 < argc)
        return tw_err_set(err, -EINVAL, "%s: only one MODEL is wanted", argv[optind + 1]);
    ret->model = optind < argc ? argv[optind] : NULL;
    if (ret->netns && (ret->tp != 2 || !ret->local))
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

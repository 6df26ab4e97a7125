/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax bench`: prefill, decode and batched decode of a model, with their share of what this
 * machine reads and multiplies at most, measured in the same run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "cmd/bench_crowd.h"
#include "cmd/commands.h"
#include "cmd/node.h"
#include "cmd/vllm_auto.h"
#include "cmd/out.h"
#include "cmd/peak.h"
#include "cmd/profile_show.h"
#include "model/model.h"
#include "os/signal.h"
#include "os/sys.h"

enum {
    N_REPEATS = 5,
    REPEATS_MAX = TW_CROWD_BLOCKS,
    LIST_MAX = 8,
    TOKENS_MAX = 1 << 20,
    CACHE_SURE = 32 << 20
};
enum {
    DEEP = 1024,  /* from this depth on one prompt is read for all repeats */
    SHALLOW = 16, /* up to here a depth is not worth a name */
    CHUNK_USUAL = 256,
    CTX_STEP = 64,
    TEST_NAME = 48
};

/* What is to be measured, out of the command line. */
struct wishes {
    uint32_t n_prompt, n, batches[LIST_MAX], depths[LIST_MAX];
    unsigned n_batches, n_depths;
    uint32_t n_repeats;
};

struct bench {
    tw_node node;
    const tw_model_config *cfg;
    tw_peak_meter *meter;
    tw_peak before; /* the last look at the limits */
    unsigned n_threads;
    bool json;
    char cpu_name[80]; /* no quotes, no backslashes */
    uint64_t rss_peak;
    uint64_t read_bytes;            /* weights that a decoded token reads, all ranks */
    double layer_flops, head_flops; /* of one token in the layers' products, in the last one's */
};

/* One repeat, between two looks at the limits: the better look counts, so that a share is not good
 * because somebody else used the machine during one of them. */
struct sample {
    double tok_s, bytes /* of a token */, read_gb_s, fma_gflops;
};

struct test {
    char name[TEST_NAME];
    struct sample s[REPEATS_MAX];
    unsigned n;
    double flops; /* of a token */
};

static int compare_doubles(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), compare_doubles);
    return v[n / 2];
}

/* ---- limits ---- */

/* What is measured with is not the engine's memory. */
static void note_memory(struct bench *b)
{
    const uint64_t now = tw_sys_rss_peak_bytes(), meter = tw_peak_meter_bytes(b->meter);
    b->rss_peak = TW_MAX(b->rss_peak, now > meter ? now - meter : 0);
}

/* After something: the limits around it that it is held against. The team of the engine idles. */
static int look(struct bench *b, unsigned what, tw_peak *ret, tw_err *err)
{
    tw_peak now = b->before;
    int rc = tw_peak_meter_look(b->meter, what, &now, err);
    if (rc != 0)
        return rc;
    *ret = (tw_peak){.n_threads = b->n_threads,
                     .read_gb_s = TW_MAX(b->before.read_gb_s, now.read_gb_s),
                     .fma_gflops = TW_MAX(b->before.fma_gflops, now.fma_gflops)};
    b->before = now;
    note_memory(b);
    return 0;
}

/* Before a test: what was seen long ago does not count. */
static int look_anew(struct bench *b, tw_err *err)
{
    return tw_peak_meter_look(b->meter, TW_PEAK_READ | TW_PEAK_FMA, &b->before, err);
}

static void add_sample(struct test *t, const tw_peak *limits, double tok_s, double bytes)
{
    t->s[t->n++] = (struct sample){.tok_s = tok_s,
                                   .bytes = bytes,
                                   .read_gb_s = limits->read_gb_s,
                                   .fma_gflops = limits->fma_gflops};
}

/* ---- the tests ---- */

enum limit { LIMIT_READ, LIMIT_FMA, LIMIT_CACHE };
static const char *const limit_names[] = {"read bandwidth", "fma peak", "weights fit the cache"};
static const char *const limit_units[] = {"GB/s", "GFLOP/s", "GB/s"};

static double share_of(const struct test *t, const struct sample *s, enum limit of)
{
    return of == LIMIT_FMA ? s->tok_s * t->flops / 1e9 / s->fma_gflops
                           : s->tok_s * s->bytes / 1e9 / s->read_gb_s;
}

static double median_of(const struct test *t, enum limit of, double *ret_tok_s, double *ret_limit)
{
    double tok_s[REPEATS_MAX], shares[REPEATS_MAX], limits[REPEATS_MAX];
    for (unsigned i = 0; i < t->n; i++) {
        tok_s[i] = t->s[i].tok_s;
        shares[i] = share_of(t, &t->s[i], of);
        limits[i] = of == LIMIT_FMA ? t->s[i].fma_gflops : t->s[i].read_gb_s;
    }
    *ret_tok_s = median(tok_s, t->n);
    *ret_limit = median(limits, t->n);
    return median(shares, t->n);
}

static void print_json(const struct bench *b, const struct test *t, enum limit of, double tok_s,
                       double share, double limit)
{
    double best = 0, worst = t->s[0].tok_s;
    char text[24] = "null";
    tw_engine_info info;
    tw_engine_get_info(b->node.engine, &info);
    for (unsigned i = 0; i < t->n; i++) {
        best = TW_MAX(best, t->s[i].tok_s);
        worst = TW_MIN(worst, t->s[i].tok_s);
    }
    if (of != LIMIT_CACHE)
        snprintf(text, sizeof text, "%.4f", share);
    printf("{\"test\":\"%s\",\"tok_s\":%.3f,\"share\":%s,\"of\":\"%s\",\"limit\":%.2f,"
           "\"unit\":\"%s\",\"repeats\":%u,\"tok_s_min\":%.3f,\"tok_s_max\":%.3f,\"tp\":%u,"
           "\"threads\":%u,\"cpu\":\"%s\",\"machine\":\"%s\",\"weight_bytes\":%llu,"
           "\"kv_bytes\":%llu,\"rss_peak_bytes\":%llu}\n",
           t->name, tok_s, text, limit_names[of], limit, limit_units[of], t->n, worst, best,
           b->node.args.tp, b->n_threads, info.cpu, b->cpu_name,
           (unsigned long long)info.weight_bytes, (unsigned long long)info.kv_bytes,
           (unsigned long long)b->rss_peak);
}

static void report(const struct bench *b, const struct test *t, enum limit of)
{
    double tok_s, limit;
    const double share = median_of(t, of, &tok_s, &limit);
    if (b->json)
        print_json(b, t, of, tok_s, share, limit);
    else if (of == LIMIT_CACHE)
        printf("%-16s %10.2f tok/s   %s\n", t->name, tok_s, limit_names[of]);
    else
        printf("%-16s %10.2f tok/s   %5.1f %% of %s (%.1f %s)\n", t->name, tok_s, share * 100,
               limit_names[of], limit, limit_units[of]);
    fflush(stdout);
}

/* Decode reads weights and cache; with many sequences at once it multiplies more than it reads. What
 * stays in the processor's cache is read faster than memory. */
static enum limit limit_of_decode(const struct test *t, double swept_bytes)
{
    const double cache = (double)tw_sys_cache_bytes(), sure = TW_MIN(cache, (double)CACHE_SURE);
    double tok_s, limit;
    const double read = median_of(t, LIMIT_READ, &tok_s, &limit);
    if (median_of(t, LIMIT_FMA, &tok_s, &limit) > read)
        return LIMIT_FMA;
    /* A guest sees its host's whole cache. */
    return swept_bytes <= sure || (read > 1 && swept_bytes <= cache) ? LIMIT_CACHE : LIMIT_READ;
}

static tw_crowd_ask prefill_ask(const struct wishes *w, uint32_t depth)
{
    const uint32_t n_before = depth > SHALLOW ? depth : 0;
    return (tw_crowd_ask){.n_jobs = 1, .n_prompt = n_before + w->n_prompt, .n_before = n_before};
}

static void name_depth(struct test *t, uint32_t depth)
{
    const size_t at = strlen(t->name);
    if (depth > SHALLOW)
        snprintf(t->name + at, sizeof(t->name) - at, "@d%u", depth);
}

/* A prompt after depth others: its share of the peak falls with depth, because attention is time and
 * no flops of products. */
static int bench_prefill(struct bench *b, const struct wishes *w, uint32_t depth, tw_err *err)
{
    const uint32_t n_prompt = w->n_prompt;
    struct test t = {.flops = b->layer_flops};
    const tw_crowd_ask ask = prefill_ask(w, depth);
    snprintf(t.name, sizeof(t.name), "pp%u", n_prompt);
    name_depth(&t, depth);
    int rc = look_anew(b, err);
    for (unsigned i = 0; i < w->n_repeats && rc == 0; i++) {
        tw_crowd_got got;
        tw_peak limits;
        rc = tw_crowd_run(b->node.engine, &ask, &got, err);
        if (rc == 0)
            rc = look(b, TW_PEAK_FMA, &limits, err);
        if (rc == 0)
            add_sample(&t, &limits, n_prompt / ((double)got.prefill_ns / 1e9), 0);
    }
    if (rc == 0)
        report(b, &t, LIMIT_FMA);
    return rc;
}

/* KV bytes that one token reads at depth positions, all ranks (KV heads shared by ranks count
 * once). */
static double kv_bytes(const struct bench *b, double depth)
{
    const tw_model_config *c = b->cfg;
    const double elem = b->node.args.engine.kv == TW_KV_F32 || c->dtype == TW_F32 ? 4 : 2;
    return 2.0 * c->n_layers * c->n_kv_heads * c->head_dim * elem * depth;
}

static tw_crowd_ask decode_ask(const tw_args *a, const struct wishes *w, uint32_t depth,
                               unsigned batch)
{
    return (tw_crowd_ask){.n_jobs = batch,
                          .n_prompt = depth,
                          .n = w->n,
                          .n_blocks = depth >= DEEP ? w->n_repeats : 1,
                          .chunk = a->engine.chunk != 0 ? a->engine.chunk : CHUNK_USUAL};
}

static int bench_decode(struct bench *b, const struct wishes *w, uint32_t depth, unsigned batch,
                        tw_err *err)
{
    const uint32_t n = w->n;
    struct test t = {.flops = b->layer_flops + b->head_flops};
    const tw_crowd_ask ask = decode_ask(&b->node.args, w, depth, batch);
    const int at = snprintf(t.name, sizeof(t.name), "tg%u", n);
    if (batch > 1)
        snprintf(t.name + at, sizeof(t.name) - (size_t)at, "x%u", batch);
    name_depth(&t, depth);
    /* One sequence is bound by memory: a look at the rest would only take the pair apart. */
    const unsigned what = batch > 1 ? TW_PEAK_READ | TW_PEAK_FMA : TW_PEAK_READ;
    int rc = look_anew(b, err);
    if (rc != 0)
        return rc;
    while (t.n < w->n_repeats) {
        tw_crowd_got got;
        tw_peak limits;
        rc = tw_crowd_run(b->node.engine, &ask, &got, err);
        if (rc == 0)
            rc = look(b, what, &limits, err);
        if (rc != 0)
            return rc;
        for (unsigned k = 0; k < ask.n_blocks; k++)
            add_sample(&t, &limits, batch * (double)n * 1e9 / got.block_ns[k],
                       (double)b->read_bytes / batch + kv_bytes(b, got.depth + n * (k + 0.5)));
    }
    report(b, &t, limit_of_decode(&t, (double)b->read_bytes + batch * kv_bytes(b, depth)));
    return 0;
}

/* "1,8,32"; default where text is NULL. */
static int parse_list(const char *option, const char *text, uint32_t usual, uint32_t max,
                      uint32_t out[LIST_MAX], unsigned *ret_n, tw_err *err)
{
    unsigned n = 0;
    out[0] = usual;
    *ret_n = 1;
    for (const char *at = text; at != NULL; n++) {
        char number[16];
        uint64_t v = 0;
        const size_t len = strcspn(at, ",");
        snprintf(number, sizeof(number), "%.*s", (int)TW_MIN(len, sizeof(number)), at);
        if (n == LIST_MAX || tw_str_to_u64(number, &v) != 0 || v < 1 || v > max)
            return tw_err_set(err, -EINVAL,
                              "%s %s: wanted up to %d numbers from 1 to %u, with commas between",
                              option, text, LIST_MAX, max);
        out[n] = (uint32_t)v;
        *ret_n = n + 1;
        at = at[len] == ',' ? at + len + 1 : NULL;
    }
    return 0;
}

static int parse_wishes(const tw_args *a, struct wishes *ret, tw_err *err)
{
    uint64_t n_prompt = 512;
    if (a->prompt != NULL && (tw_str_to_u64(a->prompt, &n_prompt) != 0 || n_prompt > TOKENS_MAX))
        return tw_err_set(err, -EINVAL,
                          "-p %s: wanted a number of prompt tokens from 0 (none) to %d", a->prompt,
                          TOKENS_MAX);
    ret->n_prompt = (uint32_t)n_prompt;
    ret->n = a->has_max_tokens ? a->max_tokens : 128;
    int rc = parse_list("-b", a->batches, 1, TW_CROWD_MAX, ret->batches, &ret->n_batches, err);
    return rc == 0
               ? parse_list("-d", a->depths, SHALLOW, TOKENS_MAX, ret->depths, &ret->n_depths, err)
               : rc;
}

static int run_tests(struct bench *b, const struct wishes *w, tw_err *err)
{
    int rc = w->n_prompt > 0 ? bench_prefill(b, w, 0, err) : 0;
    for (unsigned d = 0; d < w->n_depths; d++) {
        if (rc == 0 && w->n_prompt > 0 && w->depths[d] > SHALLOW)
            rc = bench_prefill(b, w, w->depths[d], err);
        for (unsigned i = 0; rc == 0 && w->n > 0 && i < w->n_batches; i++)
            rc = bench_decode(b, w, w->depths[d], w->batches[i], err);
    }
    return rc;
}

/* Room for the largest of the tests, where nobody said how much. */
static void make_room(tw_args *a, const struct wishes *w)
{
    uint32_t ctx = w->n_prompt + 2, n_seqs = 1;
    for (unsigned d = 0; d < w->n_depths; d++) {
        const tw_crowd_ask before = prefill_ask(w, w->depths[d]);
        ctx = TW_MAX(ctx, tw_crowd_ctx(&before));
        for (unsigned i = 0; i < w->n_batches; i++) {
            const tw_crowd_ask ask = decode_ask(a, w, w->depths[d], w->batches[i]);
            ctx = TW_MAX(ctx, tw_crowd_ctx(&ask));
            n_seqs = TW_MAX(n_seqs, w->batches[i]);
        }
    }
    if (a->engine.ctx == 0)
        a->engine.ctx = TW_DIV_UP(ctx, (uint32_t)CTX_STEP) * CTX_STEP;
    if (a->engine.max_seqs == 0)
        a->engine.max_seqs = n_seqs;
}

static void count_work(struct bench *b)
{
    const tw_model_config *c = b->cfg;
    const double d = c->d_model, q = (double)c->n_heads * c->head_dim;
    const double kv = (double)c->n_kv_heads * c->head_dim;
    const double attn = d * q * 2 + 2 * d * kv, dense = 3 * d * c->ffn;
    const double experts = d * c->n_experts + 3 * d * c->expert_ffn * c->experts_per_tok;
    b->layer_flops = 2 * (attn * c->n_layers + dense * (c->n_layers - c->n_expert_layers) +
                          experts * c->n_expert_layers);
    b->head_flops = 2 * d * c->vocab;
    b->read_bytes = tw_model_count_token_bytes(b->node.model);
}

static void name_cpu(struct bench *b)
{
    tw_sys_cpu_name(b->cpu_name, sizeof b->cpu_name);
    for (char *c = b->cpu_name; *c != '\0'; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = ' ';
}

static int measure(struct bench *b, const struct wishes *w, tw_err *err)
{
    int rc = look_anew(b, err);
    if (rc != 0)
        return rc;
    if (!b->json)
        printf(
            "machine: %s, %u threads, read %.1f GB/s, fma %.1f GFLOP/s; model loaded in %.2f s\n",
            b->cpu_name, b->n_threads, b->before.read_gb_s, b->before.fma_gflops,
            (double)b->node.open_ns / 1e9);
    rc = run_tests(b, w, err);
    if (rc == 0)
        rc = tw_profile_show(&b->node, b->json, stdout, err);
    if (rc != 0 || b->json)
        return rc;
    tw_engine_info info;
    tw_engine_get_info(b->node.engine, &info);
    printf("memory: rank 0 holds %.1f MiB of weights, %.1f MiB of KV cache, peak %.1f MiB\n",
           (double)info.weight_bytes / 1048576, (double)info.kv_bytes / 1048576,
           (double)b->rss_peak / 1048576);
    return 0;
}

static int bench_model(tw_args *a, const struct wishes *w, tw_err *err)
{
    struct bench b = {.json = a->json};
    int cpus[TW_CPU_MAX];
    const unsigned n_cpus = tw_sys_cpus(cpus, TW_CPU_MAX);
    unsigned n_local, i_local;
    tw_far_place(a, 0, &n_local, &i_local);
    const unsigned per_rank =
        a->engine.n_threads != 0 ? a->engine.n_threads : TW_MAX(n_cpus / n_local, 1u);
    b.n_threads = TW_MIN(per_rank * n_local, n_cpus);
    make_room(a, w);
    tw_vllm_say_unused(a, "bench");
    int rc = tw_node_open(a, &b.node, err);
    if (rc != 0)
        return rc;
    b.rss_peak = tw_sys_rss_peak_bytes();
    name_cpu(&b);
    b.cfg = tw_model_get_config(b.node.model);
    count_work(&b);
    rc = tw_peak_meter_new(b.n_threads, &b.meter, err);
    if (rc == 0)
        rc = measure(&b, w, err);
    tw_peak_meter_free(b.meter);
    tw_node_close(&b.node);
    return rc;
}

typedef struct bench_opts {
    tw_args args; /* first: tables of others are used */
    uint32_t n_repeats;
} bench_opts;

static int cmd_bench(int argc, char **argv)
{
    const tw_command *c = &tw_command_bench;
    bench_opts o = {.n_repeats = N_REPEATS};
    tw_args *a = &o.args;
    struct wishes w;
    tw_err err = {0};
    if (tw_args_parse(c, argc, argv, a, &err) != 0 || parse_wishes(a, &w, &err) != 0)
        return tw_command_misused(c, &err);
    if (tw_far_find_nodes(a, &err) != 0)
        return tw_command_misused(c, &err);
    w.n_repeats = o.n_repeats;
    a->no_packs = true; /* nothing is written to a disk while speed is measured */
    int rc = bench_model(a, &w, &err);
    if (rc == 0)
        rc = tw_out_flush(&err);
    tw_far_name_ranks(a, &err);
    return tw_command_end(c, rc, &err);
}

#define AT(field) .offset = offsetof(tw_args, field)

static const tw_option bench_options[] = {
    {"prompt", 'p', "N", "prefill of N random tokens (512); 0: none", TW_OPT_TEXT, AT(prompt)},
    {"n-tokens", 'n', "N", "decode of N tokens (128); 0: none", TW_OPT_U32, AT(max_tokens),
     .has_offset = offsetof(tw_args, has_max_tokens), .min = 0, .max = 1u << 20},
    {"batches", 'b', "B,..", "sequences at once (1)", TW_OPT_TEXT, AT(batches)},
    {"depths", 'd', "D,..", "context before what is measured (16)", TW_OPT_TEXT, AT(depths)},
    {"repeats", 'r', "N", "repeats of each test (5); their median counts", TW_OPT_U32,
     .offset = offsetof(bench_opts, n_repeats), .min = 1, .max = REPEATS_MAX},
    {"json", .help = "one object a line", .type = TW_OPT_FLAG, AT(json)},
    {.name = NULL},
};

static const tw_option_table bench_tables[] = {
    {NULL, bench_options},       {"where time goes", tw_options_profile},
    {"ranks", tw_options_ranks}, {"other machines (docs/nodes.md)", tw_options_nodes},
    {"model", tw_options_model}, {NULL, NULL},
};

static const tw_note bench_examples[] = {
    {"twinax bench MODEL -p 512 -n 128 --json", "prefill and decode, as JSON lines"},
    {"twinax bench MODEL -b 1,8 -d 16,4096 --local --tp 2",
     "one and eight sequences, short and long context, two ranks"},
    {NULL, NULL},
};

const tw_command tw_command_bench = {
    .name = "bench",
    .args = "MODEL | coll | kern",
    .summary = "speed of a model's prefill and decode",
    .about =
        "Each number with its share of what this machine reads or multiplies at most, measured "
        "in the same run.",
    .tables = bench_tables,
    .run = cmd_bench,
    .group = TW_GROUP_MEASURE,
    .examples = bench_examples,
};

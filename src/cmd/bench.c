/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax bench`: prefill, decode and batched decode of a model, with their share of what this
 * machine reads and multiplies at most, measured in the same run. */
#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/scope.h"
#include "base/str.h"
#include "cmd/commands.h"
#include "cmd/node.h"
#include "cmd/out.h"
#include "cmd/peak.h"
#include "model/model.h"
#include "os/signal.h"
#include "os/sys.h"

enum { N_REPEATS = 5, BATCH_MAX = 256, LIST_MAX = 8, TOKENS_MAX = 1 << 20, CACHE_SURE = 32 << 20 };

struct bench {
    tw_node node;
    const tw_model_config *cfg;
    tw_peak peak;
    bool json;
    char cpu_name[80]; /* no quotes, no backslashes */
    uint64_t rss_peak;
    size_t read_bytes;  /* weights that a decoded token reads, all ranks */
    double layer_flops; /* of one token in the layers' products */
};

/* ---- one request, from the outside ---- */

struct job {
    uint64_t id;
    sem_t *done;
    tw_event end;
    tw_err err;
};

static void on_event(void *ctx, const tw_event *ev)
{
    struct job *j = ctx;
    if (ev->kind != TW_EVENT_DONE)
        return;
    j->end = *ev;
    if (ev->err != NULL)
        j->err = *ev->err;
    sem_post(j->done);
}

/* Until n are done. Ctrl-C cancels them, so that nobody waits for a long one. */
static void wait_jobs(struct bench *b, const struct job *jobs, unsigned n, sem_t *done)
{
    bool cancelled = false;
    for (unsigned n_done = 0; n_done < n;) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50 * 1000 * 1000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (sem_timedwait(done, &until) == 0)
            n_done++;
        if (cancelled || !tw_signal_asked_to_stop())
            continue;
        cancelled = true;
        for (unsigned i = 0; i < n; i++)
            tw_engine_cancel(b->node.engine, jobs[i].id);
    }
}

/* n_jobs equal requests at once: n_prompt random tokens, then n tokens each. */
static int run_jobs(struct bench *b, struct job *jobs, unsigned n_jobs, uint32_t n_prompt,
                    uint32_t n, tw_err *err)
{
    sem_t done;
    uint32_t *prompt TW_CLEANUP(tw_mem_freep) = tw_mem_alloc(n_prompt * sizeof(*prompt));
    if (prompt == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a prompt of %u tokens", n_prompt);
    tw_rng rng = tw_rng_seed(n_prompt);
    for (uint32_t i = 0; i < n_prompt; i++)
        prompt[i] = (uint32_t)tw_rng_below(&rng, b->cfg->vocab);
    sem_init(&done, 0, 0);
    unsigned n_sent = 0;
    int rc = 0;
    for (; rc == 0 && n_sent < n_jobs; n_sent++) {
        jobs[n_sent] = (struct job){.done = &done};
        tw_request r = {.prompt = prompt,
                        .n_prompt = n_prompt,
                        .max_tokens = n,
                        .ignore_eos = true,
                        .on_event = on_event,
                        .ctx = &jobs[n_sent],
                        .sampling = {.top_p = 1, .repetition_penalty = 1}};
        rc = tw_engine_submit(b->node.engine, &r, &jobs[n_sent].id, err);
        if (rc != 0)
            break;
    }
    wait_jobs(b, jobs, n_sent, &done);
    if (rc == 0 && tw_signal_asked_to_stop())
        rc = tw_err_set(err, -EINTR, "interrupted");
    for (unsigned i = 0; rc == 0 && i < n_sent; i++)
        if (jobs[i].end.finish == TW_FINISH_ERROR) {
            *err = jobs[i].err;
            rc = err->code;
        }
    sem_destroy(&done);
    return rc;
}

static int compare_doubles(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* ---- the tests ---- */

/* share < 0: none, and of says why. */
static void report(const struct bench *b, const char *test, double tok_s, double share,
                   const char *of)
{
    char text[24];
    if (b->json) {
        snprintf(text, sizeof text, "null");
        if (share >= 0)
            snprintf(text, sizeof text, "%.4f", share);
        printf("{\"test\":\"%s\",\"tok_s\":%.3f,\"share\":%s,\"of\":\"%s\",\"tp\":%u,"
               "\"threads\":%u,\"cpu\":\"%s\",\"machine\":\"%s\"}\n",
               test, tok_s, text, of, b->node.args.tp, b->peak.n_threads,
               b->node.args.engine.cpu != NULL ? b->node.args.engine.cpu : "best", b->cpu_name);
    } else {
        text[0] = '\0';
        if (share >= 0)
            snprintf(text, sizeof text, "%5.1f %% of ", share * 100);
        printf("%-12s %10.2f tok/s   %s%s\n", test, tok_s, text, of);
    }
    fflush(stdout);
}

/* Of reading weights and cache from memory; what stays in the processor's cache is read faster. */
static void report_read(const struct bench *b, const char *test, double tok_s, double bytes)
{
    const double share = tok_s * bytes / 1e9 / b->peak.read_gb_s;
    const double cache = (double)tw_sys_cache_bytes(), sure = TW_MIN(cache, (double)CACHE_SURE);
    if (bytes <= sure || (share > 1 && bytes <= cache)) /* a guest sees its host's whole cache */
        report(b, test, tok_s, -1, "weights fit the cache");
    else
        report(b, test, tok_s, share, "read bandwidth");
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), compare_doubles);
    return v[n / 2];
}

/* Measured again after each test, the best so far counts: a share must not look good because
 * somebody else used the memory while the limit was measured. The team of the engine idles. */
static int refresh_peak(struct bench *b, tw_err *err)
{
    tw_peak now;
    b->rss_peak = TW_MAX(b->rss_peak, tw_sys_rss_peak_bytes());
    int rc = tw_peak_measure(b->peak.n_threads, &now, err);
    tw_sys_rss_peak_reset(); /* the memory that was measured with is not the engine's */
    if (rc != 0)
        return rc;
    b->peak.read_gb_s = TW_MAX(b->peak.read_gb_s, now.read_gb_s);
    b->peak.fma_gflops = TW_MAX(b->peak.fma_gflops, now.fma_gflops);
    return 0;
}

static int bench_prefill(struct bench *b, uint32_t n_prompt, tw_err *err)
{
    double tok_s[N_REPEATS];
    struct job j;
    char test[32];
    for (unsigned i = 0; i < N_REPEATS; i++) {
        int rc = run_jobs(b, &j, 1, n_prompt, 1, err);
        if (rc != 0)
            return rc;
        tok_s[i] = n_prompt / ((double)j.end.prefill_ns / 1e9);
    }
    const double m = median(tok_s, N_REPEATS);
    int rc = refresh_peak(b, err);
    if (rc != 0)
        return rc;
    snprintf(test, sizeof(test), "pp%u", n_prompt);
    report(b, test, m, m * b->layer_flops / 1e9 / b->peak.fma_gflops, "fma peak");
    return 0;
}

/* KV bytes that one token reads at depth positions, all ranks (KV heads shared by ranks count
 * once). */
static double kv_bytes(const struct bench *b, double depth)
{
    const tw_model_config *c = b->cfg;
    const double elem = b->node.args.engine.kv == TW_KV_F32 || c->dtype == TW_F32 ? 4 : 2;
    return 2.0 * c->n_layers * c->n_kv_heads * c->head_dim * elem * depth;
}

static int bench_decode(struct bench *b, uint32_t n, uint32_t depth, unsigned batch, tw_err *err)
{
    double tok_s[N_REPEATS];
    static struct job jobs[BATCH_MAX];
    char test[48];
    for (unsigned i = 0; i < N_REPEATS; i++) {
        int rc = run_jobs(b, jobs, batch, depth, n, err);
        if (rc != 0)
            return rc;
        uint64_t longest = 1;
        for (unsigned k = 0; k < batch; k++)
            longest = TW_MAX(longest, jobs[k].end.decode_ns);
        tok_s[i] = batch * (double)(n - 1) / ((double)longest / 1e9);
    }
    const double m = median(tok_s, N_REPEATS);
    int rc = refresh_peak(b, err);
    if (rc != 0)
        return rc;
    const double bytes = (double)b->read_bytes / batch + kv_bytes(b, depth + n / 2.0);
    int at = snprintf(test, sizeof(test), "tg%u", n);
    if (batch > 1)
        at += snprintf(test + at, sizeof(test) - (size_t)at, "x%u", batch);
    if (depth > 16)
        snprintf(test + at, sizeof(test) - (size_t)at, "@d%u", depth);
    report_read(b, test, m, bytes);
    return 0;
}

/* What is to be measured, out of the command line. */
struct wishes {
    uint32_t n_prompt, n, batches[LIST_MAX], depths[LIST_MAX];
    unsigned n_batches, n_depths;
};

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
    int rc = parse_list("-b", a->batches, 1, BATCH_MAX, ret->batches, &ret->n_batches, err);
    return rc == 0 ? parse_list("-d", a->depths, 16, TOKENS_MAX, ret->depths, &ret->n_depths, err)
                   : rc;
}

static int run_tests(struct bench *b, const struct wishes *w, tw_err *err)
{
    int rc = w->n_prompt > 0 ? bench_prefill(b, w->n_prompt, err) : 0;
    for (unsigned d = 0; d < w->n_depths; d++)
        for (unsigned i = 0; rc == 0 && w->n > 1 && i < w->n_batches; i++)
            rc = bench_decode(b, w->n, w->depths[d], w->batches[i], err);
    return rc;
}

static void count_work(struct bench *b)
{
    const tw_model_config *c = b->cfg;
    const double d = c->d_model, q = (double)c->n_heads * c->head_dim;
    const double kv = (double)c->n_kv_heads * c->head_dim;
    const double layer = d * q * 2 + 2 * d * kv + 3 * d * c->ffn;
    const size_t elem = tw_dtype_bytes(c->dtype);
    b->layer_flops = 2 * c->n_layers * layer;
    b->read_bytes = (size_t)((c->n_layers * layer + d * c->vocab) * (double)elem);
}

static void name_cpu(struct bench *b)
{
    tw_sys_cpu_name(b->cpu_name, sizeof b->cpu_name);
    for (char *c = b->cpu_name; *c != '\0'; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
            *c = ' ';
}

static int bench_model(const tw_args *a, const struct wishes *w, tw_err *err)
{
    struct bench b = {.json = a->json};
    int cpus[TW_CPU_MAX];
    const unsigned n_cpus = tw_sys_cpus(cpus, TW_CPU_MAX);
    unsigned n_local, i_local;
    tw_far_place(a, 0, &n_local, &i_local);
    const unsigned per_rank =
        a->engine.n_threads != 0 ? a->engine.n_threads : TW_MAX(n_cpus / n_local, 1u);
    int rc = tw_peak_measure(TW_MIN(per_rank * n_local, n_cpus), &b.peak, err);
    tw_sys_rss_peak_reset();
    if (rc == 0)
        rc = tw_node_open(a, &b.node, err);
    if (rc != 0)
        return rc;
    name_cpu(&b);
    b.cfg = tw_model_get_config(b.node.model);
    count_work(&b);
    if (!a->json)
        printf(
            "machine: %s, %u threads, read %.1f GB/s, fma %.1f GFLOP/s; model loaded in %.2f s\n",
            b.cpu_name, b.peak.n_threads, b.peak.read_gb_s, b.peak.fma_gflops,
            (double)b.node.open_ns / 1e9);
    rc = run_tests(&b, w, err);
    if (rc == 0 && !a->json) {
        tw_engine_info info;
        tw_engine_get_info(b.node.engine, &info);
        printf("memory: rank 0 holds %.1f MiB of weights, %.1f MiB of KV cache, peak %.1f MiB\n",
               (double)info.weight_bytes / 1048576, (double)info.kv_bytes / 1048576,
               (double)b.rss_peak / 1048576);
    }
    tw_node_close(&b.node);
    return rc;
}

static int cmd_bench(int argc, char **argv)
{
    const tw_command *c = &tw_command_bench;
    tw_args a;
    struct wishes w;
    tw_err err = {0};
    if (tw_args_parse(c, argc, argv, &a, &err) != 0 || parse_wishes(&a, &w, &err) != 0)
        return tw_command_misused(c, &err);
    if (tw_far_find_nodes(&a, &err) != 0)
        return tw_command_misused(c, &err);
    int rc = bench_model(&a, &w, &err);
    if (rc == 0)
        rc = tw_out_flush(&err);
    tw_far_name_ranks(&a, &err);
    return tw_command_end(c, rc, &err);
}

#define AT(field) .offset = offsetof(tw_args, field)

static const tw_option bench_options[] = {
    {"prompt", 'p', "N", "prefill of N random tokens (512); 0: none", TW_OPT_TEXT, AT(prompt)},
    {"n-tokens", 'n', "N", "decode of N tokens (128); 1: none", TW_OPT_U32, AT(max_tokens),
     .has_offset = offsetof(tw_args, has_max_tokens), .min = 1, .max = 1u << 20},
    {"batches", 'b', "B,..", "sequences at once (1)", TW_OPT_TEXT, AT(batches)},
    {"depths", 'd', "D,..", "context that is there before decode (16)", TW_OPT_TEXT, AT(depths)},
    {"json", .help = "one object a line", .type = TW_OPT_FLAG, AT(json)},
    {.name = NULL},
};

static const tw_option_table bench_tables[] = {
    {NULL, bench_options},
    {"ranks", tw_options_ranks},
    {"other machines (docs/nodes.md)", tw_options_nodes},
    {"model", tw_options_model},
    {NULL, NULL},
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

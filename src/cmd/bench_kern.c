/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/option.h"
#include "cmd/out.h"
#include "kern/kern.h"
#include "kern/peak.h"
#include "os/file.h"
#include "os/signal.h"
#include "os/sys.h"
#include "os/team.h"

enum {
    REPEATS = 31,
    PAIRS = 7, /* of a kernel between two looks at the peak */
    CODED_K = 8192,
    CODED_GROUP = 128,
    STREAM_BYTES = 1 << 30, /* larger than any cache */
    KV_POS = 8192,
    THREADS_MAX = 64,
    SCRATCH_Q = 512,
};

struct bench;
typedef void row_fn(struct bench *b);

typedef struct bench {
    bool json, best;
    uint32_t n_threads;
    char **wanted; /* names of kernels, NULL at the end; none: all */
    const tw_kern *kern;
    tw_team *team;
    char *w; /* STREAM_BYTES of weights, values or keys */
    float *x, *y, *z;
    char *scratch; /* [threads][scratch_bytes] */
    size_t scratch_bytes;
    tw_packed packed;
    tw_xblock *xq;
    tw_matmul mm;
    tw_attn at;
    uint32_t seg[TW_SEGMENTS + 1];
    const void *pages[THREADS_MAX][2 * KV_POS / TW_KV_BLOCK];
    enum tw_dtype type;
    row_fn *row; /* what run_row runs */
    size_t n, n_runs[THREADS_MAX];
    double gflops[THREADS_MAX], sums[THREADS_MAX];
    volatile double sink;
} bench;

typedef void run_fn(bench *b, unsigned i_thread, unsigned n_threads);

typedef struct job {
    const char *kernel, *shape;
    run_fn *run;
    double flops, bytes; /* of one run by all threads; the one given is held against the peak */
    double bytes_told;   /* GB/s without a share: the data lies in a cache */
} job;

typedef struct call {
    bench *b;
    run_fn *run;
    size_t n;
} call;

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, size_t n)
{
    qsort(x, n, sizeof *x, compare_f64);
    return x[n / 2];
}

/* One thread: its processor time, which on a shared machine leaves out what the neighbours took. */
static uint64_t now_ns(const bench *b)
{
    struct timespec t;
    clock_gettime(b->n_threads > 1 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * TW_NS_PER_S + (uint64_t)t.tv_nsec;
}

static void call_job(void *ctx, unsigned i, unsigned n)
{
    const call *c = ctx;
    for (size_t r = 0; r < c->n; r++)
        c->run(c->b, i, n);
}

/* ns of n runs, together. */
static double time_runs(bench *b, run_fn *run, size_t n)
{
    call c = {b, run, n};
    uint64_t t0 = now_ns(b);
    tw_team_run(b->team, call_job, &c);
    return (double)(now_ns(b) - t0);
}

static void run_sum(bench *b, unsigned i, unsigned n)
{
    const size_t part = STREAM_BYTES / n / 4096 * 4096;
    b->sums[i] = tw_peak_sum(b->w + i * part, part);
}
static void run_fma(bench *b, unsigned i, unsigned n)
{
    (void)n;
    b->gflops[i] = tw_peak_fma_gflops_of(b->kern);
}

static double read_peak_gbs(bench *b)
{
    const size_t part = STREAM_BYTES / b->n_threads / 4096 * 4096;
    return (double)(part * b->n_threads) / time_runs(b, run_sum, 1);
}

static double fma_peak_gflops(bench *b)
{
    double sum = 0;
    (void)time_runs(b, run_fma, 1);
    for (unsigned i = 0; i < b->n_threads; i++)
        sum += b->gflops[i];
    return sum;
}

/* Runs of at least 2 ms. */
static size_t calibrate(bench *b, const job *j)
{
    size_t n = 1;
    while (!tw_signal_asked_to_stop() && time_runs(b, j->run, n) < 2 * TW_NS_PER_MS)
        n *= 2;
    return n;
}

/* The kernel between two looks at the peak of the same table and threads: the median of the shares
 * of the better look. ret_ns [PAIRS], ret_peak: the best look. */
static double share_of_peak(bench *b, const job *j, size_t n, double ret_ns[PAIRS],
                            double *ret_peak)
{
    double (*look)(bench *) = j->flops > 0 ? fma_peak_gflops : read_peak_gbs;
    const double work = j->flops > 0 ? j->flops : j->bytes;
    double shares[PAIRS], before = look(b);
    *ret_peak = before;
    for (int i = 0; i < PAIRS && !tw_signal_asked_to_stop(); i++) {
        ret_ns[i] = time_runs(b, j->run, n) / (double)n;
        double after = look(b);
        shares[i] = work / ret_ns[i] / TW_MAX(before, after);
        *ret_peak = TW_MAX(*ret_peak, after);
        before = after;
    }
    return median(shares, PAIRS);
}

static void print_job(const bench *b, const job *j, const double ns[3], double share, double peak)
{
    const double work = j->flops > 0 ? j->flops : j->bytes > 0 ? j->bytes : j->bytes_told;
    const char *unit = j->flops > 0 ? "gflops" : "gbs";
    if (b->json) {
        printf("{\"test\":\"kern\",\"kernel\":\"%s\",\"table\":\"%s\",\"shape\":\"%s\","
               "\"threads\":%u,\"min_ns\":%.1f,\"p50_ns\":%.1f,\"p99_ns\":%.1f,\"%s\":%.2f,",
               j->kernel, b->kern->name, j->shape, b->n_threads, ns[0], ns[1], ns[2], unit,
               work / ns[1]);
        if (share > 0)
            printf("\"peak\":%.2f,\"share\":%.3f}\n", peak, share);
        else
            printf("\"share\":null}\n");
    } else {
        printf("%-9s %-7s %-30s %11.1f %11.1f %11.1f us %8.2f %-6s", j->kernel, b->kern->name,
               j->shape, ns[0] / 1e3, ns[1] / 1e3, ns[2] / 1e3, work / ns[1], unit);
        if (share > 0)
            printf("  %5.1f %% of %.1f", share * 100, peak);
        printf("\n");
    }
    fflush(stdout);
}

static bool is_wanted(const bench *b, const char *kernel)
{
    for (char **w = b->wanted; *w != NULL; w++)
        if (strcmp(*w, kernel) == 0)
            return true;
    return b->wanted[0] == NULL;
}

static void bench_job(bench *b, const job *j)
{
    double ns[REPEATS], share = 0, peak = 0;
    size_t n_ns = REPEATS;
    if (!is_wanted(b, j->kernel) || tw_signal_asked_to_stop())
        return;
    const size_t n = calibrate(b, j);
    if (j->flops > 0 || j->bytes > 0) {
        share = share_of_peak(b, j, n, ns, &peak);
        n_ns = PAIRS;
    } else {
        for (int r = 0; r < REPEATS && !tw_signal_asked_to_stop(); r++)
            ns[r] = time_runs(b, j->run, n) / (double)n;
    }
    if (tw_signal_asked_to_stop())
        return; /* not all repeats are there */
    const double p50 = median(ns, n_ns);
    print_job(b, j, (double[3]){ns[0], p50, ns[n_ns - 1]}, share, peak);
}

static void *scratch_of(const bench *b, unsigned i)
{
    return b->scratch + i * b->scratch_bytes;
}

static void run_matmul(bench *b, unsigned i, unsigned n)
{
    const size_t panels = TW_DIV_UP(b->packed.n, TW_PANEL);
    b->kern->matmul(&b->mm, panels * i / n, panels * (i + 1) / n, scratch_of(b, i));
}

/* Every panel of a quantised matrix the same: 64 rows of blocks made of z's bytes. */
static void fill_quant(bench *b)
{
    const tw_packed *w = &b->packed;
    const size_t row_bytes = tw_dtype_row_bytes(w->type, w->k);
    for (size_t i = 0; i < w->n; i += TW_PANEL)
        tw_pack_quant_rows(w->type, b->w, w->k, i, b->z, TW_PANEL, row_bytes, 0);
}

/* The same of a coded matrix: any bytes but NaN, one scale. */
static void fill_coded(bench *b)
{
    static float scale[CODED_K / CODED_GROUP * TW_PANEL];
    static uint8_t code[CODED_K];
    static uint8_t zero[CODED_K / CODED_GROUP * TW_PANEL];
    const tw_codes src = {.code = code, .ld = 0, .scale = scale, .zero = zero};
    memset(zero, 8, sizeof zero);
    for (size_t i = 0; i < TW_ARRAY_LEN(scale); i++)
        scale[i] = 0x1p-12f;
    for (size_t k = 0; k < CODED_K; k++)
        code[k] =
            (uint8_t)((k * 2654435761u >> 9 & 0xbfu) + 1) & (b->packed.type == TW_INT4 ? 15 : 255);
    for (size_t i = 0; i < b->packed.n; i += TW_PANEL)
        tw_pack_coded_rows(&b->packed, b->w, i, &src, TW_PANEL);
}

static void bench_matmul(bench *b, enum tw_dtype type, size_t m, size_t k, size_t n)
{
    char shape[64];
    snprintf(shape, sizeof shape, "%s m%zu k%zu n%zu", tw_dtype_name(type), m, k, n);
    for (char *c = shape; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    tw_segments(k, 32, b->seg);
    b->packed = (tw_packed){.type = type, .n = n, .k = k, .data = b->w, .group = CODED_GROUP};
    b->mm = (tw_matmul){.w = &b->packed, .x = b->x, .m = m, .ldx = k, .y = b->y, .ldy = n};
    b->mm.seg = b->seg;
    b->mm.n_seg = TW_SEGMENTS;
    if (tw_dtype_is_quant(type)) {
        fill_quant(b);
        b->kern->quantize(b->xq, b->x, m * k);
        b->mm.xq = m > TW_XROWS ? b->xq : NULL;
        b->mm.ldxq = k / 32;
    }
    if (tw_dtype_is_coded(type))
        fill_coded(b);
    double flops = 2.0 * (double)m * (double)k * (double)n;
    double bytes = (double)tw_packed_size(&b->packed);
    bool stream = m <= 8 && n > 4096; /* no cache holds it */
    bench_job(b, &(job){"matmul", shape, run_matmul, stream ? 0 : flops, stream ? bytes : 0, 0});
}

/* Pages as a pool of eight heads has them; each run takes the next head or heads, so that no cache
 * holds the keys of the last. */
static void run_attn(bench *b, unsigned i, unsigned n)
{
    const size_t n_pages = TW_DIV_UP(b->at.pos0 + b->n, TW_KV_BLOCK);
    const size_t page = TW_KV_BLOCK * b->at.q_dim * tw_dtype_bytes(b->at.kv_type);
    const size_t pool = 16 * n_pages * page, n_heads = STREAM_BYTES / pool * 8;
    const size_t head = (b->n_runs[i]++ * n + i) * b->at.n_kv % n_heads;
    const char *at = b->w + head / 8 * pool + head % 8 * page;
    const void **k = b->pages[i], **v = k + n_pages;
    for (size_t p = 0; p < n_pages; p++, at += 16 * page) {
        k[p] = at;
        v[p] = at + 8 * page;
    }
    tw_attn op = b->at;
    op.out += i * b->n * op.ld_row;
    op.k_pages = k;
    op.v_pages = v;
    b->kern->attn(&op, 0, (uint32_t)b->n, scratch_of(b, i));
}

/* One row is decode: what it reads is held against the bandwidth. */
static void bench_attn(bench *b, enum tw_dtype type, size_t rows, unsigned n_kv, unsigned group,
                       size_t q, uint32_t pos0)
{
    char shape[64], heads[16] = "";
    if (n_kv > 1)
        snprintf(heads, sizeof heads, "kv%u ", n_kv);
    snprintf(shape, sizeof shape, "%s rows%zu %sgroup%u q%zu pos%u",
             type == TW_F32 ? "f32" : "bf16", rows, heads, group, q, pos0);
    b->n = rows;
    b->at = (tw_attn){.q = b->x,
                      .ld_row = (size_t)n_kv * group * q,
                      .ld_head = q,
                      .out = b->y,
                      .ld_out_row = (size_t)n_kv * group * q,
                      .kv_type = type,
                      .q_dim = q,
                      .n_group = group,
                      .n_kv = n_kv,
                      .pos0 = pos0,
                      .scale = 0.1f};
    double keys = (double)rows * ((double)pos0 + ((double)rows + 1) / 2) * n_kv * b->n_threads;
    double flops = 4.0 * keys * (double)(group * q);
    double bytes = keys * (double)(2 * q * tw_dtype_bytes(type));
    bench_job(b, &(job){"attn", shape, run_attn, rows > 1 ? flops : 0, rows > 1 ? 0 : bytes, 0});
}

static void row_rmsnorm(bench *b)
{
    b->kern->rmsnorm(b->y, b->x, b->z, b->n, 1e-5f);
}
static void row_rope(bench *b)
{
    b->kern->rope(b->y, b->n / 64, 64, 64, b->x, b->z);
}
static void row_silu(bench *b)
{
    b->kern->silu_mul(b->y, b->x, b->z, b->n);
}
static void row_add(bench *b)
{
    b->kern->add(b->y, b->x, b->z, b->n);
}
static void row_exp(bench *b)
{
    b->kern->exp(b->y, b->x, b->n);
}
static void row_argmax(bench *b)
{
    b->sink = (double)b->kern->argmax(b->x, b->n);
}
static void row_finite(bench *b)
{
    b->sink = b->kern->all_finite(b->x, b->n);
}
static void row_to_f32(bench *b)
{
    b->kern->to_f32(b->y, b->z, b->type, b->n);
}
static void row_from_f32(bench *b)
{
    b->kern->from_f32(b->y, b->x, b->type, b->n);
}
static void row_quantize(bench *b)
{
    b->kern->quantize(b->xq, b->x, b->n);
}
static void row_pack(bench *b)
{
    tw_pack_rows(b->type, b->w + STREAM_BYTES / 2, 4096, 2048, 0, b->w, 4096, 2048);
}

static void run_row(bench *b, unsigned i, unsigned n)
{
    (void)i;
    (void)n;
    b->row(b);
}

static void bench_row(bench *b, const char *name, row_fn *row, size_t n, double bytes)
{
    char shape[64];
    snprintf(shape, sizeof shape, "n%zu", n);
    b->n = n;
    b->row = row;
    bench_job(b, &(job){name, shape, run_row, 0, 0, bytes * (double)n});
}

static void bench_rows(bench *b)
{
    bench_row(b, "rmsnorm", row_rmsnorm, 2048, 12);
    bench_row(b, "rope", row_rope, 2048, 8);
    bench_row(b, "silu_mul", row_silu, 8192, 12);
    bench_row(b, "add", row_add, 2048, 12);
    bench_row(b, "exp", row_exp, 8192, 8);
    bench_row(b, "quantize", row_quantize, 2048, 5.5);
    bench_row(b, "argmax", row_argmax, 65536, 4);
    bench_row(b, "finite", row_finite, 65536, 4);
    b->type = TW_BF16;
    bench_row(b, "to_bf16", row_from_f32, 4096, 6);
    bench_row(b, "from_bf16", row_to_f32, 4096, 6);
    b->type = TW_F16;
    bench_row(b, "to_f16", row_from_f32, 4096, 6);
    bench_row(b, "from_f16", row_to_f32, 4096, 6);
}

static void bench_fast(bench *b)
{
    bench_matmul(b, TW_BF16, 1, 2048, 262144);
    bench_matmul(b, TW_BF16, 1, 8192, 65536);
    bench_matmul(b, TW_F16, 1, 2048, 262144);
    bench_matmul(b, TW_F32, 1, 2048, 131072);
    bench_matmul(b, TW_BF16, 8, 2048, 262144);
    for (size_t m = 2; m <= 8; m++)
        bench_matmul(b, TW_BF16, m, 2048, 4096);
    bench_matmul(b, TW_BF16, 16, 2048, 4096);
    bench_matmul(b, TW_BF16, 32, 2048, 4096);
    bench_matmul(b, TW_BF16, 32, 1024, 65536);
    bench_matmul(b, TW_BF16, 512, 2048, 4096);
    bench_matmul(b, TW_F16, 512, 2048, 4096);
    bench_matmul(b, TW_F32, 512, 2048, 4096);
    bench_matmul(b, TW_BF16, 512, 8192, 2048);
    bench_matmul(b, TW_BF16, 512, 1024, 3072);
    bench_matmul(b, TW_BF16, 256, 2048, 8192);
    bench_attn(b, TW_BF16, 1, 1, 4, 64, KV_POS - 1);
    bench_attn(b, TW_BF16, 1, 1, 1, 128, KV_POS - 1);
    bench_attn(b, TW_BF16, 1, 1, 2, 128, KV_POS - 1);
    bench_attn(b, TW_BF16, 1, 1, 8, 128, KV_POS - 1);
    bench_attn(b, TW_BF16, 1, 4, 2, 128, KV_POS - 1);
    bench_attn(b, TW_BF16, 1, 4, 4, 64, KV_POS - 1);
    bench_attn(b, TW_BF16, 64, 1, 4, 64, KV_POS - 64);
    bench_attn(b, TW_BF16, 64, 1, 4, 128, KV_POS - 64);
    bench_attn(b, TW_F32, 64, 1, 4, 128, KV_POS - 64);
    bench_attn(b, TW_BF16, 256, 1, 4, 64, 0);
}

static void bench_quant(bench *b)
{
    for (enum tw_dtype t = TW_Q8_0; t < TW_QUANT_END; t++) {
        bench_matmul(b, t, 1, 2048, 65536);
        bench_matmul(b, t, 1, 8192, 16384);
        bench_matmul(b, t, 4, 2048, 4096);
        bench_matmul(b, t, 8, 2048, 4096);
        bench_matmul(b, t, 32, 2048, 4096);
        bench_matmul(b, t, 512, 2048, 4096);
    }
}

static void bench_coded(bench *b)
{
    for (enum tw_dtype t = TW_FP8; t < TW_DTYPE_END; t++) {
        bench_matmul(b, t, 1, 2048, 262144);
        bench_matmul(b, t, 1, CODED_K, 65536);
        for (size_t m = 2; m <= 8; m *= 2)
            bench_matmul(b, t, m, 2048, 4096);
        bench_matmul(b, t, 32, 2048, 4096);
        bench_matmul(b, t, 512, 2048, 4096);
    }
}

static bool prepare(bench *b)
{
    const size_t n = (size_t)512 * (8192 + 16) + (size_t)512 * 4096;
    b->scratch_bytes =
        TW_MAX(tw_kern_matmul_scratch_bytes(8192), tw_kern_attn_scratch_bytes(SCRATCH_Q));
    b->scratch_bytes = TW_DIV_UP(b->scratch_bytes, 4096) * 4096;
    b->w = tw_pages_new(STREAM_BYTES); /* in huge pages, as weights are kept */
    b->x = tw_pages_new(n * sizeof(float));
    b->y = tw_pages_new(n * sizeof(float));
    b->z = tw_pages_new(n * sizeof(float));
    b->xq = tw_pages_new(n / 32 * sizeof *b->xq);
    b->scratch = tw_pages_new(b->scratch_bytes * b->n_threads);
    if (!b->w || !b->x || !b->y || !b->z || !b->xq || !b->scratch)
        return false;
    /* As bf16 halves and as f32 alike: small numbers of both signs. */
    enum { PART = 1 << 20 };
    for (size_t i = 0; i < PART / 2; i++) {
        uint16_t h = (uint16_t)(0x3c00u + (i * 2654435761u >> 9 & 0x81ffu));
        memcpy(b->w + 2 * i, &h, 2);
    }
    for (size_t at = PART; at < STREAM_BYTES; at += PART)
        memcpy(b->w + at, b->w, PART);
    for (size_t i = 0; i < n; i++) {
        b->x[i] = (float)(i * 2654435761u >> 8 & 0xffffu) * 0x1p-16f - 0.5f;
        b->y[i] = b->z[i] = b->x[i];
    }
    return true;
}

static void measure(bench *b)
{
    char names[64], *save = NULL;
    snprintf(names, sizeof names, "%s", b->best ? tw_kern_get(NULL)->name : tw_kern_names());
    if (!b->json)
        printf(
            "%u thread%s; columns: min, p50, p99, rate at p50, share of the peak that this table "
            "and these threads have, and that peak\n",
            b->n_threads, b->n_threads > 1 ? "s" : "");
    for (char *t = strtok_r(names, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        b->kern = tw_kern_get(t);
        if (b->kern != tw_kern_ref()) {
            bench_fast(b);
            bench_quant(b);
            bench_coded(b);
        } else {
            bench_matmul(b, TW_BF16, 1, 2048, 64);
            bench_attn(b, TW_BF16, 1, 1, 1, 64, 255);
            b->type = TW_BF16;
            if (b->n_threads == 1)
                bench_row(b, "pack", row_pack, (size_t)4096 * 2048, 4);
        }
        if (b->n_threads == 1)
            bench_rows(b);
    }
}

static int run_bench(bench *b, tw_err *err)
{
    int cpus[TW_CPU_MAX];
    const unsigned n_cpus = tw_sys_cpus(cpus, TW_CPU_MAX);
    int rc = tw_team_new(b->n_threads, b->n_threads > 1 && b->n_threads <= n_cpus ? cpus : NULL,
                         &b->team, err);
    if (rc != 0)
        return rc;
    if (prepare(b))
        measure(b);
    else
        rc = tw_err_set(err, -ENOMEM, "no memory for %d MiB of weights", STREAM_BYTES >> 20);
    tw_team_free(b->team);
    return rc;
}

static bool is_kernel(const char *name, tw_err *err)
{
    static const char all[] =
        "matmul attn rmsnorm rope silu_mul add exp quantize argmax finite to_bf16 "
        "from_bf16 to_f16 from_f16 pack";
    const char *at = strstr(all, name);
    const size_t n = strlen(name);
    if (at != NULL && n > 0 && (at == all || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0'))
        return true;
    (void)!tw_err_set(err, -EINVAL, "%s: wanted kernels out of: %s", name, all);
    return false;
}

static int cmd_bench_kern(int argc, char **argv)
{
    const tw_command *c = &tw_command_bench_kern;
    tw_err err = {0};
    bench *b TW_CLEANUP(tw_mem_freep) = tw_mem_calloc(1, sizeof *b);
    int first;
    if (b == NULL)
        return tw_command_end(c, tw_err_set(&err, -ENOMEM, "no memory"), &err);
    b->n_threads = 1;
    if (tw_options_parse(c->tables, argc, argv, b, &first, &err) != 0)
        return tw_command_misused(c, &err);
    b->wanted = argv + first;
    for (int i = first; i < argc; i++)
        if (!is_kernel(argv[i], &err))
            return tw_command_misused(c, &err);
    int rc = run_bench(b, &err);
    if (rc == 0 && tw_signal_asked_to_stop())
        rc = tw_err_set(&err, -EINTR, "interrupted");
    if (rc == 0)
        rc = tw_out_flush(&err);
    return tw_command_end(c, rc, &err);
}

static const tw_option kern_options[] = {
    {"best", .help = "only the instruction set that would be used", .type = TW_OPT_FLAG,
     .offset = offsetof(bench, best)},
    {"threads", .arg = "N", .help = "that work together (default: 1)", .type = TW_OPT_U32,
     .offset = offsetof(bench, n_threads), .min = 1, .max = THREADS_MAX},
    {"json", .help = "one object a line", .type = TW_OPT_FLAG, .offset = offsetof(bench, json)},
    {.name = NULL},
};
static const tw_option_table kern_tables[] = {{NULL, kern_options}, {NULL, NULL}};
static const tw_note kern_examples[] = {
    {"twinax bench kern", "each kernel of each instruction set, and its share of the peak"},
    {"twinax bench kern matmul attn --best --threads 2", "two of them, as they run here"},
    {"twinax bench kern --json > kern.jsonl", "to compare two machines"},
    {NULL, NULL},
};

const tw_command tw_command_bench_kern = {
    .name = "bench kern",
    .args = "[KERNEL..]",
    .summary = "speed of each arithmetic kernel",
    .tables = kern_tables,
    .run = cmd_bench_kern,
    .group = TW_GROUP_MEASURE,
    .examples = kern_examples,
};

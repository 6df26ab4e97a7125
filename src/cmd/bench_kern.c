/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cmd/commands.h"
#include "cmd/out.h"
#include "kern/kern.h"
#include "kern/peak.h"
#include "os/signal.h"

enum { REPEATS = 31, STREAM_BYTES = 256 << 20, KV_POS = 4096 };

typedef struct bench {
    const tw_kern *kern;
    bool json, best;
    char **wanted; /* names of kernels, NULL at the end; none: all */
    double peak_gflops, peak_gbs;
    char *w; /* STREAM_BYTES of weights, values or keys */
    float *x, *y, *z, *scratch;
    tw_packed packed;
    tw_xblock *xq;
    tw_matmul mm;
    tw_attn at;
    uint32_t seg[TW_SEGMENTS + 1];
    const void *pages[2 * KV_POS / TW_KV_BLOCK];
    enum tw_dtype type;
    size_t n;
    volatile double sink;
} bench;

typedef struct job {
    const char *kernel, *shape;
    void (*run)(bench *b);
    double flops, bytes; /* of one run; the larger one's share is told: 0 where it says nothing */
    double bytes_told;   /* GB/s without a share: the data lies in a cache */
} job;

static int compare_f64(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* This thread's processor time: on a quiet machine the same as the clock's, on a shared one it leaves
 * out what the neighbours took. */
static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * TW_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ns of one run, REPEATS times, each at least 2 ms long. */
static void time_job(bench *b, const job *j, double ret_ns[REPEATS])
{
    size_t n = 1;
    for (;;) {
        uint64_t t0 = now_ns();
        for (size_t i = 0; i < n; i++)
            j->run(b);
        if (now_ns() - t0 > 2 * TW_NS_PER_MS)
            break;
        n *= 2;
    }
    for (int r = 0; r < REPEATS && !tw_signal_asked_to_stop(); r++) {
        uint64_t t0 = now_ns();
        for (size_t i = 0; i < n; i++)
            j->run(b);
        ret_ns[r] = (double)(now_ns() - t0) / (double)n;
    }
    qsort(ret_ns, REPEATS, sizeof *ret_ns, compare_f64);
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
    double ns[REPEATS] = {0};
    if (!is_wanted(b, j->kernel))
        return;
    if (!tw_signal_asked_to_stop())
        time_job(b, j, ns);
    if (tw_signal_asked_to_stop())
        return; /* not all repeats are there */
    double min = ns[0], p50 = ns[REPEATS / 2], p99 = ns[REPEATS - 1];
    double rate = (j->flops > 0 ? j->flops : j->bytes > 0 ? j->bytes : j->bytes_told) / p50;
    const char *unit = j->flops > 0 ? "gflops" : "gbs";
    double share = j->flops > 0 ? rate / b->peak_gflops : j->bytes > 0 ? rate / b->peak_gbs : 0;
    if (b->json) {
        printf("{\"test\":\"kern\",\"kernel\":\"%s\",\"table\":\"%s\",\"shape\":\"%s\","
               "\"min_ns\":%.1f,\"p50_ns\":%.1f,\"p99_ns\":%.1f,\"%s\":%.2f,",
               j->kernel, b->kern->name, j->shape, min, p50, p99, unit, rate);
        if (share > 0)
            printf("\"share\":%.3f}\n", share);
        else
            printf("\"share\":null}\n");
    } else {
        printf("%-9s %-7s %-30s %12.1f %12.1f %12.1f us  %8.2f %-6s", j->kernel, b->kern->name,
               j->shape, min / 1e3, p50 / 1e3, p99 / 1e3, rate, unit);
        if (share > 0)
            printf("  %5.1f %% of %s", share * 100, j->flops > 0 ? "fma peak" : "read");
        printf("\n");
    }
    fflush(stdout);
}

static void run_matmul(bench *b)
{
    b->kern->matmul(&b->mm, 0, TW_DIV_UP(b->packed.n, TW_PANEL), b->scratch);
}

/* Every panel of a quantised matrix the same: 64 rows of blocks made of z's bytes. */
static void fill_quant(bench *b)
{
    const tw_packed *w = &b->packed;
    const size_t row_bytes = tw_dtype_row_bytes(w->type, w->k);
    for (size_t i = 0; i < w->n; i += TW_PANEL)
        tw_pack_quant_rows(w->type, b->w, w->n, w->k, i, b->z, TW_PANEL, row_bytes, 0);
}

static void bench_matmul(bench *b, enum tw_dtype type, size_t m, size_t k, size_t n)
{
    char shape[64];
    snprintf(shape, sizeof shape, "%s m%zu k%zu n%zu", tw_dtype_name(type), m, k, n);
    for (char *c = shape; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    tw_segments(k, 32, b->seg);
    b->packed = (tw_packed){type, n, k, b->w};
    b->mm = (tw_matmul){.w = &b->packed, .x = b->x, .m = m, .ldx = k, .y = b->y, .ldy = n};
    b->mm.seg = b->seg;
    b->mm.n_seg = TW_SEGMENTS;
    if (tw_dtype_is_quant(type)) {
        fill_quant(b);
        b->kern->quantize(b->xq, b->x, m * k);
        b->mm.xq = m > TW_XROWS ? b->xq : NULL;
        b->mm.ldxq = k / 32;
    }
    double flops = 2.0 * (double)m * (double)k * (double)n;
    double bytes = (double)tw_packed_bytes(type, n, k);
    bool stream = m == 1 && n > 4096;
    bench_job(b, &(job){"matmul", shape, run_matmul, stream ? 0 : flops, stream ? bytes : 0, 0});
}

static void run_attn(bench *b)
{
    b->kern->attn(&b->at, 0, (uint32_t)b->n, b->scratch);
}

static void bench_attn(bench *b, enum tw_dtype type, size_t rows, unsigned group, size_t q,
                       uint32_t pos0)
{
    char shape[64];
    snprintf(shape, sizeof shape, "%s rows%zu group%u q%zu pos%u", type == TW_F32 ? "f32" : "bf16",
             rows, group, q, pos0);
    const size_t page = TW_KV_BLOCK * q * tw_dtype_bytes(type), n_pages = KV_POS / TW_KV_BLOCK;
    for (size_t i = 0; i < 2 * n_pages; i++)
        b->pages[i] = b->w + i * page;
    b->n = rows;
    b->at = (tw_attn){.q = b->x,
                      .ld_row = group * q,
                      .ld_head = q,
                      .out = b->y,
                      .ld_out_row = group * q,
                      .k_pages = b->pages,
                      .v_pages = b->pages + n_pages,
                      .kv_type = type,
                      .q_dim = q,
                      .n_group = group,
                      .pos0 = pos0,
                      .scale = 0.1f};
    double keys = (double)rows * ((double)pos0 + ((double)rows + 1) / 2);
    bench_job(b, &(job){"attn", shape, run_attn, 4.0 * keys * (double)(group * q), 0, 0});
}

static void run_rmsnorm(bench *b)
{
    b->kern->rmsnorm(b->y, b->x, b->z, b->n, 1e-5f);
}
static void run_rope(bench *b)
{
    b->kern->rope(b->y, b->n / 64, 64, 64, b->x, b->z);
}
static void run_silu(bench *b)
{
    b->kern->silu_mul(b->y, b->x, b->z, b->n);
}
static void run_add(bench *b)
{
    b->kern->add(b->y, b->x, b->z, b->n);
}
static void run_exp(bench *b)
{
    b->kern->exp(b->y, b->x, b->n);
}
static void run_argmax(bench *b)
{
    b->sink = (double)b->kern->argmax(b->x, b->n);
}
static void run_finite(bench *b)
{
    b->sink = b->kern->all_finite(b->x, b->n);
}
static void run_to_f32(bench *b)
{
    b->kern->to_f32(b->y, b->z, b->type, b->n);
}
static void run_from_f32(bench *b)
{
    b->kern->from_f32(b->y, b->x, b->type, b->n);
}
static void run_quantize(bench *b)
{
    b->kern->quantize(b->xq, b->x, b->n);
}
static void run_pack(bench *b)
{
    tw_pack_rows(b->type, b->w + STREAM_BYTES / 2, 4096, 2048, 0, b->w, 4096, 2048);
}

static void bench_row(bench *b, const char *name, void (*run)(bench *), size_t n, double bytes)
{
    char shape[64];
    snprintf(shape, sizeof shape, "n%zu", n);
    b->n = n;
    bench_job(b, &(job){name, shape, run, 0, 0, bytes * (double)n});
}

static void bench_rows(bench *b)
{
    bench_row(b, "rmsnorm", run_rmsnorm, 2048, 12);
    bench_row(b, "rope", run_rope, 2048, 8);
    bench_row(b, "silu_mul", run_silu, 8192, 12);
    bench_row(b, "add", run_add, 2048, 12);
    bench_row(b, "exp", run_exp, 8192, 8);
    bench_row(b, "quantize", run_quantize, 2048, 5.5);
    bench_row(b, "argmax", run_argmax, 65536, 4);
    bench_row(b, "finite", run_finite, 65536, 4);
    b->type = TW_BF16;
    bench_row(b, "to_bf16", run_from_f32, 4096, 6);
    bench_row(b, "from_bf16", run_to_f32, 4096, 6);
    b->type = TW_F16;
    bench_row(b, "to_f16", run_from_f32, 4096, 6);
    bench_row(b, "from_f16", run_to_f32, 4096, 6);
}

static void bench_fast(bench *b)
{
    bench_matmul(b, TW_BF16, 1, 2048, 65536);
    bench_matmul(b, TW_BF16, 1, 8192, 16384);
    bench_matmul(b, TW_F16, 1, 2048, 65536);
    bench_matmul(b, TW_F32, 1, 2048, 32768);
    for (size_t m = 2; m <= 8; m++)
        bench_matmul(b, TW_BF16, m, 2048, 4096);
    bench_matmul(b, TW_BF16, 16, 2048, 4096);
    bench_matmul(b, TW_BF16, 32, 2048, 4096);
    bench_matmul(b, TW_BF16, 512, 2048, 4096);
    bench_matmul(b, TW_F16, 512, 2048, 4096);
    bench_matmul(b, TW_F32, 512, 2048, 4096);
    bench_matmul(b, TW_BF16, 512, 8192, 2048);
    bench_attn(b, TW_BF16, 1, 4, 64, KV_POS - 1);
    bench_attn(b, TW_BF16, 1, 1, 128, KV_POS - 1);
    bench_attn(b, TW_BF16, 1, 8, 128, KV_POS - 1);
    bench_attn(b, TW_BF16, 64, 4, 64, KV_POS - 64);
    bench_attn(b, TW_BF16, 64, 4, 128, KV_POS - 64);
    bench_attn(b, TW_F32, 64, 4, 128, KV_POS - 64);
    bench_attn(b, TW_BF16, 256, 4, 64, 0);
}

static void bench_quant(bench *b)
{
    for (enum tw_dtype t = TW_Q8_0; t < TW_DTYPE_END; t++) {
        bench_matmul(b, t, 1, 2048, 65536);
        bench_matmul(b, t, 1, 8192, 16384);
        bench_matmul(b, t, 4, 2048, 4096);
        bench_matmul(b, t, 8, 2048, 4096);
        bench_matmul(b, t, 32, 2048, 4096);
        bench_matmul(b, t, 512, 2048, 4096);
    }
}

static void run_sum(bench *b)
{
    b->sink = tw_peak_sum(b->w, STREAM_BYTES);
}

/* The best of this very run: shares are best against best, which neighbours on the same cores
 * disturb least. */
static void find_peaks(bench *b)
{
    double ns[REPEATS];
    time_job(b, &(job){.run = run_sum}, ns);
    b->peak_gbs = (double)STREAM_BYTES / ns[0];
    b->peak_gflops = tw_peak_fma_gflops();
    if (b->json)
        printf("{\"test\":\"kern\",\"kernel\":\"peak\",\"fma_gflops\":%.2f,\"read_gbs\":%.2f}\n",
               b->peak_gflops, b->peak_gbs);
    else
        printf("one thread: fma peak %.1f GFLOP/s, read %.1f GB/s; columns: min, p50, p99, rate "
               "at p50, share at min\n",
               b->peak_gflops, b->peak_gbs);
}

static bool prepare(bench *b)
{
    const size_t n = (size_t)512 * 8192;
    b->w = tw_mem_align((size_t)2 << 20, STREAM_BYTES);
    b->x = tw_mem_align(64, n * sizeof(float));
    b->y = tw_mem_align(64, n * sizeof(float));
    b->z = tw_mem_align(64, n * sizeof(float));
    b->xq = tw_mem_align(64, n / 32 * sizeof *b->xq);
    b->scratch = tw_mem_align(64, TW_MAX(tw_kern_matmul_scratch_bytes(8192),
                                         tw_kern_attn_scratch_bytes(128)));
    if (b->w)
        (void)madvise(b->w, STREAM_BYTES, MADV_HUGEPAGE); /* as weights are kept */
    if (!b->w || !b->x || !b->y || !b->z || !b->xq || !b->scratch)
        return false;
    /* As bf16 halves and as f32 alike: small numbers of both signs. */
    for (size_t i = 0; i < STREAM_BYTES / 2; i++) {
        uint16_t h = (uint16_t)(0x3c00u + (i * 2654435761u >> 9 & 0x81ffu));
        memcpy(b->w + 2 * i, &h, 2);
    }
    for (size_t i = 0; i < n; i++) {
        b->x[i] = (float)(i * 2654435761u >> 8 & 0xffffu) * 0x1p-16f - 0.5f;
        b->y[i] = b->z[i] = b->x[i];
    }
    return true;
}

static void measure(bench *b)
{
    char names[64], *save = NULL;
    find_peaks(b);
    snprintf(names, sizeof names, "%s", b->best ? tw_kern_get(NULL)->name : tw_kern_names());
    for (char *t = strtok_r(names, " ", &save); t; t = strtok_r(NULL, " ", &save)) {
        b->kern = tw_kern_get(t);
        if (b->kern != tw_kern_ref()) {
            bench_fast(b);
            bench_quant(b);
        } else {
            bench_matmul(b, TW_BF16, 1, 2048, 64);
            bench_attn(b, TW_BF16, 1, 1, 64, 255);
            b->type = TW_BF16;
            bench_row(b, "pack", run_pack, (size_t)4096 * 2048, 4);
        }
        bench_rows(b);
    }
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
    bench b = {.json = false};
    int first;
    if (tw_options_parse(c->tables, argc, argv, &b, &first, &err) != 0)
        return tw_command_misused(c, &err);
    b.wanted = argv + first;
    for (int i = first; i < argc; i++)
        if (!is_kernel(argv[i], &err))
            return tw_command_misused(c, &err);
    int rc = 0;
    if (!prepare(&b))
        rc = tw_err_set(&err, -ENOMEM, "no memory for %d MiB of weights", STREAM_BYTES >> 20);
    else
        measure(&b);
    tw_mem_free(b.w);
    tw_mem_free(b.x);
    tw_mem_free(b.y);
    tw_mem_free(b.z);
    tw_mem_free(b.xq);
    tw_mem_free(b.scratch);
    if (rc == 0 && tw_signal_asked_to_stop())
        rc = tw_err_set(&err, -EINTR, "interrupted");
    if (rc == 0)
        rc = tw_out_flush(&err);
    return tw_command_end(c, rc, &err);
}

static const tw_option kern_options[] = {
    {"best", .help = "only the instruction set that would be used", .type = TW_OPT_FLAG,
     .offset = offsetof(bench, best)},
    {"json", .help = "one object a line", .type = TW_OPT_FLAG, .offset = offsetof(bench, json)},
    {.name = NULL},
};
static const tw_option_table kern_tables[] = {{NULL, kern_options}, {NULL, NULL}};
static const tw_note kern_examples[] = {
    {"twinax bench kern", "each kernel of each instruction set, and its share of the peak"},
    {"twinax bench kern matmul attn --best", "two of them, as they run here"},
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

/* SPDX-License-Identifier: Apache-2.0 */
/* One line a kernel and shape: its name and a hash of all bytes that it gave, for the table that is
 * named (default: the best). The same program, built for another machine, prints the same lines.
 * usage: kern_digest [TABLE]; kern_digest --name: which table is the best here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kern/kern.h"

enum { ARENA_BYTES = 64 << 20 };

static _Alignas(64) char arena[ARENA_BYTES];
static size_t arena_used;
static uint64_t rng_state;

/* Zeroed, 64-byte aligned; given back all at once. */
static void *take(size_t bytes)
{
    void *p = arena + arena_used;
    arena_used += (bytes + 63) / 64 * 64;
    if (arena_used > ARENA_BYTES) {
        fprintf(stderr, "kern_digest: %zu bytes are more than its memory\n", arena_used);
        exit(1);
    }
    memset(p, 0, bytes);
    return p;
}

static uint32_t next_random(void)
{
    rng_state += 0x9e3779b97f4a7c15u;
    uint64_t z = rng_state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

/* Numbers of many sizes, the smallest subnormal: none that overflows. */
static float *take_numbers(size_t n)
{
    float *p = take(n * sizeof *p);
    for (size_t i = 0; i < n; i++) {
        uint32_t u = next_random(), exp = u >> 24 & 15 ? 120 + (u >> 24 & 7) : u >> 28;
        u = (u & 0x807fffffu) | exp << 23;
        memcpy(&p[i], &u, sizeof u);
    }
    return p;
}

static void say(const char *what, const void *p, size_t bytes)
{
    const unsigned char *c = p;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ c[i]) * 0x100000001b3u;
    printf("%s %016llx\n", what, (unsigned long long)h);
}

static void begin(uint64_t seed)
{
    arena_used = 0;
    rng_state = seed;
}

static void run_matmul(const tw_kern *k, enum tw_dtype type, size_t m, size_t n, size_t n_k)
{
    begin(m * 1000003 + n * 1009 + n_k);
    float *w = take_numbers(n * n_k), *x = take_numbers(m * n_k), *y = take(m * n * sizeof *y);
    void *raw = take(n * n_k * 4), *data = take(tw_packed_bytes(type, n, n_k));
    tw_kern_ref()->from_f32(raw, w, type, n * n_k);
    tw_pack_rows(type, data, n, n_k, 0, raw, n, n_k);
    uint32_t seg[TW_SEGMENTS + 1];
    tw_segments(n_k, 32, seg);
    const tw_packed packed = {.type = type, .n = n, .k = n_k, .data = data};
    const tw_matmul op = {.w = &packed,
                          .x = x,
                          .m = m,
                          .ldx = n_k,
                          .y = y,
                          .ldy = n,
                          .seg = seg,
                          .n_seg = TW_SEGMENTS,
                          .add = take_numbers(n)};
    k->matmul(&op, 0, (n + TW_PANEL - 1) / TW_PANEL, take(tw_kern_matmul_scratch_bytes(n_k)));
    char what[80];
    snprintf(what, sizeof what, "matmul type %d %zu x %zu x %zu", (int)type, m, n, n_k);
    say(what, y, m * n * sizeof *y);
}

/* Coded weights: groups that no segment begins with. */
static void run_coded(const tw_kern *k, enum tw_dtype type, size_t m, size_t n, size_t n_k)
{
    begin(m * 1000003 + n * 1009 + n_k + (size_t)type);
    tw_packed w = {.type = type, .n = n, .k = n_k, .group = 48, .phase = 10};
    const size_t n_groups = n_k / w.group + 2;
    uint8_t *data = take(tw_packed_size(&w)), *code = take(n * n_k);
    uint8_t *zero = take(n_groups * TW_PANEL);
    float *scale = take(n_groups * TW_PANEL * sizeof *scale), *x = take_numbers(m * n_k);
    float *y = take(m * n * sizeof *y);
    for (size_t i = 0; i < n_groups * TW_PANEL; i++) {
        scale[i] = (float)(1 + next_random() % 2047) * 0x1p-14f;
        zero[i] = (uint8_t)(next_random() % 17);
    }
    for (size_t i = 0; i < n * n_k; i++) /* no NaN */
        code[i] = (uint8_t)(next_random() & (type == TW_INT4 ? 15 : 0xbf));
    for (size_t i = 0; i < n; i += TW_PANEL) {
        const tw_codes src = {.code = code + i * n_k, .ld = n_k, .scale = scale, .zero = zero};
        tw_pack_coded_rows(&w, data, i, &src, n - i < TW_PANEL ? n - i : TW_PANEL);
    }
    w.data = data;
    uint32_t seg[TW_SEGMENTS + 1];
    tw_segments(n_k, 32, seg);
    const tw_matmul op = {
        .w = &w, .x = x, .m = m, .ldx = n_k, .y = y, .ldy = n, .seg = seg, .n_seg = TW_SEGMENTS};
    k->matmul(&op, 0, (n + TW_PANEL - 1) / TW_PANEL, take(tw_kern_matmul_scratch_bytes(n_k)));
    char what[80];
    snprintf(what, sizeof what, "matmul %s %zu x %zu x %zu", tw_dtype_name(type), m, n, n_k);
    say(what, y, m * n * sizeof *y);
}

/* A file's blocks of any bytes, whose scales (f16, or an exponent) are near 1. */
static void make_blocks(enum tw_dtype type, uint8_t *p, size_t n_rows, size_t n_k)
{
    const size_t bytes = tw_dtype_block_bytes(type), n = n_rows * (n_k / tw_dtype_block(type));
    const bool two = type == TW_Q4_1 || type == TW_Q5_1 || type == TW_Q4_K || type == TW_Q5_K;
    for (size_t i = 0; i < n; i++, p += bytes) {
        for (size_t j = 0; j < bytes; j++)
            p[j] = (uint8_t)next_random();
        uint8_t *d = type == TW_Q6_K ? p + bytes - 2 : p;
        if (type == TW_MXFP4)
            d[0] = (uint8_t)(120 + d[0] % 8);
        else
            d[1] = (uint8_t)(0x38 | (d[1] & 0x83));
        if (two)
            d[3] = (uint8_t)(0x38 | (d[3] & 0x83));
    }
}

/* The same with quantised weights: both ways to have the activations. */
static void run_quant(const tw_kern *k, enum tw_dtype type, size_t m, size_t n, size_t n_k)
{
    begin(m * 1000003 + n * 1009 + n_k + (size_t)type);
    const size_t row_bytes = tw_dtype_row_bytes(type, n_k), n_x = n_k / 32;
    float *x = take_numbers(m * n_k), *y = take(m * n * sizeof *y);
    uint8_t *raw = take(n * row_bytes), *data = take(tw_packed_bytes(type, n, n_k));
    make_blocks(type, raw, n, n_k);
    tw_pack_quant_rows(type, data, n_k, 0, raw, n, row_bytes, 0);
    tw_xblock *xq = take(m * n_x * sizeof *xq);
    for (size_t i = 0; i < m; i++)
        k->quantize(xq + i * n_x, x + i * n_k, n_k);
    uint32_t seg[TW_SEGMENTS + 1];
    tw_segments(n_k, 32, seg);
    const tw_packed packed = {.type = type, .n = n, .k = n_k, .data = data};
    const tw_matmul op = {.w = &packed,
                          .x = x,
                          .m = m,
                          .ldx = n_k,
                          .y = y,
                          .ldy = n,
                          .seg = seg,
                          .n_seg = TW_SEGMENTS,
                          .xq = m > 3 ? xq : NULL,
                          .ldxq = n_x};
    k->matmul(&op, 0, (n + TW_PANEL - 1) / TW_PANEL, take(tw_kern_matmul_scratch_bytes(n_k)));
    char what[80];
    snprintf(what, sizeof what, "%s %zu x %zu x %zu", tw_dtype_name(type), m, n, n_k);
    say(what, y, m * n * sizeof *y);
}

static const void **take_pages(enum tw_dtype type, size_t n_pages, size_t q_dim)
{
    const void **pages = take(n_pages * sizeof *pages);
    for (size_t i = 0; i < n_pages; i++) {
        void *page = take(TW_KV_BLOCK * q_dim * 4);
        tw_kern_ref()->from_f32(page, take_numbers(TW_KV_BLOCK * q_dim), type, TW_KV_BLOCK * q_dim);
        pages[i] = page;
    }
    return pages;
}

static void run_attn(const tw_kern *k, enum tw_dtype type, size_t q_dim, uint32_t rows,
                     uint32_t group, uint32_t pos0, uint32_t window)
{
    begin(q_dim * 7 + rows + pos0);
    const size_t n = rows * group * q_dim, n_pages = (pos0 + rows - 1) / TW_KV_BLOCK + 1;
    float *out = take(n * sizeof *out);
    const tw_attn op = {.q = take_numbers(n),
                        .ld_row = group * q_dim,
                        .ld_head = q_dim,
                        .out = out,
                        .ld_out_row = group * q_dim,
                        .k_pages = take_pages(type, n_pages, q_dim),
                        .v_pages = take_pages(type, n_pages, q_dim),
                        .kv_type = type,
                        .q_dim = q_dim,
                        .n_group = group,
                        .pos0 = pos0,
                        .window = window,
                        .scale = 0.125f};
    k->attn(&op, 0, rows, take(tw_kern_attn_scratch_bytes(q_dim)));
    char what[80];
    snprintf(what, sizeof what, "attn type %d q %zu rows %u x %u at %u window %u", (int)type, q_dim,
             rows, group, pos0, window);
    say(what, out, n * sizeof *out);
}

static void run_rows(const tw_kern *k, size_t n)
{
    char what[80];
    begin(n);
    float *x = take_numbers(n), *u = take_numbers(n), *y = take(n * sizeof *y);
    uint16_t *h = take(n * sizeof *h);
#define SAY(name)                                                                                  \
    snprintf(what, sizeof what, "%s %zu", name, n);                                                \
    say(what, y, n * sizeof *y)
    k->rmsnorm(y, x, u, n, 1e-5f);
    SAY("rmsnorm");
    k->silu_mul(y, x, u, n);
    SAY("silu_mul");
    k->add(y, x, u, n);
    SAY("add");
    k->exp(y, x, n);
    SAY("exp");
    memcpy(y, x, n * sizeof *y);
    k->rope(y, 1, n, n / 2 * 2, u, x);
    SAY("rope");
    for (int type = TW_F16; type <= TW_BF16; type++) {
        k->from_f32(h, x, (enum tw_dtype)type, n);
        snprintf(what, sizeof what, "narrow type %d %zu", type, n);
        say(what, h, n * sizeof *h);
        k->to_f32(y, h, (enum tw_dtype)type, n);
        SAY("widen");
    }
    printf("argmax %zu %zu\n", n, k->argmax(x, n));
#undef SAY
}

int main(int argc, char **argv)
{
    const bool ask = argc > 1 && !strcmp(argv[1], "--name");
    const tw_kern *k = tw_kern_get(argc > 1 && !ask ? argv[1] : NULL);
    if (k == NULL) {
        fprintf(stderr, "kern_digest: no table \"%s\" here, there are: %s\n", argv[1],
                tw_kern_names());
        return 2;
    }
    if (ask)
        return printf("%s\n", k->name) < 0;
    static const size_t rows[] = {1, 2, 3, 5, 6, 7, 12, 13, 49, 200};
    static const size_t quant_rows[] = {1, 2, 3, 5, 6, 7, 11}; /* tiles end with 1, 2, 3 rows */
    for (int type = TW_F32; type <= TW_BF16; type++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            run_matmul(k, (enum tw_dtype)type, rows[i], 64 + 13 * i, 300 + 7 * i);
    for (int type = TW_Q8_0; type < TW_QUANT_END; type++)
        for (size_t i = 0; i < sizeof quant_rows / sizeof *quant_rows; i++)
            run_quant(k, (enum tw_dtype)type, quant_rows[i], 64 + 13 * quant_rows[i],
                      512 + 256 * (quant_rows[i] % 3));
    for (int type = TW_FP8; type < TW_DTYPE_END; type++)
        for (size_t m = 1; m < 20; m += m < 5 ? 1 : 7)
            run_coded(k, (enum tw_dtype)type, m, 64 + 13 * m, 530 + 8 * m);
    for (int type = TW_F32; type <= TW_BF16; type += TW_BF16 - TW_F32) {
        run_attn(k, (enum tw_dtype)type, 64, 1, 4, 1100, 0);
        run_attn(k, (enum tw_dtype)type, 128, 2, 1, 130, 0);
        run_attn(k, (enum tw_dtype)type, 80, 21, 3, 1015, 0);
        run_attn(k, (enum tw_dtype)type, 30, 9, 2, 100, 70);
    }
    for (size_t n = 1; n < 70; n += 3)
        run_rows(k, n);
    run_rows(k, 4099);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised weights: a file's blocks against the values that the package gguf reads
 * (tools/make_quant_goldens.py), and every table against ref, bit for bit. */
#include "tables.h"

enum { GOLDEN_K = 512 };

static void *read_golden(const char *name, const char *kind, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/quant/%s.%s", getenv("TW_TEST_DATA"), name, kind);
    FILE *f = fopen(path, "rb");
    void *p = guard_new(bytes);
    if (!f || fread(p, 1, bytes, f) != bytes || fgetc(f) != EOF)
        fail_msg("%s: wanted %zu bytes", path, bytes);
    fclose(f);
    return p;
}

static void test_facts(void **state)
{
    (void)state;
    assert_string_equal(tw_dtype_name(TW_F32), "F32");
    assert_string_equal(tw_dtype_name(TW_Q4_K), "Q4_K");
    assert_string_equal(tw_dtype_name(TW_MXFP4), "MXFP4");
    for (enum tw_dtype t = TW_F32; t < TW_QUANT_END; t++) {
        assert_int_equal(tw_dtype_is_quant(t), t > TW_BF16);
        assert_int_equal(tw_dtype_bytes(t) == 0, t > TW_BF16);
        size_t block = tw_dtype_block(t);
        assert_int_equal(tw_dtype_row_bytes(t, 3 * block), 3 * tw_dtype_block_bytes(t));
        if (tw_dtype_block_bytes(t) > block)
            assert_int_equal(tw_dtype_row_bytes(t, SIZE_MAX / block * block), 0);
        if (block > 1)
            assert_int_equal(tw_dtype_row_bytes(t, block + 1), 0);
    }
    assert_int_equal(tw_dtype_row_bytes(TW_Q6_K, 512), 420);
    assert_int_equal(tw_dtype_row_bytes(TW_BF16, 7), 14);
}

static void test_dequantize(void **state)
{
    (void)state;
    for (int flush = 0; flush < 2; flush++)
        for (enum tw_dtype t = TW_Q8_0; t < TW_QUANT_END; t++) {
            guard_end = flush;
            const char *name = tw_dtype_name(t);
            void *blocks = read_golden(name, "blocks", tw_dtype_row_bytes(t, GOLDEN_K));
            float *want = read_golden(name, "f32", GOLDEN_K * sizeof *want);
            float *got = guard_new(GOLDEN_K * sizeof *got);
            tw_dequantize_row(t, got, blocks, GOLDEN_K);
            assert_same(got, want, GOLDEN_K, name);
            guard_reset();
        }
}

static void test_dequantize_plain(void **state)
{
    (void)state;
    const uint16_t h[2] = {0x3f80, 0xc000}; /* 1, -2 */
    float y[2];
    tw_dequantize_row(TW_BF16, y, h, 2);
    assert_true(y[0] == 1.0f && y[1] == -2.0f);
}

static void test_quantize(void **state)
{
    (void)state;
    static const enum tw_dtype types[] = {TW_Q8_0, TW_Q4_0};
    for (size_t i = 0; i < 2; i++) {
        const size_t bytes = tw_dtype_row_bytes(types[i], GOLDEN_K);
        float *x = read_golden("source", "f32", GOLDEN_K * sizeof *x);
        uint8_t *want = read_golden(tw_dtype_name(types[i]), "from", bytes),
                *got = guard_new(bytes);
        tw_quantize_rows(types[i], got, x, GOLDEN_K);
        for (size_t b = 0; b < bytes; b++)
            if (got[b] != want[b])
                fail_msg("%s byte %zu is %u, wanted %u", tw_dtype_name(types[i]), b, got[b],
                         want[b]);
        guard_reset();
    }
}

/* What f16 cannot hold is made the largest that it can; what is too small for 1 / d is zero. */
static void test_quantize_extremes(void **state)
{
    (void)state;
    float x[64] = {0}, y[64];
    uint8_t blocks[2 * 34];
    x[0] = 1e30f;
    x[32] = 0x1p-149f;
    x[33] = -0x1p-149f;
    tw_quantize_rows(TW_Q8_0, blocks, x, 64);
    tw_dequantize_row(TW_Q8_0, y, blocks, 64);
    assert_true(y[0] == 65504.0f * 127.0f && y[1] == 0.0f && y[32] == 0.0f && y[33] == 0.0f);
    tw_quantize_rows(TW_Q4_0, blocks, x, 64);
    tw_dequantize_row(TW_Q4_0, y, blocks, 64);
    assert_true(y[0] == 65504.0f * 8.0f && y[1] == 0.0f && y[32] == 0.0f && y[33] == 0.0f);
}

/* ---- products ---- */

typedef struct shape {
    enum tw_dtype type;
    size_t m, n, k, col0; /* k, col0: multiples of 32 */
    unsigned n_seg;
    uint32_t seg[TW_SEGMENTS + 1];
    bool hard, bias, own_x; /* own_x: the product quantises x */
} shape;

/* A finite f16 of either sign, seldom zero; hard: any size. */
static void put_scale(uint8_t *p, bool hard)
{
    uint16_t h = tw_f16_from_f32(rng_float() * 0.01f);
    if (hard)
        h = (uint16_t)(rng_next() & 0xbfffu);
    if (rng_below(16) == 0)
        h = 0;
    memcpy(p, &h, 2);
}

/* A row of random blocks. */
static void fill_blocks(enum tw_dtype t, uint8_t *p, size_t bytes, bool hard)
{
    const size_t step = tw_dtype_block_bytes(t);
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)rng_next();
    for (size_t i = 0; i < bytes; i += step) {
        if (t == TW_MXFP4)
            p[i] = (uint8_t)(hard ? rng_below(200) : 120 + rng_below(5));
        else
            put_scale(p + i + (t == TW_Q6_K ? 208 : 0), hard);
        if (t == TW_Q4_1 || t == TW_Q5_1 || t == TW_Q4_K || t == TW_Q5_K)
            put_scale(p + i + 2, hard);
        for (size_t b = 0; t == TW_Q8_0 && hard && b < 32; b++)
            p[i + 2 + b] = rng_below(3) ? p[i + 2 + b] : 0x80; /* -128 */
    }
}

/* Any borders at granules: neighbours often meet, so that segments are empty. */
static void random_segments(shape *s)
{
    static const unsigned counts[4] = {8, 4, 2, 1};
    const size_t n = s->k / 32;
    s->n_seg = counts[rng_below(4)];
    s->seg[0] = (uint32_t)rng_below(2) * 32;
    for (unsigned i = 1; i < s->n_seg; i++) {
        uint32_t at = (uint32_t)(rng_below(3) ? n * i / s->n_seg : rng_below(n + 1)) * 32;
        s->seg[i] = at > s->seg[i - 1] ? at : s->seg[i - 1];
    }
    s->seg[s->n_seg] = (uint32_t)s->k;
}

typedef struct weights {
    uint8_t *rows; /* [n][row_bytes] of the file */
    size_t row_bytes, file_k;
    tw_packed packed;
} weights;

/* The file's rows reach past the cut, to a block's end. */
static weights make_weights(const shape *s)
{
    const size_t block = tw_dtype_block(s->type);
    const size_t file_k = (s->col0 + s->k + block - 1) / block * block;
    weights w = {.file_k = file_k, .row_bytes = tw_dtype_row_bytes(s->type, file_k)};
    w.rows = guard_new(s->n * w.row_bytes);
    fill_blocks(s->type, w.rows, s->n * w.row_bytes, s->hard);
    const size_t bytes = tw_packed_bytes(s->type, s->n, s->k), cut = rng_below(s->n + 1);
    const bool flush = guard_end;
    guard_end = true; /* a multiple of 64, so aligned */
    char *data = guard_new(bytes);
    guard_end = flush;
    memset(data, 0, bytes);
    tw_pack_quant_rows(s->type, data, s->k, 0, w.rows, cut, w.row_bytes, s->col0);
    tw_pack_quant_rows(s->type, data, s->k, cut, w.rows + cut * w.row_bytes, s->n - cut,
                       w.row_bytes, s->col0);
    w.packed = (tw_packed){.type = s->type, .n = s->n, .k = s->k, .data = data};
    return w;
}

/* The specification against f64 sums of the widened weights and the quantised x. */
static void check_ref(const shape *s, const weights *w, const tw_matmul *op)
{
    const size_t n_x = s->k / 32;
    float *row = calloc(w->file_k, sizeof *row);
    tw_xblock *xq = calloc(n_x, sizeof *xq);
    for (size_t m = 0; m < s->m; m++) {
        tw_kern_ref()->quantize(xq, op->x + m * op->ldx, s->k);
        for (size_t n = 0; n < s->n; n++) {
            double sum = 0, size = 0;
            tw_dequantize_row(s->type, row, w->rows + n * w->row_bytes, w->file_k);
            for (size_t k = s->seg[0]; k < s->k; k++) {
                double v = (double)row[s->col0 + k] * (double)xq[k / 32].d * xq[k / 32].q[k % 32];
                sum += v;
                size += fabs(v);
            }
            double got = (double)op->y[m * op->ldy + n] - (op->add ? (double)op->add[n] : 0.0);
            if (fabs(got - sum) > 1e-5 * size + 1e-6)
                fail_msg("%s ref m %zu n %zu of k %zu col0 %zu: %g, wanted %g",
                         tw_dtype_name(s->type), m, n, s->k, s->col0, got, sum);
        }
    }
    free(row);
    free(xq);
}

static void check_matmul(const shape *s)
{
    const weights w = make_weights(s);
    const size_t ldx = s->k + rng_below(3), ldy = s->n + rng_below(3), n_x = s->k / 32;
    const size_t x_n = (s->m - 1) * ldx + s->k, y_n = (s->m - 1) * ldy + s->n;
    float *x = guard_new(x_n * 4), *add = guard_new(s->n * 4);
    float *want = guard_new(y_n * 4), *got = guard_new(y_n * 4);
    tw_xblock *xq = guard_new(s->m * n_x * sizeof *xq);
    const bool flush = guard_end;
    guard_end = true;
    void *scratch = guard_new((tw_kern_matmul_scratch_bytes(s->k) + 63) / 64 * 64);
    guard_end = flush;
    (s->hard ? fill_hard : fill)(x, x_n);
    fill(add, s->n);
    for (size_t m = 0; m < s->m; m++)
        tw_kern_ref()->quantize(xq + m * n_x, x + m * ldx, s->k);
    tw_matmul op = {.w = &w.packed,
                    .x = x,
                    .m = s->m,
                    .ldx = ldx,
                    .y = want,
                    .ldy = ldy,
                    .seg = s->seg,
                    .n_seg = s->n_seg,
                    .add = s->bias ? add : NULL};
    const size_t n_panels = (s->n + TW_PANEL - 1) / TW_PANEL, cut = rng_below(n_panels + 1);
    tw_kern_ref()->matmul(&op, 0, n_panels, scratch);
    if (!s->hard)
        check_ref(s, &w, &op);
    op.y = got;
    op.xq = s->own_x ? NULL : xq;
    op.ldxq = n_x;
    for (size_t t = 0; t < n_tables; t++) {
        memset(got, 0x5a, y_n * 4);
        tables[t]->matmul(&op, cut, n_panels, scratch);
        tables[t]->matmul(&op, 0, cut, scratch);
        char what[160];
        snprintf(what, sizeof what, "%s %s m %zu n %zu k %zu col0 %zu n_seg %u hard %d own %d",
                 tables[t]->name, tw_dtype_name(s->type), s->m, s->n, s->k, s->col0, s->n_seg,
                 s->hard, s->own_x);
        assert_same(got, want, y_n, what);
    }
    guard_reset();
}

static void run_shape(enum tw_dtype type, size_t m, size_t n, size_t k)
{
    shape s = {.type = type, .m = m, .n = n, .k = k, .col0 = rng_below(2) * rng_below(20) * 32};
    s.hard = rng_below(3) == 0;
    s.bias = rng_below(2);
    s.own_x = rng_below(3) == 0;
    guard_end = rng_below(2);
    random_segments(&s);
    check_matmul(&s);
}

static void test_matmul(void **state)
{
    (void)state;
    rng_start();
    for (enum tw_dtype t = TW_Q8_0; t < TW_QUANT_END; t++) {
        for (size_t m = 1; m <= 13; m++)
            run_shape(t, m, 1 + rng_below(150), 32 * (1 + rng_below(20)));
        run_shape(t, 1, 64, 32);
        run_shape(t, 1, 64, 256);
        run_shape(t, 2, 70, 32 * 70);
        run_shape(t, 29, 20, 32 * 35);
        run_shape(t, 195, 9, 96);
    }
}

/* Sums of the largest numbers: where 16 bits saturate, this fails. */
static void test_matmul_extreme(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {0x00, 0x7f, 0x80, 0x81, 0xff, 0x0f, 0xf0};
    for (enum tw_dtype t = TW_Q8_0; t < TW_QUANT_END; t++)
        for (size_t i = 0; i < 2 * sizeof bytes; i++) {
            enum { K = 512, N = 64, M = 5 };
            const size_t row_bytes = tw_dtype_row_bytes(t, K);
            uint8_t *rows = guard_new(N * row_bytes);
            char *data = guard_new(tw_packed_bytes(t, N, K));
            void *scratch = guard_new((tw_kern_matmul_scratch_bytes(K) + 63) / 64 * 64);
            float x[M * K], want[M * N], got[M * N];
            memset(data, 0, tw_packed_bytes(t, N, K));
            fill_blocks(t, rows, N * row_bytes, false);
            for (size_t b = 0; b < N * row_bytes; b++) {
                const size_t at = b % tw_dtype_block_bytes(t);
                if (t == TW_Q6_K ? at < 208 : at >= (t == TW_MXFP4 ? 1u : 4u))
                    rows[b] = bytes[i / 2];
            }
            for (size_t k = 0; k < M * K; k++)
                x[k] = i % 2 || k % 3 ? 1.0f : -1.0f;
            tw_pack_quant_rows(t, data, K, 0, rows, N, row_bytes, 0);
            const tw_packed w = {.type = t, .n = N, .k = K, .data = data};
            uint32_t seg[2] = {0, K};
            tw_matmul op = {
                .w = &w, .x = x, .m = M, .ldx = K, .y = want, .ldy = N, .seg = seg, .n_seg = 1};
            for (op.m = 1; op.m <= M; op.m += M - 1) {
                op.y = want;
                tw_kern_ref()->matmul(&op, 0, 1, scratch);
                op.y = got;
                for (size_t j = 0; j < n_tables; j++) {
                    tables[j]->matmul(&op, 0, 1, scratch);
                    assert_same(got, want, op.m * N, tw_dtype_name(t));
                }
            }
            guard_reset();
        }
}

/* ---- activations ---- */

static void fill_for_quantize(float *x, size_t k, size_t kind)
{
    fill(x, k);
    for (size_t i = 0; i < k; i++) {
        if (kind == 1) /* ties: amax 127, halves between */
            x[i] = i % 32 ? (float)(int)(rng_below(254)) - 126.5f : 127.0f;
        if (kind == 2)
            x[i] *= 0x1p-126f;
        if (kind == 3)
            x[i] *= 0x1p127f;
        if (kind == 4)
            x[i] = tw_f32_from_bits((uint32_t)rng_next() & 0x807fffffu); /* subnormal */
        if (kind == 5)
            x[i] = rng_below(2) ? 0.0f : -0.0f;
        if (kind == 6)
            x[i] = tw_f32_from_bits((uint32_t)rng_next()); /* anything */
    }
    if (kind == 7)
        x[rng_below(k)] = (float)NAN;
    if (kind == 8)
        x[rng_below(k)] = -INFINITY;
    if (kind == 9)
        fill_hard(x, k);
}

static void check_quantize(const tw_kern *kern, size_t n, size_t kind)
{
    const size_t k = n * 32;
    float *x = guard_new(k * sizeof *x);
    tw_xblock *want = guard_new(n * sizeof *want), *got = guard_new(n * sizeof *got);
    fill_for_quantize(x, k, kind);
    tw_kern_ref()->quantize(want, x, k);
    kern->quantize(got, x, k);
    for (size_t i = 0; i < n; i++) {
        assert_same(&got[i].d, &want[i].d, 1, kern->name);
        assert_memory_equal(got[i].q, want[i].q, 32);
        assert_int_equal(got[i].minus_sum, want[i].minus_sum);
        assert_memory_equal(got[i].minus_half, want[i].minus_half, 8);
        int32_t sum = 0;
        for (size_t j = 0; j < 32; j++) {
            assert_true(want[i].q[j] >= -127);
            sum += want[i].q[j];
        }
        assert_int_equal(sum, -want[i].minus_sum);
    }
    guard_reset();
}

static void test_quantize_x(void **state)
{
    (void)state;
    rng_start();
    for (size_t t = 0; t < n_tables; t++)
        for (size_t n = 1; n < 40; n++)
            for (size_t kind = 0; kind < 10; kind++) {
                guard_end = rng_below(2);
                check_quantize(tables[t], n, kind);
            }
}

/* The rule itself: nearest, ties to even, zero and what is not finite. */
static void test_quantize_x_ref(void **state)
{
    (void)state;
    float x[32] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -126.5f, 63.49f};
    tw_xblock b;
    tw_kern_ref()->quantize(&b, x, 32);
    const int8_t want[8] = {127, 0, 2, 2, 0, -2, -126, 63};
    assert_memory_equal(b.q, want, 8);
    assert_true(b.d == 1.0f && b.minus_sum == -(127 + 0 + 2 + 2 - 2 - 126 + 63));
    memset(x, 0, sizeof x);
    tw_kern_ref()->quantize(&b, x, 32);
    assert_true(b.d == 0.0f && b.minus_sum == 0 && b.q[0] == 0);
    x[3] = (float)NAN;
    tw_kern_ref()->quantize(&b, x, 32);
    assert_true(isnan(b.d) && b.q[3] == 0);
    x[3] = INFINITY;
    tw_kern_ref()->quantize(&b, x, 32);
    assert_true(isinf(b.d) && b.q[3] == 0);
}

static void test_packed_bytes(void **state)
{
    (void)state;
    assert_int_equal(tw_packed_bytes(TW_Q8_0, 64, 64), 2 * 34 * 64);
    assert_int_equal(tw_packed_bytes(TW_Q4_0, 65, 32), 2 * 18 * 64);
    assert_int_equal(tw_packed_bytes(TW_MXFP4, 1, 32), 17 * 64);
    assert_int_equal(tw_packed_bytes(TW_Q4_0, 64, 33), 0);
    assert_int_equal(tw_packed_bytes(TW_Q4_0, SIZE_MAX, 64), 0);
    assert_int_equal(tw_packed_bytes(TW_Q8_0, 64, SIZE_MAX / 32 * 32), 0);
    /* A K-quant takes its file's bytes, a line, and one super-block's head. */
    assert_true(tw_packed_bytes(TW_Q4_K, 64, 2048) <= 64 * 8 * 144 + 64 + 1024);
    assert_true(tw_packed_bytes(TW_Q6_K, 64, 2048) <= 64 * 8 * 210 + 64 + 1152);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_dequantize),
        cmocka_unit_test(test_dequantize_plain),
        cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_quantize_extremes),
        cmocka_unit_test(test_packed_bytes),
        cmocka_unit_test(test_quantize_x_ref),
        cmocka_unit_test(test_quantize_x),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_matmul_extreme),
    };
    find_tables();
    return cmocka_run_group_tests_name("kern_quant", tests, NULL, NULL);
}

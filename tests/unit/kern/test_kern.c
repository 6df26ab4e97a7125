/* SPDX-License-Identifier: Apache-2.0 */
/* Every table that runs here gives the bits of ref, for every shape, and touches no byte outside. */
#include "tables.h"

#include "base/scope.h"

static void narrow(void *dst, const float *src, enum tw_dtype type, size_t n)
{
    tw_kern_ref()->from_f32(dst, src, type, n);
}

typedef struct shape {
    size_t m, n, k, ldx, ldy;
    uint32_t seg[TW_SEGMENTS + 1];
    unsigned n_seg;
    enum tw_dtype type;
    bool hard, bias;
} shape;

static tw_packed make_weights(const shape *s)
{
    size_t bytes = tw_packed_bytes(s->type, s->n, s->k), esize = tw_dtype_bytes(s->type);
    char *data = guard_new(bytes);
    float *w = guard_new(s->n * s->k * sizeof *w);
    char *raw = guard_new(s->n * s->k * esize);
    memset(data, 0, bytes);
    (s->hard ? fill_hard : fill)(w, s->n * s->k);
    narrow(raw, w, s->type, s->n * s->k);
    size_t cut = rng_below(s->n + 1);
    tw_pack_rows(s->type, data, s->n, s->k, 0, raw, cut, s->k);
    tw_pack_rows(s->type, data, s->n, s->k, cut, raw + cut * s->k * esize, s->n - cut, s->k);
    return (tw_packed){.type = s->type, .n = s->n, .k = s->k, .data = data};
}

static void check_matmul(const tw_kern *kern, const shape *s)
{
    tw_packed w = make_weights(s);
    size_t x_n = (s->m - 1) * s->ldx + s->k, y_n = (s->m - 1) * s->ldy + s->n;
    float *x = guard_new(x_n * sizeof *x), *add = guard_new(s->n * sizeof *add);
    float *want = guard_new(y_n * sizeof *want), *got = guard_new(y_n * sizeof *got);
    bool flush = guard_end;
    guard_end = true;
    void *scratch = guard_new((tw_kern_matmul_scratch_bytes(s->k) + 63) / 64 * 64);
    guard_end = flush;
    (s->hard ? fill_hard : fill)(x, x_n);
    fill(add, s->n);
    tw_matmul op = {.w = &w, .x = x, .m = s->m, .ldx = s->ldx, .y = want, .ldy = s->ldy};
    op.seg = s->seg;
    op.n_seg = s->n_seg;
    op.add = s->bias ? add : NULL;
    size_t n_panels = (s->n + TW_PANEL - 1) / TW_PANEL, cut = rng_below(n_panels + 1);
    tw_kern_ref()->matmul(&op, 0, n_panels, scratch);
    op.y = got;
    kern->matmul(&op, cut, n_panels, scratch);
    kern->matmul(&op, 0, cut, scratch);
    char what[160];
    snprintf(what, sizeof what, "%s matmul m %zu n %zu k %zu type %d n_seg %u hard %d", kern->name,
             s->m, s->n, s->k, (int)s->type, s->n_seg, s->hard);
    assert_same(got, want, y_n, what);
    guard_reset();
}

static void run_shape(size_t m, size_t n, size_t k, enum tw_dtype type)
{
    shape s = {.m = m, .n = n, .k = k, .type = type};
    s.ldx = k + rng_below(2) * rng_below(9);
    s.ldy = n + rng_below(2) * rng_below(9);
    s.hard = rng_below(3) == 0;
    s.bias = rng_below(2);
    s.n_seg = rng_segments(s.seg, (uint32_t)s.k);
    for (size_t t = 0; t < n_tables; t++)
        check_matmul(tables[t], &s);
}

static void test_matmul(void **state)
{
    (void)state;
    rng_start();
    for (int round = 0; round < 6; round++)
        for (size_t m = 1; m <= 13; m++)
            for (int type = TW_F32; type <= TW_BF16; type++) {
                guard_end = rng_below(2);
                run_shape(m, 1 + rng_below(150), 1 + rng_below(200), (enum tw_dtype)type);
            }
    static const size_t large[] = {23, 24, 25, 29, 64, 191, 192, 193, 197, 203, 386};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        for (int type = TW_F32; type <= TW_BF16; type++) {
            guard_end = rng_below(2);
            run_shape(large[i], 1 + rng_below(70), 1 + rng_below(100), (enum tw_dtype)type);
        }
    for (int type = TW_F32; type <= TW_BF16; type++) { /* segments longer than a block */
        run_shape(26, 64, 2500, (enum tw_dtype)type);
        run_shape(3, 64, 2500, (enum tw_dtype)type);
        run_shape(1, 70, 5000, (enum tw_dtype)type);
    }
}

static void test_matmul_all_empty(void **state)
{
    (void)state;
    float y[2] = {7.0f, 7.0f}, x = 1.0f;
    char *scratch = guard_new((tw_kern_matmul_scratch_bytes(0) + 63) / 64 * 64);
    uint32_t seg[9] = {0};
    tw_packed w = {.type = TW_F32, .n = 2, .k = 0, .data = scratch};
    for (size_t t = 0; t <= n_tables; t++) {
        tw_matmul op = {
            .w = &w, .x = &x, .m = 1, .ldx = 1, .y = y, .ldy = 2, .seg = seg, .n_seg = 8};
        y[0] = y[1] = 7.0f;
        (t < n_tables ? tables[t] : tw_kern_ref())->matmul(&op, 0, 1, scratch);
        assert_int_equal(tw_f32_bits(y[0]) | tw_f32_bits(y[1]), 0);
    }
    guard_reset();
}

/* Sums too small for f32 leave -0, and an empty neighbour does not make it +0. */
static void test_matmul_empty_neighbour(void **state)
{
    (void)state;
    float x[3] = {-1e-30f, -1e-30f, -1e-30f}, y[6];
    float *data = guard_new(3 * TW_PANEL * sizeof *data);
    void *scratch = guard_new((tw_kern_matmul_scratch_bytes(3) + 63) / 64 * 64);
    for (size_t i = 0; i < 3 * TW_PANEL; i++)
        data[i] = 1e-30f;
    tw_packed w = {.type = TW_F32, .n = 6, .k = 3, .data = data};
    for (unsigned full = 0; full < TW_SEGMENTS; full++) {
        uint32_t seg[TW_SEGMENTS + 1] = {0};
        for (unsigned i = full + 1; i <= TW_SEGMENTS; i++)
            seg[i] = 3;
        for (size_t t = 0; t <= n_tables; t++) {
            tw_matmul op = {
                .w = &w, .x = x, .m = 1, .ldx = 3, .y = y, .ldy = 6, .seg = seg, .n_seg = 8};
            (t < n_tables ? tables[t] : tw_kern_ref())->matmul(&op, 0, 1, scratch);
            for (size_t i = 0; i < 6; i++)
                assert_int_equal(tw_f32_bits(y[i]), 0x80000000u);
        }
    }
    guard_reset();
}

typedef struct attn_shape {
    size_t q_dim, n_rows, pad;
    unsigned n_group, n_kv;
    uint32_t pos0, window;
    enum tw_dtype type;
    bool hard;
} attn_shape;

/* Of a table of pages only those of spans [0, n_spans): no thread has others'. */
static const void *const *cut_table(const void *const *pages, size_t n_pages, uint32_t n_spans)
{
    const size_t n = TW_MIN(n_pages, (size_t)n_spans * TW_KV_SPAN / TW_KV_BLOCK);
    const void **cut = guard_new(TW_MAX(n, (size_t)1) * sizeof *cut);
    memcpy(cut, pages, n * sizeof *cut);
    return cut;
}

/* The spans in two calls, the later ones first, then their merging. */
static void check_parts(const tw_kern *kern, tw_attn *op, const attn_shape *s, void *scratch)
{
    const size_t heads = s->n_group * s->n_kv;
    uint32_t rows = (uint32_t)s->n_rows;
    op->n_spans = (s->pos0 + rows - 1) / TW_KV_SPAN + 1;
    op->parts = guard_new(rows * heads * op->n_spans * (s->q_dim + 2) * sizeof(float));
    uint32_t cut = (uint32_t)rng_below(op->n_spans + 1), row = (uint32_t)rng_below(rows + 1);
    const tw_kern *late = rng_below(2) ? kern : tw_kern_ref(); /* their partials are the same */
    late->attn_spans(op, 0, rows, cut, op->n_spans, scratch);
    const size_t n_pages = TW_DIV_UP(s->pos0 + rows, (uint32_t)TW_KV_BLOCK);
    tw_attn early = *op;
    early.k_pages = cut_table(op->k_pages, n_pages, cut);
    early.v_pages = cut_table(op->v_pages, n_pages, cut);
    kern->attn_spans(&early, row, rows, 0, cut, scratch);
    kern->attn_spans(&early, 0, row, 0, cut, scratch);
    (rng_below(2) ? kern : tw_kern_ref())->attn_merge(op, row, rows);
    kern->attn_merge(op, 0, row);
}

static void check_attn(const tw_kern *kern, const attn_shape *s)
{
    size_t n_pages = (s->pos0 + s->n_rows + TW_KV_BLOCK - 1) / TW_KV_BLOCK;
    size_t page_n = TW_KV_BLOCK * s->q_dim * s->n_kv, esize = tw_dtype_bytes(s->type);
    const void **k_pages = calloc(2 * n_pages, sizeof *k_pages), **v_pages = k_pages + n_pages;
    float *x = malloc(page_n * sizeof *x);
    /* One guarded run of pages; the walk takes them backwards. */
    char *pool = guard_new(2 * n_pages * page_n * esize);
    for (size_t i = 0; i < 2 * n_pages; i++) {
        fill(x, page_n);
        if (s->hard)
            for (size_t j = 0; j < page_n; j++)
                x[j] *= rng_below(4) ? 20.0f : 0x1p-140f;
        char *p = pool + (2 * n_pages - 1 - i) * page_n * esize;
        narrow(p, x, s->type, page_n);
        k_pages[i] = p;
    }
    size_t ld_head = s->q_dim + s->pad, heads = s->n_group * s->n_kv;
    size_t ld_row = ld_head * heads + s->pad;
    size_t n = (s->n_rows - 1) * ld_row + (heads - 1) * ld_head + s->q_dim;
    float *q = guard_new(n * sizeof *q), *want = guard_new(n * sizeof *q);
    float *got = guard_new(n * sizeof *q);
    bool flush = guard_end;
    guard_end = true;
    void *scratch = guard_new((tw_kern_attn_scratch_bytes(s->q_dim) + 63) / 64 * 64);
    guard_end = flush;
    fill(q, n);
    tw_attn op = {.q = q,
                  .ld_row = ld_row,
                  .ld_head = ld_head,
                  .out = want,
                  .ld_out_row = ld_row,
                  .k_pages = k_pages,
                  .v_pages = v_pages,
                  .kv_type = s->type,
                  .q_dim = s->q_dim,
                  .n_group = s->n_group,
                  .n_kv = s->n_kv,
                  .pos0 = s->pos0,
                  .window = s->window,
                  .scale = 1.0f / sqrtf((float)s->q_dim)};
    tw_kern_ref()->attn(&op, 0, (uint32_t)s->n_rows, scratch);
    op.out = got;
    uint32_t cut = (uint32_t)rng_below(s->n_rows + 1);
    kern->attn(&op, 0, cut, scratch);
    kern->attn(&op, cut, (uint32_t)s->n_rows, scratch);
    char what[160];
    snprintf(what, sizeof what,
             "%s attn q %zu rows %zu group %u kv %u pos0 %u window %u type %d hard %d", kern->name,
             s->q_dim, s->n_rows, s->n_group, s->n_kv, s->pos0, s->window, (int)s->type, s->hard);
    assert_same(got, want, n, what);
    memset(got, 0x5a, n * sizeof *got);
    memset(want, 0x5a, n * sizeof *want);
    check_parts(kern, &op, s, scratch);
    op.out = want;
    tw_kern_ref()->attn(&op, 0, (uint32_t)s->n_rows, scratch);
    assert_same(got, want, n, what);
    free(x);
    free(k_pages);
    guard_reset();
}

static void test_attn(void **state)
{
    (void)state;
    rng_start();
    static const size_t dims[] = {8, 16, 24, 64, 80, 128, 2, 18, 96, 256, 512};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
            for (size_t t = 0; t < n_tables; t++) {
                attn_shape s = {.q_dim = dims[i],
                                .n_rows = 1 + rng_below(rng_below(2) ? 3 : 70),
                                .pad = rng_below(2) * rng_below(9),
                                .n_group = 1 + (unsigned)rng_below(8),
                                .n_kv = rng_below(2) ? 1 : 1 + (unsigned)rng_below(4),
                                .pos0 = (uint32_t)rng_below(rng_below(2) ? 100 : 400),
                                .type = rng_below(2) ? TW_BF16 : TW_F32,
                                .hard = rng_below(3) == 0};
                s.n_rows = dims[i] > 100 ? s.n_rows % 8 + 1 : s.n_rows;
                s.n_rows = s.n_kv > 1 && rng_below(2) ? 1 : s.n_rows;
                s.window = rng_below(2) ? 1 + (uint32_t)rng_below(200) : 0;
                guard_end = rng_below(2);
                check_attn(tables[t], &s);
            }
    guard_end = true; /* a cut table's end */
    for (size_t t = 0; t < 3 * n_tables; t++)
        check_attn(tables[t % n_tables], &(attn_shape){.q_dim = 64,
                                                       .n_rows = 1,
                                                       .n_group = 2,
                                                       .n_kv = 1 + t % 2,
                                                       .pos0 = 4500,
                                                       .type = TW_BF16});
    for (size_t t = 0; t < n_tables; t++) { /* several spans, a window that begins inside one */
        check_attn(tables[t], &(attn_shape){.q_dim = 8,
                                            .n_rows = 5,
                                            .n_group = 3,
                                            .n_kv = 2,
                                            .pos0 = 3070,
                                            .type = TW_BF16});
        check_attn(tables[t], &(attn_shape){.q_dim = 24,
                                            .n_rows = 9,
                                            .n_group = 2,
                                            .n_kv = 1,
                                            .pos0 = 2040,
                                            .window = 1100,
                                            .type = TW_F32});
        check_attn(tables[t], &(attn_shape){.q_dim = 64,
                                            .n_rows = 1,
                                            .n_group = 4,
                                            .n_kv = 3,
                                            .pos0 = 1023,
                                            .type = TW_BF16});
        check_attn(tables[t], &(attn_shape){.q_dim = 64,
                                            .n_rows = 1,
                                            .n_group = 4,
                                            .n_kv = 2,
                                            .pos0 = 1024,
                                            .type = TW_BF16});
    }
}

/* Row functions, n = 1 .. 200 and one long, values hard; all over the same buffers. */
static void check_rows(const tw_kern *kern, size_t n)
{
    const tw_kern *ref = tw_kern_ref();
    float *a = guard_new(n * 4), *b = guard_new(n * 4), *want = guard_new(n * 4);
    float *got = guard_new(n * 4);
    fill_hard(a, n);
    fill_hard(b, n);
    for (size_t i = 0; i < n; i++) /* f32 squares must not overflow */
        b[i] = fabsf(b[i]) > 0x1p20f ? 1.5f : b[i];
    ref->rmsnorm(want, b, a, n, 1e-5f);
    kern->rmsnorm(got, b, a, n, 1e-5f);
    assert_same(got, want, n, "rmsnorm");
    ref->silu_mul(want, a, b, n);
    kern->silu_mul(got, a, b, n);
    assert_same(got, want, n, "silu_mul");
    ref->add(want, a, b, n);
    kern->add(got, a, b, n);
    assert_same(got, want, n, "add");
    ref->axpy(want, a[0], b, n);
    kern->axpy(got, a[0], b, n);
    assert_same(got, want, n, "axpy");
    for (size_t i = 0; i < n; i++)
        a[i] = rng_float() * (rng_below(2) ? 1.0f : 90.0f);
    ref->softmax(want, a, n);
    kern->softmax(got, a, n);
    assert_same(got, want, n, "softmax");
    kern->softmax(a, a, n);
    assert_same(a, want, n, "softmax in place");
    for (size_t i = 0; i < n; i++)
        a[i] = rng_below(9) ? rng_float() * 120.0f : (float)NAN;
    a[rng_below(n)] = rng_below(2) ? INFINITY : -INFINITY;
    ref->softmax(want, a, n);
    kern->softmax(got, a, n);
    assert_same(got, want, n, "softmax of hard numbers");
    ref->exp(want, a, n);
    kern->exp(got, a, n);
    assert_same(got, want, n, "exp");
    kern->exp(a, a, n);
    assert_same(a, want, n, "exp in place");
    assert_int_equal(kern->all_finite(b, n), true);
    b[rng_below(n)] = rng_below(2) ? (float)NAN : -INFINITY;
    assert_int_equal(kern->all_finite(b, n), false);
    for (size_t i = 0; i < n; i++)
        b[i] = (float)rng_below(n / 3 + 1) * -1.0f;
    assert_int_equal(kern->argmax(b, n), ref->argmax(b, n));
    b[rng_below(n)] = 2.0f;
    b[rng_below(n)] = 2.0f;
    assert_int_equal(kern->argmax(b, n), ref->argmax(b, n));
    guard_reset();
}

static void test_rows(void **state)
{
    (void)state;
    rng_start();
    for (size_t t = 0; t < n_tables; t++)
        for (int flush = 0; flush < 2; flush++) {
            guard_end = flush;
            for (size_t n = 1; n <= 200; n++)
                check_rows(tables[t], n);
            check_rows(tables[t], 5003);
        }
}

static void test_rope(void **state)
{
    (void)state;
    rng_start();
    for (size_t t = 0; t < n_tables; t++)
        for (size_t n_rot = 2; n_rot <= 160; n_rot += 2) {
            guard_end = n_rot / 2 % 2;
            size_t heads = 1 + rng_below(3), ld = n_rot + rng_below(20);
            size_t n = (heads - 1) * ld + n_rot;
            float *want = guard_new(n * 4), *got = guard_new(n * 4);
            float *c = guard_new(n_rot * 2), *s = guard_new(n_rot * 2);
            fill_hard(want, n);
            memcpy(got, want, n * 4);
            fill(c, n_rot / 2);
            fill(s, n_rot / 2);
            tw_kern_ref()->rope(want, heads, ld, n_rot, c, s);
            tables[t]->rope(got, heads, ld, n_rot, c, s);
            assert_same(got, want, n, "rope");
            guard_reset();
        }
}

/* Every 16-bit pattern wide, and narrow every border between two of them and its neighbours. */
static void check_patterns(const tw_kern *kern, enum tw_dtype type)
{
    enum { N = 65536 };
    const tw_kern *ref = tw_kern_ref();
    uint16_t *h = guard_new(N * 4), *h2 = guard_new(N * 4);
    float *want = guard_new(N * 4), *got = guard_new(N * 4);
    for (size_t i = 0; i < N; i++)
        h[i] = (uint16_t)i;
    if (type == TW_F32)
        fill_hard((float *)(void *)h, N);
    ref->to_f32(want, h, type, N);
    kern->to_f32(got, h, type, N);
    assert_memory_equal(got, want, N * 4);
    const uint32_t border = type == TW_BF16 ? 0x8000u : 0x1000u;
    for (int step = -2; step <= 2; step++) {
        for (size_t i = 0; i < N; i++) {
            uint32_t near = tw_f32_bits(got[i]) + border + (uint32_t)step;
            want[i] = tw_f32_from_bits(step < 2 ? near : (uint32_t)rng_next());
        }
        ref->from_f32(h, want, type, N);
        kern->from_f32(h2, want, type, N);
        assert_memory_equal(h, h2, N * tw_dtype_bytes(type));
    }
    guard_reset();
}

static void check_convert(const tw_kern *kern, enum tw_dtype type, size_t n)
{
    const tw_kern *ref = tw_kern_ref();
    size_t bytes = n * tw_dtype_bytes(type);
    float *x = guard_new(n * 4), *y = guard_new(n * 4), *y2 = guard_new(n * 4);
    void *a = guard_new(bytes), *b = guard_new(bytes);
    fill_hard(x, n);
    ref->from_f32(a, x, type, n);
    kern->from_f32(b, x, type, n);
    assert_memory_equal(a, b, bytes);
    ref->to_f32(y, a, type, n);
    kern->to_f32(y2, a, type, n);
    assert_memory_equal(y, y2, n * 4);
    guard_reset();
}

static void test_convert(void **state)
{
    (void)state;
    rng_start();
    for (size_t t = 0; t < n_tables; t++)
        for (int type = TW_F32; type <= TW_BF16; type++) {
            check_patterns(tables[t], (enum tw_dtype)type);
            for (size_t n = 1; n < 70; n++) {
                guard_end = n % 3 != 0;
                check_convert(tables[t], (enum tw_dtype)type, n);
            }
        }
}

/* exp over a dense sample of all patterns. */
static void test_exp(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    float *x = guard_new(N * 4), *want = guard_new(N * 4), *got = guard_new(N * 4);
    for (size_t t = 0; t < n_tables; t++)
        for (uint32_t part = 0; part < 64; part++) {
            for (uint32_t i = 0; i < N; i++)
                x[i] = tw_f32_from_bits((i * 64 + part) * 1021u);
            tw_kern_ref()->exp(want, x, N);
            tables[t]->exp(got, x, N);
            assert_same(got, want, N, "exp");
        }
    guard_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_matmul_all_empty),
        cmocka_unit_test(test_matmul_empty_neighbour),
        cmocka_unit_test(test_attn),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_exp),
    };
    find_tables();
    return cmocka_run_group_tests_name("kern", tests, NULL, NULL);
}

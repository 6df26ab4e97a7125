/* SPDX-License-Identifier: Apache-2.0 */
/* Products with coded weights: every table, ref too, gives the bits of ref with the same weights widened
 * to F32, for every shape, and touches no byte outside. */
#include "tables.h"

typedef struct shape {
    enum tw_dtype type;
    size_t m, n, k, group, phase, ldx, ldy;
    uint32_t seg[TW_SEGMENTS + 1];
    unsigned n_seg;
    bool hard, bias;
} shape;

typedef struct pair {
    tw_packed coded, wide;
} pair;

static size_t groups_of(const shape *s)
{
    return (s->phase + s->k + s->group - 1) / s->group;
}

/* Scales by [row][group]. */
static void fill_scales(const shape *s, float *scale)
{
    const size_t n = s->n * groups_of(s);
    (s->hard ? fill_hard : fill)(scale, n);
    for (size_t i = 0; i < n; i++) /* within what a table may be given, and its ends */
        scale[i] = fabsf(scale[i]) < TW_FP8_SCALE_END ? scale[i]
                   : rng_below(2)                     ? 127.99999f
                                                      : -4.0f;
    for (size_t i = 0; i < n && s->type == TW_INT4; i++)
        scale[i] = tw_f16_to_f32(tw_f16_from_f32(scale[i]));
}

/* n_rows of them, from row i0 on: those of one panel. */
static void pack_some(const shape *s, tw_packed *w, void *data, const uint8_t *code,
                      const float *scale, const uint8_t *zero, size_t i0, size_t n_rows)
{
    const size_t n_groups = groups_of(s);
    float *by_group = guard_new(n_groups * TW_PANEL * sizeof *by_group);
    uint8_t *zero_by_group = guard_new(n_groups * TW_PANEL);
    for (size_t g = 0; g < n_groups; g++)
        for (size_t i = 0; i < n_rows; i++) {
            const size_t at = g * TW_PANEL + i0 % TW_PANEL + i;
            by_group[at] = scale[(i0 + i) * n_groups + g];
            zero_by_group[at] = zero[(i0 + i) * n_groups + g];
        }
    const tw_codes src = {.code = code + i0 * s->k,
                          .ld = s->k,
                          .scale = by_group,
                          .zero = zero_by_group};
    tw_pack_coded_rows(w, data, i0, &src, n_rows);
}

static pair make_weights(const shape *s)
{
    pair w = {
        .coded = {.type = s->type, .n = s->n, .k = s->k, .group = s->group, .phase = s->phase},
        .wide = {.type = TW_F32, .n = s->n, .k = s->k}};
    const size_t bytes = tw_packed_size(&w.coded), n_groups = groups_of(s);
    uint8_t *data = guard_new(bytes), *code = guard_new(s->n * s->k);
    float *wide = guard_new(tw_packed_size(&w.wide)), *flat = guard_new(s->n * s->k * sizeof *flat);
    float *scale = guard_new(s->n * n_groups * sizeof *scale);
    uint8_t *zero = guard_new(s->n * n_groups);
    assert_true(bytes > 0);
    memset(data, 0, bytes);
    memset(wide, 0, tw_packed_size(&w.wide));
    fill_scales(s, scale);
    for (size_t i = 0; i < s->n * n_groups; i++)
        zero[i] = (uint8_t)rng_below(17);
    for (size_t i = 0; i < s->n * s->k; i++) {
        const size_t g = i / s->k * n_groups + (i % s->k + s->phase) / s->group;
        code[i] = (uint8_t)rng_next();
        code[i] = s->type == TW_INT4 ? code[i] & 15 : (code[i] & 0x7f) == 0x7f ? 0x80 : code[i];
        flat[i] =
            (s->type == TW_INT4 ? (float)(code[i] - zero[g]) : tw_e4m3_to_f32(code[i])) * scale[g];
    }
    tw_pack_rows(TW_F32, wide, s->n, s->k, 0, flat, s->n, s->k);
    const size_t cut = rng_below(s->n + 1); /* where one call ends and the next begins */
    for (size_t i = 0, end; i < s->n; i = end) {
        end = i / TW_PANEL * TW_PANEL + TW_PANEL;
        end = end < s->n ? end : s->n;
        end = i < cut && cut < end ? cut : end;
        pack_some(s, &w.coded, data, code, scale, zero, i, end - i);
    }
    w.coded.data = data;
    w.wide.data = wide;
    return w;
}

static void check_matmul(const shape *s)
{
    const pair w = make_weights(s);
    const size_t x_n = (s->m - 1) * s->ldx + s->k, y_n = (s->m - 1) * s->ldy + s->n;
    float *x = guard_new(x_n * sizeof *x), *add = guard_new(s->n * sizeof *add);
    float *want = guard_new(y_n * sizeof *want), *got = guard_new(y_n * sizeof *got);
    const bool flush = guard_end;
    guard_end = true;
    void *scratch = guard_new((tw_kern_matmul_scratch_bytes(s->k) + 63) / 64 * 64);
    guard_end = flush;
    (s->hard ? fill_hard : fill)(x, x_n);
    fill(add, s->n);
    tw_matmul op = {.w = &w.wide, .x = x, .m = s->m, .ldx = s->ldx, .y = want, .ldy = s->ldy};
    op.seg = s->seg;
    op.n_seg = s->n_seg;
    op.add = s->bias ? add : NULL;
    const size_t n_panels = (s->n + TW_PANEL - 1) / TW_PANEL, cut = rng_below(n_panels + 1);
    tw_kern_ref()->matmul(&op, 0, n_panels, scratch);
    op.w = &w.coded;
    op.y = got;
    for (size_t t = 0; t < n_tables; t++) {
        memset(got, 0x5a, y_n * sizeof *got);
        for (size_t i = 0; i + 1 < s->m; i++) /* what lies between rows is left alone */
            memcpy(got + i * s->ldy + s->n, want + i * s->ldy + s->n,
                   (s->ldy - s->n) * sizeof *got);
        tables[t]->matmul(&op, cut, n_panels, scratch);
        tables[t]->matmul(&op, 0, cut, scratch);
        char what[160];
        snprintf(what, sizeof what, "%s %s m %zu n %zu k %zu group %zu phase %zu n_seg %u hard %d",
                 tables[t]->name, tw_dtype_name(s->type), s->m, s->n, s->k, s->group, s->phase,
                 s->n_seg, s->hard);
        assert_same(got, want, y_n, what);
    }
    guard_reset();
}

static void run_type(enum tw_dtype type, size_t m, size_t n, size_t k)
{
    shape s = {.type = type, .m = m, .n = n, .k = k};
    s.group = rng_below(4) ? 1 + rng_below(rng_below(2) ? 200 : 40) : k + rng_below(9);
    s.group += type == TW_INT4 ? s.group % 2 : 0;
    s.phase = rng_below(2) ? rng_below(s.group) : 0;
    s.phase -= type == TW_INT4 ? s.phase % 2 : 0;
    s.ldx = k + rng_below(2) * rng_below(9);
    s.ldy = n + rng_below(2) * rng_below(9);
    s.hard = rng_below(3) == 0;
    s.bias = rng_below(2);
    s.n_seg = rng_segments(s.seg, (uint32_t)s.k);
    check_matmul(&s);
}

static void run_shape(size_t m, size_t n, size_t k)
{
    run_type(TW_FP8, m, n, k);
    run_type(TW_INT4, m, n, k);
}

static void test_matmul(void **state)
{
    (void)state;
    rng_start();
    for (int round = 0; round < 3; round++)
        for (size_t m = 1; m <= 40; m += m < 14 ? 1 : 5) {
            guard_end = rng_below(2);
            run_shape(m, 1 + rng_below(150), 1 + rng_below(200));
        }
    static const size_t large[] = {64, 191, 193, 386};
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        run_shape(large[i], 1 + rng_below(70), 1 + rng_below(100));
    for (size_t m = 1; m < 28; m += m < 5 ? 1 : 7) { /* segments longer than a block */
        run_shape(m, 64, 2500);
        run_shape(m, 70, 1300);
    }
}

/* Each code by itself, at scales that leave it subnormal, or at the end of what is allowed. */
static void test_every_code(void **state)
{
    (void)state;
    static const float scales[] = {1.0f, -0x1.fffffep6f, 0x1p-126f, 0x1.8p-140f, 0x1.234568p-128f,
                                   0.0f, -0.0f};
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        float by_group[TW_PANEL];
        for (size_t j = 0; j < TW_PANEL; j++)
            by_group[j] = scales[i];
        for (unsigned code = 0; code < 256; code++) {
            const uint8_t byte = (uint8_t)code;
            if ((byte & 0x7f) == 0x7f)
                continue;
            const float one = 1.0f, want = fmaf(tw_e4m3_to_f32(byte) * scales[i], one, 0.0f);
            tw_packed w = {.type = TW_FP8, .n = 1, .k = 1, .group = 32, .phase = 31};
            uint8_t *data = guard_new(tw_packed_size(&w));
            void *scratch = guard_new((tw_kern_matmul_scratch_bytes(1) + 63) / 64 * 64);
            memset(data, 0, tw_packed_size(&w));
            const tw_codes src = {.code = &byte, .ld = 1, .scale = by_group};
            tw_pack_coded_rows(&w, data, 0, &src, 1);
            w.data = data;
            for (size_t t = 0; t < n_tables; t++) {
                float y = 7.0f;
                const uint32_t seg[2] = {0, 1};
                const tw_matmul op = {.w = &w,
                                      .x = &one,
                                      .m = 1,
                                      .ldx = 1,
                                      .y = &y,
                                      .ldy = 1,
                                      .seg = seg,
                                      .n_seg = 1};
                tables[t]->matmul(&op, 0, 1, scratch);
                assert_same(&y, &want, 1, tables[t]->name);
            }
            guard_reset();
        }
    }
}

static void test_sizes(void **state)
{
    (void)state;
    tw_packed w = {.type = TW_FP8, .n = 65, .k = 300, .group = 128, .phase = 0};
    assert_int_equal(tw_packed_panel_bytes(&w), 64 * (300 + 3 * 4));
    assert_int_equal(tw_packed_size(&w), 2 * 64 * (300 + 3 * 4));
    w.phase = 127;
    assert_int_equal(tw_packed_panel_bytes(&w), 64 * (300 + 4 * 4));
    w.phase = 128;
    assert_int_equal(tw_packed_size(&w), 0);
    w = (tw_packed){.type = TW_FP8, .n = 64, .k = SIZE_MAX / 2, .group = 128};
    assert_int_equal(tw_packed_size(&w), 0);
    w = (tw_packed){.type = TW_FP8, .n = SIZE_MAX - 64, .k = 128, .group = 128};
    assert_int_equal(tw_packed_size(&w), 0);
    w = (tw_packed){.type = TW_INT4, .n = 64, .k = 301, .group = 128, .phase = 2};
    assert_int_equal(tw_packed_size(&w), 64 * (151 + 3 * 3));
    w.group = 127;
    assert_int_equal(tw_packed_size(&w), 0);
    w = (tw_packed){.type = TW_INT4, .n = 64, .k = 300, .group = 128, .phase = 1};
    assert_int_equal(tw_packed_size(&w), 0);
    w = (tw_packed){.type = TW_BF16, .n = 65, .k = 10};
    assert_int_equal(tw_packed_size(&w), 2 * 128 * 10);
    assert_string_equal(tw_dtype_name(TW_FP8), "FP8");
    assert_true(tw_dtype_is_coded(TW_FP8) && !tw_dtype_is_quant(TW_FP8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_every_code),
        cmocka_unit_test(test_sizes),
    };
    find_tables();
    tables[n_tables++] = tw_kern_ref();
    return cmocka_run_group_tests_name("kern_coded", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The specification itself: against libm and plain f64 sums, and its promises about order. */
#include "guard.h"

static double ulp_of(double v) /* of an f32 near v */
{
    int e = v == 0.0 ? -126 : ilogb(v);
    return ldexp(1.0, (e < -126 ? -126 : e) - 23);
}

static void test_exp(void **state)
{
    (void)state;
    rng_start();
    assert_true(tw_expf(0.0f) == 1.0f && tw_expf(-0.0f) == 1.0f);
    assert_true(tw_expf(-INFINITY) == 0.0f && tw_expf(INFINITY) == INFINITY);
    assert_true(tw_expf(89.0f) == INFINITY && tw_expf(-104.0f) == 0.0f);
    assert_true(isnan(tw_expf((float)NAN)));
    for (int i = 0; i < 400000; i++) {
        float x = i % 4 ? rng_float() * 110.0f : tw_f32_from_bits((uint32_t)rng_next());
        double want = exp((double)x);
        if (isnan(x) || want >= 0x1.ffffffp+127)
            continue;
        double err = fabs((double)tw_expf(x) - want) / ulp_of(want);
        if (err > 1.5)
            fail_msg("exp(%a) is off by %g ulp", (double)x, err);
        float next = nextafterf(x, INFINITY);
        if (tw_expf(next) < tw_expf(x))
            fail_msg("exp falls after %a", (double)x);
    }
}

static void test_sincos(void **state)
{
    (void)state;
    rng_start();
    for (int i = 0; i < 400000; i++) {
        float x = i % 4 ? rng_float() * 1e6f : tw_f32_from_bits((uint32_t)rng_next()), s, c;
        if (!isfinite(x))
            continue;
        tw_sincosf(x, &s, &c);
        double ws = sin((double)x), wc = cos((double)x);
        if (fabs((double)s - ws) > 0.51 * ulp_of(ws) || fabs((double)c - wc) > 0.51 * ulp_of(wc))
            fail_msg("sincos(%a) gives %a %a", (double)x, (double)s, (double)c);
    }
    float s, c;
    tw_sincosf(0.0f, &s, &c);
    assert_true(s == 0.0f && c == 1.0f);
}

static void test_pow_ln(void **state)
{
    (void)state;
    rng_start();
    assert_true(tw_ln(1.0) == 0.0 && isnan(tw_ln(-1.0)) && tw_pow(2.0, 0.0) == 1.0);
    for (int i = 0; i < 200000; i++) {
        double x = exp(((double)rng_float()) * 20.0), want = log(x);
        if (fabs(tw_ln(x) - want) > 1e-14 * fabs(want))
            fail_msg("ln(%a) is off", x);
        double y = (double)rng_float();
        if (fabs(tw_pow(x, y) / pow(x, y) - 1.0) > 1e-14)
            fail_msg("pow(%a, %a) is off", x, y);
    }
    for (int i = 0; i < 64; i++) { /* rope: theta^(-2 i / Q) */
        double want = pow(500000.0, -2.0 * i / 128.0);
        assert_true(fabs(tw_pow(500000.0, -2.0 * i / 128.0) / want - 1.0) < 1e-14);
    }
}

/* The value of a 16-bit pattern by arithmetic alone. */
static double half_value(uint16_t h, int man_bits, int bias)
{
    int exp = (h & 0x7fff) >> man_bits, man = h & ((1 << man_bits) - 1);
    double v = exp ? ldexp((double)(man + (1 << man_bits)), exp - bias - man_bits)
                   : ldexp((double)man, 1 - bias - man_bits);
    return h & 0x8000 ? -v : v;
}

static void check_half(enum tw_dtype type, int man_bits, int bias)
{
    const tw_kern *ref = tw_kern_ref();
    const uint16_t inf = (uint16_t)(0x7fff >> man_bits << man_bits);
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i, back, up;
        float x;
        ref->to_f32(&x, &h, type, 1);
        ref->from_f32(&back, &x, type, 1);
        if ((h & 0x7fff) > inf) {
            assert_true(isnan(x) && (back & 0x7fff) > inf);
            continue;
        }
        assert_int_equal(back, h);
        if ((h & 0x7fff) == inf) {
            assert_true(isinf(x));
            continue;
        }
        double v = half_value(h, man_bits, bias);
        assert_true((double)x == v);
        /* Halfway to the next pattern goes to the even one, a little more or less to the nearer.
         * The pattern after the largest is infinity, at the value its exponent would have. */
        double next = half_value((uint16_t)(h + 1), man_bits, bias), mid = (v + next) / 2;
        float f = (float)mid, more = nextafterf(f, (float)next), less = nextafterf(f, (float)v);
        assert_true((double)f == mid);
        ref->from_f32(&up, &f, type, 1);
        assert_int_equal(up, h + (h & 1));
        ref->from_f32(&up, &more, type, 1);
        assert_int_equal(up, h + 1);
        ref->from_f32(&up, &less, type, 1);
        assert_int_equal(up, h);
    }
}

static void test_halves(void **state)
{
    (void)state;
    check_half(TW_F16, 10, 15);
    check_half(TW_BF16, 7, 127);
}

enum { N = 70, K = 200 };

typedef struct setup {
    float w[N * K], x[K], y[N];
    char data[128 * K * 4];
    tw_packed packed;
    uint32_t seg[TW_SEGMENTS + 1];
    tw_matmul op;
} setup;

static setup *make_setup(void)
{
    static setup s;
    fill(s.w, N * K);
    fill(s.x, K);
    memset(s.data, 0, sizeof s.data);
    tw_pack_rows(TW_F32, s.data, N, K, 0, s.w, N, K);
    s.packed = (tw_packed){.type = TW_F32, .n = N, .k = K, .data = s.data};
    tw_segments(K, 32, s.seg);
    s.op = (tw_matmul){.w = &s.packed, .x = s.x, .m = 1, .ldx = K, .y = s.y, .ldy = N};
    s.op.seg = s.seg;
    s.op.n_seg = TW_SEGMENTS;
    return &s;
}

static void test_matmul_order(void **state)
{
    (void)state;
    rng_start();
    setup *s = make_setup();
    tw_kern_ref()->matmul(&s->op, 0, 2, NULL);
    for (size_t n = 0; n < N; n++) { /* the tree written out: 7 granules, segment 0 is empty */
        float p[TW_SEGMENTS] = {0};
        double plain = 0;
        for (size_t g = 0; g < TW_SEGMENTS; g++)
            for (size_t k = s->seg[g]; k < s->seg[g + 1]; k++) {
                p[g] = fmaf(s->w[n * K + k], s->x[k], p[g]);
                plain += (double)s->w[n * K + k] * (double)s->x[k];
            }
        float want = (p[1] + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]));
        assert_int_equal(tw_f32_bits(want), tw_f32_bits(s->y[n]));
        assert_true(fabs(plain - (double)want) < 1e-4);
    }
    /* K backwards: same sums, other bits somewhere. */
    float before[N];
    memcpy(before, s->y, sizeof before);
    float x2[K];
    for (size_t k = 0; k < K; k++)
        x2[k] = s->x[K - 1 - k];
    s->op.x = x2;
    float *w2 = malloc(sizeof s->w);
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++)
            w2[n * K + k] = s->w[n * K + K - 1 - k];
    tw_pack_rows(TW_F32, s->data, N, K, 0, w2, N, K);
    free(w2);
    tw_kern_ref()->matmul(&s->op, 0, 2, NULL);
    assert_true(memcmp(before, s->y, sizeof before) != 0);
    for (size_t n = 0; n < N; n++)
        assert_true(fabsf(before[n] - s->y[n]) < 1e-4f);
}

/* R ranks with 8 / R segments each; their partial sums finished by the same tree. */
static void test_tensor_parallel(void **state)
{
    (void)state;
    rng_start();
    setup *s = make_setup();
    for (unsigned i = 0; i <= TW_SEGMENTS; i++) /* no segment empty */
        s->seg[i] = i * K / TW_SEGMENTS;
    float want[N];
    tw_kern_ref()->matmul(&s->op, 0, 2, NULL);
    memcpy(want, s->y, sizeof s->y);
    for (unsigned ranks = 1; ranks <= 8; ranks *= 2) {
        float part[8][N];
        unsigned each = TW_SEGMENTS / ranks;
        for (unsigned r = 0; r < ranks; r++) {
            /* The rank holds only its columns. */
            size_t k0 = s->seg[r * each], k = s->seg[(r + 1) * each] - k0;
            uint32_t seg[TW_SEGMENTS + 1];
            for (unsigned i = 0; i <= each; i++)
                seg[i] = s->seg[r * each + i] - (uint32_t)k0;
            char *data = calloc(1, tw_packed_bytes(TW_F32, N, k));
            tw_pack_rows(TW_F32, data, N, k, 0, s->w + k0, N, K);
            tw_packed packed = {.type = TW_F32, .n = N, .k = k, .data = data};
            tw_matmul op = {.w = &packed, .x = s->x + k0, .m = 1, .ldx = k, .y = part[r], .ldy = N};
            op.seg = seg;
            op.n_seg = each;
            tw_kern_ref()->matmul(&op, 0, 2, NULL);
            free(data);
        }
        for (unsigned n = ranks; n > 1; n /= 2)
            for (unsigned i = 0; i < n / 2; i++)
                for (size_t j = 0; j < N; j++)
                    part[i][j] = part[2 * i][j] + part[2 * i + 1][j];
        assert_memory_equal(part[0], want, sizeof want);
    }
}

/* Sums that are 1, in the order of lanes, close to f64. */
static void test_softmax(void **state)
{
    (void)state;
    rng_start();
    for (size_t n = 1; n < 300; n += 1 + rng_below(20)) {
        float x[300], y[300], e[300], l[TW_LANES] = {0}, m = -INFINITY;
        double sum = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = rng_float() * 9.0f;
            m = x[i] > m ? x[i] : m;
        }
        for (size_t i = 0; i < n; i++) {
            e[i] = tw_expf(x[i] - m);
            l[i % TW_LANES] += e[i];
            sum += exp((double)x[i] - (double)m);
        }
        for (size_t half = TW_LANES / 2; half > 0; half /= 2)
            for (size_t i = 0; i < half; i++)
                l[i] += l[i + half];
        tw_kern_ref()->softmax(y, x, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(tw_f32_bits(y[i]), tw_f32_bits(e[i] / l[0]));
            const double want = exp((double)x[i] - (double)m) / sum;
            assert_true(fabs((double)y[i] - want) < 4e-6 * want);
        }
    }
    float y = -1.0f;
    const float x = 1.0f + 0x1p-12f;
    tw_kern_ref()->axpy(&y, x, &x, 1);
    assert_true(y == 0x1p-11f + 0x1p-24f); /* rounded once */
}

static void test_segments(void **state)
{
    (void)state;
    uint32_t seg[TW_SEGMENTS + 1];
    static const uint32_t want[] = {0, 256, 512, 768, 1024, 1280, 1536, 1792, 2048};
    tw_segments(2048, 32, seg);
    assert_memory_equal(seg, want, sizeof want);
    static const uint32_t three[] = {0, 0, 0, 128, 128, 128, 256, 256, 320};
    tw_segments(320, 128, seg); /* 2.5 granules */
    assert_memory_equal(seg, three, sizeof three);
    tw_segments(0, 32, seg);
    assert_int_equal(seg[0] + seg[TW_SEGMENTS], 0);
}

static void test_packed_bytes(void **state)
{
    (void)state;
    assert_int_equal(tw_packed_bytes(TW_BF16, 65, 10), 2 * 128 * 10);
    assert_int_equal(tw_packed_bytes(TW_F32, 64, 3), 4 * 64 * 3);
    assert_int_equal(tw_packed_bytes(TW_F32, SIZE_MAX, 1), 0);
    assert_int_equal(tw_packed_bytes(TW_F32, SIZE_MAX / 4, 2), 0);
    uint16_t src[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, dst[TW_PANEL] = {0};
    static const uint16_t want[16] = {0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15};
    tw_pack_rows(TW_BF16, dst, 16, 1, 0, src, 16, 1);
    assert_memory_equal(dst, want, sizeof want);
}

static void test_get(void **state)
{
    (void)state;
    assert_ptr_equal(tw_kern_get("ref"), tw_kern_ref());
    assert_ptr_equal(tw_kern_get("avx2"), tw_kern_avx2());
    assert_ptr_equal(tw_kern_get("avx512"), tw_kern_avx512());
    assert_null(tw_kern_get("avx1024"));
    assert_null(tw_kern_get("halves"));
    assert_non_null(tw_kern_get(NULL));
    assert_ptr_equal(tw_kern_get(""), tw_kern_get(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exp),          cmocka_unit_test(test_sincos),
        cmocka_unit_test(test_pow_ln),       cmocka_unit_test(test_halves),
        cmocka_unit_test(test_matmul_order), cmocka_unit_test(test_tensor_parallel),
        cmocka_unit_test(test_softmax),      cmocka_unit_test(test_segments),
        cmocka_unit_test(test_packed_bytes), cmocka_unit_test(test_get),
    };
    return cmocka_run_group_tests_name("kern_ref", tests, NULL, NULL);
}

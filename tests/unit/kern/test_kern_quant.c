/* SPDX-License-Identifier: Apache-2.0 */
/* Quantised weights: a file's blocks against the values that the package gguf reads
 * (tools/make_quant_goldens.py). */
#include "guard.h"

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
    for (enum tw_dtype t = TW_F32; t < TW_DTYPE_END; t++) {
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
        for (enum tw_dtype t = TW_Q8_0; t < TW_DTYPE_END; t++) {
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_dequantize),
        cmocka_unit_test(test_dequantize_plain),
        cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_quantize_extremes),
    };
    return cmocka_run_group_tests_name("kern_quant", tests, NULL, NULL);
}

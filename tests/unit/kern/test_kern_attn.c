/* SPDX-License-Identifier: Apache-2.0 */
/* Attention of every table: right against a plain f64 softmax, and independent of how the rows are
 * asked for and of what cannot be seen. */
#include "tables.h"

enum { Q = 64, GROUP = 3, ROWS = 21, POS0 = 1015, KEYS = POS0 + ROWS, PAGES = 18 };

static float q[ROWS * GROUP * Q], k[PAGES * TW_KV_BLOCK * Q], v[PAGES * TW_KV_BLOCK * Q];
static float out[ROWS * GROUP * Q], out2[ROWS * GROUP * Q];
static const void *k_pages[PAGES], *v_pages[PAGES];
static char scratch[1 << 20] __attribute__((aligned(64)));

static tw_attn make_op(uint32_t window)
{
    fill(q, sizeof q / sizeof *q);
    fill(k, sizeof k / sizeof *k);
    fill(v, sizeof v / sizeof *v);
    for (size_t i = 0; i < sizeof k / sizeof *k; i++)
        k[i] *= 4.0f;
    for (size_t i = 0; i < PAGES; i++) {
        k_pages[i] = k + i * TW_KV_BLOCK * Q;
        v_pages[i] = v + i * TW_KV_BLOCK * Q;
    }
    assert_true(tw_kern_attn_scratch_bytes(Q) <= sizeof scratch);
    return (tw_attn){.q = q,
                     .ld_row = GROUP * Q,
                     .ld_head = Q,
                     .out = out,
                     .ld_out_row = GROUP * Q,
                     .k_pages = k_pages,
                     .v_pages = v_pages,
                     .kv_type = TW_F32,
                     .q_dim = Q,
                     .n_group = GROUP,
                     .pos0 = POS0,
                     .window = window,
                     .scale = 0.125f};
}

static void check_softmax(const tw_attn *op, size_t i_pair)
{
    const float *qr = q + i_pair * Q;
    size_t end = POS0 + i_pair / GROUP + 1, begin = 0;
    if (op->window && end > op->window)
        begin = end - op->window;
    double o[Q] = {0}, l = 0;
    for (size_t t = begin; t < end; t++) {
        double s = 0;
        for (size_t i = 0; i < Q; i++)
            s += (double)qr[i] * (double)k[t * Q + i];
        double p = exp(s * 0.125);
        l += p;
        for (size_t i = 0; i < Q; i++)
            o[i] += p * (double)v[t * Q + i];
    }
    for (size_t i = 0; i < Q; i++)
        if (!(fabs(o[i] / l - (double)out[i_pair * Q + i]) < 1e-5))
            fail_msg("pair %zu dim %zu: %g, wanted %g", i_pair, i, (double)out[i_pair * Q + i],
                     o[i] / l);
}

static void check_table(const tw_kern *kern, uint32_t window)
{
    tw_attn op = make_op(window);
    kern->attn(&op, 0, ROWS, scratch);
    for (size_t i = 0; i < (size_t)ROWS * GROUP; i++)
        check_softmax(&op, i);
    /* Row by row, each as its own chunk. */
    op.out = out2;
    for (uint32_t row = 0; row < ROWS; row++)
        kern->attn(&op, row, row + 1, scratch);
    assert_memory_equal(out, out2, sizeof out);
    memset(out2, 0, sizeof out2);
    for (uint32_t row = 0; row < ROWS; row++) {
        tw_attn one = op;
        one.q = q + row * GROUP * Q;
        one.out = out2 + row * GROUP * Q;
        one.pos0 = POS0 + row;
        kern->attn(&one, 0, 1, scratch);
    }
    assert_memory_equal(out, out2, sizeof out);
    /* Head by head. */
    memset(out2, 0, sizeof out2);
    for (unsigned head = 0; head < GROUP; head++) {
        tw_attn one = op;
        one.q = q + head * Q;
        one.out = out2 + head * Q;
        one.n_group = 1;
        kern->attn(&one, 0, ROWS, scratch);
    }
    assert_memory_equal(out, out2, sizeof out);
    /* Other memory for the pages, and NaN wherever no row may look. */
    static float k2[sizeof k / sizeof *k], v2[sizeof v / sizeof *v];
    uint32_t begin = window && POS0 + 1 > window ? POS0 + 1 - window : 0;
    for (size_t i = 0; i < PAGES; i++) {
        size_t to = (i * 7 + 3) % PAGES * TW_KV_BLOCK * Q;
        memcpy(k2 + to, k_pages[i], TW_KV_BLOCK * Q * sizeof *k2);
        memcpy(v2 + to, v_pages[i], TW_KV_BLOCK * Q * sizeof *v2);
        for (size_t t = 0; t < TW_KV_BLOCK; t++)
            for (size_t j = 0; j < Q; j++)
                if (i * TW_KV_BLOCK + t >= KEYS || i * TW_KV_BLOCK + t < begin)
                    k2[to + t * Q + j] = v2[to + t * Q + j] = (float)NAN;
        k_pages[i] = k2 + to;
        v_pages[i] = v2 + to;
    }
    memset(out2, 0, sizeof out2);
    kern->attn(&op, 0, ROWS, scratch);
    assert_memory_equal(out, out2, sizeof out);
}

static void check_windows(const tw_kern *kern)
{
    check_table(kern, 0);
    check_table(kern, 100);
    check_table(kern, 1);
    check_table(kern, 1017);
}

static void test_tables(void **state)
{
    (void)state;
    rng_start();
    check_windows(tw_kern_ref());
    for (size_t i = 0; i < n_tables; i++)
        check_windows(tables[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables)};
    find_tables();
    return cmocka_run_group_tests_name("kern_attn", tests, NULL, NULL);
}

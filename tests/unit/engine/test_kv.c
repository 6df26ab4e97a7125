/* SPDX-License-Identifier: Apache-2.0 */
/* Pages: each is free or in one table, and ranks that do the same get the same. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/kv.h"

enum { LAYERS = 2, HEADS = 3, DIM = 16, PAGES = 13, SEQS = 5, STEPS = 3000 };

static void make(tw_kv *kv, uint32_t n_pages)
{
    tw_err err = {0};
    if (tw_kv_init(kv, LAYERS, HEADS, DIM, TW_BF16, n_pages, &err) != 0)
        fail_msg("%s", err.msg);
}

struct tables {
    uint32_t pages[SEQS][PAGES];
    uint32_t n[SEQS];
};

static void check_one_owner(const tw_kv *kv, const struct tables *t)
{
    unsigned n_owners[PAGES] = {0};
    for (uint32_t i = 0; i < kv->n_free; i++)
        n_owners[kv->free[i]]++;
    for (unsigned s = 0; s < SEQS; s++)
        for (uint32_t i = 0; i < t->n[s]; i++)
            n_owners[t->pages[s][i]]++;
    for (unsigned i = 0; i < PAGES; i++)
        assert_int_equal(n_owners[i], 1);
}

static void change(tw_kv *kv, struct tables *t, unsigned s, uint32_t n_want)
{
    if (n_want == 0) {
        tw_kv_give(kv, t->pages[s], t->n[s]);
        t->n[s] = 0;
        return;
    }
    const uint32_t n_have = t->n[s], n_free = kv->n_free;
    const struct tables before = *t;
    int rc = tw_kv_take(kv, t->pages[s], n_have, n_want);
    const uint32_t n_more = n_want > n_have ? n_want - n_have : 0;
    if (n_more > n_free) {
        assert_int_equal(rc, -ENOMEM);
        assert_memory_equal(t, &before, sizeof(before));
        assert_int_equal(kv->n_free, n_free);
        return;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(kv->n_free, n_free - n_more);
    assert_memory_equal(t->pages[s], before.pages[s], n_have * sizeof(uint32_t));
    t->n[s] = n_have + n_more;
}

static void test_random_walk(void **state)
{
    (void)state;
    const char *env = getenv("TW_SEED");
    const uint64_t seed = env != NULL ? strtoull(env, NULL, 10) : 4;
    print_message("# TW_SEED=%llu\n", (unsigned long long)seed);
    tw_rng rng = tw_rng_seed(seed);
    tw_kv a, b;
    static struct tables ta, tb;
    make(&a, PAGES);
    make(&b, PAGES);
    for (unsigned i = 0; i < STEPS; i++) {
        const unsigned s = (unsigned)tw_rng_below(&rng, SEQS);
        const uint32_t n = (uint32_t)tw_rng_below(&rng, PAGES + 1);
        change(&a, &ta, s, n);
        change(&b, &tb, s, n);
        check_one_owner(&a, &ta);
        assert_memory_equal(&ta, &tb, sizeof(ta)); /* ranks agree without talking */
    }
    tw_kv_done(&a);
    tw_kv_done(&b);
}

static void test_exhaustion(void **state)
{
    (void)state;
    tw_kv kv;
    uint32_t table[PAGES + 1];
    make(&kv, PAGES);
    assert_int_equal(tw_kv_take(&kv, table, 0, PAGES + 1), -ENOMEM);
    assert_int_equal(tw_kv_take(&kv, table, 0, PAGES), 0);
    assert_int_equal(kv.n_free, 0);
    assert_int_equal(tw_kv_take(&kv, table, PAGES, PAGES), 0); /* nothing more is wanted */
    assert_int_equal(tw_kv_take(&kv, table, PAGES, 3), 0);     /* tables never shrink so */
    assert_int_equal(tw_kv_take(&kv, table, PAGES, PAGES + 1), -ENOMEM);
    tw_kv_give(&kv, table, PAGES);
    assert_int_equal(kv.n_free, PAGES);
    assert_int_equal(tw_kv_take(&kv, table, 0, 1), 0);
    assert_int_equal(table[0], 0); /* what was taken first comes first again */
    tw_kv_done(&kv);
}

/* Every block is writable, and none overlaps another: each keeps its own mark. */
static void test_blocks_are_apart(void **state)
{
    (void)state;
    tw_kv kv;
    make(&kv, PAGES);
    assert_int_equal(kv.head_bytes, 64 * DIM * 2);
    assert_int_equal(kv.pool_bytes, kv.head_bytes * LAYERS * PAGES * 2 * HEADS);
    const unsigned n_blocks = LAYERS * PAGES * 2 * HEADS;
    for (unsigned i = 0; i < 2 * n_blocks; i++) { /* all are marked, then all are read */
        const unsigned mark = i % n_blocks, head = mark % (2 * HEADS), page = mark / (2 * HEADS);
        uint8_t *at = tw_kv_block(&kv, page / PAGES, page % PAGES, head / HEADS, head % HEADS);
        if (i < n_blocks)
            memset(at, (int)(mark % 251), kv.head_bytes);
        assert_int_equal(at[0], mark % 251);
        assert_int_equal(at[kv.head_bytes - 1], mark % 251);
    }
    tw_kv_done(&kv);
}

static void test_too_large_and_no_memory(void **state)
{
    (void)state;
    tw_kv kv;
    tw_err err = {0};
    assert_int_equal(tw_kv_init(&kv, 1u << 31, 1u << 31, 128, TW_F32, 1u << 31, &err), -EOVERFLOW);
    assert_non_null(strstr(err.msg, "--ctx"));
    tw_kv_done(&kv);
    for (uint64_t i = 1; i <= 2; i++) {
        tw_mem_fail_at(i);
        int rc = tw_kv_init(&kv, LAYERS, HEADS, DIM, TW_F32, PAGES, &err);
        tw_mem_fail_at(0);
        assert_int_equal(rc, -ENOMEM);
        tw_kv_done(&kv); /* half-built is fine, twice is fine */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_walk),
        cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_blocks_are_apart),
        cmocka_unit_test(test_too_large_and_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

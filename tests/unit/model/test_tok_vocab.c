/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the tables: how far from its slot anything lies. */
#include "model/tok_vocab.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/scope.h"

enum { N = 20000 };

/* A hash without a key, of eight bytes at a time (ours, once): the second word undoes what the first
 * has made, so all these texts have one hash. */
static uint64_t bare_mix(uint64_t h)
{
    h ^= h >> 32;
    h *= UINT64_C(0xD6E8FEB86659FD93);
    return h ^ h >> 29;
}

static void make_hostile(char texts[N][16])
{
    for (uint64_t i = 0; i < N; i++) {
        const uint64_t golden = UINT64_C(0x9E3779B97F4A7C15);
        const uint64_t second = bare_mix(16 * golden ^ i) * golden ^ 1;
        memcpy(texts[i], &i, 8);
        memcpy(texts[i] + 8, &second, 8);
    }
}

static size_t farthest(const tw_tok_vocab *v)
{
    size_t far = 0;
    for (size_t i = 0; i <= v->mask; i++)
        if (v->slots[i].p != NULL)
            far = TW_MAX(far, (i - v->slots[i].hash) & v->mask);
    return far;
}

static void test_hostile_texts(void **state)
{
    (void)state;
    static char texts[N][16];
    tw_arena a TW_CLEANUP(tw_arena_done);
    tw_tok_vocab v;
    tw_arena_init(&a, 0);
    make_hostile(texts);
    assert_int_equal(tw_tok_vocab_init(&v, N, &a), 0);
    for (uint32_t i = 0; i < N; i++)
        assert_true(tw_tok_vocab_add(&v, (tw_str){texts[i], 16}, i));
    for (uint32_t i = 0; i < N; i++) {
        assert_false(tw_tok_vocab_add(&v, (tw_str){texts[i], 16}, 7));
        assert_int_equal(tw_tok_vocab_find(&v, texts[i], 16), i);
    }
    assert_int_equal(tw_tok_vocab_find(&v, texts[0], 15), TW_TOK_NONE);
    printf("# the farthest text: %zu slots\n", farthest(&v));
    assert_true(farthest(&v) < 500);
}

/* Ids of pairs whose bare hash ends in one slot's bits, whatever the size of the table. */
static void test_hostile_merges(void **state)
{
    (void)state;
    tw_arena a TW_CLEANUP(tw_arena_done);
    tw_tok_merges m;
    tw_arena_init(&a, 0);
    assert_int_equal(tw_tok_merges_init(&m, N / 4, &a), 0);
    static tw_tok_merge put[N / 4];
    uint32_t n = 0;
    for (uint64_t pair = 1; n < TW_ARRAY_LEN(put); pair++) {
        const uint64_t h = bare_mix(pair * UINT64_C(0x9E3779B97F4A7C15));
        if ((h & m.mask) >= 64)
            continue;
        put[n] = (tw_tok_merge){.left = (uint32_t)(pair >> 32), .right = (uint32_t)pair, .id = n};
        n++;
    }
    for (uint32_t i = 0; i < n; i++)
        tw_tok_merges_add(&m, put[i]);
    size_t in_a_row = 0, most = 0;
    for (size_t i = 0; i <= m.mask; i++) {
        in_a_row = m.slots[i].left != TW_TOK_NONE ? in_a_row + 1 : 0;
        most = TW_MAX(most, in_a_row);
    }
    for (uint32_t i = 0; i < n; i++) {
        const tw_tok_merge *found = tw_tok_merges_find(&m, put[i].left, put[i].right);
        assert_true(found != NULL && found->id == put[i].id);
    }
    printf("# the most merges side by side: %zu\n", most);
    assert_true(most < 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile_texts),
                                       cmocka_unit_test(test_hostile_merges)};
    return cmocka_run_group_tests_name("model_tok_vocab", tests, NULL, NULL);
}

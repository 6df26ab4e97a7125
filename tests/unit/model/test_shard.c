/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/scope.h"
#include "model/shard.h"

static uint32_t pick(tw_rng *r, uint32_t lo, uint32_t hi)
{
    return lo + (uint32_t)tw_rng_below(r, hi - lo + 1);
}

static tw_model_config random_config(tw_rng *r)
{
    tw_model_config c = {.family = "llama"};
    uint32_t group = pick(r, 1, 9);
    c.n_kv_heads = pick(r, 1, 12);
    c.n_heads = c.n_kv_heads * group;
    c.head_dim = 2 * pick(r, 1, 80);
    c.d_model = pick(r, 1, 700);
    c.ffn = pick(r, 1, 2000);
    c.vocab = pick(r, 1, 5000);
    c.n_layers = 3;
    c.n_expert_layers = pick(r, 0, 3);
    if (c.n_expert_layers > 0)
        c.expert_ffn = pick(r, 1, 2000);
    return c;
}

/* Borders of the rank's own segments, against the rule of DESIGN 5.2 written down once more. */
static void check_borders(const uint32_t *seg, const tw_shard *s, uint32_t size, uint32_t granule)
{
    uint32_t n = (size + granule - 1) / granule, from = 0;
    for (unsigned i = 0; i <= s->n_seg; i++) {
        uint32_t at = (s->rank * s->n_seg + i) * n / 8 * granule;
        at = at < size ? at : size;
        from = i == 0 ? at : from;
        assert_int_equal(seg[i], at - from);
    }
}

/* How many ranks hold each thing. */
static struct {
    uint8_t heads[128], ffn[2048], expert_ffn[2048], vocab[5120];
} held;

static void check_shard(const tw_model_config *c, const tw_shard *s)
{
    uint32_t group = c->n_heads / c->n_kv_heads;
    for (uint32_t i = 0; i < s->n_heads; i++) {
        held.heads[s->head0 + i]++;
        uint32_t local_kv = (s->head0 + i) / group - s->kv0;
        assert_true(local_kv < s->n_kv);
    }
    for (uint32_t i = 0; i < s->n_ffn; i++)
        held.ffn[s->ffn0 + i]++;
    for (uint32_t i = 0; i < s->n_expert_ffn; i++)
        held.expert_ffn[s->expert_ffn0 + i]++;
    for (uint32_t i = 0; i < s->n_vocab; i++)
        held.vocab[s->vocab0 + i]++;
    /* no KV head that nobody asks for */
    assert_int_equal(s->kv0, s->head0 / group);
    assert_int_equal(s->kv0 + s->n_kv - 1, (s->head0 + s->n_heads - 1) / group);
    check_borders(s->seg_o, s, c->n_heads * c->head_dim, c->head_dim);
    check_borders(s->seg_f, s, c->ffn, 32);
    check_borders(s->seg_e, s, c->expert_ffn, 32);
    assert_int_equal(s->seg_o[s->n_seg], s->n_heads * c->head_dim);
    assert_int_equal(s->seg_f[s->n_seg], s->n_ffn);
    assert_int_equal(s->seg_e[s->n_seg], s->n_expert_ffn);
    assert_true(c->n_expert_layers == 0 || s->n_expert_ffn > 0);
    assert_true(!tw_model_has_dense(c) || s->n_ffn > 0);
    assert_int_equal(s->seg_d[8], c->d_model);
    assert_int_equal(s->seg_v[8], c->vocab);
    assert_int_equal(s->seg_v[s->rank * s->n_seg], s->vocab0);
}

static void deals_each_thing_to_one_rank(void **state)
{
    (void)state;
    const char *text = getenv("TW_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : 1;
    printf("# TW_SEED=%llu\n", (unsigned long long)seed);
    tw_rng r = tw_rng_seed(seed);
    unsigned n_allowed = 0;
    for (unsigned round = 0; round < 400; round++) {
        tw_model_config c = random_config(&r);
        unsigned allowed = tw_shard_allowed(&c);
        assert_true(allowed & 1);
        for (unsigned b = 0; b < 4; b++) {
            memset(&held, 0, sizeof(held));
            for (unsigned rank = 0; rank < 1u << b; rank++) {
                tw_shard s;
                tw_err err = {.code = 0};
                int rc = tw_shard_init(&c, 1u << b, rank, &s, &err);
                assert_int_equal(rc, allowed & (1u << b) ? 0 : -EINVAL);
                if (rc == 0)
                    check_shard(&c, &s);
            }
            if ((allowed & (1u << b)) == 0)
                continue;
            n_allowed += b > 0;
            for (uint32_t i = 0; i < c.n_heads; i++)
                assert_int_equal(held.heads[i], 1);
            for (uint32_t i = 0; i < c.ffn; i++)
                assert_int_equal(held.ffn[i], 1);
            for (uint32_t i = 0; i < c.expert_ffn; i++)
                assert_int_equal(held.expert_ffn[i], 1);
            for (uint32_t i = 0; i < c.vocab; i++)
                assert_int_equal(held.vocab[i], 1);
        }
    }
    assert_true(n_allowed > 100); /* else the test tests nothing */
}

static void names_what_is_empty(void **state)
{
    (void)state;
    static const struct {
        tw_model_config c;
        unsigned n_ranks, rank;
        const char *parts[3];
    } bad[] = {
        {{.n_heads = 4, .n_kv_heads = 2, .head_dim = 8, .d_model = 64, .ffn = 512, .vocab = 1024},
         8,
         0,
         {"tp 8", "no attention heads", "allows tp 1, 2, 4"}},
        {{.n_heads = 8, .n_kv_heads = 2, .head_dim = 8, .d_model = 64, .ffn = 96, .vocab = 1024},
         4,
         3,
         {"tp 4", "feed-forward", "allows tp 1, 2"}},
        {{.n_heads = 8,
          .n_kv_heads = 2,
          .head_dim = 8,
          .d_model = 64,
          .n_layers = 2,
          .n_expert_layers = 2,
          .ffn = 16,
          .expert_ffn = 96,
          .vocab = 1024},
         4,
         3,
         {"tp 4", "each expert", "allows tp 1, 2"}},
        {{.n_heads = 8, .n_kv_heads = 2, .head_dim = 8, .d_model = 64, .ffn = 512, .vocab = 64},
         2,
         1,
         {"tp 2", "vocabulary", "allows tp 1"}},
        {{.n_heads = 8, .n_kv_heads = 8, .head_dim = 8, .d_model = 64, .ffn = 512, .vocab = 1024},
         3,
         0,
         {"tp 3", "no such split", "1, 2, 4, 8"}},
        {{.n_heads = 8, .n_kv_heads = 8, .head_dim = 8, .d_model = 64, .ffn = 512, .vocab = 1024},
         0,
         0,
         {"tp 0"}},
        {{.n_heads = 8, .n_kv_heads = 8, .head_dim = 8, .d_model = 64, .ffn = 512, .vocab = 1024},
         2,
         2,
         {"rank 2 of 2", "want 0..1"}},
    };
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        tw_shard s;
        tw_err err = {.code = 0};
        assert_int_equal(tw_shard_init(&bad[i].c, bad[i].n_ranks, bad[i].rank, &s, &err), -EINVAL);
        for (size_t j = 0; j < 3 && bad[i].parts[j] != NULL; j++)
            if (strstr(err.msg, bad[i].parts[j]) == NULL)
                fail_msg("\"%s\" lacks \"%s\"", err.msg, bad[i].parts[j]);
    }
}

/* A group of 7 query heads cut in two: both ranks hold the KV head. */
static void repeats_a_shared_kv_head(void **state)
{
    (void)state;
    tw_model_config c = {.n_heads = 14, .n_kv_heads = 2, .head_dim = 4, .d_model = 64};
    c.ffn = c.vocab = 1024;
    tw_shard s;
    tw_err err = {.code = 0};
    assert_int_equal(tw_shard_init(&c, 4, 1, &s, &err), 0);
    assert_int_equal(s.head0, 3); /* floor(2 * 14 / 8) .. floor(4 * 14 / 8) */
    assert_int_equal(s.n_heads, 4);
    assert_true(s.kv0 == 0 && s.n_kv == 1);
    assert_int_equal(tw_shard_init(&c, 4, 2, &s, &err), 0);
    assert_true(s.head0 == 7 && s.kv0 == 1 && s.n_kv == 1);
    assert_int_equal(tw_shard_init(&c, 1, 0, &s, &err), 0);
    assert_true(s.kv0 == 0 && s.n_kv == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deals_each_thing_to_one_rank),
        cmocka_unit_test(names_what_is_empty),
        cmocka_unit_test(repeats_a_shared_kv_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

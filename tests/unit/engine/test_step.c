/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/step.h"

enum { SEQS = 4, CHUNK = 32 };

static size_t encode_sample(uint8_t *out)
{
    static const uint32_t tokens[3] = {7, 8, 9};
    tw_plan p;
    assert_int_equal(tw_plan_init(&p, SEQS, NULL), 0);
    p.head = (tw_plan_head){.step = 42, .n_drop = 1, .n_admit = 1, .n_feed = 2};
    p.drops[0] = 3;
    p.admits[0] = (tw_plan_admit){.slot = 3, .params = {.n_prompt = 3, .max_tokens = 5}};
    p.feeds[0] = (tw_plan_feed){.slot = 3, .n_tokens = 3, .tokens = tokens};
    p.feeds[1] = (tw_plan_feed){.slot = 0, .n_tokens = 1, .tokens = tokens + 2};
    size_t n = tw_plan_encode(&p, out);
    tw_plan_done(&p);
    return n;
}

static int decode(const void *bytes, size_t n, tw_err *err)
{
    tw_plan p;
    assert_int_equal(tw_plan_init(&p, SEQS, NULL), 0);
    int rc = tw_plan_decode(&p, bytes, n, SEQS, CHUNK, err);
    tw_plan_done(&p);
    return rc;
}

static void test_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    tw_plan p;
    tw_err err;
    size_t n = encode_sample(bytes);
    assert_true(n <= tw_plan_max_bytes(SEQS, CHUNK));
    assert_int_equal(tw_plan_init(&p, SEQS, NULL), 0);
    assert_int_equal(tw_plan_decode(&p, bytes, n, SEQS, CHUNK, &err), 0);
    assert_int_equal(p.head.step, 42);
    assert_int_equal(p.drops[0], 3);
    assert_int_equal(p.admits[0].params.max_tokens, 5);
    assert_int_equal(p.feeds[0].n_tokens, 3);
    assert_int_equal(p.feeds[0].tokens[2], 9);
    assert_int_equal(p.feeds[1].tokens[0], 9);
    tw_plan_done(&p);
}

static void test_every_cut_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    size_t n = encode_sample(bytes);
    for (size_t cut = 0; cut < n; cut++) {
        tw_err err = {0};
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, bytes, cut);
        assert_int_equal(decode(exact, cut, &err), -EPROTO);
        assert_true(err.msg[0] != '\0');
        free(exact);
    }
}

/* Offsets: see the drawing in step.h. */
static void test_impossible_numbers_are_refused(void **state)
{
    (void)state;
    static const size_t at[] = {8, 12, 16, 24, 28, 92, 96, 112, 116};
    for (unsigned i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
        uint8_t bytes[1024];
        tw_err err = {0};
        size_t n = encode_sample(bytes);
        const uint32_t huge = 0x7fffffff;
        memcpy(bytes + at[i], &huge, 4);
        assert_int_equal(decode(bytes, n, &err), -EPROTO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_cut_is_refused),
        cmocka_unit_test(test_impossible_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

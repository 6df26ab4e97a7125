/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "seed.h"

static void test_append(void **state)
{
    (void)state;
    tw_buf b = TW_BUF(1 << 20);
    assert_int_equal(tw_buf_append(&b, NULL, 0), 0);
    assert_string_equal(b.data, "");
    assert_int_equal(tw_buf_puts(&b, "one "), 0);
    assert_int_equal(tw_buf_append(&b, "two\0three", 9), 0);
    assert_int_equal(b.len, 13);
    assert_memory_equal(b.data, "one two\0three", 14);
    tw_buf_done(&b);
    assert_null(b.data);
    assert_int_equal(tw_buf_puts(&b, "again"), 0);
    assert_string_equal(b.data, "again");
    tw_buf_done(&b);
    tw_buf_done(NULL);
}

static void test_ceiling(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max += 7) {
        tw_buf b = TW_BUF(max);
        for (size_t i = 0; i < max; i++)
            assert_int_equal(tw_buf_append(&b, "x", 1), 0);
        assert_int_equal(tw_buf_append(&b, "y", 1), -E2BIG);
        assert_int_equal(tw_buf_reserve(&b, SIZE_MAX), -E2BIG);
        assert_int_equal(tw_buf_printf(&b, "%d", 12), -E2BIG);
        assert_int_equal(b.len, max);
        assert_true(b.cap <= max + 1 || max == 0);
        tw_buf_done(&b);
    }
    tw_buf all = TW_BUF(SIZE_MAX);
    assert_int_equal(tw_buf_reserve(&all, SIZE_MAX), -ENOMEM);
    tw_buf_done(&all);
}

static void test_unchanged_on_failure(void **state)
{
    (void)state;
    tw_buf b = TW_BUF(1000);
    assert_int_equal(tw_buf_puts(&b, "kept"), 0);
    tw_buf before = b;
    tw_mem_fail_at(1);
    int rc = tw_buf_printf(&b, "%500d", 1);
    tw_mem_fail_at(0);
    assert_int_equal(rc, -ENOMEM);
    assert_memory_equal(&b, &before, sizeof(b));
    assert_string_equal(b.data, "kept");
    assert_int_equal(tw_buf_printf(&b, "%2000d", 1), -E2BIG);
    assert_string_equal(b.data, "kept");
    tw_buf_done(&b);
}

static void test_printf(void **state)
{
    (void)state;
    tw_buf b = TW_BUF(1 << 16);
    char want[4096] = "";
    size_t n = 0;
    for (int i = 0; i < 300; i++) {
        assert_int_equal(tw_buf_printf(&b, "%d,", i), 0);
        n += (size_t)snprintf(want + n, sizeof(want) - n, "%d,", i);
    }
    assert_int_equal(b.len, n);
    assert_string_equal(b.data, want);
    tw_buf_done(&b);
}

/* Against a plain array: appends, drops and resets in any order. */
static void test_random_walk(void **state)
{
    (void)state;
    tw_rng rng = new_seeded_rng("buf");
    static char model[8192];
    size_t len = 0;
    tw_buf b = TW_BUF(sizeof(model));
    for (unsigned step = 0; step < 20000; step++) {
        char piece[64];
        size_t n = tw_rng_below(&rng, sizeof(piece));
        for (size_t i = 0; i < n; i++)
            piece[i] = (char)tw_rng_u64(&rng);
        uint64_t what = tw_rng_below(&rng, 100);
        if (what < 60) {
            int rc = tw_buf_append(&b, piece, n);
            assert_int_equal(rc, n <= sizeof(model) - len ? 0 : -E2BIG);
            memcpy(model + len, piece, rc == 0 ? n : 0);
            len += rc == 0 ? n : 0;
        } else if (what < 99) {
            tw_buf_drop(&b, n);
            n = n < len ? n : len;
            memmove(model, model + n, len - n);
            len -= n;
        } else {
            tw_buf_reset(&b);
            len = 0;
        }
        assert_int_equal(b.len, len);
        if (b.data != NULL) {
            assert_memory_equal(b.data, model, len);
            assert_int_equal(b.data[len], 0);
        }
    }
    tw_buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_unchanged_on_failure),
        cmocka_unit_test(test_printf),
        cmocka_unit_test(test_random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

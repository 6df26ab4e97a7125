/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation fails once: the call says so and leaves nothing behind (the sanitizer looks). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "model/tokenizer.h"

enum { MAX_FILE = 256 << 10, MAX_TRIES = 100000 };

static char json[MAX_FILE];
static size_t n_json;

static void read_json(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/tokenizers/%s/tokenizer.json", getenv("TW_TEST_DATA"), name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    n_json = fread(json, 1, sizeof(json), f);
    fclose(f);
}

static tw_tokenizer *make_under_fire(const char *name)
{
    read_json(name);
    for (uint64_t i = 1; i < MAX_TRIES; i++) {
        tw_tokenizer *t = NULL;
        tw_err err = {0};
        tw_mem_fail_at(i);
        int rc = tw_tokenizer_new("t", json, n_json, &t, &err);
        tw_mem_fail_at(0);
        if (rc == 0) {
            assert_true(i > 10);
            return t;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_null(t);
        assert_non_null(strstr(err.msg, "memory"));
    }
    fail_msg("%s: never made", name);
    return NULL;
}

static const char text[] =
    "<|im_start|>Say it isn't  so, \u00e9t\u00e9 e\u0301 \u20ac 12 \xff WORD x";

static void encode_under_fire(const tw_tokenizer *t, tw_ids *ids)
{
    for (uint64_t i = 1; i < MAX_TRIES; i++) {
        tw_err err = {0};
        tw_mem_fail_at(i);
        int rc = tw_tokenizer_encode(t, text, sizeof(text) - 1, true, ids, &err);
        tw_mem_fail_at(0);
        if (rc == 0)
            return;
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(ids->n, 0);
    }
    fail();
}

static void decode_under_fire(const tw_tokenizer *t, const tw_ids *ids)
{
    for (uint64_t i = 1; i < MAX_TRIES; i++) {
        tw_buf out TW_CLEANUP(tw_buf_done) = TW_BUF(1000);
        tw_err err = {0};
        tw_mem_fail_at(i);
        int rc = tw_tokenizer_decode(t, ids->ids, ids->n, false, &out, &err);
        tw_mem_fail_at(0);
        if (rc == 0) {
            assert_true(out.len > 0);
            return;
        }
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(out.len, 0);
    }
    fail();
}

static void test_every_allocation(void **state)
{
    static const char *const names[] = {"qwen", "llama2", "scripts", "metaspace-first"};
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(names); i++) {
        tw_ids ids TW_CLEANUP(tw_ids_done) = {0};
        tw_tokenizer *t = make_under_fire(names[i]);
        encode_under_fire(t, &ids);
        decode_under_fire(t, &ids);
        tw_tokenizer_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_allocation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the tokenizer of a GGUF file may cost: memory for texts that are there, not for tokens that the
 * file says to have. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/le.h"
#include "base/scope.h"
#include "model/tokenizer.h"

enum { N_TOKENS = 4 << 20, N_LAST = 3, HEAD_MAX = 64 << 20 };

static void put(tw_buf *b, unsigned n_bytes, uint64_t v)
{
    uint8_t raw[8];
    tw_le_store(raw, n_bytes, v);
    assert_int_equal(tw_buf_append(b, raw, n_bytes), 0);
}

static void put_text(tw_buf *b, const char *text)
{
    put(b, 8, strlen(text));
    assert_int_equal(tw_buf_append(b, text, strlen(text)), 0);
}

static void put_texts(tw_buf *b, const char *key, uint64_t n)
{
    put_text(b, key);
    put(b, 4, TW_GGUF_ARRAY);
    put(b, 4, TW_GGUF_TEXT);
    put(b, 8, n);
}

/* A byte-level BPE of n tokens without a text, but for the last three; no tensors. */
static void make_header(tw_buf *b, uint64_t n)
{
    static const char *const keys[2][2] = {{"tokenizer.ggml.model", "gpt2"},
                                           {"tokenizer.ggml.pre", "gpt-2"}};
    static const char *const last[N_LAST] = {"a", "b", "ab"};
    tw_buf_reset(b);
    assert_int_equal(tw_buf_puts(b, "GGUF"), 0);
    put(b, 4, 3);
    put(b, 8, 0);
    put(b, 8, 4);
    for (unsigned i = 0; i < 2; i++) {
        put_text(b, keys[i][0]);
        put(b, 4, TW_GGUF_TEXT);
        put_text(b, keys[i][1]);
    }
    put_texts(b, "tokenizer.ggml.merges", 1);
    put_text(b, "a b");
    put_texts(b, "tokenizer.ggml.tokens", n);
    for (uint64_t i = 0; i + N_LAST < n; i++)
        put(b, 8, 0);
    for (unsigned i = 0; i < N_LAST; i++)
        put_text(b, last[i]);
}

static size_t peak_kib(void)
{
    char line[200];
    size_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "VmPeak: %zu", &kib);
    fclose(f);
    assert_true(kib > 0);
    return kib;
}

static int read_tokenizer(const tw_buf *b, uint32_t vocab, tw_tokenizer **ret, tw_err *err)
{
    tw_gguf g;
    int rc = tw_gguf_parse("t.gguf", (const uint8_t *)b->data, b->len, b->len, &g, err);
    if (rc == 0) {
        rc = tw_tokenizer_from_gguf("t.gguf", &g, vocab, ret, err);
        tw_gguf_done(&g);
    }
    return rc;
}

static void test_tokens_without_a_text(void **state)
{
    (void)state;
    tw_buf head TW_CLEANUP(tw_buf_done) = TW_BUF(HEAD_MAX);
    tw_ids ids TW_CLEANUP(tw_ids_done) = {0};
    tw_tokenizer *t = NULL;
    tw_err err = {0};
    make_header(&head, N_TOKENS);
    const size_t before = peak_kib();
    if (read_tokenizer(&head, N_TOKENS, &t, &err) != 0)
        fail_msg("%s", err.msg);
    const size_t mib = (peak_kib() - before) >> 10;
    printf("# %d tokens, %d with a text: %zu MiB\n", N_TOKENS, N_LAST, mib);
    assert_true(mib < 48 * (size_t)N_TOKENS >> 20); /* a row of text, id and kind for each */
    assert_int_equal(tw_tokenizer_encode(t, "aab", 3, false, &ids, &err), 0);
    assert_int_equal(ids.n, 2);
    assert_true(ids.ids[0] == N_TOKENS - 3 && ids.ids[1] == N_TOKENS - 1);
    tw_tokenizer_free(t);
}

static void test_more_tokens_than_the_model(void **state)
{
    (void)state;
    tw_buf head TW_CLEANUP(tw_buf_done) = TW_BUF(HEAD_MAX);
    tw_tokenizer *t = NULL;
    tw_err err = {0};
    make_header(&head, 1001);
    assert_int_equal(read_tokenizer(&head, 1000, &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "found 1001 tokens, want at most 1000"));
    assert_null(t);
    assert_int_equal(read_tokenizer(&head, 1001, &t, &err), 0);
    tw_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokens_without_a_text),
                                       cmocka_unit_test(test_more_tokens_than_the_model)};
    return cmocka_run_group_tests_name("model_gguf_tokenizer", tests, NULL, NULL);
}

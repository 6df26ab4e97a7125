/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "model/tokenizer.h"

#define BYTES                                                                                      \
    "\"<0x41>\":10,\"<0xC3>\":11,\"<0xA9>\":12,\"<0xE2>\":13,\"<0x82>\":14,\"<0xAC>\":15,"         \
    "\"<0xF0>\":16,\"<0x+5>\":17"
#define VOCAB                                                                                      \
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"\u2581\":4,\"\u2581\u2581\":5,"             \
    "\"\u00c3\":6,\"\u00a9\":7,\"\u0120\":8,\"\u00e2\":9," BYTES                                   \
    "},\"merges\":[\"a b\",[\"\u2581\",\"\u2581\"]]"
#define MODEL(more) "\"model\":{\"type\":\"BPE\",\"unk_token\":\"<unk>\"" more "," VOCAB "}"
#define ADDED                                                                                      \
    "\"added_tokens\":[{\"id\":20,\"content\":\"<s>\",\"special\":true},"                          \
    "{\"id\":0,\"content\":\"<unk>\",\"special\":true},{\"id\":22,\"content\":\"a b\","            \
    "\"special\":false,\"normalized\":false}]"
#define FALLBACK_DECODER                                                                           \
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"          \
    "{\"String\":\"\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"  \
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":1}]}"

static tw_tokenizer *make(const char *json)
{
    tw_tokenizer *t = NULL;
    tw_err err = {0};
    if (tw_tokenizer_new("t.json", json, strlen(json), &t, &err) < 0)
        fail_msg("%s", err.msg);
    return t;
}

static void test_questions(void **state)
{
    (void)state;
    tw_tokenizer *t = make("{" ADDED "," MODEL("") "}");
    assert_int_equal(tw_tokenizer_n(t), 23);
    assert_int_equal(tw_tokenizer_find(t, "ab", 2), 3);
    assert_int_equal(tw_tokenizer_find(t, "<s>", 3), 20);
    assert_int_equal(tw_tokenizer_find(t, "a b", 3), 22);
    assert_int_equal(tw_tokenizer_find(t, "abc", 3), -1);
    assert_int_equal(tw_tokenizer_find(t, "", 0), -1);
    assert_true(tw_tokenizer_is_special(t, 20) && tw_tokenizer_is_special(t, 0));
    assert_false(tw_tokenizer_is_special(t, 22) || tw_tokenizer_is_special(t, 1));
    assert_false(tw_tokenizer_is_special(t, 21) || tw_tokenizer_is_special(t, UINT32_MAX));
    tw_tokenizer_free(t);
    tw_tokenizer_free(NULL);
}

static void expect_ids(const tw_tokenizer *t, const char *text, const uint32_t *want, size_t n)
{
    tw_ids ids TW_CLEANUP(tw_ids_done) = {0};
    tw_err err = {0};
    assert_int_equal(tw_ids_push(&ids, 99), 0); /* encode appends */
    assert_int_equal(tw_tokenizer_encode(t, text, strlen(text), false, &ids, &err), 0);
    assert_int_equal(ids.n, n + 1);
    assert_int_equal(ids.ids[0], 99);
    if (n > 0)
        assert_memory_equal(ids.ids + 1, want, n * sizeof(want[0]));
}

static void test_unknown_characters(void **state)
{
    (void)state;
    tw_tokenizer *t = make("{" MODEL("") "}");
    expect_ids(t, "abxyab", (const uint32_t[]){3, 0, 0, 3}, 4);
    expect_ids(t, "", NULL, 0);
    tw_tokenizer_free(t);
    t = make("{" MODEL(",\"fuse_unk\":true") "}");
    expect_ids(t, "xyzabx", (const uint32_t[]){0, 3, 0}, 3);
    tw_tokenizer_free(t);
    t = make("{" MODEL(",\"byte_fallback\":true") "}");
    expect_ids(t, "a\u20acA", (const uint32_t[]){1, 13, 14, 15, 10}, 5);
    tw_tokenizer_free(t);
    t = make("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}"); /* no unk: it vanishes */
    expect_ids(t, "xay", (const uint32_t[]){0}, 1);
    tw_tokenizer_free(t);
    t = make("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"?\"}}");
    tw_ids ids = {0};
    tw_err err = {0};
    assert_int_equal(tw_tokenizer_encode(t, "ab", 2, false, &ids, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "unk_token"));
    assert_int_equal(ids.n, 0);
    tw_ids_done(&ids);
    tw_tokenizer_free(t);
}

/* Pushes one by one; after each, what has come out must be want[i]. */
static void expect_stream(const tw_tokenizer *t, const uint32_t *ids, size_t n,
                          const char *const *want)
{
    tw_buf out TW_CLEANUP(tw_buf_done) = TW_BUF(1000);
    tw_buf all TW_CLEANUP(tw_buf_done) = TW_BUF(1000);
    tw_detok d TW_CLEANUP(tw_detok_done);
    tw_detok_init(&d, t, true);
    for (size_t i = 0; i <= n; i++) {
        if (i < n)
            assert_int_equal(tw_detok_push(&d, ids[i], &out, NULL), 0);
        else
            assert_int_equal(tw_detok_end(&d, &out, NULL), 0);
        assert_string_equal(out.data != NULL ? out.data : "", want[i]);
    }
    assert_int_equal(tw_tokenizer_decode(t, ids, n, true, &all, NULL), 0);
    assert_string_equal(all.data != NULL ? all.data : "", want[n]);
}

#define STREAM(t, ids, ...)                                                                        \
    expect_stream(t, ids, TW_ARRAY_LEN(ids), (const char *const[]){__VA_ARGS__})

#define BAD "\uFFFD"

static void test_stream_byte_level(void **state)
{
    (void)state;
    tw_tokenizer *t = make("{\"decoder\":{\"type\":\"ByteLevel\"}," ADDED "," MODEL("") "}");
    const uint32_t whole[] = {8, 6, 7, 20, 1};
    STREAM(t, whole, " ", " ", " \u00e9", " \u00e9",
           " \u00e9"
           "a",
           " \u00e9"
           "a");
    const uint32_t cut[] = {6, 1, 9};
    STREAM(t, cut, "", BAD "a", BAD "a", BAD "a" BAD);
    const uint32_t foreign[] = {22, 7, 500, 21, 1}; /* raw text; a lone byte; no such ids */
    STREAM(t, foreign, "a b", "a b" BAD, "a b" BAD, "a b" BAD, "a b" BAD "a", "a b" BAD "a");
    tw_tokenizer_free(t);
}

static void test_stream_byte_fallback(void **state)
{
    (void)state;
    tw_tokenizer *t = make("{" FALLBACK_DECODER "," ADDED "," MODEL("") "}");
    const uint32_t strip[] = {4, 4, 1, 4, 4};
    STREAM(t, strip, "", "", " a", " a", " a ", " a ");
    const uint32_t run[] = {1, 13, 14, 15, 10, 2};
    STREAM(t, run, "a", "a", "a", "a", "a",
           "a\u20ac"
           "Ab",
           "a\u20ac"
           "Ab");
    const uint32_t bad[] = {10, 11, 10, 12, 2}; /* A valid byte falls with its run */
    STREAM(t, bad, "", "", BAD BAD BAD, BAD BAD BAD BAD, BAD BAD BAD BAD "b", BAD BAD BAD BAD "b");
    const uint32_t cut[] = {17, 13, 14};
    STREAM(t, cut, "", "", "", BAD BAD BAD);
    const uint32_t none[] = {20, 20};
    STREAM(t, none, "", "", "");
    tw_tokenizer_free(t);
}

static void test_stream_odd_decoders(void **state)
{
    (void)state;
    const uint32_t ids[] = {4, 1, 5, 2};
    tw_tokenizer *t = make("{" MODEL("") "}"); /* none: joined by spaces */
    STREAM(t, ids, "\u2581", "\u2581 a", "\u2581 a \u2581\u2581", "\u2581 a \u2581\u2581 b",
           "\u2581 a \u2581\u2581 b");
    tw_tokenizer_free(t);
    t = make("{\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\u2581\","
             "\"prepend_scheme\":\"first\"}," MODEL("") "}");
    STREAM(t, ids, "", "a", "a  ", "a  b", "a  b");
    tw_tokenizer_free(t);
    /* behind Fuse a pattern may span tokens: its beginning waits */
    t = make(
        "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
        "\"Replace\",\"pattern\":{\"String\":\"\u2581\u2581\u2581\"},\"content\":\"-\"}]}," MODEL(
            "") "}");
    const uint32_t marks[] = {1, 4, 5, 4, 2};
    STREAM(t, marks, "a", "a", "a-", "a-",
           "a-\u2581"
           "b",
           "a-\u2581"
           "b");
    tw_tokenizer_free(t);
    t = make(
        "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
        "\"Replace\",\"pattern\":{\"Regex\":\"a\u2581+b\"},\"content\":\"x\"}]}," MODEL("") "}");
    STREAM(t, ids, "", "", "", "", "\u2581x"); /* a regex needs all of it */
    tw_tokenizer_free(t);
}

static void test_long_and_hostile_texts(void **state)
{
    (void)state;
    tw_tokenizer *t = make(
        "{\"normalizer\":{\"type\":\"NFKC\"},\"pre_tokenizer\":{\"type\":\"Split\","
        "\"pattern\":{\"Regex\":\"(a|a)*$|(a+)+c\"},\"behavior\":\"Isolated\"}," MODEL("") "}");
    enum { N = 400000 };
    char *text = tw_mem_alloc(N);
    assert_non_null(text);
    for (size_t i = 0; i < N; i += 4) /* marks in the wrong order, all one run */
        memcpy(text + i, "\u0301\u0323", 4);
    tw_ids ids = {0};
    tw_err err = {0};
    assert_int_equal(tw_tokenizer_encode(t, text, N, true, &ids, &err), 0);
    assert_int_equal(ids.n, N / 2);
    memset(text, 'a', N);
    text[N - 1] = 'b'; /* exponential for this pattern; the limits end it */
    int rc = tw_tokenizer_encode(t, text, N, true, &ids, &err);
    assert_true(rc == 0 || rc == -E2BIG);
    assert_int_equal(tw_tokenizer_encode(t, text, ((size_t)64 << 20) + 1, true, &ids, &err),
                     -E2BIG);
    assert_non_null(strstr(err.msg, "64 MiB"));
    tw_ids_done(&ids);
    tw_mem_free(text);
    tw_tokenizer_free(t);
}

typedef struct bad {
    const char *json;
    int code;
    const char *key, *found;
} bad;

static const bad bads[] = {
    {"{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", -EINVAL, "model.vocab[\"b\"]",
     "id 0"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a x\"]}}", -EINVAL, "model.merges[0]", "\"x\""},
    {"{\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}}", -EINVAL, "model.merges[0]",
     "\"ab\""},
    {"{\"added_tokens\":[{\"id\":0,\"content\":\"x\"}],\"model\":{\"vocab\":{\"a\":0},"
     "\"merges\":[]}}",
     -EINVAL, "added_tokens[0].id", "\"a\""},
    {"{\"added_tokens\":[{\"id\":3,\"content\":\"x\"},{\"id\":4,\"content\":\"x\"}],\"model\":"
     "{\"vocab\":{\"a\":0},\"merges\":[]}}",
     -EINVAL, "added_tokens[1]", "4"},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a\"},\"behavior\":"
     "\"Isolated\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
     -EINVAL, "pattern \"(a\"", "parenthesis"},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":"
     "\"Isolated\"},\"model\":{\"vocab\":{},\"merges\":[]}}",
     -ENOTSUP, "pattern \"[a&&b]\"", "sets"},
    {"{\"model\":{\"type\":\"WordLevel\"}}", -ENOTSUP, "model.type", "WordLevel"},
};

static void test_bad_files_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(bads); i++) {
        tw_tokenizer *t = NULL;
        tw_err err = {0};
        int rc = tw_tokenizer_new("dir/t.json", bads[i].json, strlen(bads[i].json), &t, &err);
        if (rc != bads[i].code || t != NULL || strstr(err.msg, "dir/t.json") == NULL ||
            strstr(err.msg, bads[i].key) == NULL || strstr(err.msg, bads[i].found) == NULL)
            fail_msg("%s\ngave %d: %s", bads[i].json, rc, err.msg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions),           cmocka_unit_test(test_unknown_characters),
        cmocka_unit_test(test_stream_byte_level),   cmocka_unit_test(test_stream_byte_fallback),
        cmocka_unit_test(test_stream_odd_decoders), cmocka_unit_test(test_long_and_hostile_texts),
        cmocka_unit_test(test_bad_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "fmt/tokenizer_json.h"

#define MODEL                                                                                      \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"

static int parse(const char *json, tw_tokenizer_json *t, tw_err *err)
{
    return tw_tokenizer_json_parse("dir/tokenizer.json", json, strlen(json), TW_TJ_MAX_ID, t, err);
}

static bool is(tw_str s, const char *z)
{
    return tw_str_is(s, z);
}

static void test_small(void **state)
{
    (void)state;
    tw_tokenizer_json t;
    tw_err err = {0};
    assert_int_equal(parse("{" MODEL "}", &t, &err), 0);
    assert_int_equal(t.n_vocab, 3);
    assert_true(is(t.vocab[2].text, "ab") && t.vocab[2].id == 2);
    assert_int_equal(t.n_merges, 1);
    assert_true(is(t.merges[0].left, "a") && is(t.merges[0].right, "b"));
    assert_int_equal(t.normalizers.n + t.pre_tokenizers.n + t.decoders.n + t.n_added, 0);
    assert_false(t.has_decoder || t.has_unk || t.byte_fallback);
    tw_tokenizer_json_done(&t);
}

static void test_merge_pairs_may_have_spaces(void **state)
{
    (void)state;
    tw_tokenizer_json t;
    assert_int_equal(parse("{\"model\":{\"vocab\":{\"a b\":0,\" c\":1,\"a b c\":2},"
                           "\"merges\":[[\"a b\",\" c\"]],\"byte_fallback\":true,\"fuse_unk\":true,"
                           "\"ignore_merges\":true,\"unk_token\":\"a b\",\"dropout\":0.0,"
                           "\"end_of_word_suffix\":\"\"}}",
                           &t, NULL),
                     0);
    assert_true(is(t.merges[0].left, "a b") && is(t.merges[0].right, " c"));
    assert_true(t.byte_fallback && t.fuse_unk && t.ignore_merges && t.has_unk);
    assert_true(is(t.unk_token, "a b"));
    tw_tokenizer_json_done(&t);
}

static void test_stages_are_flat(void **state)
{
    (void)state;
    tw_tokenizer_json t;
    assert_int_equal(
        parse(
            "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
            "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Replace\",\"pattern\":"
            "{\"Regex\":\" +\"},\"content\":\"x\"}]},{\"type\":\"Strip\",\"strip_left\":true,"
            "\"strip_right\":false}]},"
            "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"-\"},"
            "\"behavior\":\"MergedWithNext\",\"invert\":true},"
            "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"add_prefix_space\":false}"
            "," MODEL "}",
            &t, NULL),
        0);
    const tw_tj_stage *n = t.normalizers.v;
    assert_int_equal(t.normalizers.n, 3);
    assert_int_equal(n[0].type, TW_TJ_NFC);
    assert_true(n[1].type == TW_TJ_REPLACE && n[1].is_regex && is(n[1].pattern, " +"));
    assert_true(n[2].type == TW_TJ_STRIP && n[2].strip_left && !n[2].strip_right);
    const tw_tj_stage *p = t.pre_tokenizers.v;
    assert_true(p->type == TW_TJ_SPLIT && !p->is_regex && p->invert);
    assert_int_equal(p->behavior, TW_TJ_MERGED_WITH_NEXT);
    assert_true(t.has_decoder && t.decoders.v[0].type == TW_TJ_METASPACE);
    assert_int_equal(t.decoders.v[0].scheme, TW_TJ_NEVER);
    tw_tokenizer_json_done(&t);
}

#define TEMPLATE(before, after)                                                                    \
    "{\"type\":\"TemplateProcessing\",\"single\":[" before                                         \
    "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}" after "],\"special_tokens\":"                    \
    "{\"x\":{\"id\":\"x\",\"ids\":[1,2],\"tokens\":[\"a\",\"b\"]},"                                \
    "\"y\":{\"id\":\"y\",\"ids\":[0],\"tokens\":[\"a\"]}}}"
#define X "{\"SpecialToken\":{\"id\":\"x\",\"type_id\":0}}"
#define Y "{\"SpecialToken\":{\"id\":\"y\",\"type_id\":0}}"

static void test_templates_nest(void **state)
{
    (void)state;
    tw_tokenizer_json t;
    assert_int_equal(parse("{\"post_processor\":{\"type\":\"Sequence\",\"processors\":["
                           "{\"type\":\"ByteLevel\"}," TEMPLATE(X ",", "") "," TEMPLATE(
                               Y ",", "," X) "]}," MODEL "}",
                           &t, NULL),
                     0);
    const uint32_t before[] = {0, 1, 2}, after[] = {1, 2};
    assert_int_equal(t.n_before, 3);
    assert_int_equal(t.n_after, 2);
    assert_memory_equal(t.before, before, sizeof(before));
    assert_memory_equal(t.after, after, sizeof(after));
    tw_tokenizer_json_done(&t);
}

typedef struct bad {
    const char *json;
    int code;
    const char *key, *found;
} bad;

#define BPE(rest) "{\"model\":{\"type\":\"BPE\"," rest "}}"
#define VOCAB     "\"vocab\":{\"a\":0,\"b\":1},\"merges\":[]"

static const bad bads[] = {
    {"", -EINVAL, "line", "JSON"},
    {"{" MODEL, -EINVAL, "line", "JSON"},
    {"[]", -EINVAL, "document", "an array"},
    {"{}", -EINVAL, "model", "nothing"},
    {"{\"model\":{\"type\":\"Unigram\"}}", -ENOTSUP, "model.type", "Unigram"},
    {"{\"model\":{\"type\":3}}", -EINVAL, "model.type", "an integer"},
    {BPE("\"vocab\":[],\"merges\":[]"), -EINVAL, "model.vocab", "an array"},
    {BPE("\"vocab\":{\"a\":-1},\"merges\":[]"), -EINVAL, "model.vocab[\"a\"]", "-1"},
    {BPE("\"vocab\":{\"a\":16777216},\"merges\":[]"), -EINVAL, "model.vocab[\"a\"]", "16777216"},
    {BPE("\"vocab\":{\"a\":\"b\"},\"merges\":[]"), -EINVAL, "model.vocab[\"a\"]", "a string"},
    {BPE("\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]"), -EINVAL, "line", "duplicate"},
    {BPE("\"vocab\":{\"a\":0}"), -EINVAL, "model.merges", "nothing"},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[\"a\"]"), -EINVAL, "model.merges[0]",
     "without one space"},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[\"a b c\"]"), -EINVAL, "model.merges[0]", "a string"},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]"), -EINVAL, "model.merges[0]", "an array"},
    {BPE("\"vocab\":{\"a\":0},\"merges\":[[\"a\",1]]"), -EINVAL, "model.merges[0]", "an array"},
    {BPE("\"dropout\":0.1," VOCAB), -ENOTSUP, "model.dropout", "a real"},
    {BPE("\"continuing_subword_prefix\":\"##\"," VOCAB), -ENOTSUP, "continuing_subword_prefix",
     "##"},
    {BPE("\"end_of_word_suffix\":\"</w>\"," VOCAB), -ENOTSUP, "end_of_word_suffix", "</w>"},
    {BPE("\"byte_fallback\":1," VOCAB), -EINVAL, "model.byte_fallback", "an integer"},
    {BPE("\"unk_token\":1," VOCAB), -EINVAL, "model.unk_token", "an integer"},
    {"{\"normalizer\":{\"type\":\"Precompiled\"}," MODEL "}", -ENOTSUP, "normalizer",
     "Precompiled"},
    {"{\"normalizer\":{\"type\":\"Sequence\"}," MODEL "}", -EINVAL, "normalizer.normalizers",
     "nothing"},
    {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":\"x\"}," MODEL "}", -EINVAL,
     "normalizer.pattern", "a string"},
    {"{\"normalizer\":3," MODEL "}", -EINVAL, "normalizer", "an integer"},
    {"{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}," MODEL "}", -ENOTSUP, "pre_tokenizer",
     "BertPreTokenizer"},
    {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},"
     "{\"type\":\"Split\",\"pattern\":{\"String\":\"x\"},\"behavior\":\"Odd\"}]}," MODEL "}",
     -ENOTSUP, "pre_tokenizer[1]", "Odd"},
    {"{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}," MODEL "}", -EINVAL,
     "pre_tokenizer.replacement", "__"},
    {"{\"decoder\":{\"type\":\"WordPiece\"}," MODEL "}", -ENOTSUP, "decoder", "WordPiece"},
    {"{\"decoder\":{\"type\":\"Strip\",\"content\":\" \",\"start\":-1,\"stop\":0}," MODEL "}",
     -EINVAL, "decoder.start", "an integer"},
    {"{\"post_processor\":{\"type\":\"BertProcessing\"}," MODEL "}", -ENOTSUP, "post_processor",
     "BertProcessing"},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[" X
     "],\"special_tokens\":{}}," MODEL "}",
     -EINVAL, "post_processor.special_tokens", "\"x\""},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," MODEL "}", -EINVAL,
     "post_processor.single", "no sequence"},
    {"{\"added_tokens\":[{\"id\":7,\"content\":\"x\"},{\"id\":\"8\"}]," MODEL "}", -EINVAL,
     "added_tokens[1].id", "a string"},
    {"{\"added_tokens\":[{\"id\":7,\"content\":\"x\",\"special\":\"yes\"}]," MODEL "}", -EINVAL,
     "added_tokens[0].special", "a string"},
};

static void test_bad_files_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(bads); i++) {
        tw_tokenizer_json t;
        tw_err err = {0};
        int rc = parse(bads[i].json, &t, &err);
        if (rc != bads[i].code || strstr(err.msg, "dir/tokenizer.json") == NULL ||
            strstr(err.msg, bads[i].key) == NULL || strstr(err.msg, bads[i].found) == NULL)
            fail_msg("%s\ngave %d: %s", bads[i].json, rc, err.msg);
    }
}

static void test_limits(void **state)
{
    (void)state;
    tw_tokenizer_json t;
    tw_err err = {0};
    char deep[4096] = "{\"normalizer\":";
    for (int i = 0; i < 20; i++)
        strcat(deep, "{\"type\":\"Sequence\",\"normalizers\":[");
    for (int i = 0; i < 20; i++)
        strcat(deep, "]}");
    strcat(deep, "," MODEL "}");
    assert_int_equal(parse(deep, &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "16 nested"));
    char many[4096] = "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}";
    for (int i = 0; i < 32; i++)
        strcat(many, ",{\"type\":\"NFC\"}");
    strcat(many, "]}," MODEL "}");
    assert_int_equal(parse(many, &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "32 parts"));
    assert_int_equal(tw_tokenizer_json_parse("x", "{" MODEL "}", strlen("{" MODEL "}"), 1, &t,
                                             &err),
                     -EINVAL);
    assert_non_null(strstr(err.msg, "0..1"));
    assert_int_equal(tw_tokenizer_json_parse("x", "", TW_TJ_MAX_BYTES + 1, 1, &t, &err), -E2BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_merge_pairs_may_have_spaces),
        cmocka_unit_test(test_stages_are_flat),
        cmocka_unit_test(test_templates_nest),
        cmocka_unit_test(test_bad_files_are_named),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

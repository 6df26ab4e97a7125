/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals are in tests/unit/serve (with their HTTP status); here is what a good body becomes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "fmt/openai.h"

static int parse(enum tw_openai_kind kind, const char *body, tw_openai_request *r)
{
    tw_openai_fail f = {0};
    int e = tw_openai_parse(kind, body, strlen(body), r, &f);
    assert_int_equal(e != 0, f.status != 0);
    return f.status;
}

static void test_defaults(void **state)
{
    (void)state;
    tw_openai_request r;
    assert_int_equal(parse(TW_OPENAI_CHAT,
                           "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                           "\"temperature\":null,\"stop\":null,\"unknown\":1,\"logprobs\":false,"
                           "\"logit_bias\":{},\"user\":\"u\"}",
                           &r),
                     0);
    assert_int_equal(r.set, 0);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.max_tokens, 0);
    assert_int_equal(r.n_stops, 0);
    assert_false(r.stream);
    assert_null(r.model);
    assert_int_equal(r.tools.len, 0);
    assert_string_equal(r.messages.data, "[{\"role\":\"user\",\"content\":\"x\"}]");
    tw_openai_request_done(&r);
    tw_openai_request_done(&r); /* twice is harmless */
}

static void test_all_fields(void **state)
{
    (void)state;
    tw_openai_request r;
    assert_int_equal(parse(TW_OPENAI_CHAT,
                           "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                           "\"temperature\":0,\"top_p\":1,\"min_p\":0.5,\"top_k\":-1,"
                           "\"seed\":-3,\"presence_penalty\":-2,\"frequency_penalty\":2,"
                           "\"repetition_penalty\":1.25,\"stop\":[\"a\",\"b\"],\"n\":4,"
                           "\"max_tokens\":3,\"max_completion_tokens\":9,\"stream\":true,"
                           "\"stream_options\":{\"include_usage\":true},\"ignore_eos\":true}",
                           &r),
                     0);
    assert_int_equal(r.set, 255);
    assert_true(r.temperature == 0 && r.top_p == 1 && r.min_p == 0.5);
    assert_int_equal(r.top_k, 0);
    assert_int_equal(r.seed, UINT64_MAX - 2);
    assert_true(r.presence_penalty == -2 && r.frequency_penalty == 2);
    assert_true(r.repetition_penalty == 1.25);
    assert_int_equal(r.n_stops, 2);
    assert_string_equal(r.stops[1], "b");
    assert_int_equal(r.max_tokens, 9); /* the newer name wins */
    assert_true(r.stream && r.include_usage && r.ignore_eos);
    assert_string_equal(r.model, "m");
    tw_openai_request_done(&r);
}

static void test_messages_become_what_templates_want(void **state)
{
    (void)state;
    tw_openai_request r;
    assert_int_equal(parse(TW_OPENAI_CHAT,
                           "{\"messages\":["
                           "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
                           "{\"type\":\"text\",\"text\":\"b\"}]},"
                           "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\","
                           "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"k\\\": [1]}\"}},"
                           "{\"function\":{\"name\":\"g\",\"arguments\":\"no json\"}}]},"
                           "{\"role\":\"assistant\",\"tool_calls\":[]}],"
                           "\"tools\":[{\"type\":\"function\"}]}",
                           &r),
                     0);
    assert_string_equal(r.messages.data,
                        "[{\"role\":\"user\",\"content\":\"a\\nb\"},"
                        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"1\","
                        "\"function\":{\"name\":\"f\",\"arguments\":{\"k\":[1]}}},"
                        "{\"function\":{\"name\":\"g\",\"arguments\":\"no json\"}}]},"
                        "{\"role\":\"assistant\",\"content\":\"\"}]");
    assert_string_equal(r.tools.data, "[{\"type\":\"function\"}]");
    tw_openai_request_done(&r);
    assert_int_equal(parse(TW_OPENAI_CHAT,
                           "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                           "\"tools\":[{}],\"tool_choice\":\"none\"}",
                           &r),
                     0);
    assert_int_equal(r.tools.len, 0);
    tw_openai_request_done(&r);
}

static void test_prompts(void **state)
{
    (void)state;
    tw_openai_request r;
    assert_int_equal(parse(TW_OPENAI_TEXT, "{\"prompt\":[[1,2],\"x\",[3]]}", &r), 0);
    assert_int_equal(r.n_prompts, 3);
    assert_int_equal(r.prompts[0].n_ids, 2);
    assert_int_equal(r.prompts[0].ids[1], 2);
    assert_null(r.prompts[0].text);
    assert_string_equal(r.prompts[1].text, "x");
    assert_int_equal(r.max_tokens, 16);
    tw_openai_request_done(&r);
    assert_int_equal(parse(TW_OPENAI_TEXT, "{\"prompt\":[4,5]}", &r), 0);
    assert_int_equal(r.n_prompts, 1);
    assert_int_equal(r.prompts[0].n_ids, 2);
    tw_openai_request_done(&r);
    assert_int_equal(parse(TW_OPENAI_TEXT, "{\"prompt\":[[]]}", &r), 400);
    tw_openai_request_done(&r);
    assert_int_equal(parse(TW_OPENAI_TEXT, "{\"prompt\":\"\\u0000\"}", &r), 400);
    tw_openai_request_done(&r);
}

static void test_answers_are_json(void **state)
{
    (void)state;
    static const tw_openai_head head = {
        .kind = TW_OPENAI_CHAT, .id = "i\"d", .model = "m", .created_s = 5, .include_usage = true};
    static const tw_openai_choice c[2] = {{"a\n", 2, "stop"}, {"", 0, "length"}};
    static const tw_openai_usage u = {3, 4};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    json_t *j;
    assert_int_equal(tw_openai_print_answer(&b, &head, c, 2, &u), 0);
    assert_non_null(j = json_loadb(b.data, b.len, 0, NULL));
    json_decref(j);
    tw_buf_reset(&b);
    assert_int_equal(tw_openai_print_chunk(&b, &head, 1, false, &c[1]), 0);
    assert_string_equal(b.data, "{\"id\":\"i\\\"d\",\"object\":\"chat.completion.chunk\","
                                "\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":1,"
                                "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}],"
                                "\"usage\":null}");
    tw_buf_reset(&b);
    assert_int_equal(tw_openai_print_chunk(&b, &head, 0, true, &(tw_openai_choice){.text = ""}), 0);
    assert_non_null(strstr(b.data, "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}"));
    assert_non_null(j = json_loadb(b.data, b.len, 0, NULL));
    json_decref(j);
    tw_buf_reset(&b);
    assert_int_equal(tw_openai_print_usage_chunk(&b, &head, &u), 0);
    assert_non_null(j = json_loadb(b.data, b.len, 0, NULL));
    json_decref(j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_fields),
        cmocka_unit_test(test_messages_become_what_templates_want),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_answers_are_json),
    };
    return cmocka_run_group_tests_name("fmt_openai", tests, NULL, NULL);
}

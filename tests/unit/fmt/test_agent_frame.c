/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "fmt/agent_frame.h"

static void put(tw_buf *b, const char *json)
{
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(json, 0, NULL);
    tw_err err = {0};
    assert_non_null(v);
    assert_int_equal(tw_agent_frame_put(b, v, &err), 0);
}

/* Two frames in a row, of which ever more bytes are there. */
static void test_frames_in_pieces(void **state)
{
    (void)state;
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
    put(&b, "{\"id\":1,\"op\":\"hello\"}");
    size_t first = b.len;
    put(&b, "{\"id\":2,\"op\":\"stop\",\"more\":[1,2,3]}");
    for (size_t n = 0; n <= b.len; n++) {
        TW_CLEANUP(tw_json_freep) json_t *v = NULL;
        size_t used = 0;
        tw_err err = {0};
        int rc = tw_agent_frame_take(b.data, n, &v, &used, &err);
        assert_int_equal(rc, n < first ? -EAGAIN : 0);
        if (rc == 0)
            assert_int_equal(used, first);
    }
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    size_t used = 0;
    tw_err err = {0};
    tw_agent_request r;
    assert_int_equal(tw_agent_frame_take(b.data + first, b.len - first, &v, &used, &err), 0);
    assert_int_equal(used, b.len - first);
    assert_int_equal(tw_agent_request_read(v, &r, &err), 0);
    assert_int_equal(r.id, 2);
    assert_string_equal(r.op, "stop");
}

static int take(const void *p, size_t n)
{
    TW_CLEANUP(tw_json_freep) json_t *v = NULL;
    size_t used = 0;
    tw_err err = {0};
    int rc = tw_agent_frame_take(p, n, &v, &used, &err);
    assert_true(rc == 0 || rc == -EAGAIN || err.msg[0] != '\0');
    return rc;
}

static void test_bad_frames(void **state)
{
    (void)state;
    assert_int_equal(take("\0\0\0\0{}", 6), -EPROTO);
    assert_int_equal(take("\x01\0\0\0{", 5), -EPROTO);
    assert_int_equal(take("\xff\xff\xff\xff", 4), -EPROTO);
    assert_int_equal(take("\x01\0\x10\0", 4), -EPROTO); /* one more than the limit */
    assert_int_equal(take("\0\0\x10\0", 4), -EAGAIN);   /* the limit itself */
    assert_int_equal(take("\x02\0\0\0[]", 6), -EPROTO);
    assert_int_equal(take("\x02\0\0\0{]", 6), -EPROTO);
    assert_int_equal(take("\x0d\0\0\0{\"a\":1,\"a\":2}", 17), -EPROTO);
    assert_int_equal(take("\x02\0\0\0{}", 6), 0);
}

static void test_too_large_is_not_sent(void **state)
{
    (void)state;
    static char text[TW_AGENT_FRAME_MAX + 1];
    memset(text, 'x', sizeof text - 1);
    TW_CLEANUP(tw_json_freep) json_t *v = json_pack("{s:s}", "text", text);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(2 * TW_AGENT_FRAME_MAX);
    tw_err err = {0};
    assert_int_equal(tw_agent_frame_put(&b, v, &err), -E2BIG);
    assert_int_equal(b.len, 0);
}

static void test_greeting_behind_a_banner(void **state)
{
    (void)state;
    static char text[TW_AGENT_BANNER_MAX + 64];
    size_t used = 0;
    assert_int_equal(tw_agent_greeting_find("", 0, &used), -EAGAIN);
    assert_int_equal(tw_agent_greeting_find("twinax-agent/1", 14, &used), -EAGAIN);
    assert_int_equal(tw_agent_greeting_find("twinax-agent/1\n{", 16, &used), 0);
    assert_int_equal(used, 15);
    const char *noisy = "Welcome\ntwinax-agent/twinax-agent/1\nrest";
    assert_int_equal(tw_agent_greeting_find(noisy, strlen(noisy), &used), 0);
    assert_string_equal(noisy + used, "rest");
    memset(text, 't', sizeof text);
    assert_int_equal(tw_agent_greeting_find(text, TW_AGENT_BANNER_MAX, &used), -EAGAIN);
    assert_int_equal(tw_agent_greeting_find(text, sizeof text, &used), -EPROTO);
}

static int read_request(const char *json)
{
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(json, 0, NULL);
    tw_agent_request r;
    tw_err err = {0};
    return tw_agent_request_read(v, &r, &err);
}

static void test_requests(void **state)
{
    (void)state;
    assert_int_equal(read_request("{\"id\":0,\"op\":\"x\"}"), 0);
    assert_int_equal(read_request("{\"op\":\"x\"}"), -EPROTO);
    assert_int_equal(read_request("{\"id\":-1,\"op\":\"x\"}"), -EPROTO);
    assert_int_equal(read_request("{\"id\":1}"), -EPROTO);
    assert_int_equal(read_request("{\"id\":1,\"op\":\"\"}"), -EPROTO);
    assert_int_equal(read_request("{\"id\":1,\"op\":7}"), -EPROTO);
    assert_int_equal(read_request("{\"id\":1,\"op\":\"an operation with far too long a name\"}"),
                     -EPROTO);
}

static void check_reply(const char *json, int want_rc, int want_code, const char *want_text)
{
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(json, 0, NULL);
    tw_err err = {0};
    int code = 1;
    char text[40] = "?";
    assert_int_equal(tw_agent_reply_read(v, 5, &code, text, sizeof text, &err), want_rc);
    if (want_rc != 0)
        return;
    assert_int_equal(code, want_code);
    assert_string_equal(text, want_text);
}

static void test_replies(void **state)
{
    (void)state;
    check_reply("{\"id\":5,\"ok\":true}", 0, 0, "");
    check_reply("{\"id\":5,\"ok\":false,\"code\":-111,\"error\":\"a\\nb\\u001b[2J\"}", 0, -111,
                "a b [2J");
    check_reply("{\"id\":5,\"ok\":false,\"code\":7}", 0, -EIO, "failed without a reason");
    check_reply("{\"id\":4,\"ok\":true}", -EPROTO, 0, "");
    check_reply("{\"id\":5,\"ok\":1}", -EPROTO, 0, "");
    check_reply("{}", -EPROTO, 0, "");
}

static void test_tokens(void **state)
{
    (void)state;
    uint8_t token[32], again[32];
    char text[65];
    for (unsigned i = 0; i < sizeof token; i++)
        token[i] = (uint8_t)(i * 37 + 11);
    tw_agent_token_print(token, text);
    assert_true(tw_agent_token_parse(text, again));
    assert_memory_equal(token, again, sizeof token);
    text[63] = 'g';
    assert_false(tw_agent_token_parse(text, again));
    text[63] = '\0';
    assert_false(tw_agent_token_parse(text, again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_in_pieces),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_too_large_is_not_sent),
        cmocka_unit_test(test_greeting_behind_a_banner),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Text, stop strings and events of one request, with a byte-level tokenizer of single letters. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/session.h"

enum { HALF_A_CHARACTER = 26 };

/* ids 0..25 are the letters a..z, 26 is the byte 0xc3, of which text is made only at the end */
static tw_tokenizer *letters(void)
{
    char json[2048];
    int at = snprintf(json, sizeof(json),
                      "{\"added_tokens\":[],\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                      "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false},"
                      "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{"
                      "\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
    for (int i = 0; i < 26; i++)
        at += snprintf(json + at, sizeof(json) - (size_t)at, "\"%c\":%d,", 'a' + i, i);
    at += snprintf(json + at, sizeof(json) - (size_t)at, "\"\u00c3\":26}}}");
    tw_tokenizer *t;
    tw_err err = {0};
    if (tw_tokenizer_new("letters", json, (size_t)at, &t, &err) != 0)
        fail_msg("%s", err.msg);
    return t;
}

struct seen {
    char text[256];
    unsigned n_tokens, n_done;
    tw_event done;
    tw_err err;
};

static void on_event(void *ctx, const tw_event *ev)
{
    struct seen *s = ctx;
    assert_int_equal(s->n_done, 0); /* nothing after DONE */
    if (ev->kind == TW_EVENT_DONE) {
        s->n_done++;
        s->done = *ev;
        if (ev->err != NULL)
            s->err = *ev->err;
        return;
    }
    s->n_tokens += ev->id != UINT32_MAX;
    strncat(s->text, ev->text, ev->text_len);
}

static void run(const char *letters_in, const char *const *stops, size_t n_stops,
                enum tw_finish end, struct seen *ret)
{
    tw_tokenizer *t = letters();
    tw_session *s;
    tw_err err = {0};
    const uint32_t prompt[1] = {0};
    memset(ret, 0, sizeof(*ret));
    tw_request r = {.prompt = prompt,
                    .n_prompt = 1,
                    .stops = stops,
                    .n_stops = n_stops,
                    .on_event = on_event,
                    .ctx = ret};
    assert_int_equal(tw_session_new(&r, t, &s, &err), 0);
    int rc = 0;
    for (const char *c = letters_in; *c != '\0' && rc == 0; c++)
        rc = tw_session_token(s, (uint32_t)(*c - 'a'), 1);
    tw_session_finish(s, end, NULL, 2);
    tw_session_finish(s, TW_FINISH_ERROR, NULL, 3); /* does nothing: it is over */
    assert_int_equal(ret->n_done, 1);
    tw_session_free(s);
    tw_tokenizer_free(t);
}

static void test_plain(void **state)
{
    (void)state;
    struct seen s;
    run("hello", NULL, 0, TW_FINISH_LENGTH, &s);
    assert_string_equal(s.text, "hello");
    assert_int_equal(s.n_tokens, 5);
    assert_int_equal(s.done.finish, TW_FINISH_LENGTH);
    assert_int_equal(s.done.n_generated, 5);
}

static void test_stop_across_tokens(void **state)
{
    (void)state;
    struct seen s;
    run("abcstopxyz", (const char *const[]){"stop"}, 1, TW_FINISH_LENGTH, &s);
    assert_string_equal(s.text, "abc");
    assert_int_equal(s.done.finish, TW_FINISH_STOP);
}

static void test_beginning_of_a_stop_is_held_and_then_given(void **state)
{
    (void)state;
    struct seen s;
    run("abstosto", (const char *const[]){"stop"}, 1, TW_FINISH_LENGTH, &s);
    assert_string_equal(s.text, "abstosto");
}

static void test_first_of_several_stops_wins(void **state)
{
    (void)state;
    struct seen s;
    run("abcdef", (const char *const[]){"ef", "cd", ""}, 3, TW_FINISH_LENGTH, &s);
    assert_string_equal(s.text, "ab");
}

static void test_cancel_gives_no_held_text(void **state)
{
    (void)state;
    struct seen s;
    run("abst", (const char *const[]){"stop"}, 1, TW_FINISH_CANCELLED, &s);
    assert_string_equal(s.text, "ab");
    assert_int_equal(s.done.finish, TW_FINISH_CANCELLED);
}

/* The text that is left at the end needs memory, and there is none: no good end. */
static void test_lost_text_is_an_error(void **state)
{
    (void)state;
    tw_tokenizer *t = letters();
    tw_session *s;
    tw_err err = {0};
    struct seen seen = {.n_done = 0};
    const uint32_t prompt[1] = {0};
    const tw_request r = {.prompt = prompt, .n_prompt = 1, .on_event = on_event, .ctx = &seen};
    assert_int_equal(tw_session_new(&r, t, &s, &err), 0);
    assert_int_equal(tw_session_token(s, HALF_A_CHARACTER, 1), 0);
    assert_string_equal(seen.text, "");
    tw_mem_fail_at(1);
    tw_session_finish(s, TW_FINISH_LENGTH, NULL, 2);
    tw_mem_fail_at(0);
    assert_int_equal(seen.n_done, 1);
    assert_int_equal(seen.done.finish, TW_FINISH_ERROR);
    assert_int_equal(seen.err.code, -ENOMEM);
    tw_session_free(s);
    tw_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_stop_across_tokens),
        cmocka_unit_test(test_beginning_of_a_stop_is_held_and_then_given),
        cmocka_unit_test(test_first_of_several_stops_wins),
        cmocka_unit_test(test_cancel_gives_no_held_text),
        cmocka_unit_test(test_lost_text_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Beats, silence and the end, seen from the agent; the test is the head. */
#include "cluster/agent_life.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/scope.h"
#include "fmt/agent_frame.h"

#define LIMIT_NS (20 * TW_NS_PER_S)

static tw_agent_life life;
static int head;

static int begin(void **state)
{
    int fds[2];
    tw_err err = {0};
    (void)state;
    memset(&life, 0, sizeof life);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    head = fds[0];
    assert_int_equal(tw_agent_life_start(&life, fds[1], fds[1], &err), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    tw_agent_life_stop(&life);
    close(life.in_fd);
    if (head >= 0)
        close(head);
    return 0;
}

/* What take says once it says something. */
static int await(json_t **ret, tw_err *err)
{
    const uint64_t until = tw_clock_now_ns() + LIMIT_NS;
    int rc;
    while ((rc = tw_agent_life_take(&life, ret, err)) == -EAGAIN && tw_clock_now_ns() < until) {
        struct pollfd pfd = {.fd = life.news_fd, .events = POLLIN};
        (void)poll(&pfd, 1, 1000);
    }
    return rc;
}

static void test_end_of_input(void **state)
{
    json_t *v = NULL;
    tw_err err = {0};
    (void)state;
    close(head);
    head = -1;
    assert_int_equal(await(&v, &err), -ECONNRESET);
    assert_string_equal(err.msg, "the head has gone");
    assert_true(atomic_load(&life.cut));
    assert_int_equal(tw_agent_life_send(&life, "x", 1), -ECONNRESET);
}

/* Frames that came before the end are still taken. */
static void test_frames(void **state)
{
    json_t *v = NULL;
    tw_err err = {0};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1000);
    TW_CLEANUP(tw_json_freep) json_t *request = json_pack("{s:i,s:s}", "id", 3, "op", "x");
    (void)state;
    assert_int_equal(tw_buf_append(&b, tw_agent_beat, TW_AGENT_BEAT_BYTES), 0);
    assert_int_equal(tw_agent_frame_put(&b, request, &err), 0);
    assert_int_equal(tw_buf_append(&b, tw_agent_beat, TW_AGENT_BEAT_BYTES), 0);
    for (size_t i = 0; i < b.len; i++) /* in pieces */
        assert_int_equal(write(head, b.data + i, 1), 1);
    close(head);
    head = -1;
    assert_int_equal(await(&v, &err), 0);
    assert_true(json_equal(v, request));
    json_decref(v);
    assert_int_equal(await(&v, &err), -ECONNRESET);
}

/* It beats once the head does, and knows the head's silence. */
static void test_silence(void **state)
{
    char got[3 * TW_AGENT_BEAT_BYTES];
    size_t n = 0;
    json_t *v = NULL;
    tw_err err = {0};
    (void)state;
    tw_agent_life_beat(&life);
    while (n < sizeof got) { /* while we beat too, it lives longer than its limit */
        tw_agent_life_limit(&life, 700 * TW_NS_PER_MS);
        const ssize_t k = read(head, got + n, sizeof got - n);
        assert_true(k > 0);
        n += (size_t)k;
        assert_int_equal(write(head, tw_agent_beat, TW_AGENT_BEAT_BYTES), TW_AGENT_BEAT_BYTES);
    }
    for (size_t i = 0; i < sizeof got; i += TW_AGENT_BEAT_BYTES)
        assert_memory_equal(got + i, tw_agent_beat, TW_AGENT_BEAT_BYTES);
    assert_false(atomic_load(&life.cut));
    assert_int_equal(await(&v, &err), -ECONNRESET);
    assert_non_null(strstr(err.msg, "the head was silent for 0."));
}

/* The head's word may be noted between the look at the clock and the look at the word: once that
 * was a silence of 585 years. */
static void test_word_after_look(void **state)
{
    (void)state;
    for (int i = 0; i < 300000 && !atomic_load(&life.cut); i++)
        tw_agent_life_beat(&life); /* wakes the thread, which looks at the clock */
    assert_false(atomic_load(&life.cut));
}

/* Who was not asked to beat is not watched after its first word. */
static void test_no_beats(void **state)
{
    (void)state;
    tw_agent_life_limit(&life, 1);
    assert_false(atomic_load(&life.cut));
    tw_agent_life_limit(&life, 0);
    assert_int_equal(write(head, tw_agent_beat, TW_AGENT_BEAT_BYTES), TW_AGENT_BEAT_BYTES);
    struct pollfd pfd = {.fd = head, .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, 700), 0); /* longer than a beat's time */
    assert_false(atomic_load(&life.cut));
}

static atomic_int n_overdue;

static void note_overdue(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&n_overdue, 1);
}

/* The main thread is stuck in an operation: somebody is told, once; but not while it keeps on. */
static void test_overdue(void **state)
{
    (void)state;
    atomic_store(&n_overdue, 0);
    life.overdue = note_overdue;
    atomic_store(&life.keeps, true);
    close(head);
    head = -1;
    struct pollfd none = {.fd = -1};
    (void)poll(&none, 1, (int)(2 * TW_AGENT_OVERDUE_NS / TW_NS_PER_MS));
    assert_int_equal(atomic_load(&n_overdue), 0);
    atomic_store(&life.keeps, false);
    const uint64_t until = tw_clock_now_ns() + LIMIT_NS;
    while (atomic_load(&n_overdue) == 0 && tw_clock_now_ns() < until)
        (void)poll(&none, 1, 5);
    assert_int_equal(atomic_load(&n_overdue), 1);
}

/* A head that sends more than is taken is not read any more, and is read again later. */
static void test_full(void **state)
{
    static char many[64 * 1024];
    size_t sent = 0, taken = 0;
    struct pollfd pfd = {.fd = head, .events = POLLOUT};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(200 * 1024);
    (void)state;
    memset(many, 'x', sizeof many - 1);
    TW_CLEANUP(tw_json_freep) json_t *v = json_pack("{s:s}", "text", many);
    tw_err err = {0};
    assert_int_equal(tw_agent_frame_put(&b, v, &err), 0);
    tw_agent_life_beat(&life);
    tw_agent_life_limit(&life, 300 * TW_NS_PER_MS);
    while (poll(&pfd, 1, 500) > 0) { /* until it blocks */
        const ssize_t n = send(head, b.data + sent % b.len, b.len - sent % b.len, MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_true(sent > TW_AGENT_FRAME_MAX);
    assert_false(atomic_load(&life.cut)); /* we are late, not the head */
    json_t *got = NULL;
    while (taken + b.len <= sent) {
        if (await(&got, &err) != 0)
            fail_msg("%s after %zu of %zu", err.msg, taken, sent);
        json_decref(got);
        taken += b.len;
    }
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_end_of_input, begin, end),
        cmocka_unit_test_setup_teardown(test_frames, begin, end),
        cmocka_unit_test_setup_teardown(test_silence, begin, end),
        cmocka_unit_test_setup_teardown(test_word_after_look, begin, end),
        cmocka_unit_test_setup_teardown(test_no_beats, begin, end),
        cmocka_unit_test_setup_teardown(test_overdue, begin, end),
        cmocka_unit_test_setup_teardown(test_full, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

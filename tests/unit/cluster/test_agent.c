/* SPDX-License-Identifier: Apache-2.0 */
/* An agent at the other end of a socket pair, spoken to as a head does, and as nobody should. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/scope.h"
#include "cluster/agent.h"
#include "cluster/probe.h"
#include "cluster/remote.h"
#include "fmt/agent_frame.h"
#include "os/signal.h"
#include "os/sock.h"
#include "twinax/version.h"

static struct far {
    pthread_t thread;
    int fds[2], rc;
    tw_err err;
} far;

#define LIMIT_NS (20 * TW_NS_PER_S)

static void *run_agent(void *arg)
{
    (void)arg;
    far.rc = tw_agent_run(far.fds[1], far.fds[1], &far.err);
    shutdown(far.fds[1], SHUT_RDWR);
    return NULL;
}

static void start_agent(void)
{
    memset(&far, 0, sizeof far);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far.fds), 0);
    assert_int_equal(pthread_create(&far.thread, NULL, run_agent, NULL), 0);
}

static int join_agent(void)
{
    pthread_join(far.thread, NULL);
    close(far.fds[1]);
    return far.rc;
}

static tw_remote *open_remote(void)
{
    tw_remote *n = NULL;
    tw_err err = {0};
    start_agent();
    if (tw_remote_open_fd(far.fds[0], "far", &n, &err) != 0)
        fail_msg("%s", err.msg);
    return n;
}

static void test_hello_and_facts(void **state)
{
    (void)state;
    static tw_net net;
    tw_err err = {0};
    tw_remote *n = open_remote();
    assert_string_equal(tw_remote_name(n), "far");
    assert_true(tw_remote_host(n)[0] != '\0');
    assert_int_equal(tw_remote_facts(n, &net, &err), 0);
    assert_non_null(tw_net_find_ip(&net, "127.0.0.1", NULL));
    tw_remote_close(n);
    assert_int_equal(join_agent(), 0);
}

static void check_refused(tw_remote *n, const char *op, json_t *args, int code, const char *words)
{
    tw_err err = {0};
    assert_int_equal(tw_remote_call(n, op, args, LIMIT_NS, NULL, &err), code);
    if (strncmp(err.msg, "far: ", 5) != 0 || strstr(err.msg, words) == NULL)
        fail_msg("'%s' lacks '%s'", err.msg, words);
}

/* A refused request leaves the agent as it was. */
static void test_refusals(void **state)
{
    (void)state;
    char token[65];
    uint8_t raw[32] = {1};
    tw_agent_token_print(raw, token);
    tw_remote *n = open_remote();
    check_refused(n, "rank", NULL, -ENOSYS, "does not know that");
    check_refused(n, "probe", NULL, -EINVAL, "token");
    check_refused(n, "probe", json_pack("{s:s,s:s}", "address", "127.0.0.1", "token", "ab"),
                  -EINVAL, "64 hex digits");
    check_refused(n, "probe", json_pack("{s:s,s:s}", "address", "0.0.0.0", "token", token),
                  -EADDRNOTAVAIL, "0.0.0.0 is no address of");
    check_refused(n, "probe", json_pack("{s:i,s:s}", "address", 7, "token", token), -EINVAL,
                  "address");
    check_refused(n, "tool", json_pack("{s:s,s:s}", "name", "sh", "address", "127.0.0.1"), -EINVAL,
                  "no tool");
    assert_int_equal(tw_remote_call(n, "stop", NULL, LIMIT_NS, NULL, NULL), 0);
    tw_remote_close(n);
    assert_int_equal(join_agent(), 0);
}

static uint16_t ask_probe(tw_remote *n, const uint8_t raw[32])
{
    TW_CLEANUP(tw_json_freep) json_t *got = NULL;
    char token[65];
    tw_err err = {0};
    tw_agent_token_print(raw, token);
    json_t *args = json_pack("{s:s,s:s}", "address", "127.0.0.1", "token", token);
    if (tw_remote_call(n, "probe", args, LIMIT_NS, &got, &err) != 0)
        fail_msg("%s", err.msg);
    return (uint16_t)json_integer_value(json_object_get(got, "port"));
}

static void test_probe_through_the_agent(void **state)
{
    (void)state;
    uint8_t raw[32] = {7, 7, 7};
    tw_remote *n = open_remote();
    tw_probe *p = NULL;
    tw_probe_lat l = {0};
    tw_err err = {0};
    tw_probe_to to = {.ip = "127.0.0.1", .token = raw, .n_streams = 1, .limit_ns = LIMIT_NS};
    to.port = ask_probe(n, raw);
    assert_int_equal(tw_probe_connect(&to, &p, &err), 0);
    assert_int_equal(tw_probe_ping(p, TW_PROBE_SLEEP, 2, 1, &l, &err), 0);
    assert_true(l.p50_us > 0);
    tw_probe_close(p);
    tw_remote_close(n);
    assert_int_equal(join_agent(), 0);
}

/* The head goes: the listener goes too. */
static void test_lifeline(void **state)
{
    (void)state;
    uint8_t raw[32] = {9};
    int fd = -1;
    tw_err err = {0};
    tw_remote *n = open_remote();
    uint16_t port = ask_probe(n, raw);
    tw_remote_close(n);
    assert_int_equal(join_agent(), 0);
    assert_int_equal(tw_sock_connect("127.0.0.1", port, NULL, tw_clock_now_ns(), &fd, &err),
                     -ECONNREFUSED);
}

static void check_garbage(const char *bytes, size_t n)
{
    start_agent();
    assert_int_equal(send(far.fds[0], bytes, n, 0), (ssize_t)n);
    assert_int_equal(join_agent(), -EPROTO);
    assert_true(far.err.msg[0] != '\0');
    close(far.fds[0]);
}

static void test_garbage_ends_it(void **state)
{
    (void)state;
    check_garbage("GET / HTTP/1.1\r\n\r\n", 18);
    check_garbage("\x02\0\0\0[]", 6);
    check_garbage("\x02\0\0\0{}", 6);
    check_garbage("\0\0\0\0", 4);
}

/* Whoever sends nothing, or only ends what he sends, still reads what answers there. */
static void test_greets_first(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        char got[sizeof TW_AGENT_GREETING - 1];
        memset(&far, 0, sizeof far);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, far.fds), 0);
        shutdown(far.fds[0], SHUT_WR);
        assert_int_equal(pthread_create(&far.thread, NULL, run_agent, NULL), 0);
        assert_int_equal(recv(far.fds[0], got, sizeof got, MSG_WAITALL), sizeof got);
        assert_memory_equal(got, TW_AGENT_GREETING, sizeof got);
        assert_int_equal(join_agent(), 0);
        close(far.fds[0]);
    }
}

static void test_head_meets_no_agent(void **state)
{
    (void)state;
    int fds[2];
    tw_remote *n = NULL;
    tw_err err = {0};
    static const char banner[] = "SSH-2.0-OpenSSH_9.2\r\n";
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(send(fds[1], banner, sizeof banner - 1, 0), sizeof banner - 1);
    close(fds[1]);
    assert_int_equal(tw_remote_open_fd(fds[0], "far", &n, &err), -ECONNRESET);
    assert_non_null(strstr(err.msg, "far: the other end closed"));
}

static void put_json(tw_buf *b, const char *text)
{
    TW_CLEANUP(tw_json_freep) json_t *v = json_loads(text, 0, NULL);
    tw_err err = {0};
    assert_non_null(v);
    assert_int_equal(tw_agent_frame_put(b, v, &err), 0);
}

typedef struct heard {
    unsigned n_lines, n_exits;
} heard;

static void count_event(void *ctx, const tw_remote_event *e)
{
    heard *h = ctx;
    h->n_lines += !e->has_exit;
    h->n_exits += e->has_exit;
}

/* A rank that ends at once: its words and its end come in one piece with the reply that it was
 * started, then the connection's end. None of them is lost, though nothing more comes to wake us. */
static void test_words_that_come_with_a_reply(void **state)
{
    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(4096);
        int fds[2];
        tw_remote *n = NULL;
        tw_err err = {0};
        heard h = {0};
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        assert_int_equal(tw_buf_puts(&b, TW_AGENT_GREETING), 0);
        json_t *hello = json_pack("{s:i,s:b,s:s,s:i,s:s}", "id", 1, "ok", 1, "version", "x",
                                  "protocol", TW_PROTOCOL_VERSION, "host", "b");
        assert_int_equal(tw_agent_frame_put(&b, hello, &err), 0);
        json_decref(hello);
        put_json(&b, "{\"id\":2,\"ok\":true,\"pid\":7}");
        put_json(&b, "{\"event\":\"log\",\"line\":\"no such folder\"}");
        put_json(&b, "{\"event\":\"exit\",\"status\":256}");
        assert_int_equal(send(fds[1], b.data, b.len, 0), (ssize_t)b.len);
        assert_int_equal(tw_remote_open_fd(fds[0], "far", &n, &err), 0);
        assert_int_equal(tw_remote_call(n, "run-rank", NULL, LIMIT_NS, NULL, &err), 0);
        if (closed != 0)
            shutdown(fds[1], SHUT_RDWR);
        assert_int_equal(tw_remote_hear(n, count_event, &h, &err), closed != 0 ? -ECONNRESET : 0);
        assert_int_equal(h.n_lines, 1);
        assert_int_equal(h.n_exits, 1);
        tw_remote_close(n);
        close(fds[1]);
    }
}

static int init_signals(void **state)
{
    (void)state;
    tw_signal_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_and_facts),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_probe_through_the_agent),
        cmocka_unit_test(test_lifeline),
        cmocka_unit_test(test_garbage_ends_it),
        cmocka_unit_test(test_head_meets_no_agent),
        cmocka_unit_test(test_words_that_come_with_a_reply),
        cmocka_unit_test(test_greets_first),
    };
    return cmocka_run_group_tests(tests, init_signals, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* This host's facts, through an agent at the other end of a socket pair: the same as read here. */
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

#include "cluster/agent.h"
#include "cluster/facts.h"

static tw_facts here, there; /* too large for a stack */
static int fds[2];
static pthread_t thread;

static void *run_agent(void *arg)
{
    static tw_err err;
    (void)arg;
    if (tw_agent_run(fds[1], fds[1], &err) != 0)
        close(fds[1]);
    return NULL;
}

static tw_remote *open_remote(void)
{
    tw_remote *n = NULL;
    tw_err err = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_agent, NULL), 0);
    if (tw_remote_open_fd(fds[0], "far", &n, &err) != 0)
        fail_msg("%s", err.msg);
    return n;
}

static void close_remote(tw_remote *n)
{
    tw_remote_close(n);
    pthread_join(thread, NULL);
    close(fds[1]);
}

static void test_host_facts(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_facts_opts o = {.interface = "lo", .n_peers = 1, .peers = {"127.0.0.1"}};
    tw_remote *n = open_remote();
    assert_int_equal(tw_facts_read(&o, &here, &err), 0);
    if (tw_remote_host_facts(n, &o, &there, &err) != 0)
        fail_msg("%s", err.msg);
    assert_memory_equal(&here.os.kernel, &there.os.kernel, sizeof here.os.kernel);
    assert_memory_equal(&here.os.cmdline, &there.os.cmdline, sizeof here.os.cmdline);
    assert_memory_equal(&here.rdma, &there.rdma, sizeof here.rdma);
    assert_memory_equal(&here.gpus, &there.gpus, sizeof here.gpus);
    assert_memory_equal(&here.user, &there.user, sizeof here.user);
    assert_int_equal(here.mem.total_bytes, there.mem.total_bytes);
    const tw_facts_nic *lo = tw_facts_find_nic(&there, "lo");
    assert_true(lo != NULL && lo->counters.rx_bytes.known);
    assert_string_equal(there.routes.v[there.routes.n - 1].to, "127.0.0.1");
    assert_string_equal(there.routes.v[there.routes.n - 1].name, "lo");
    close_remote(n);
}

static void test_counters_and_heat(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_facts_heat h;
    tw_facts_counters c[2];
    const char *const names[] = {"lo", "../../../etc"};
    tw_remote *n = open_remote();
    if (tw_remote_counters(n, names, 2, c, &err) != 0 || tw_remote_heat(n, &h, &err) != 0)
        fail_msg("%s", err.msg);
    assert_string_equal(c[0].name, "lo");
    assert_true(c[0].rx_packets.known && c[0].at_ns > 0);
    assert_false(c[1].rx_packets.known); /* a path is no interface */
    assert_true(h.at_ns > 0);
    close_remote(n);
}

/* What a request may not be, and what an answer may not be. */
static void test_wrong_words(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_remote *n = open_remote();
    assert_int_equal(tw_remote_call(n, "host-facts", json_pack("{s:i}", "interface", 1),
                                    UINT64_C(20000000000), NULL, &err),
                     -EINVAL);
    assert_non_null(strstr(err.msg, "far: "));
    assert_non_null(strstr(err.msg, "interface"));
    assert_int_equal(tw_remote_call(n, "counters", json_pack("{s:s}", "interfaces", "lo"),
                                    UINT64_C(20000000000), NULL, &err),
                     0); /* none asked for */
    close_remote(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host_facts),
                                       cmocka_unit_test(test_counters_and_heat),
                                       cmocka_unit_test(test_wrong_words)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

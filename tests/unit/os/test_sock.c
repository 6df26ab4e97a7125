/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "count_fds.h"
#include "os/child.h"
#include "os/sock.h"

#define SOON_NS (60 * TW_NS_PER_S)

static uint64_t in_ns(uint64_t ns)
{
    return tw_clock_now_ns() + ns;
}

static int accept_one(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    int fd = -1;
    assert_int_equal(poll(&p, 1, 60000), 1);
    assert_int_equal(tw_sock_accept(listener, &fd), 0);
    return fd;
}

typedef struct pair {
    int a, b;
} pair;

static pair connect_pair(const char *ip)
{
    pair p = {-1, -1};
    int listener = -1;
    uint16_t port = 0;
    tw_err err = {0};
    if (tw_sock_listen(ip, 0, &listener, &port, &err) != 0 ||
        tw_sock_connect(ip, port, ip, in_ns(SOON_NS), &p.a, &err) != 0)
        fail_msg("%s", err.msg);
    p.b = accept_one(listener);
    close(listener);
    return p;
}

static void close_pair(pair p)
{
    close(p.a);
    close(p.b);
}

static int get_option(int fd, int level, int name)
{
    int v = -1;
    socklen_t n = sizeof(v);
    assert_int_equal(getsockopt(fd, level, name, &v, &n), 0);
    return v;
}

static void check_flags(int fd)
{
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

static void check_names(pair p, const char *front)
{
    char ours[80], theirs[80];
    tw_sock_name(p.a, ours, sizeof(ours));
    tw_sock_peer_name(p.b, theirs, sizeof(theirs));
    assert_string_equal(ours, theirs);
    assert_int_equal(strncmp(ours, front, strlen(front)), 0);
    assert_true(atoi(ours + strlen(front)) > 0);
    tw_sock_peer_name(p.a, theirs, sizeof(theirs));
    assert_string_not_equal(ours, theirs);
}

static void check_traffic(pair p)
{
    char got[6] = "";
    assert_int_equal(tw_sock_send_all(p.a, "hello", 6, in_ns(SOON_NS)), 0);
    assert_int_equal(tw_sock_recv_all(p.b, got, 6, in_ns(SOON_NS)), 0);
    assert_string_equal(got, "hello");
    assert_int_equal(tw_sock_send_all(p.b, "world", 6, in_ns(SOON_NS)), 0);
    assert_int_equal(tw_sock_recv_all(p.a, got, 6, in_ns(SOON_NS)), 0);
    assert_string_equal(got, "world");
}

static void test_ipv4(void **state)
{
    (void)state;
    pair p = connect_pair("127.0.0.1");
    check_flags(p.a);
    check_flags(p.b);
    assert_true(get_option(p.a, IPPROTO_TCP, TCP_NODELAY) != 0);
    assert_true(get_option(p.b, IPPROTO_TCP, TCP_NODELAY) != 0);
    check_names(p, "127.0.0.1:");
    check_traffic(p);
    close_pair(p);
}

static void test_ipv6(void **state)
{
    (void)state;
    int fd = -1;
    uint16_t port = 0;
    tw_err err = {0};
    int rc = tw_sock_listen("::1", 0, &fd, &port, &err);
    if (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT) {
        print_message("# skipped: no IPv6 here: %s\n", err.msg);
        return;
    }
    assert_int_equal(rc, 0);
    check_flags(fd);
    close(fd);
    pair p = connect_pair("::1");
    check_names(p, "[::1]:");
    check_traffic(p);
    close_pair(p);
    assert_int_equal(tw_sock_listen("::", 0, &fd, &port, &err), 0);
    assert_int_equal(get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    close(fd);
}

static void test_bad_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {"",          "localhost", "node1", "1.2.3.4.5",
                                      "300.1.1.1", "1.2.3.4:5", "[::1]", "fe80::1%nolink",
                                      "::g",       " 1.2.3.4"};
    for (size_t i = 0; i < TW_ARRAY_LEN(bad); i++) {
        int fd = -7;
        uint16_t port = 7;
        tw_err err = {0};
        int rc = tw_sock_listen(bad[i], 0, &fd, &port, &err);
        if (rc != -EINVAL || strstr(err.msg, bad[i]) == NULL)
            fail_msg("listen on '%s': %d (%s)", bad[i], rc, err.msg);
        rc = tw_sock_connect(bad[i], 1, NULL, in_ns(SOON_NS), &fd, &err);
        assert_int_equal(rc, -EINVAL);
        rc = tw_sock_connect("127.0.0.1", 1, bad[i], in_ns(SOON_NS), &fd, &err);
        assert_int_equal(rc, -EINVAL);
        assert_true(fd == -7 && port == 7);
    }
    int fd = -7;
    tw_err err = {0};
    assert_int_equal(tw_sock_connect("127.0.0.1", 1, "::1", in_ns(SOON_NS), &fd, &err),
                     -EAFNOSUPPORT);
}

static void test_listen_refusals(void **state)
{
    (void)state;
    int fd = -1, other = -7;
    uint16_t port = 0;
    tw_err err = {0};
    unsigned n_fds = count_fds();
    /* TEST-NET-1: no host has it. */
    assert_int_equal(tw_sock_listen("192.0.2.1", 0, &other, NULL, &err), -EADDRNOTAVAIL);
    assert_non_null(strstr(err.msg, "192.0.2.1"));
    assert_int_equal(tw_sock_connect("127.0.0.1", 1, "192.0.2.1", in_ns(SOON_NS), &other, &err),
                     -EADDRNOTAVAIL); /* at once, not at the deadline */
    assert_int_equal(tw_sock_listen("127.0.0.1", 0, &fd, &port, &err), 0);
    assert_int_equal(tw_sock_listen("127.0.0.1", port, &other, NULL, &err), -EADDRINUSE);
    assert_int_equal(tw_sock_accept(fd, &other), -EAGAIN);
    assert_int_equal(other, -7);
    close(fd);
    assert_int_equal(tw_sock_accept(fd, &other), -EBADF);
    assert_int_equal(count_fds(), n_fds);
}

/* A port that is ours but not listened on: connects to it are refused. */
static int reserve_port(uint16_t *ret_port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
    *ret_port = ntohs(in.sin_port);
    return fd;
}

static void test_refused_is_retried(void **state)
{
    (void)state;
    uint16_t port;
    int holder = reserve_port(&port), fd = -7;
    unsigned n_fds = count_fds();
    tw_err err = {0};
    uint64_t deadline = in_ns(30 * TW_NS_PER_MS);
    assert_int_equal(tw_sock_connect("127.0.0.1", port, NULL, deadline, &fd, &err), -ECONNREFUSED);
    assert_true(tw_clock_now_ns() >= deadline);
    assert_non_null(strstr(err.msg, "127.0.0.1"));
    assert_int_equal(fd, -7);
    assert_int_equal(count_fds(), n_fds);
    close(holder);
}

typedef struct late_peer {
    uint16_t port;
    int rc, fd;
} late_peer;

static void *connect_early(void *arg)
{
    late_peer *l = arg;
    l->rc = tw_sock_connect("127.0.0.1", l->port, NULL, in_ns(SOON_NS), &l->fd, NULL);
    return NULL;
}

static void test_late_peer(void **state)
{
    (void)state;
    late_peer l = {.rc = -1, .fd = -1};
    int holder = reserve_port(&l.port), fd = -7;
    /* One refusal seen for certain, then the listener comes while a thread goes on trying. */
    assert_int_equal(tw_sock_connect("127.0.0.1", l.port, NULL, 0, &fd, NULL), -ECONNREFUSED);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, connect_early, &l), 0);
    sched_yield();
    assert_int_equal(listen(holder, 1), 0);
    fd = accept_one(holder);
    pthread_join(thread, NULL);
    assert_int_equal(l.rc, 0);
    close(fd);
    close(l.fd);
    close(holder);
}

typedef struct stream {
    int fd, rc;
    const uint8_t *p;
    size_t n;
} stream;

static void *send_stream(void *arg)
{
    stream *s = arg;
    s->rc = tw_sock_send_all(s->fd, s->p, s->n, in_ns(SOON_NS));
    return NULL;
}

static void test_large_messages(void **state)
{
    (void)state;
    enum { N = 16 << 20 };
    uint8_t *out = malloc(N), *in = calloc(1, N);
    assert_non_null(out);
    assert_non_null(in);
    for (size_t i = 0; i < N; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 13);
    pair p = connect_pair("127.0.0.1");
    stream s = {.fd = p.a, .rc = -1, .p = out, .n = N};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_stream, &s), 0);
    assert_int_equal(tw_sock_recv_all(p.b, in, N, in_ns(SOON_NS)), 0);
    pthread_join(thread, NULL);
    assert_int_equal(s.rc, 0);
    assert_int_equal(memcmp(in, out, N), 0);
    close_pair(p);
    free(out);
    free(in);
}

static void test_deadlines(void **state)
{
    (void)state;
    enum { N = 64 << 20 };
    pair p = connect_pair("127.0.0.1");
    char c = 'x';
    uint64_t deadline = in_ns(10 * TW_NS_PER_MS);
    assert_int_equal(tw_sock_recv_all(p.a, &c, 1, deadline), -ETIMEDOUT);
    assert_true(tw_clock_now_ns() >= deadline);
    assert_int_equal(tw_sock_recv_all(p.a, &c, 1, 0), -ETIMEDOUT);
    assert_int_equal(tw_sock_recv_all(p.a, &c, 0, 0), 0);
    assert_int_equal(tw_sock_send_all(p.b, "yz", 2, 0), 0); /* there is room: no wait */
    assert_int_equal(tw_sock_recv_all(p.a, &c, 1, in_ns(SOON_NS)), 0);
    assert_int_equal(tw_sock_recv_all(p.a, &c, 1, 0), 0); /* it is there: no wait */
    assert_int_equal(c, 'z');
    void *big = calloc(1, N);
    assert_non_null(big);
    assert_int_equal(tw_sock_send_all(p.a, big, N, in_ns(10 * TW_NS_PER_MS)), -ETIMEDOUT);
    free(big);
    close_pair(p);
}

static void test_closed_peer(void **state)
{
    (void)state;
    pair p = connect_pair("127.0.0.1");
    char got[4];
    assert_int_equal(tw_sock_send_all(p.b, "ab", 2, in_ns(SOON_NS)), 0);
    close(p.b);
    assert_int_equal(tw_sock_recv_all(p.a, got, 4, in_ns(SOON_NS)), -ECONNRESET);
    int rc;
    do /* the first ones may go into the void until the reset is back; no SIGPIPE kills us */
        rc = tw_sock_send_all(p.a, "x", 1, in_ns(SOON_NS));
    while (rc == 0);
    assert_int_equal(rc, -ECONNRESET);
    close(p.a);

    int fds[2]; /* also on unix sockets and blocking ones */
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(tw_sock_recv_all(fds[0], got, 1, in_ns(TW_NS_PER_MS)), -ETIMEDOUT);
    close(fds[1]);
    assert_int_equal(tw_sock_recv_all(fds[0], got, 1, TW_NEVER_NS), -ECONNRESET);
    assert_int_equal(tw_sock_send_all(fds[0], got, 1, TW_NEVER_NS), -ECONNRESET);
    close(fds[0]);
}

static void test_names_of_others(void **state)
{
    (void)state;
    char name[64];
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    tw_sock_name(fds[0], name, sizeof(name));
    assert_string_equal(name, "unix");
    tw_sock_peer_name(fds[0], name, sizeof(name));
    assert_string_equal(name, "unix");
    close(fds[0]);
    close(fds[1]);
    tw_sock_name(-1, name, sizeof(name));
    assert_string_equal(name, "?");
    tw_sock_peer_name(-1, name, sizeof(name));
    assert_string_equal(name, "?");
}

static void test_pass_fd(void **state)
{
    (void)state;
    int fds[2], got = -7;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(tw_sock_recv_fd(fds[0], &got, in_ns(TW_NS_PER_MS)), -ETIMEDOUT);
    int mem = memfd_create("twinax-test", MFD_CLOEXEC);
    assert_int_equal(write(mem, "shared", 6), 6);
    assert_int_equal(tw_sock_send_fd(fds[1], mem), 0);
    assert_int_equal(tw_sock_recv_fd(fds[0], &got, in_ns(SOON_NS)), 0);
    char text[7] = "";
    assert_int_equal(pread(got, text, 6, 0), 6);
    assert_string_equal(text, "shared");
    assert_true(fcntl(got, F_GETFD) & FD_CLOEXEC);
    close(got);

    got = -7;
    assert_int_equal(tw_sock_send_fd(fds[1], 99999), -EBADF);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(tw_sock_recv_fd(fds[0], &got, in_ns(SOON_NS)), -EPROTO);
    close(fds[1]);
    assert_int_equal(tw_sock_recv_fd(fds[0], &got, in_ns(SOON_NS)), -ECONNRESET);
    assert_int_equal(tw_sock_send_fd(fds[0], mem), -ECONNRESET);
    assert_int_equal(got, -7);
    close(fds[0]);
    close(mem);
}

/* Whoever sends more than one leaves nothing open in us. */
static void test_pass_too_many_fds(void **state)
{
    (void)state;
    enum { N = 9 };
    int fds[2], many[N], got = -1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < N; i++)
        many[i] = fds[1];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(many))];
    } control = {.bytes = {0}};
    char mark = 'f';
    struct iovec iov = {.iov_base = &mark, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(many));
    memcpy(CMSG_DATA(c), many, sizeof(many));
    unsigned n_fds = count_fds();
    assert_int_equal(sendmsg(fds[1], &msg, 0), 1);
    assert_int_equal(tw_sock_recv_fd(fds[0], &got, in_ns(SOON_NS)), 0);
    assert_int_equal(count_fds(), n_fds + 1);
    close(got);
    close(fds[0]);
    close(fds[1]);
}

/* In a network of its own (a forked process): exit status 0 good, 77 not possible here. */
static int run_in_own_network(void (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        static const char *const up[] = {"ip", "link", "set", "lo", "up", NULL};
        if (unshare(geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWUSER | CLONE_NEWNET) < 0 ||
            tw_child_run(up, NULL) < 0)
            _exit(77);
        fn();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        print_message("# skipped: no network namespace, or no 'ip', or no IPv6\n");
    return WEXITSTATUS(status);
}

static void use_link_local(void)
{
    static const char *const add[] = {"ip", "addr", "add", "fe80::7/64", "dev", "lo", NULL};
    if (tw_child_run(add, NULL) < 0)
        _exit(77);
    int listener = -1, a = -1, b = -1;
    uint16_t port = 0;
    char name[80], got[3];
    tw_err err;
    uint64_t end =
        in_ns(SOON_NS); /* a new address is tentative until the kernel's worker has run */
    int rc;
    do
        rc = tw_sock_listen("fe80::7%lo", 0, &listener, &port, &err);
    while (rc == -EADDRNOTAVAIL && tw_clock_now_ns() < end);
    if (rc < 0)
        _exit(1);
    /* The peer may call its end something else, or say nothing. */
    static const char *const calls[] = {"fe80::7%nolink", "fe80::7"};
    for (size_t i = 0; i < 2; i++) {
        struct pollfd came = {.fd = listener, .events = POLLIN};
        if (tw_sock_connect(calls[i], port, "fe80::7%lo", in_ns(SOON_NS), &a, &err) < 0 ||
            poll(&came, 1, 60000) != 1 || tw_sock_accept(listener, &b) < 0)
            _exit(6);
        close(a);
        close(b);
    }
    if (tw_sock_connect("fe80::7%lo", port, "fe80::7%lo", in_ns(SOON_NS), &a, &err) < 0)
        _exit(2);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, 60000) != 1 || tw_sock_accept(listener, &b) < 0)
        _exit(3);
    if (tw_sock_send_all(a, "hi", 3, in_ns(SOON_NS)) < 0 ||
        tw_sock_recv_all(b, got, 3, in_ns(SOON_NS)) < 0 || strcmp(got, "hi") != 0)
        _exit(4);
    tw_sock_peer_name(a, name, sizeof(name));
    if (strncmp(name, "[fe80::7%lo]:", 13) != 0)
        _exit(5);
}

static void test_link_local(void **state)
{
    (void)state;
    int rc = run_in_own_network(use_link_local);
    assert_true(rc == 0 || rc == 77);
}

/* With one local port to choose from, a connect to that very port meets itself. */
static void meet_itself(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "w");
    if (f == NULL || fprintf(f, "45001 45001") < 0 || fclose(f) != 0)
        _exit(77);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in in = {.sin_family = AF_INET,
                             .sin_port = htons(45001),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
        _exit(1); /* this kernel would not show the case */
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
    int rc = tw_sock_connect("127.0.0.1", 45001, NULL, in_ns(20 * TW_NS_PER_MS), &fd, NULL);
    _exit(rc == -ECONNREFUSED || rc == -EADDRNOTAVAIL ? 0 : 2);
}

static void test_own_echo(void **state)
{
    (void)state;
    int rc = run_in_own_network(meet_itself);
    assert_true(rc == 0 || rc == 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_listen_refusals),
        cmocka_unit_test(test_refused_is_retried),
        cmocka_unit_test(test_late_peer),
        cmocka_unit_test(test_large_messages),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_closed_peer),
        cmocka_unit_test(test_names_of_others),
        cmocka_unit_test(test_pass_fd),
        cmocka_unit_test(test_pass_too_many_fds),
        cmocka_unit_test(test_link_local),
        cmocka_unit_test(test_own_echo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "os/sock.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "base/clock.h"
#include "base/scope.h"
#include "os/fd.h"

enum { SOCK_BACKLOG = 64, SOCK_FDS_MAX = 4 };
#define SEND_FD_LIMIT_NS   (5 * TW_NS_PER_S)
#define RETRY_PAUSE_MIN_NS TW_NS_PER_MS
#define RETRY_PAUSE_MAX_NS (50 * TW_NS_PER_MS)

typedef struct sock_addr {
    struct sockaddr_storage ss;
    socklen_t len;
} sock_addr;

static int parse_addr(const char *ip, uint16_t port, sock_addr *ret, tw_err *err)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char service[8];
    snprintf(service, sizeof(service), "%u", (unsigned)port);
    int rc = getaddrinfo(ip, service, &hints, &list);
    if (rc == EAI_MEMORY)
        return tw_err_set(err, -ENOMEM, "address %s: no memory", ip);
    if (rc != 0 || list == NULL)
        return tw_err_set(err, -EINVAL,
                          "address '%s': no IPv4 or IPv6 address in numbers (%s); a link-local one "
                          "needs its interface: fe80::1%%eth0",
                          ip, gai_strerror(rc));
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->ss, list->ai_addr, list->ai_addrlen);
    ret->len = list->ai_addrlen;
    freeaddrinfo(list);
    return 0;
}

static void format_addr(const sock_addr *a, char *out, size_t out_bytes)
{
    char host[NI_MAXHOST], service[NI_MAXSERV];
    if (a->ss.ss_family == AF_UNIX)
        snprintf(out, out_bytes, "unix");
    else if (getnameinfo((const struct sockaddr *)&a->ss, a->len, host, sizeof(host), service,
                         sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(out, out_bytes, "?");
    else
        snprintf(out, out_bytes, a->ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

void tw_sock_name(int fd, char *out, size_t out_bytes)
{
    sock_addr a = {.len = sizeof(a.ss)};
    if (getsockname(fd, (struct sockaddr *)&a.ss, &a.len) == 0)
        format_addr(&a, out, out_bytes);
    else
        snprintf(out, out_bytes, "?");
}

void tw_sock_peer_name(int fd, char *out, size_t out_bytes)
{
    sock_addr a = {.len = sizeof(a.ss)};
    if (getpeername(fd, (struct sockaddr *)&a.ss, &a.len) == 0)
        format_addr(&a, out, out_bytes);
    else
        snprintf(out, out_bytes, "?");
}

static void set_option(int fd, int level, int name, int value)
{
    (void)setsockopt(fd, level, name, &value, sizeof(value)); /* absent on unix sockets */
}

static int new_socket(const sock_addr *a)
{
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

static uint16_t find_port(const sock_addr *a)
{
    /* Same place in both families. */
    const struct sockaddr_in *in = (const struct sockaddr_in *)&a->ss;
    return ntohs(in->sin_port);
}

int tw_sock_listen(const char *ip, uint16_t port, int *ret_fd, uint16_t *ret_port, tw_err *err)
{
    sock_addr a;
    int rc = parse_addr(ip, port, &a, err);
    if (rc < 0)
        return rc;
    TW_CLEANUP(tw_fd_closep) int fd = new_socket(&a);
    if (fd < 0)
        return tw_err_set(err, fd, "listen on %s: no socket: %s", ip, strerror(-fd));
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (a.ss.ss_family == AF_INET6)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1); /* :: must not open IPv4 unasked */
    if (bind(fd, (const struct sockaddr *)&a.ss, a.len) < 0 || listen(fd, SOCK_BACKLOG) < 0) {
        rc = -errno;
        return tw_err_set(err, rc, "listen on %s port %u: %s%s", ip, (unsigned)port, strerror(-rc),
                          rc == -EADDRNOTAVAIL ? "; no interface of this host has it" : "");
    }
    a.len = sizeof(a.ss);
    if (getsockname(fd, (struct sockaddr *)&a.ss, &a.len) < 0)
        return tw_err_set(err, -errno, "listen on %s: no name: %s", ip, strerror(errno));
    if (ret_port != NULL)
        *ret_port = find_port(&a);
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

/* What accept reports of a connection that is gone again, or of its network: wait for the next. */
static bool is_passing(int e)
{
    return e == EAGAIN || e == EINTR || e == ECONNABORTED || e == EPROTO || e == ENETDOWN ||
           e == ENETUNREACH || e == EHOSTDOWN || e == EHOSTUNREACH || e == ENOPROTOOPT;
}

int tw_sock_accept(int fd, int *ret_fd)
{
    int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (got < 0)
        return is_passing(errno) ? -EAGAIN : -errno;
    set_option(got, IPPROTO_TCP, TCP_NODELAY, 1);
    *ret_fd = got;
    return 0;
}

/* 0 when something is to be done (an error of the socket too), -ETIMEDOUT at the deadline; one that
 * has passed still gets one look. */
static int wait_ready(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        uint64_t now = tw_clock_now_ns();
        uint64_t left_ns = deadline_ns > now ? deadline_ns - now : 0;
        struct timespec ts = {.tv_sec = (time_t)(left_ns / TW_NS_PER_S),
                              .tv_nsec = (int)(left_ns % TW_NS_PER_S)};
        struct pollfd pfd = {.fd = fd, .events = events};
        int n = ppoll(&pfd, 1, deadline_ns == TW_NEVER_NS ? NULL : &ts, NULL);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (left_ns == 0)
            return -ETIMEDOUT;
    }
}

/* A loop of connects to a free port of the own host may meet itself: source and target port equal,
 * which TCP calls a simultaneous open. Nobody listens there. */
static bool is_own_echo(int fd)
{
    sock_addr us = {.len = sizeof(us.ss)}, peer = {.len = sizeof(peer.ss)};
    return getsockname(fd, (struct sockaddr *)&us.ss, &us.len) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer.ss, &peer.len) == 0 && us.len == peer.len &&
           memcmp(&us.ss, &peer.ss, us.len) == 0;
}

/* One try. *ret_wrong_here: the cause is our own end and no later try will go better. */
static int try_connect(const sock_addr *to, const sock_addr *from, uint64_t deadline_ns,
                       int *ret_fd, bool *ret_wrong_here)
{
    *ret_wrong_here = true;
    TW_CLEANUP(tw_fd_closep) int fd = new_socket(to);
    if (fd < 0)
        return fd;
    if (from != NULL) {
        set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        if (bind(fd, (const struct sockaddr *)&from->ss, from->len) < 0)
            return -errno;
    }
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (connect(fd, (const struct sockaddr *)&to->ss, to->len) < 0 && errno != EINPROGRESS &&
        errno != EINTR) {
        *ret_wrong_here =
            errno == EACCES || errno == EPERM || errno == EINVAL || errno == EAFNOSUPPORT;
        return -errno;
    }
    *ret_wrong_here = false;
    int rc = wait_ready(fd, POLLOUT, deadline_ns);
    if (rc < 0)
        return rc;
    int cause = 0;
    socklen_t n = sizeof(cause);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &n) < 0)
        return -errno;
    if (cause == 0 && is_own_echo(fd))
        cause = ECONNREFUSED;
    if (cause == 0)
        *ret_fd = tw_fd_steal(&fd);
    return -cause;
}

static void pause_until(uint64_t when_ns)
{
    struct timespec ts = {.tv_sec = (time_t)(when_ns / TW_NS_PER_S),
                          .tv_nsec = (int)(when_ns % TW_NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL); /* a signal may cut it: try again */
}

/* A zone names an interface of this machine; the peer's own name for its end is of no use here. */
static void use_own_zone(const char *ip, const char *bind_ip, char *out, size_t out_bytes)
{
    const char *zone = bind_ip != NULL ? strchr(bind_ip, '%') : NULL;
    const bool link_local = strncasecmp(ip, "fe", 2) == 0 && ip[2] != '\0' &&
                            strchr("89abAB", ip[2]) != NULL && strchr(ip, ':') == ip + 4;
    const size_t n = strcspn(ip, "%");
    if (zone != NULL && link_local && n + strlen(zone) < out_bytes)
        snprintf(out, out_bytes, "%.*s%s", (int)n, ip, zone);
    else
        snprintf(out, out_bytes, "%s", ip);
}

int tw_sock_connect(const char *peer_ip, uint16_t port, const char *bind_ip, uint64_t deadline_ns,
                    int *ret_fd, tw_err *err)
{
    sock_addr to, from;
    char ip[128];
    use_own_zone(peer_ip, bind_ip, ip, sizeof ip);
    int rc = parse_addr(ip, port, &to, err);
    if (rc == 0 && bind_ip != NULL)
        rc = parse_addr(bind_ip, 0, &from, err);
    if (rc < 0)
        return rc;
    if (bind_ip != NULL && from.ss.ss_family != to.ss.ss_family)
        return tw_err_set(err, -EAFNOSUPPORT, "connect to %s from %s: IPv4 and IPv6 do not mix", ip,
                          bind_ip);

    uint64_t begin_ns = tw_clock_now_ns(), pause_ns = RETRY_PAUSE_MIN_NS;
    int cause = -ETIMEDOUT;
    bool wrong_here = false;
    for (;;) {
        rc = try_connect(&to, bind_ip != NULL ? &from : NULL, deadline_ns, ret_fd, &wrong_here);
        if (rc == 0)
            return 0;
        if (rc != -ETIMEDOUT)
            cause = rc; /* the last one with a reason */
        uint64_t now = tw_clock_now_ns();
        if (wrong_here || now >= deadline_ns)
            break;
        pause_until(TW_MIN(now + pause_ns, deadline_ns));
        pause_ns = TW_MIN(2 * pause_ns, RETRY_PAUSE_MAX_NS);
    }
    return tw_err_set(err, cause, "connect to %s port %u%s%s: %s (tried for %.1f s)", ip,
                      (unsigned)port, bind_ip != NULL ? " from " : "",
                      bind_ip != NULL ? bind_ip : "", strerror(-cause),
                      (double)(tw_clock_now_ns() - begin_ns) / (double)TW_NS_PER_S);
}

int tw_sock_send_all(int fd, const void *p, size_t n, uint64_t deadline_ns)
{
    const char *at = p;
    while (n > 0) {
        ssize_t n_now = send(fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n_now >= 0) {
            at += n_now;
            n -= (size_t)n_now;
            continue;
        }
        if (errno == EPIPE)
            return -ECONNRESET;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        int rc = errno == EINTR ? 0 : wait_ready(fd, POLLOUT, deadline_ns);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int tw_sock_recv_all(int fd, void *p, size_t n, uint64_t deadline_ns)
{
    char *at = p;
    while (n > 0) {
        ssize_t n_now = recv(fd, at, n, MSG_DONTWAIT);
        if (n_now == 0)
            return -ECONNRESET;
        if (n_now > 0) {
            at += n_now;
            n -= (size_t)n_now;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        int rc = errno == EINTR ? 0 : wait_ready(fd, POLLIN, deadline_ns);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Room for the control message; more fds than one are taken only to be closed. */
typedef union fd_control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(SOCK_FDS_MAX * sizeof(int))];
} fd_control;

int tw_sock_send_fd(int fd, int pass_fd)
{
    char mark = 'f'; /* a control message travels with at least one byte */
    struct iovec iov = {.iov_base = &mark, .iov_len = 1};
    fd_control control;
    memset(&control, 0, sizeof(control));
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = CMSG_SPACE(sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &pass_fd, sizeof(int));

    uint64_t deadline_ns = tw_clock_now_ns() + SEND_FD_LIMIT_NS;
    while (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        if (errno == EPIPE)
            return -ECONNRESET;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        int rc = wait_ready(fd, POLLOUT, deadline_ns);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The first fd of the message, or -1; closes all others. */
static int take_fd(struct msghdr *msg)
{
    int taken = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (taken < 0)
                taken = fd;
            else
                close(fd);
        }
    }
    return taken;
}

int tw_sock_recv_fd(int fd, int *ret_fd, uint64_t deadline_ns)
{
    for (;;) {
        char mark;
        struct iovec iov = {.iov_base = &mark, .iov_len = 1};
        fd_control control;
        struct msghdr msg = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
        ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n == 0)
            return -ECONNRESET;
        if (n > 0) {
            int got = take_fd(&msg);
            if (got < 0)
                return -EPROTO;
            *ret_fd = got;
            return 0;
        }
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        int rc = errno == EINTR ? 0 : wait_ready(fd, POLLIN, deadline_ns);
        if (rc < 0)
            return rc;
    }
}

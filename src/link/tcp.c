/* SPDX-License-Identifier: Apache-2.0 */
/* TCP: one vectored send per message; the rest of a partial one when the socket takes it. */
#include "link/link.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "os/sock.h"

typedef struct tcp_link {
    tw_link l;
    int fd;
} tcp_link;

static tcp_link *tcp_of(tw_link *l)
{
    return (tcp_link *)l; /* first member */
}

static ssize_t moved_or_error(ssize_t n)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static ssize_t tcp_write(tw_link *l, const struct iovec *iov, int n_iov)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n_iov};
    return moved_or_error(sendmsg(tcp_of(l)->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL));
}

static ssize_t tcp_read(tw_link *l, const struct iovec *iov, int n_iov)
{
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n_iov};
    ssize_t n = recvmsg(tcp_of(l)->fd, &m, MSG_DONTWAIT);
    return n == 0 ? -ECONNRESET : moved_or_error(n);
}

static bool tcp_arm(tw_link *l, struct pollfd *ret)
{
    short events =
        (short)((tw_link_rx_wants(l) ? POLLIN : 0) | (tw_link_tx_wants(l) ? POLLOUT : 0));
    *ret = (struct pollfd){.fd = tcp_of(l)->fd, .events = events};
    return true;
}

/* What a cable of 50 Gbit/s holds in the shortest time there and back: more under way does not
 * make it faster. */
static size_t tcp_lead(tw_link *l)
{
    enum { BYTES_PER_US = 6250 };
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(tcp_of(l)->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 ||
        len < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt)
        return SIZE_MAX;
    return TW_MAX((size_t)info.tcpi_min_rtt * BYTES_PER_US, (size_t)TW_LINK_LEAD_MIN);
}

static void tcp_disarm(tw_link *l, short revents)
{
    (void)l;
    (void)revents;
}

static void tcp_close(tw_link *l)
{
    close(tcp_of(l)->fd);
    tw_mem_free(l);
}

static const tw_link_ops tcp_ops = {.name = "tcp",
                                    .lead = tcp_lead,
                                    .write = tcp_write,
                                    .read = tcp_read,
                                    .arm = tcp_arm,
                                    .disarm = tcp_disarm,
                                    .close = tcp_close};

static bool same_address(const struct sockaddr *a, const struct sockaddr_storage *b)
{
    if (a == NULL || a->sa_family != b->ss_family)
        return false;
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *x = (const struct sockaddr_in *)(const void *)a;
        const struct sockaddr_in *y = (const struct sockaddr_in *)(const void *)b;
        return x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    if (a->sa_family != AF_INET6)
        return false;
    const struct sockaddr_in6 *x = (const struct sockaddr_in6 *)(const void *)a;
    const struct sockaddr_in6 *y = (const struct sockaddr_in6 *)(const void *)b;
    /* fe80::1 may stand on every interface: its zone says which is meant. */
    const bool same_zone =
        !IN6_IS_ADDR_LINKLOCAL(&y->sin6_addr) || x->sin6_scope_id == y->sin6_scope_id;
    return same_zone && memcmp(&x->sin6_addr, &y->sin6_addr, sizeof x->sin6_addr) == 0;
}

/* The interface that has the socket's own address, and its MTU: what the proof shows. Unknown is
 * left empty. */
static void find_device(int fd, tw_link_proof *proof)
{
    struct sockaddr_storage self;
    socklen_t len = sizeof self;
    struct ifaddrs *all = NULL;
    if (getsockname(fd, (struct sockaddr *)&self, &len) != 0 || getifaddrs(&all) != 0)
        return;
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        if (!same_address(i->ifa_addr, &self))
            continue;
        struct ifreq req = {0};
        snprintf(req.ifr_name, sizeof req.ifr_name, "%s", i->ifa_name);
        snprintf(proof->device, sizeof proof->device, "%s", i->ifa_name);
        if (ioctl(fd, SIOCGIFMTU, &req) == 0 && req.ifr_mtu > 0)
            proof->mtu = (uint32_t)req.ifr_mtu;
        break;
    }
    freeifaddrs(all);
}

int tw_link_tcp_new(int fd, uint8_t rank, uint8_t peer, bool verify, tw_link **ret, tw_err *err)
{
    int one = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0) {
        int rc = -errno;
        close(fd);
        return tw_err_set(err, rc, "rank %u: data connection: TCP_NODELAY: %s", peer,
                          strerror(-rc));
    }
    tcp_link *t = tw_mem_calloc(1, sizeof *t);
    if (t == NULL) {
        close(fd);
        return tw_err_set(err, -ENOMEM, "no memory for a tcp link");
    }
    t->fd = fd;
    tw_sock_name(fd, t->l.proof.local, sizeof t->l.proof.local);
    tw_sock_peer_name(fd, t->l.proof.peer, sizeof t->l.proof.peer);
    find_device(fd, &t->l.proof);
    tw_link_init(&t->l, &tcp_ops, rank, peer, verify);
    *ret = &t->l;
    return 0;
}

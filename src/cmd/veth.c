/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/veth.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/scope.h"
#include "os/fd.h"

enum {
    NETS = 16256, /* 169.254.1.0 .. 169.254.254.255 in steps of 4 */
    TRIES = 256
};

/* An abstract unix socket is a lock by name: one holder in a network namespace, and the kernel lets
 * go when he dies. */
static int take_lock(unsigned net, int *ret_fd)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "twinax-veth-%u", net);
    TW_CLEANUP(tw_fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&a,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) != 0)
        return -errno;
    *ret_fd = tw_fd_steal(&fd);
    return 0;
}

/* Whether an interface here has an address of this /30. */
static bool is_in_use(const struct ifaddrs *all, uint32_t net)
{
    for (const struct ifaddrs *i = all; i != NULL; i = i->ifa_next) {
        if (i->ifa_addr == NULL || i->ifa_addr->sa_family != AF_INET)
            continue;
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)i->ifa_addr;
        if ((ntohl(in->sin_addr.s_addr) & ~3u) == net)
            return true;
    }
    return false;
}

static void fill(pid_t pid, unsigned at, uint32_t net, tw_veth *ret)
{
    char more[8] = "";
    const unsigned id = (unsigned)pid % 10000000u;
    if (at > 0)
        snprintf(more, sizeof more, "-%u", at % 1000);
    snprintf(ret->name0, sizeof ret->name0, "twx%u%sa", id, more);
    snprintf(ret->name1, sizeof ret->name1, "twx%u%sb", id, more);
    const unsigned third = net >> 8 & 0xff, fourth = net & 0xff;
    snprintf(ret->ip0, sizeof ret->ip0, "169.254.%u.%u", third, fourth + 1);
    snprintf(ret->ip1, sizeof ret->ip1, "169.254.%u.%u", third, fourth + 2);
}

int tw_veth_choose(pid_t pid, tw_veth *ret, int *ret_lock_fd, tw_err *err)
{
    for (unsigned at = 0; at < TRIES; at++) {
        const unsigned i = ((unsigned)pid + at) % NETS;
        const uint32_t net = UINT32_C(0xa9fe0100) + 4 * i;
        TW_CLEANUP(tw_fd_closep) int fd = -1;
        struct ifaddrs *all;
        int rc = take_lock(i, &fd);
        if (rc == -EADDRINUSE)
            continue;
        if (rc != 0)
            return tw_err_set(err, rc, "no lock for a veth pair: %s", strerror(-rc));
        /* Asked when the lock is ours: a dead run's pair may still be there. */
        if (getifaddrs(&all) != 0)
            return tw_err_set(err, -errno, "cannot list the addresses here: %s", strerror(errno));
        const bool taken = is_in_use(all, net);
        freeifaddrs(all);
        fill(pid, at, net, ret);
        if (taken || if_nametoindex(ret->name0) != 0)
            continue;
        *ret_lock_fd = tw_fd_steal(&fd);
        return 0;
    }
    return tw_err_set(err, -EADDRNOTAVAIL,
                      "%d networks from 169.254.%u.%u/30 on are all taken: see ip address", TRIES,
                      1 + (unsigned)pid % NETS / 64, (unsigned)pid % NETS % 64 * 4);
}

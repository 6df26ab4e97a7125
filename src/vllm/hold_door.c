/* SPDX-License-Identifier: Apache-2.0 */
#include "vllm/hold_door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/scope.h"
#include "os/fd.h"

#if defined(__x86_64__)
#define OWN_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH AUDIT_ARCH_AARCH64
#else
#define OWN_ARCH 0
#endif

enum { NOTIF_BYTES = 512, RULES_MAX = 256 };

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool tw_hold_door_add(tw_hold_door *d, const char *ip)
{
    char bare[64];
    uint8_t *to = d->peers[d->n_peers];
    snprintf(bare, sizeof bare, "%.*s", (int)strcspn(ip, "%"), ip);
    if (d->n_peers == TW_HOLD_PEERS_MAX)
        return false;
    memcpy(to, mapped, sizeof mapped);
    if (inet_pton(AF_INET, bare, to + sizeof mapped) != 1 && inet_pton(AF_INET6, bare, to) != 1)
        return false;
    d->n_peers++;
    return true;
}

/* ---- the program's side ---- */

int tw_hold_door_enter(int *ret_fd, tw_err *err)
{
    struct sock_filter rules[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                           offsetof(struct seccomp_data, arch)),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCH, 0, 3),
                                  BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                           offsetof(struct seccomp_data, nr)),
                                  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind, 0, 1),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
                                  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const struct sock_fprog all = {.len = TW_ARRAY_LEN(rules), .filter = rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) != 0)
        return tw_err_set(err, -errno, "no_new_privs: %s", strerror(errno));
    const int fd =
        (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                     SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW, &all);
    if (fd < 0)
        return tw_err_set(err, -errno, "seccomp: %s", strerror(errno));
    *ret_fd = fd;
    return 0;
}

/* ---- the filter of one socket ---- */

typedef struct rule_list {
    struct sock_filter v[RULES_MAX];
    unsigned short n;
} rule_list;

static void put(rule_list *l, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    l->v[l->n++] = (struct sock_filter){.code = code, .jt = yes, .jf = no, .k = k};
}

static void load(rule_list *l, unsigned at)
{
    put(l, BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF + at, 0, 0);
}

static void pass(rule_list *l)
{
    put(l, BPF_RET | BPF_K, UINT32_MAX, 0, 0);
}

static uint32_t word(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The source is that address, or is written as that one: passes. */
static void add_v6(rule_list *l, const uint8_t ip[16])
{
    for (unsigned i = 0; i < 4; i++) {
        load(l, 8 + 4 * i);
        put(l, BPF_JMP | BPF_JEQ | BPF_K, word(ip + 4 * i), 0, (uint8_t)(2 * (3 - i) + 1));
    }
    pass(l);
}

static void add_v4_part(rule_list *l, const tw_hold_door *d)
{
    enum { SOURCE = 12, TARGET = 16 };
    load(l, TARGET);
    put(l, BPF_MISC | BPF_TAX, 0, 0, 0);
    load(l, SOURCE);
    put(l, BPF_JMP | BPF_JEQ | BPF_X, 0, 0, 1); /* from an address of ours to the same */
    pass(l);
    for (size_t i = 0; i < d->n_peers; i++)
        if (memcmp(d->peers[i], mapped, sizeof mapped) == 0) {
            put(l, BPF_JMP | BPF_JEQ | BPF_K, word(d->peers[i] + sizeof mapped), 0, 1);
            pass(l);
        }
    put(l, BPF_ALU | BPF_AND | BPF_K, 0xff000000U, 0, 0);
    put(l, BPF_JMP | BPF_JEQ | BPF_K, 0x7f000000U, 0, 1);
    pass(l);
    put(l, BPF_RET | BPF_K, 0, 0, 0);
}

static void add_v6_part(rule_list *l, const tw_hold_door *d)
{
    static const uint8_t loopback[16] = {[15] = 1};
    add_v6(l, loopback);
    for (size_t i = 0; i < d->n_peers; i++)
        if (memcmp(d->peers[i], mapped, sizeof mapped) != 0)
            add_v6(l, d->peers[i]);
    put(l, BPF_RET | BPF_K, 0, 0, 0);
}

static int attach(const tw_hold_door *d, int fd)
{
    rule_list l = {.n = 0};
    put(&l, BPF_LD | BPF_B | BPF_ABS, (uint32_t)SKF_NET_OFF, 0, 0);
    put(&l, BPF_ALU | BPF_RSH | BPF_K, 4, 0, 0);
    const unsigned short at = l.n;
    put(&l, BPF_JMP | BPF_JEQ | BPF_K, 4, 0, 0);
    add_v4_part(&l, d);
    l.v[at].jf = (uint8_t)(l.n - at - 1);
    add_v6_part(&l, d);
    const struct sock_fprog all = {.len = l.n, .filter = l.v};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &all, sizeof all) == 0 ? 0 : -errno;
}

/* ---- one bind ---- */

/* Only a leader's number opens a process. */
static pid_t leader_of(pid_t thread)
{
    char path[48], line[128];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    FILE *f = fopen(path, "re");
    while (f != NULL && pid == 0 && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "Tgid: %9d", &pid) != 1)
            pid = 0;
    if (f != NULL)
        fclose(f);
    return pid;
}

/* -1: it has none such any more, or we may not. */
static int copy_fd(pid_t thread, int fd)
{
    TW_CLEANUP(tw_fd_closep) int process = (int)syscall(SYS_pidfd_open, leader_of(thread), 0);
    return process >= 0 ? (int)syscall(SYS_pidfd_getfd, process, fd, 0) : -1;
}

static int option(int fd, int name)
{
    int v = 0;
    socklen_t n = sizeof v;
    return getsockopt(fd, SOL_SOCKET, name, &v, &n) == 0 ? v : -1;
}

/* Its port; -EAFNOSUPPORT: no address of the internet; another error: not to be read. */
static int port_of(const struct seccomp_notif *q)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.any = {.sa_family = AF_UNSPEC}};
    char path[48];
    const size_t n = TW_MIN((size_t)q->data.args[2], sizeof a);
    snprintf(path, sizeof path, "/proc/%u/mem", q->pid);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? pread(fd, &a, n, (off_t)q->data.args[1]) : -1;
    if (got != (ssize_t)n)
        return got < 0 ? -errno : -EFAULT;
    return a.any.sa_family == AF_INET    ? ntohs(a.v4.sin_port)
           : a.any.sa_family == AF_INET6 ? ntohs(a.v6.sin6_port)
                                         : -EAFNOSUPPORT;
}

static int guard(const tw_hold_door *d, const struct seccomp_notif *q, tw_err *err)
{
    const int port = port_of(q);
    if (port == -EAFNOSUPPORT || (port > 0 && port == d->open_port))
        return 0;
    if (port < 0)
        return tw_err_set(err, port, "its address is not to be read: %s", strerror(-port));
    TW_CLEANUP(tw_fd_closep) int fd = copy_fd((pid_t)q->pid, (int)q->data.args[0]);
    if (fd < 0)
        return tw_err_set(err, -errno, "its socket is not to be had: %s", strerror(errno));
    if (option(fd, SO_TYPE) != SOCK_STREAM || option(fd, SO_PROTOCOL) != IPPROTO_TCP)
        return 0;
    const int rc = attach(d, fd);
    return rc == 0 ? 0 : tw_err_set(err, rc, "no filter on it: %s", strerror(-rc));
}

int tw_hold_door_serve(const tw_hold_door *d, int fd, tw_err *err)
{
    union { /* a newer kernel's are longer */
        struct seccomp_notif q;
        uint8_t bytes[NOTIF_BYTES];
    } in;
    union {
        struct seccomp_notif_resp a;
        uint8_t bytes[NOTIF_BYTES];
    } out;
    memset(&in, 0, sizeof in);
    memset(&out, 0, sizeof out);
    if (ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &in.q) != 0)
        return 0; /* it was interrupted, or has gone */
    int rc = guard(d, &in.q, err);
    if (rc != 0 && ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &in.q.id) != 0)
        rc = 0; /* it was killed meanwhile: nothing is bound */
    out.a.id = in.q.id;
    out.a.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    (void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &out.a);
    return rc;
}

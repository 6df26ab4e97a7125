/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/life_proc.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <fcntl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "os/fd.h"

enum { STAT_MAX = 1024, ENVIRON_MAX = 256 * 1024, LOOK_MS = 5 };

/* What is there of a file of /proc; -1: nothing. */
static ssize_t read_proc(pid_t pid, const char *name, char *out, size_t out_bytes)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t at = 0;
    while (fd >= 0 && at + 1 < out_bytes) {
        ssize_t n = read(fd, out + at, out_bytes - 1 - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    out[at] = '\0';
    return fd >= 0 ? (ssize_t)at : -1;
}

/* The n-th field, n >= 3, of /proc/PID/stat: the name before may hold spaces and brackets. */
static const char *stat_field(const char *text, unsigned n)
{
    const char *at = strrchr(text, ')');
    for (unsigned i = 2; at != NULL && i < n; i++) {
        at = strchr(at, ' ');
        at = at != NULL ? at + 1 : NULL;
    }
    return at;
}

bool tw_life_proc_read(pid_t pid, tw_life_proc *ret)
{
    char text[STAT_MAX], number[24];
    uint64_t start = 0;
    if (pid <= 0 || read_proc(pid, "stat", text, sizeof text) <= 0)
        return false;
    const char *state = stat_field(text, 3), *began = stat_field(text, 22);
    if (state == NULL || *state == 'Z' || *state == 'X' || began == NULL)
        return false;
    snprintf(number, sizeof number, "%.*s", (int)strcspn(began, " "), began);
    if (tw_str_to_u64(number, &start) != 0)
        return false;
    *ret = (tw_life_proc){.pid = pid, .start = start};
    return true;
}

bool tw_life_proc_alive(const tw_life_proc *p)
{
    tw_life_proc now;
    return tw_life_proc_read(p->pid, &now) && now.start == p->start;
}

int tw_life_proc_kill(const tw_life_proc *p, int sig)
{
    TW_CLEANUP(tw_fd_closep) int fd = -1;
    if (p->pid <= 0)
        return -ESRCH;
    fd = (int)syscall(SYS_pidfd_open, p->pid, 0u); /* holds the process, whatever its pid becomes */
    if (fd < 0 && errno != ENOSYS && errno != EPERM)
        return -errno;
    if (!tw_life_proc_alive(p))
        return -ESRCH;
    int rc = fd >= 0 ? (int)syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0u) : kill(p->pid, sig);
    return rc == 0 ? 0 : -errno;
}

bool tw_life_proc_await_gone(const tw_life_proc *p, unsigned n, uint64_t limit_ns)
{
    const uint64_t until = tw_clock_now_ns() + limit_ns;
    for (;;) {
        unsigned n_alive = 0;
        for (unsigned i = 0; i < n; i++)
            n_alive += tw_life_proc_alive(&p[i]);
        if (n_alive == 0 || tw_clock_now_ns() >= until)
            return n_alive == 0;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000 * 1000}, NULL);
    }
}

uint64_t tw_life_proc_rss(pid_t pid)
{
    char text[4096], number[24];
    uint64_t kib = 0;
    if (read_proc(pid, "status", text, sizeof text) <= 0)
        return 0;
    const char *at = strstr(text, "\nVmRSS:");
    if (at == NULL)
        return 0;
    at += strlen("\nVmRSS:");
    at += strspn(at, " \t");
    snprintf(number, sizeof number, "%.*s", (int)strspn(at, "0123456789"), at);
    return tw_str_to_u64(number, &kib) == 0 ? kib * 1024 : 0;
}

static bool has_mark(pid_t pid, const char *mark, char *room)
{
    ssize_t n = read_proc(pid, "environ", room, ENVIRON_MAX);
    for (const char *p = room; n > 0 && p < room + n; p += strlen(p) + 1)
        if (strcmp(p, mark) == 0)
            return true;
    return false;
}

unsigned tw_life_proc_find(const char *run, tw_life_proc *ret, unsigned max)
{
    char mark[96];
    unsigned n = 0;
    DIR *dir = opendir("/proc");
    TW_CLEANUP(tw_mem_freep) char *room = tw_mem_alloc(ENVIRON_MAX);
    snprintf(mark, sizeof mark, "TWINAX_RUN=%s", run);
    for (struct dirent *e; dir != NULL && room != NULL && (e = readdir(dir)) != NULL;) {
        uint64_t pid = 0;
        tw_life_proc p;
        if (tw_str_to_u64(e->d_name, &pid) != 0 || pid > INT32_MAX || (pid_t)pid == getpid() ||
            !has_mark((pid_t)pid, mark, room) || !tw_life_proc_read((pid_t)pid, &p))
            continue;
        if (n < max)
            ret[n] = p;
        n++;
    }
    if (dir != NULL)
        closedir(dir);
    return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "os/brood.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/fd.h"

enum { STAT_MAX = 512, DEPTH_MAX = 256, LOOK_NS = 5 * 1000 * 1000 };
#define KILLED_WAIT_NS (1 * TW_NS_PER_S)

typedef struct proc {
    pid_t pid, parent;
    unsigned long long start; /* clock ticks since boot: with the pid, which process it is */
    bool zombie, ours;
} proc;

typedef struct procs {
    proc *v;
    size_t n, cap;
} procs;

static void procs_done(procs *p)
{
    tw_mem_free(p->v);
}

int tw_brood_begin(tw_err *err)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) == 0
               ? 0
               : tw_err_set(err, -errno, "this kernel does not let a process take in orphans: %s",
                            strerror(errno));
}

static bool read_proc(pid_t pid, proc *ret)
{
    char path[48], text[STAT_MAX], state;
    int parent;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    TW_CLEANUP(tw_fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    *ret = (proc){.pid = pid};
    if (at == NULL ||
        sscanf(at + 1,
               " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &state, &parent, &ret->start) != 3)
        return false;
    ret->parent = parent;
    ret->zombie = state == 'Z' || state == 'X';
    return true;
}

static bool add_proc(procs *all, const proc *p)
{
    if (all->n == all->cap) {
        const size_t cap = all->cap > 0 ? 2 * all->cap : 256;
        proc *v = tw_mem_realloc(all->v, cap * sizeof *v);
        if (v == NULL)
            return false;
        all->v = v;
        all->cap = cap;
    }
    all->v[all->n++] = *p;
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const proc *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static bool is_below(const procs *all, const proc *p, pid_t top)
{
    for (unsigned depth = 0; p != NULL && depth < DEPTH_MAX; depth++) {
        const proc parent = {.pid = p->parent};
        if (p->parent == top)
            return true;
        p = bsearch(&parent, all->v, all->n, sizeof *all->v, by_pid);
    }
    return false;
}

static void mark_ours(procs *all)
{
    if (all->n > 0)
        qsort(all->v, all->n, sizeof *all->v, by_pid);
    for (size_t i = 0; i < all->n; i++)
        all->v[i].ours = is_below(all, &all->v[i], getpid());
}

static void look(procs *all)
{
    DIR *d = opendir("/proc");
    const struct dirent *e;
    proc p;
    all->n = 0;
    while (d != NULL && (e = readdir(d)) != NULL) {
        const pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid > 0 && read_proc(pid, &p) && !add_proc(all, &p))
            break;
    }
    if (d != NULL)
        closedir(d);
    mark_ours(all);
}

/* To this very process: its pid may be another's since we looked. */
static void send_signal(const proc *p, int sig)
{
    proc now;
    TW_CLEANUP(tw_fd_closep) int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    if (!read_proc(p->pid, &now) || now.start != p->start)
        return;
    if (fd >= 0)
        (void)syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0);
    else
        (void)kill(p->pid, sig);
}

/* A look may miss one that is begun, or whose parent ends, meanwhile. That we have no child is no
 * matter of looking: of all that is below us, the topmost one is ours. */
static unsigned signal_all(procs *all, int sig)
{
    unsigned n = 0;
    pid_t got;
    while ((got = waitpid(-1, NULL, WNOHANG)) > 0)
        continue;
    if (got < 0 && errno == ECHILD)
        return 0;
    look(all);
    for (size_t i = 0; i < all->n; i++)
        if (all->v[i].ours && !all->v[i].zombie) {
            n++;
            if (sig != 0)
                send_signal(&all->v[i], sig);
        }
    return TW_MAX(n, 1u);
}

unsigned tw_brood_count(void)
{
    TW_CLEANUP(procs_done) procs all = {0};
    return signal_all(&all, 0);
}

void tw_brood_each(void (*fn)(pid_t pid, void *ctx), void *ctx)
{
    TW_CLEANUP(procs_done) procs all = {0};
    look(&all);
    for (size_t i = 0; i < all.n; i++)
        if (all.v[i].ours && !all.v[i].zombie)
            fn(all.v[i].pid, ctx);
}

bool tw_brood_end(uint64_t grace_ns)
{
    TW_CLEANUP(procs_done) procs all = {0};
    const uint64_t insist_at = tw_clock_now_ns() + grace_ns, until = insist_at + KILLED_WAIT_NS;
    const struct timespec pause = {.tv_nsec = LOOK_NS};
    unsigned left = signal_all(&all, SIGTERM);
    if (left > 0)
        (void)signal_all(&all, SIGCONT); /* a stopped one could not take it */
    while (left > 0 && tw_clock_now_ns() < until) {
        (void)nanosleep(&pause, NULL);
        left = signal_all(&all, tw_clock_now_ns() < insist_at ? 0 : SIGKILL);
    }
    return left == 0;
}

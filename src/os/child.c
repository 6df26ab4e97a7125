/* SPDX-License-Identifier: Apache-2.0 */
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/scope.h"
#include "os/fd.h"

#define KILLED_WAIT_NS (2 * TW_NS_PER_S)

enum {
    CHILD_PASS_FD = 3,
    CHILD_ERR_FD = 4,    /* the exec report, closed by a good exec */
    CHILD_HIGH_FD = 10,  /* sources are moved here, out of the way of 0..4 */
    CHILD_OLD_FDS = 4096 /* kernels without close_range: so many are closed one by one */
};

/* Everything the child needs, made before the fork: in the child of a process with threads only
 * async-signal-safe calls are allowed. */
typedef struct child_job {
    char path[4096];
    char *const *argv;
    unsigned flags;
    pid_t parent;
    int in_fd, out_fd, says_fd, pass_fd; /* the child's ends, or -1 */
    int err_fd;
    char uid_map[32], gid_map[32];
} child_job;

enum child_stage {
    STAGE_FDS,
    STAGE_USER_NS,
    STAGE_SETGROUPS,
    STAGE_UID_MAP,
    STAGE_GID_MAP,
    STAGE_NET_NS,
    STAGE_DEATHSIG,
    STAGE_EXEC
};

static const char *const stage_text[] = {
    [STAGE_FDS] = "cannot arrange its files",
    [STAGE_USER_NS] = "no user namespace (unshare; see sysctl kernel.unprivileged_userns_clone, "
                      "user.max_user_namespaces)",
    [STAGE_SETGROUPS] = "user namespace: cannot write /proc/self/setgroups",
    [STAGE_UID_MAP] = "user namespace: cannot write /proc/self/uid_map",
    [STAGE_GID_MAP] = "user namespace: cannot write /proc/self/gid_map",
    [STAGE_NET_NS] = "no network namespace (unshare needs CAP_SYS_ADMIN; some kernels refuse it "
                     "inside a user namespace)",
    [STAGE_DEATHSIG] = "cannot be tied to its parent (PR_SET_PDEATHSIG)",
    [STAGE_EXEC] = "cannot be executed",
};

typedef struct child_report {
    int stage, cause; /* cause: errno */
} child_report;

/* ---- in the child: async-signal-safe only ---- */

static _Noreturn void fail_child(int err_fd, enum child_stage stage)
{
    child_report report = {.stage = (int)stage, .cause = errno};
    ssize_t n = write(err_fd, &report, sizeof(report));
    (void)n;
    _exit(127);
}

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, text, strlen(text));
    int errno_kept = errno;
    close(fd);
    errno = errno_kept;
    return n == (ssize_t)strlen(text);
}

static void reset_signals(void)
{
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    for (int sig = 1; sig <= SIGRTMAX; sig++)
        (void)sigaction(sig, &plain, NULL);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void enter_namespaces(const child_job *job, int err_fd)
{
    if (job->flags & TW_CHILD_NEW_USER_NET) {
        if (unshare(CLONE_NEWUSER) < 0)
            fail_child(err_fd, STAGE_USER_NS);
        if (!write_text("/proc/self/setgroups", "deny") && errno != ENOENT)
            fail_child(err_fd, STAGE_SETGROUPS);
        if (!write_text("/proc/self/uid_map", job->uid_map))
            fail_child(err_fd, STAGE_UID_MAP);
        if (!write_text("/proc/self/gid_map", job->gid_map))
            fail_child(err_fd, STAGE_GID_MAP);
    }
    if (job->flags & (TW_CHILD_NEW_NET | TW_CHILD_NEW_USER_NET))
        if (unshare(CLONE_NEWNET) < 0)
            fail_child(err_fd, STAGE_NET_NS);
}

static void close_from(unsigned first)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0u, 0u) == 0)
        return;
#endif
    for (unsigned fd = first; fd < CHILD_OLD_FDS; fd++)
        close((int)fd);
}

/* Sources lie at CHILD_HIGH_FD or above (move_high), so no dup2 destroys a later source. */
static void arrange_fds(const child_job *job)
{
    bool good = job->in_fd < 0 || dup2(job->in_fd, STDIN_FILENO) >= 0;
    if (job->out_fd >= 0) {
        good = good && dup2(job->out_fd, STDOUT_FILENO) >= 0;
        if (job->flags & TW_CHILD_ERR_TO_OUT)
            good = good && dup2(job->out_fd, STDERR_FILENO) >= 0;
    }
    if (job->says_fd >= 0)
        good = good && dup2(job->says_fd, STDERR_FILENO) >= 0;
    if (job->pass_fd >= 0)
        good = good && dup2(job->pass_fd, CHILD_PASS_FD) >= 0;
    else
        close(CHILD_PASS_FD);
    good = good && dup3(job->err_fd, CHILD_ERR_FD, O_CLOEXEC) >= 0;
    if (!good)
        fail_child(job->err_fd, STAGE_FDS);
    close_from(CHILD_ERR_FD + 1);
}

static _Noreturn void run_child(const child_job *job)
{
    reset_signals();
    if (job->flags & TW_CHILD_OWN_GROUP)
        (void)setpgid(0, 0);
    arrange_fds(job);
    enter_namespaces(job, CHILD_ERR_FD);
    /* After the namespaces, since a change of credentials clears it. If the parent went before, no
     * signal will come: look. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        fail_child(CHILD_ERR_FD, STAGE_DEATHSIG);
    if (getppid() != job->parent)
        _exit(127);
    execv(job->path, job->argv);
    fail_child(CHILD_ERR_FD, STAGE_EXEC);
}

/* ---- in the parent ---- */

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static int find_program(const char *name, char *out, size_t out_bytes, tw_err *err)
{
    size_t n_name = strlen(name);
    if (n_name == 0)
        return tw_err_set(err, -ENOENT, "a program without a name cannot be started");
    if (strchr(name, '/') != NULL) {
        if (n_name >= out_bytes)
            return tw_err_set(err, -ENAMETOOLONG, "%.60s...: name too long", name);
        memcpy(out, name, n_name + 1);
        return 0; /* exec tells what is wrong with it */
    }
    const char *dirs = getenv("PATH");
    if (dirs == NULL)
        dirs = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
    for (const char *dir = dirs;; dir++) {
        size_t n_dir = strcspn(dir, ":");
        int n = n_dir == 0 ? snprintf(out, out_bytes, "./%s", name)
                           : snprintf(out, out_bytes, "%.*s/%s", (int)n_dir, dir, name);
        if (n > 0 && (size_t)n < out_bytes && is_program(out))
            return 0;
        dir += n_dir;
        if (*dir == '\0')
            return tw_err_set(err, -ENOENT, "%s: not found on PATH", name);
    }
}

/* Closes fd and gives a copy at min or above: never one of the standard three, which a struct of
 * zeros would name, nor one that the child overwrites. */
static int move_fd(int *fd, int min)
{
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, min);
    int rc = moved < 0 ? -errno : 0;
    close(*fd);
    *fd = moved;
    return rc;
}

static int new_pipe(int *ret_read, int *ret_write, int *child_end)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *ret_read = fds[0];
    *ret_write = fds[1];
    int rc_child = move_fd(child_end, CHILD_HIGH_FD);
    int rc_own = move_fd(child_end == ret_read ? ret_write : ret_read, STDERR_FILENO + 1);
    return rc_child < 0 ? rc_child : rc_own;
}

/* Our ends and the child's of all pipes. */
typedef struct child_fds {
    int in_ours, in_child, out_ours, out_child, err_ours, err_child, pass;
    int says_ours, says_child; /* its stderr */
} child_fds;

static void close_child_fds(child_fds *f)
{
    int *all[] = {&f->in_ours,   &f->in_child, &f->out_ours,  &f->out_child, &f->err_ours,
                  &f->err_child, &f->pass,     &f->says_ours, &f->says_child};
    for (size_t i = 0; i < TW_ARRAY_LEN(all); i++)
        tw_fd_closep(all[i]);
}

static int open_child_fds(unsigned flags, int pass_fd, child_fds *f)
{
    int rc = new_pipe(&f->err_ours, &f->err_child, &f->err_child);
    if (rc == 0 && (flags & TW_CHILD_PIPE_IN))
        rc = new_pipe(&f->in_child, &f->in_ours, &f->in_child);
    if (rc == 0 && (flags & TW_CHILD_NULL_IN)) {
        f->in_child = open("/dev/null", O_RDONLY | O_CLOEXEC);
        rc = f->in_child < 0 ? -errno : move_fd(&f->in_child, CHILD_HIGH_FD);
    }
    if (rc == 0 && (flags & TW_CHILD_PIPE_OUT))
        rc = new_pipe(&f->out_ours, &f->out_child, &f->out_child);
    if (rc == 0 && (flags & TW_CHILD_PIPE_ERR))
        rc = new_pipe(&f->says_ours, &f->says_child, &f->says_child);
    if (rc == 0 && pass_fd >= 0) {
        f->pass = fcntl(pass_fd, F_DUPFD_CLOEXEC, CHILD_HIGH_FD);
        rc = f->pass < 0 ? -errno : 0;
    }
    return rc;
}

/* All signals are held until the child has its own handlers: ours must not run in it. */
static pid_t fork_child(const child_job *job)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        run_child(job);
    int errno_kept = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = errno_kept;
    return pid;
}

static int wait_status(pid_t pid, int flags, int *ret_status)
{
    pid_t got;
    do
        got = waitpid(pid, ret_status, flags);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : (int)got;
}

/* Ends when exec closed the pipe (0 bytes) or the child said why not. */
static int read_report(int fd, child_report *ret)
{
    ssize_t n;
    do
        n = read(fd, ret, sizeof(*ret));
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(*ret) && ret->stage >= 0 && ret->stage <= STAGE_EXEC;
}

int tw_child_spawn(const char *const *argv, unsigned flags, int pass_fd, tw_child *ret, tw_err *err)
{
    TW_CLEANUP(close_child_fds) child_fds f = {-1, -1, -1, -1, -1, -1, -1, -1, -1};
    child_job job = {.flags = flags, .parent = getpid()};
    int rc = find_program(argv[0], job.path, sizeof(job.path), err);
    if (rc < 0)
        return rc;
    rc = open_child_fds(flags, pass_fd, &f);
    if (rc < 0)
        return tw_err_set(err, rc, "%s: no pipes for it: %s", argv[0], strerror(-rc));
    memcpy(&job.argv, &argv, sizeof(argv)); /* exec's argv lacks the inner const, for C's sake */
    job.in_fd = f.in_child;
    job.out_fd = f.out_child;
    job.says_fd = f.says_child;
    job.pass_fd = f.pass;
    job.err_fd = f.err_child;
    snprintf(job.uid_map, sizeof(job.uid_map), "0 %u 1\n", (unsigned)geteuid());
    snprintf(job.gid_map, sizeof(job.gid_map), "0 %u 1\n", (unsigned)getegid());

    pid_t pid = fork_child(&job);
    if (pid < 0)
        return tw_err_set(err, -errno, "%s: cannot fork: %s", argv[0], strerror(errno));
    tw_fd_closep(&f.err_child);
    child_report report;
    if (read_report(f.err_ours, &report)) {
        int status;
        (void)wait_status(pid, 0, &status);
        return tw_err_set(err, -report.cause, "%s: %s: %s", job.path, stage_text[report.stage],
                          strerror(report.cause));
    }
    *ret = (tw_child){.pid = pid,
                      .in_fd = tw_fd_steal(&f.in_ours),
                      .out_fd = tw_fd_steal(&f.out_ours),
                      .err_fd = tw_fd_steal(&f.says_ours)};
    return 0;
}

bool tw_child_poll(tw_child *c, int *ret_status)
{
    if (c->pid > 0) {
        int status = 0;
        if (wait_status(c->pid, WNOHANG, &status) == 0)
            return false;
        c->pid = 0; /* reaped: the number may soon be another's */
        c->status = status;
    }
    if (ret_status != NULL)
        *ret_status = c->status;
    return true;
}

static int open_pidfd(pid_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, pid, 0);
#else
    (void)pid;
    return -1;
#endif
}

static void wait_grace(tw_child *c, uint64_t deadline_ns)
{
    TW_CLEANUP(tw_fd_closep) int pidfd = open_pidfd(c->pid);
    while (!tw_child_poll(c, NULL)) {
        uint64_t now = tw_clock_now_ns();
        if (now >= deadline_ns)
            return;
        uint64_t left_ns = deadline_ns - now;
        if (pidfd < 0)
            left_ns = TW_MIN(left_ns, 5 * TW_NS_PER_MS); /* old kernels: look again and again */
        struct timespec ts = {.tv_sec = (time_t)(left_ns / TW_NS_PER_S),
                              .tv_nsec = (int)(left_ns % TW_NS_PER_S)};
        struct pollfd pfd = {.fd = pidfd, .events = POLLIN};
        (void)ppoll(&pfd, 1, &ts, NULL);
    }
}

static void close_pipe(int *fd)
{
    if (*fd > STDERR_FILENO) /* 0 in a zeroed child; spawn never gives one that low */
        close(*fd);
    *fd = -1;
}

void tw_child_stop(tw_child *c, uint64_t grace_ns)
{
    if (c == NULL)
        return;
    close_pipe(&c->in_fd); /* who reads its stdin to the end is asked politely */
    if (c->pid > 0 && !tw_child_poll(c, NULL)) {
        uint64_t now = tw_clock_now_ns();
        (void)kill(c->pid, SIGTERM);
        wait_grace(c, grace_ns < UINT64_MAX - now ? now + grace_ns : UINT64_MAX);
    }
    if (c->pid > 0) {
        (void)kill(c->pid, SIGKILL);
        wait_grace(c, tw_clock_now_ns() + KILLED_WAIT_NS);
        if (c->pid > 0) /* it hangs in the kernel (a dead disk): it cannot be waited for */
            c->status = SIGKILL;
        c->pid = 0;
    }
    close_pipe(&c->out_fd);
    close_pipe(&c->err_fd);
}

/* The last line that is not empty, of output that comes in pieces. */
typedef struct last_line {
    char done[160], open[160];
    size_t n_open;
} last_line;

static void take_output(last_line *l, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != '\n' && p[i] != '\r') {
            if (l->n_open < sizeof(l->open) - 1)
                l->open[l->n_open++] = p[i];
            continue;
        }
        l->open[l->n_open] = '\0';
        if (l->n_open > 0)
            memcpy(l->done, l->open, l->n_open + 1);
        l->n_open = 0;
    }
}

/* True when there may be more to come. */
static bool read_output(int fd, last_line *l)
{
    char chunk[4096];
    ssize_t n = read(fd, chunk, sizeof(chunk));
    if (n > 0)
        take_output(l, chunk, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

static int ms_until(uint64_t deadline_ns)
{
    const uint64_t now = tw_clock_now_ns();
    const uint64_t ms = deadline_ns > now ? (deadline_ns - now) / TW_NS_PER_MS + 1 : 0;
    return (int)TW_MIN(ms, (uint64_t)60000);
}

/* Until the pipe's end; or until the child's own end, should a daemon of its keep the pipe; or until
 * the deadline. */
static void drain_child(tw_child *c, last_line *l, uint64_t deadline_ns)
{
    TW_CLEANUP(tw_fd_closep) int pidfd = open_pidfd(c->pid);
    (void)fcntl(c->out_fd, F_SETFL, O_NONBLOCK);
    while (tw_clock_now_ns() < deadline_ns) {
        struct pollfd pfds[2] = {{.fd = c->out_fd, .events = POLLIN},
                                 {.fd = pidfd, .events = POLLIN}};
        if (poll(pfds, 2, ms_until(deadline_ns)) <= 0)
            continue; /* EINTR, or the deadline */
        bool ended = pfds[1].revents != 0, more = true;
        if (pfds[0].revents != 0 && !ended && !read_output(c->out_fd, l))
            break;
        while (ended && more)
            more = read_output(c->out_fd, l);
        if (ended)
            break;
    }
    take_output(l, "\n", 1);
}

static void join_argv(const char *const *argv, char *out, size_t out_bytes)
{
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; argv[i] != NULL && len < out_bytes - 1; i++) {
        int n = snprintf(out + len, out_bytes - len, "%s%s", i > 0 ? " " : "", argv[i]);
        len += n > 0 ? (size_t)n : 0;
    }
}

int tw_child_run(const char *const *argv, tw_err *err)
{
    return tw_child_run_for(argv, TW_CHILD_RUN_NS, err);
}

int tw_child_run_for(const char *const *argv, uint64_t limit_ns, tw_err *err)
{
    const uint64_t deadline = tw_clock_now_ns() + limit_ns;
    char command[96];
    tw_child c = {.pid = 0};
    int rc = tw_child_spawn(argv, TW_CHILD_NULL_IN | TW_CHILD_PIPE_OUT | TW_CHILD_ERR_TO_OUT, -1,
                            &c, err);
    if (rc < 0)
        return rc;
    last_line said = {.n_open = 0};
    drain_child(&c, &said, deadline);
    wait_grace(&c, deadline);
    const bool late = c.pid > 0;
    tw_child_stop(&c, TW_NS_PER_S);
    const int status = c.status;
    join_argv(argv, command, sizeof(command));
    if (late)
        return tw_err_set(err, -ETIMEDOUT, "%s: still ran after %.1f s and was ended%s%s", command,
                          (double)limit_ns * 1e-9, said.done[0] != '\0' ? ": " : "", said.done);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    bool by_signal = WIFSIGNALED(status);
    return tw_err_set(err, -EIO, "%s: %s %d%s%s", command,
                      by_signal ? "ended by signal" : "exit status",
                      by_signal ? WTERMSIG(status) : WEXITSTATUS(status),
                      said.done[0] != '\0' ? ": " : "", said.done);
}

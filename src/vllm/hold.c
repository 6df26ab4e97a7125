/* SPDX-License-Identifier: Apache-2.0 */
/* Two processes, so that either may be killed: the guard is the parent of the holder, which is the
 * parent of the program. Both take in orphans. The holder's death leaves all to the guard; the guard's
 * death is the end of a pipe that the holder watches beside the lifeline. A SIGTERM ends neither by
 * itself: sent to both at once (by a holder outside this container, which sees both below it), it would
 * leave what minds none. */
#include "vllm/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/brood.h"
#include "os/child.h"
#include "os/fd.h"
#include "os/file.h"
#include "os/secret.h"
#include "os/sock.h"
#include "vllm/hold_part.h"
#include "vllm/hold_shm.h"

#define DOOR_WAIT_NS (2 * TW_NS_PER_S)
#define END_GRACE_NS (600 * TW_NS_PER_MS)
#define INNER_GRACE_NS                                                                             \
    (1000 * TW_NS_PER_MS) /* where another holder is below: it ends its own first */

enum { HELD_FAILED = 125 };

/* Terminals and service managers send them to whole groups, so to guard and holder at once. The
 * guard ends of them; the holder, who has to clean up after that, does not. */
static const int to_groups[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* Byte by byte: what follows the line is not ours. */
static int read_line(int fd, char *line, size_t line_bytes, size_t *ret_n, tw_err *err)
{
    size_t n = 0;
    while (n < line_bytes) {
        const ssize_t got = read(fd, line + n, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return tw_err_set(err, -EPIPE, "hold: no part on stdin");
        if (line[n] == '\n') {
            *ret_n = n;
            return 0;
        }
        n++;
    }
    return tw_err_set(err, -E2BIG, "hold: a part of more than %d bytes", TW_HOLD_PART_MAX);
}

/* In the program, before exec. stdin: a pipe where the part has words for it. */
static void become_program(const tw_hold_part *p, int in_fd, int door_end)
{
    tw_err err = {0};
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (size_t i = 0; i < TW_ARRAY_LEN(to_groups); i++)
        (void)signal(to_groups[i], SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    const int in = in_fd >= 0 ? in_fd : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || dup2(in, STDIN_FILENO) < 0 || setsid() < 0)
        _exit(HELD_FAILED); /* budget: the forked child's only end */
    if (door_end >= 0) {
        TW_CLEANUP(tw_fd_closep) int door = -1;
        if (tw_hold_door_enter(&door, &err) != 0 || tw_sock_send_fd(door_end, door) != 0)
            printf("hold: no door before its sockets: %s\n", /* budget: the child's own words */
                   err.msg);
        fflush(stdout);
    }
    (void)close_range(3, ~0U, 0);
    execvp(p->argv[0], (char *const *)(uintptr_t)p->argv);
    /* budget: the forked child has nobody to hand an error to */
    fprintf(stderr, "hold: cannot start %s: %s\n", p->argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126); /* budget: likewise */
}

/* ret_in: our end of the program's stdin, kept open while it lives; -1: none. */
static int start_program(const tw_hold_part *p, pid_t *ret_pid, int *ret_in, int *ret_door,
                         tw_err *err)
{
    int ends[2] = {-1, -1}, door[2] = {-1, -1};
    /* What is inside has its own; and podman needs the rights that a door takes. */
    if (p->door.n_peers > 0 && p->in == NULL &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, door) != 0)
        return tw_err_set(err, -errno, "hold: no socket: %s", strerror(errno));
    if (p->in != NULL && pipe2(ends, O_CLOEXEC) != 0)
        return tw_err_set(err, -errno, "hold: no pipe: %s", strerror(errno));
    const pid_t pid = fork();
    if (pid == 0)
        become_program(p, ends[0], door[1]);
    TW_CLEANUP(tw_fd_closep) int theirs = ends[0];
    TW_CLEANUP(tw_fd_closep) int ours = door[0];
    (void)theirs;
    tw_fd_closep(&door[1]);
    if (pid < 0)
        return tw_err_set(err, -errno, "hold: no new process: %s", strerror(errno));
    *ret_pid = pid;
    *ret_in = ends[1];
    if (ours >= 0 && tw_sock_recv_fd(ours, ret_door, tw_clock_now_ns() + DOOR_WAIT_NS) != 0)
        *ret_door = -1; /* it has said why */
    if (p->in == NULL)
        return 0;
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(TW_HOLD_PART_MAX);
    const bool told = tw_json_dump(p->in, JSON_COMPACT, &text) == 0 &&
                      tw_buf_puts(&text, "\n") == 0 &&
                      tw_fd_write_all(ends[1], text.data, text.len) == 0;
    return told ? 0 : tw_err_set(err, -EPIPE, "hold: %s does not read its stdin", p->argv[0]);
}

static uint64_t grace_of(const tw_hold_part *p)
{
    return p->in != NULL ? INNER_GRACE_NS : END_GRACE_NS;
}

static sigset_t asked_to_end(void)
{
    sigset_t s;
    sigemptyset(&s);
    sigaddset(&s, SIGTERM);
    sigaddset(&s, SIGHUP);
    return s;
}

static bool has_ended(int fd)
{
    char rest[256];
    const ssize_t n = read(fd, rest, sizeof rest);
    return n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
}

/* -1: all that were behind it have gone. */
static int serve_door(const tw_hold_part *p, int fd, short events)
{
    static bool said;
    tw_err err = {0};
    if ((events & POLLIN) == 0)
        return -1;
    if (tw_hold_door_serve(&p->door, fd, &err) != 0 && !said) {
        said = true;
        printf("hold: a socket that listens has no door: %s\n", err.msg); /* budget: likewise */
        fflush(stdout);
    }
    return fd;
}

/* Until the program has ended, or one of the two lifelines has, or a signal asks for it. */
static int watch(const tw_hold_part *part, pid_t program, const int fds[3], tw_hold_shm *shm,
                 int *ret_status)
{
    const int in_fd = fds[0], guard_fd = fds[1];
    int door_fd = fds[2];
    const sigset_t asked = asked_to_end();
    TW_CLEANUP(tw_fd_closep) int pidfd = (int)syscall(SYS_pidfd_open, program, 0);
    TW_CLEANUP(tw_fd_closep) int asked_fd = signalfd(-1, &asked, SFD_CLOEXEC);
    struct pollfd p[] = {{.fd = in_fd, .events = POLLIN},
                         {.fd = guard_fd, .events = POLLIN},
                         {.fd = pidfd, .events = POLLIN},
                         {.fd = asked_fd, .events = POLLIN},
                         {.fd = tw_hold_shm_fd(shm), .events = POLLIN},
                         {.fd = door_fd, .events = POLLIN}};
    *ret_status = 0;
    for (;;) {
        if (waitpid(program, ret_status, WNOHANG) == program)
            return 0;
        /* Without pidfds (kernels before 5.3) the end is looked for. */
        const int due_ms = tw_hold_shm_wait_ms(shm);
        const int n = poll(p, TW_ARRAY_LEN(p), due_ms >= 0 ? due_ms : pidfd >= 0 ? -1 : 100);
        if (n < 0 && errno != EINTR)
            return -errno;
        for (unsigned i = 0; n > 0 && i < 2; i++)
            if (p[i].revents != 0 && has_ended(p[i].fd))
                return -ECANCELED;
        if (n > 0 && p[3].revents != 0)
            return -ECANCELED;
        if (n > 0 && p[4].revents != 0)
            tw_hold_shm_take(shm);
        tw_hold_shm_look(shm, false);
        if (n > 0 && p[5].revents != 0)
            p[5].fd = serve_door(part, door_fd, p[5].revents);
    }
}

/* The holder. Its end is its program's. */
static int hold(tw_hold_part *p, int in_fd, int guard_fd, tw_hold_shm *shm)
{
    tw_err err = {0};
    int status = 0, own_in = -1, door_fd = -1;
    pid_t program = 0;
    for (size_t i = 0; i < TW_ARRAY_LEN(to_groups); i++)
        (void)signal(to_groups[i], SIG_IGN);
    int rc = tw_brood_begin(&err);
    if (rc == 0)
        rc = start_program(p, &program, &own_in, &door_fd, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", err.msg); /* budget: likewise */
    else
        rc = watch(p, program, (int[3]){in_fd, guard_fd, door_fd}, shm, &status);
    if (own_in >= 0)
        close(own_in);
    tw_hold_shm_look(shm, true);
    if (tw_brood_end(grace_of(p))) /* the guard may be dead */
        (void)tw_hold_shm_remove(shm);
    tw_hold_part_close(p);
    if (rc != 0)
        return HELD_FAILED;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* The guard: whatever the holder's end, nothing is left. lifeline: the holder's, closed when asked. */
static int guard(const tw_hold_part *p, pid_t holder, const sigset_t *awaited, int *lifeline,
                 tw_hold_shm *shm)
{
    int status = 0;
    while (waitpid(holder, &status, WNOHANG) != holder) {
        const int sig = sigwaitinfo(awaited, NULL);
        if (sig == SIGTERM || sig == SIGHUP)
            tw_fd_closep(lifeline);
    }
    tw_hold_shm_look(shm, true); /* of one that was killed before it looked */
    (void)tw_brood_end(p->in != NULL ? INNER_GRACE_NS : 0);
    (void)tw_hold_shm_remove(shm);
    return status;
}

static int run_both(tw_hold_part *p, int in_fd, void (*on_start)(const tw_hold_report *r),
                    int *ret_status, tw_err *err)
{
    int ends[2];
    /* Orphans are not ours yet: a container that it starts stays. */
    int rc = p->before[0] != NULL ? tw_child_run(p->before, err) : 0;
    if (rc == 0)
        rc = tw_brood_begin(err);
    if (rc == 0)
        rc = tw_hold_part_export(p, err);
    if (rc != 0)
        return rc;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return tw_err_set(err, -errno, "hold: no pipe: %s", strerror(errno));
    sigset_t awaited = asked_to_end();
    sigaddset(&awaited, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &awaited, NULL);
    tw_hold_shm *shm = tw_hold_shm_open("/dev/shm");
    const pid_t holder = fork();
    if (holder == 0) {
        close(ends[1]);
        _exit(hold(p, in_fd, ends[0], shm)); /* budget: likewise */
    }
    close(ends[0]);
    if (holder > 0 && p->report.ms > 0)
        on_start(&p->report);
    if (holder > 0)
        *ret_status = guard(p, holder, &awaited, &ends[1], shm);
    tw_fd_closep(&ends[1]);
    return holder > 0 ? 0 : tw_err_set(err, -EAGAIN, "hold: no new process: %s", strerror(errno));
}

int tw_hold_run(int in_fd, void (*on_start)(const tw_hold_report *r), int *ret_status, tw_err *err)
{
    tw_hold_part part = {0};
    size_t n = 0;
    tw_secret_guard(); /* the part may hold a token */
    char *line = tw_mem_alloc(TW_HOLD_PART_MAX);
    if (line == NULL)
        return tw_err_set(err, -ENOMEM, "hold: no memory for the part");
    int rc = read_line(in_fd, line, TW_HOLD_PART_MAX, &n, err);
    if (rc == 0)
        rc = tw_hold_part_open(line, n, &part, err);
    explicit_bzero(line, n);
    tw_mem_free(line);
    if (rc == 0)
        rc = run_both(&part, in_fd, on_start, ret_status, err);
    tw_hold_part_close(&part);
    return rc;
}

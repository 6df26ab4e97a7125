/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax keep`: what `up` and the user unit start. A parent for one `twinax serve`: who it is, what
 * it says and how it ends are on disk, whatever happens to it. */
#include "cmd/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "cluster/life_awake.h"
#include "cluster/life_log.h"
#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/serve_config.h"
#include "cmd/serve_status.h"
#include "os/child.h"
#include "os/fd.h"
#include "os/signal.h"
#include "os/sys.h"

enum { ARGS_MAX = 128, LOOK_MS = 10 * 1000, SOON_MS = 50, ASK_AGAIN_MS = 500 };
#define ASK_LIMIT_NS (2 * TW_NS_PER_S)

static const char listening[] = "listening on ";

typedef struct keeper {
    tw_life_paths paths;
    tw_life_record record;
    tw_life_log log;
    tw_life_awake awake;
    tw_life_sleep sleep;
    tw_child serve;
    int lock_fd, listen_fd;
    int serve_fd; /* readable once serve has ended; -1: this kernel has none such */
    bool stopping, insisted;
    bool owns_output; /* our stdout is the log: it follows when that is another file */
    uint64_t stop_ns; /* when serve was asked to end */
    char head[TW_LIFE_LINE_MAX];
    size_t n_head; /* of a line being read, to see its beginning */
} keeper;

static uint64_t unix_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / TW_NS_PER_MS;
}

static bool is_log(const keeper *k, int fd)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && fstat(k->log.fd, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* `up` gave us the log as stdout and stderr. When a full one goes, it goes from there too: a file
 * without a name that is still open keeps its bytes on the disk. */
static void follow_log(const keeper *k)
{
    for (int fd = STDOUT_FILENO; k->owns_output && fd <= STDERR_FILENO; fd++)
        if (!is_log(k, fd))
            (void)dup2(k->log.fd, fd);
}

static void say(keeper *k, const char *fmt, ...) TW_PRINTF(2, 3);

static void say(keeper *k, const char *fmt, ...)
{
    char line[600];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    (void)tw_life_log_line(&k->log, unix_ms(), line, TW_MIN((size_t)n, sizeof line - 1));
    follow_log(k);
}

static void write_record(keeper *k)
{
    tw_err err = {0};
    if (tw_life_record_write(&k->paths, &k->record, &err) != 0)
        say(k, "keep: %s", err.msg);
}

/* ---- the start ---- */

/* In a folder that only we enter, under a name that is ours while we hold the lock. */
static int open_socket(keeper *k, tw_err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    TW_CLEANUP(tw_fd_closep) int dir = open(k->paths.runtime, O_PATH | O_DIRECTORY | O_CLOEXEC);
    TW_CLEANUP(tw_fd_closep)
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dir < 0 || fd < 0)
        return tw_err_set(err, -errno, "%s: %s", k->paths.runtime, strerror(errno));
    (void)unlink(k->paths.socket);
    snprintf(at.sun_path, sizeof at.sun_path, "/proc/self/fd/%d%.40s", dir,
             strrchr(k->paths.socket, '/'));
    if (fchmod(fd, 0600) != 0 || bind(fd, (struct sockaddr *)(void *)&at, sizeof at) != 0 ||
        chmod(k->paths.socket, 0600) != 0 || listen(fd, 16) != 0)
        return tw_err_set(err, -errno, "%s: %s", k->paths.socket, strerror(errno));
    k->listen_fd = tw_fd_steal(&fd);
    return 0;
}

static int new_run(char out[TW_LIFE_RUN_BYTES], tw_err *err)
{
    const char *given = getenv(TW_RUN_ENV);
    uint8_t bytes[(TW_LIFE_RUN_BYTES - 1) / 2];
    if (given != NULL && strlen(given) == TW_LIFE_RUN_BYTES - 1) {
        snprintf(out, TW_LIFE_RUN_BYTES, "%s", given);
        return 0;
    }
    if (tw_sys_random(bytes, sizeof bytes) != 0)
        return tw_err_set(err, -EIO, "the kernel gives no random bytes");
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return setenv(TW_RUN_ENV, out, 1) == 0 ? 0 : tw_err_set(err, -ENOMEM, "no memory");
}

/* A model's name and no more: the keeper leaves the reading of options to serve. */
static enum tw_life_which find_model(int argc, char **argv, char *out, size_t out_bytes)
{
    char *copy[ARGS_MAX];
    tw_args a;
    tw_err ignored;
    for (int i = 0; i <= argc; i++)
        copy[i] = argv[i];
    tw_args_init(&a);
    out[0] = '\0';
    if (tw_serve_args_parse(&tw_command_serve, argc, copy, &a, &ignored) != 0)
        return TW_LIFE_SERVICE;
    snprintf(out, out_bytes, "%s", a.vllm.ray_only ? "Ray" : a.model);
    return a.vllm.ray_only ? TW_LIFE_RAY : TW_LIFE_SERVICE;
}

/* It served, and ended by nobody's wish: serve may want to know. */
static void note_crash(const keeper *k)
{
    tw_life_record old;
    tw_err ignored;
    (void)unsetenv(TW_CRASHED_ENV);
    if (tw_life_record_read(&k->paths, &old, &ignored) == 0 && old.ready_s != 0 &&
        (old.phase != TW_LIFE_ENDED || old.status != 0))
        (void)setenv(TW_CRASHED_ENV, "1", 1);
}

static int fill_record(keeper *k, const char *model, tw_err *err)
{
    tw_life_record *r = &k->record;
    const char *how = getenv(TW_HOW_ENV);
    *r = (tw_life_record){.phase = TW_LIFE_STARTING, .since_s = tw_clock_unix_s()};
    (void)gethostname(r->host, sizeof r->host - 1);
    tw_life_boot_id(r->boot);
    (void)tw_life_proc_read(getpid(), &r->keeper);
    snprintf(r->model, sizeof r->model, "%s", model);
    snprintf(r->how, sizeof r->how, "%s", how != NULL ? how : "session");
    snprintf(r->socket, sizeof r->socket, "%s", k->paths.socket);
    return new_run(r->run, err);
}

static int start_serve(keeper *k, int argc, char **argv, tw_err *err)
{
    const char *child[ARGS_MAX + 2] = {"/proc/self/exe", "serve"};
    for (int i = 1; i < argc; i++)
        child[i + 1] = argv[i];
    child[argc + 1] = NULL;
    if (setenv(TW_STATUS_FD_ENV, "3", 1) != 0)
        return tw_err_set(err, -ENOMEM, "no memory");
    int rc = tw_child_spawn(child, TW_CHILD_PIPE_OUT | TW_CHILD_ERR_TO_OUT | TW_CHILD_NULL_IN,
                            k->listen_fd, &k->serve, err);
    tw_fd_closep(&k->listen_fd); /* serve's alone: when it goes, nobody seems to listen */
    if (rc != 0)
        return rc;
    (void)tw_life_proc_read(k->serve.pid, &k->record.serve);
    k->serve_fd = (int)syscall(SYS_pidfd_open, k->serve.pid, 0u);
    (void)fcntl(k->serve.out_fd, F_SETFL, O_NONBLOCK);
    return 0;
}

/* The key is serve's now: what stays in our memory for hours should not show it. */
static void forget_key(void)
{
    char *key = getenv("TWINAX_API_KEY");
    if (key != NULL)
        explicit_bzero(key, strlen(key));
    (void)unsetenv("TWINAX_API_KEY");
}

/* ---- while it runs ---- */

/* Who serves where: without it `down` could prove nothing on the nodes. A machine that is busy may
 * answer late: then it is asked again. */
static bool ask_ranks(keeper *k, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *status = NULL;
    if (tw_keep_ask(k->paths.socket, ASK_LIMIT_NS, &status, err) != 0)
        return false;
    tw_keep_take_ranks(status, &k->record);
    return k->record.n_ranks > 0;
}

static bool lacks_ranks(const keeper *k)
{
    return k->record.phase == TW_LIFE_READY && k->record.n_ranks == 0 && !k->stopping;
}

static void become_ready(keeper *k, const char *url)
{
    tw_err err = {0};
    snprintf(k->record.url, sizeof k->record.url, "%s", url);
    k->record.phase = TW_LIFE_READY;
    k->record.ready_s = tw_clock_unix_s();
    if (!ask_ranks(k, &err))
        say(k, "keep: its ranks are not known yet: %s", err.msg);
    write_record(k);
}

static void look_for_url(keeper *k, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) { /* later ones are after a crash: it has other ranks then */
        if (p[i] != '\n' && k->n_head + 1 < sizeof k->head) {
            k->head[k->n_head++] = p[i];
            continue;
        }
        k->head[k->n_head] = '\0';
        k->n_head = 0;
        if (strncmp(k->head, listening, sizeof listening - 1) == 0)
            become_ready(k, k->head + sizeof listening - 1);
    }
}

/* False: its output has ended. */
static bool read_serve(keeper *k)
{
    char chunk[8192];
    for (;;) {
        ssize_t n = read(k->serve.out_fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        tw_life_log_take(&k->log, unix_ms(), chunk, (size_t)n, false);
        follow_log(k);
        look_for_url(k, chunk, (size_t)n);
    }
}

static void look_around(keeper *k)
{
    const uint64_t slept = tw_life_sleep_now(&k->sleep);
    if (slept > 0)
        say(k, "keep: %s slept for %.1f s", k->record.host, (double)slept / 1e9);
    if (tw_life_awake_lost(&k->awake)) {
        say(k, "keep: systemd-inhibit was refused: this laptop may fall asleep (an own session at "
               "the machine, or a polkit rule for org.freedesktop.login1.inhibit-block-sleep)");
        tw_life_awake_close(&k->awake);
    }
}

static void ask_to_stop(keeper *k)
{
    if (k->stopping)
        return;
    k->stopping = true;
    k->stop_ns = tw_clock_now_ns();
    say(k, "keep: asked to stop");
    if (k->serve.pid > 0)
        (void)kill(k->serve.pid, SIGTERM);
}

static void insist(keeper *k)
{
    if (k->insisted || !k->stopping || tw_clock_now_ns() - k->stop_ns <= TW_KEEP_GRACE_NS)
        return;
    k->insisted = true;
    say(k, "keep: serve did not end within %d s: killed", (int)(TW_KEEP_GRACE_NS / TW_NS_PER_S));
    if (k->serve.pid > 0)
        (void)kill(k->serve.pid, SIGKILL);
}

static void watch(keeper *k)
{
    bool open = true;
    int status;
    uint64_t look_ns = 0;
    while (!tw_child_poll(&k->serve, &status)) {
        /* Its output may outlive it, in what it started. */
        struct pollfd p[3] = {{.fd = open ? k->serve.out_fd : -1, .events = POLLIN},
                              {.fd = k->stopping ? -1 : tw_signal_fd(), .events = POLLIN},
                              {.fd = k->serve_fd, .events = POLLIN}};
        tw_err ignored;
        (void)poll(p, 3, k->stopping || !open ? SOON_MS : lacks_ranks(k) ? ASK_AGAIN_MS : LOOK_MS);
        if (open && p[0].revents != 0)
            open = read_serve(k);
        if (tw_signal_asked_to_stop())
            ask_to_stop(k);
        insist(k);
        if (lacks_ranks(k) && ask_ranks(k, &ignored))
            write_record(k);
        if (tw_clock_now_ns() >= look_ns) {
            look_around(k);
            look_ns = tw_clock_now_ns() + LOOK_MS * TW_NS_PER_MS;
        }
    }
    if (open)
        (void)read_serve(k);
}

/* ---- the end ---- */

static void note_end(keeper *k)
{
    tw_life_record *r = &k->record;
    const int status = k->serve.status;
    tw_life_log_take(&k->log, unix_ms(), "", 0, true);
    if (WIFSIGNALED(status))
        snprintf(r->end, sizeof r->end, "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (k->stopping && WEXITSTATUS(status) == 0)
        snprintf(r->end, sizeof r->end, "asked to stop");
    else
        snprintf(r->end, sizeof r->end, "exit status %d: %.200s", WEXITSTATUS(status), k->log.last);
    r->end[tw_utf8_complete(r->end, strlen(r->end))] = '\0';
    r->phase = TW_LIFE_ENDED;
    r->ended_s = tw_clock_unix_s();
    r->status = status;
    write_record(k);
    say(k, "keep: serve ended: %s", r->end);
}

static int prepare(keeper *k, int argc, char **argv, tw_err *err)
{
    char why[200], model[TW_LIFE_PATH_BYTES];
    const struct rlimit no_core = {1, 1}; /* not 0: a pipe for core files minds 1 alone */
    int rc = tw_life_paths_make(find_model(argc, argv, model, sizeof model), &k->paths, err);
    if (rc == 0)
        rc = tw_life_lock(&k->paths, &k->lock_fd, err);
    if (rc == 0)
        note_crash(k);
    if (rc == 0)
        rc = fill_record(k, model, err);
    if (rc == 0)
        rc = tw_life_log_open(&k->log, k->paths.log, k->record.host, 0, err);
    k->owns_output = rc == 0 && is_log(k, STDOUT_FILENO);
    if (rc == 0)
        rc = open_socket(k, err);
    if (rc != 0)
        return rc;
    (void)setrlimit(RLIMIT_CORE, &no_core); /* keys and prompts are in our memory */
    say(k, "keep: twinax serve of %s begins, pid %d", k->record.model, (int)getpid());
    (void)tw_life_sleep_now(&k->sleep);
    if (tw_life_awake_hold(&k->awake, false, why, sizeof why))
        say(k, "keep: this laptop does not sleep while it serves");
    write_record(k);
    rc = start_serve(k, argc, argv, err);
    forget_key();
    write_record(k);
    return rc;
}

static void end_badly(keeper *k, const tw_err *err)
{
    fprintf(stderr, "twinax keep: %s\n", err->msg);
    if (k->log.fd >= 0)
        say(k, "keep: %s", err->msg);
    if (k->record.run[0] == '\0' || k->log.fd < 0)
        return; /* another's record is not ours to change */
    k->record.phase = TW_LIFE_ENDED;
    k->record.ended_s = tw_clock_unix_s();
    snprintf(k->record.end, sizeof k->record.end, "%s", err->msg);
    write_record(k);
}

static int cmd_keep(int argc, char **argv)
{
    tw_err err = {0};
    TW_CLEANUP(tw_mem_freep) keeper *k = tw_mem_calloc(1, sizeof *k);
    if (k == NULL || argc >= ARGS_MAX) {
        fprintf(stderr, "twinax keep: %s\n", k == NULL ? "no memory" : "too many arguments");
        return TW_EXIT_FAILED;
    }
    k->lock_fd = k->listen_fd = k->serve_fd = k->log.fd = -1;
    signal(SIGHUP, SIG_IGN); /* a terminal that closes is none of ours */
    umask(077);
    int rc = prepare(k, argc, argv, &err);
    if (rc == 0) {
        watch(k);
        note_end(k);
        rc = k->serve.status == 0 ? 0 : -EIO;
    } else {
        end_badly(k, &err);
    }
    tw_life_awake_close(&k->awake);
    tw_child_stop(&k->serve, 0);
    tw_fd_closep(&k->listen_fd);
    tw_fd_closep(&k->serve_fd);
    if (k->lock_fd >= 0 && k->paths.socket[0] != '\0')
        (void)unlink(k->paths.socket);
    tw_life_log_close(&k->log);
    tw_fd_closep(&k->lock_fd);
    return rc == 0 ? TW_EXIT_OK : TW_EXIT_FAILED;
}

const tw_command tw_command_keep = {
    .name = "keep",
    .args = "MODEL",
    .about = "The parent of a serve in the background. `twinax up` starts it.",
    .tables = tw_serve_tables,
    .run = cmd_keep,
    .group = TW_GROUP_CLUSTER,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"

enum { CHUNK = 16 * 1024, CHUNKS_A_TURN = 16 }; /* one that floods does not stop the menu */
#define TERM_AFTER_NS  (20 * TW_NS_PER_S)
#define KILL_AFTER_NS  (5 * TW_NS_PER_S)
#define DRAIN_AFTER_NS (500 * TW_NS_PER_MS) /* a daemon of its may keep the pipe */

static void close_fd(int *fd)
{
    if (*fd > STDERR_FILENO)
        close(*fd);
    *fd = -1;
}

int tw_ui_job_start(tw_ui_job *j, const char *program, const tw_ui_command *c, tw_ui_lines *lines,
                    uint64_t limit_ns, tw_err *err)
{
    const char *argv[TW_UI_WORDS_MAX + 2];
    tw_buf out = j->out;
    if (c->is_cut)
        return tw_err_set(err, -E2BIG, "the command line is too long to run");
    out.max_bytes = TW_UI_OUT_MAX;
    tw_buf_reset(&out);
    if (lines != NULL)
        tw_ui_lines_clear(lines);
    *j = (tw_ui_job){.lines = lines, .out = out, .limit_ns = limit_ns};
    tw_ui_command_argv(c, program, argv);
    const int rc = tw_child_spawn(argv,
                                  TW_CHILD_NULL_IN | TW_CHILD_PIPE_OUT | TW_CHILD_PIPE_ERR |
                                      TW_CHILD_OWN_GROUP,
                                  -1, &j->child, err);
    if (rc != 0)
        return rc;
    (void)fcntl(j->child.out_fd, F_SETFL, O_NONBLOCK);
    (void)fcntl(j->child.err_fd, F_SETFL, O_NONBLOCK);
    j->group = j->child.pid;
    j->is_running = true;
    j->began_ns = tw_clock_now_ns();
    return 0;
}

size_t tw_ui_job_fds(const tw_ui_job *j, struct pollfd out[TW_UI_FDS_MAX])
{
    size_t n = 0;
    if (j->is_running && j->child.out_fd > STDERR_FILENO)
        out[n++] = (struct pollfd){.fd = j->child.out_fd, .events = POLLIN};
    if (j->is_running && j->child.err_fd > STDERR_FILENO)
        out[n++] = (struct pollfd){.fd = j->child.err_fd, .events = POLLIN};
    return n;
}

static void take_last(tw_ui_job *j, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' || p[i] == '\r')
            j->n_last = 0; /* the next byte begins the line anew; the text stays until then */
        else if (j->n_last + 1 < sizeof j->last) {
            j->last[j->n_last++] = p[i];
            j->last[j->n_last] = '\0';
        }
    }
}

static void take(tw_ui_job *j, bool is_err, const char *p, size_t n)
{
    if (j->lines != NULL)
        tw_ui_lines_feed(j->lines, is_err, p, n);
    else if (is_err)
        take_last(j, p, n);
    else if (tw_buf_append(&j->out, p, n) != 0)
        tw_ui_job_cancel(j, tw_clock_now_ns()); /* no answer is that long */
}

static void read_some(tw_ui_job *j, int *fd, bool is_err)
{
    char chunk[CHUNK];
    for (int i = 0; i<CHUNKS_A_TURN && * fd> STDERR_FILENO; i++) {
        const ssize_t n = read(*fd, chunk, sizeof chunk);
        if (n > 0)
            take(j, is_err, chunk, (size_t)n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            close_fd(fd);
        else
            return;
    }
}

static void ask(tw_ui_job *j, uint64_t now_ns)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGKILL};
    const unsigned i = TW_MIN(j->n_asked, 2u);
    if (j->group > 1)
        (void)kill(-j->group, signals[i]);
    j->n_asked++;
    j->asked_ns = now_ns;
}

void tw_ui_job_cancel(tw_ui_job *j, uint64_t now_ns)
{
    if (!j->is_running)
        return;
    j->was_cancelled = true;
    ask(j, now_ns);
}

static void mind_limits(tw_ui_job *j, uint64_t now_ns)
{
    if (j->limit_ns > 0 && j->n_asked == 0 && now_ns > j->began_ns &&
        now_ns - j->began_ns > j->limit_ns) {
        j->is_late = true;
        ask(j, now_ns);
    }
    const uint64_t wait = j->n_asked > 1 || j->is_late ? KILL_AFTER_NS : TERM_AFTER_NS;
    if (j->n_asked > 0 && now_ns > j->asked_ns && now_ns - j->asked_ns > wait)
        ask(j, now_ns);
}

bool tw_ui_job_pump(tw_ui_job *j, uint64_t now_ns)
{
    if (!j->is_running)
        return false;
    read_some(j, &j->child.out_fd, false);
    read_some(j, &j->child.err_fd, true);
    if (j->child.pid > 0 && !tw_child_poll(&j->child, NULL)) {
        mind_limits(j, now_ns);
        return false;
    }
    if (j->ended_ns == 0)
        j->ended_ns = now_ns;
    const bool has_more = j->child.out_fd >= 0 || j->child.err_fd >= 0;
    if (has_more && now_ns - j->ended_ns < DRAIN_AFTER_NS)
        return false;
    close_fd(&j->child.out_fd);
    close_fd(&j->child.err_fd);
    j->status = j->child.status;
    j->is_running = false;
    return true;
}

void tw_ui_job_done(tw_ui_job *j, uint64_t limit_ns)
{
    const uint64_t until = tw_clock_now_ns() + limit_ns;
    tw_ui_job_cancel(j, tw_clock_now_ns());
    while (j->is_running && tw_clock_now_ns() < until && !tw_ui_job_pump(j, tw_clock_now_ns())) {
        struct pollfd fds[TW_UI_FDS_MAX];
        (void)poll(fds, (nfds_t)tw_ui_job_fds(j, fds), 20);
    }
    if (j->is_running) {
        if (j->group > 1)
            (void)kill(-j->group, SIGKILL);
        tw_child_stop(&j->child, 0);
        j->is_running = false;
    }
    tw_buf_done(&j->out);
}

int tw_ui_job_exit(const tw_ui_job *j)
{
    if (j->is_running || j->began_ns == 0)
        return -1;
    return WIFSIGNALED(j->status) ? 128 + WTERMSIG(j->status) : WEXITSTATUS(j->status);
}

uint64_t tw_ui_job_age_s(const tw_ui_job *j, uint64_t now_ns)
{
    return now_ns > j->began_ns ? (now_ns - j->began_ns) / TW_NS_PER_S : 0;
}

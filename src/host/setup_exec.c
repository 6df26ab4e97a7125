/* SPDX-License-Identifier: Apache-2.0 */
#include "host/setup_exec.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "os/child.h"

#define KILL_GRACE_NS (2 * TW_NS_PER_S)

enum { SLICE_MS = 50 };

typedef struct liner {
    char line[240], last[160];
    size_t n;
    enum { PLAIN, ESCAPE, SEQUENCE } state; /* colours are left out */
    tw_setup_line on_line;
    void *ctx;
} liner;

static void end_line(liner *l)
{
    l->line[l->n] = '\0';
    if (l->n > 0) {
        snprintf(l->last, sizeof l->last, "%.150s", l->line);
        if (l->on_line != NULL)
            l->on_line(l->ctx, l->line);
    }
    l->n = 0;
}

static void take(liner *l, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' || p[i] == '\r')
            end_line(l);
        else if (p[i] == '\033')
            l->state = ESCAPE;
        else if (l->state == ESCAPE)
            l->state = p[i] == '[' ? SEQUENCE : PLAIN;
        else if (l->state == SEQUENCE)
            l->state = p[i] >= '@' && p[i] <= '~' ? PLAIN : SEQUENCE;
        else if (l->n < sizeof l->line - 1)
            l->line[l->n++] = (unsigned char)p[i] < 0x20 || p[i] == 0x7f ? ' ' : p[i];
    }
}

/* False: the pipe is at its end. */
static bool read_some(int fd, liner *l, tw_buf *out)
{
    char chunk[4096];
    ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    take(l, chunk, (size_t)n);
    if (out != NULL)
        (void)!tw_buf_append(out, chunk, (size_t)n);
    return n > 0;
}

static int judge(const char *name, int status, const char *last, tw_err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status))
        return tw_err_set(err, -EIO, "%s was killed by signal %d", name, WTERMSIG(status));
    return tw_err_set(err, -EIO, "%s failed (status %d)%s%s", name, WEXITSTATUS(status),
                      last[0] != '\0' ? ": " : "", last);
}

typedef struct drain {
    tw_child c;
    liner l;
    bool open, done, stopped;
} drain;

/* A daemon that it starts may keep the pipe: its own end counts. */
static void drain_all(const tw_exec_job *j, drain *d, uint64_t until)
{
    bool last = false;
    d->open = true;
    while (!last && tw_clock_now_ns() < until) {
        last = d->done;
        struct pollfd p[2] = {{.fd = d->open ? d->c.out_fd : -1, .events = POLLIN},
                              {.fd = d->c.err_fd, .events = POLLIN}};
        (void)poll(p, 2, d->done ? 0 : SLICE_MS);
        if (p[0].revents != 0) {
            d->open = read_some(d->c.out_fd, &d->l, j->out);
            last = last && !d->open;
        }
        if (d->c.err_fd >= 0 && p[1].revents != 0) {
            last = false;
            if (!read_some(d->c.err_fd, &d->l, j->says)) {
                close(d->c.err_fd);
                d->c.err_fd = -1;
            }
        }
        if (j->on_slice != NULL)
            j->on_slice(j->ctx);
        d->stopped = !d->done && j->should_stop != NULL && j->should_stop(j->ctx);
        if (d->stopped)
            return;
        d->done = d->done || tw_child_poll(&d->c, NULL);
    }
}

int tw_exec_run(const tw_exec_job *j, tw_err *err)
{
    drain d = {.l = {.on_line = j->on_line, .ctx = j->ctx}};
    int rc = tw_child_spawn(j->argv,
                            TW_CHILD_NULL_IN | TW_CHILD_PIPE_OUT | TW_CHILD_OWN_GROUP |
                                (j->with_err ? TW_CHILD_ERR_TO_OUT : TW_CHILD_PIPE_ERR),
                            j->pass_fd > 0 ? j->pass_fd : -1, &d.c, err);
    if (rc != 0)
        return rc;
    drain_all(j, &d, tw_clock_now_ns() + j->limit_ns);
    end_line(&d.l);
    if (!d.done) {
        tw_child_stop(&d.c, KILL_GRACE_NS);
        if (d.stopped)
            return tw_err_set(err, -ECANCELED, "%s: interrupted", j->argv[0]);
        return tw_err_set(err, -ETIMEDOUT, "%s did not end within %u s", j->argv[0],
                          (unsigned)(j->limit_ns / TW_NS_PER_S));
    }
    rc = judge(j->argv[0], d.c.status, d.l.last, err);
    tw_child_stop(&d.c, 0);
    return rc;
}

int tw_setup_exec(const char *const *argv, uint64_t limit_ns, bool with_err, tw_buf *out,
                  tw_setup_line on_line, void *ctx, tw_err *err)
{
    const tw_exec_job j = {.argv = argv,
                           .limit_ns = limit_ns,
                           .with_err = with_err,
                           .out = out,
                           .on_line = on_line,
                           .ctx = ctx};
    return tw_exec_run(&j, err);
}

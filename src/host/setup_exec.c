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

int tw_setup_exec(const char *const *argv, uint64_t limit_ns, bool with_err, tw_buf *out,
                  tw_setup_line on_line, void *ctx, tw_err *err)
{
    tw_child c = {0};
    liner l = {.on_line = on_line, .ctx = ctx};
    const uint64_t until = tw_clock_now_ns() + limit_ns;
    int rc = tw_child_spawn(argv,
                            TW_CHILD_NULL_IN | TW_CHILD_PIPE_OUT | TW_CHILD_OWN_GROUP |
                                (with_err ? TW_CHILD_ERR_TO_OUT : TW_CHILD_PIPE_ERR),
                            -1, &c, err);
    if (rc != 0)
        return rc;
    /* A daemon that it starts may keep the pipe: its own end counts. */
    bool open = true, done = false, last = false;
    while (!last && tw_clock_now_ns() < until) {
        last = done;
        struct pollfd p[2] = {{.fd = open ? c.out_fd : -1, .events = POLLIN},
                              {.fd = c.err_fd, .events = POLLIN}};
        (void)poll(p, 2, done ? 0 : SLICE_MS);
        if (p[0].revents != 0) {
            open = read_some(c.out_fd, &l, out);
            last = last && !open;
        }
        if (c.err_fd >= 0 && p[1].revents != 0 && !read_some(c.err_fd, &l, NULL)) {
            close(c.err_fd);
            c.err_fd = -1;
        }
        done = done || tw_child_poll(&c, NULL);
    }
    end_line(&l);
    if (!done) {
        tw_child_stop(&c, KILL_GRACE_NS);
        return tw_err_set(err, -ETIMEDOUT, "%s did not end within %u s", argv[0],
                          (unsigned)(limit_ns / TW_NS_PER_S));
    }
    rc = judge(argv[0], c.status, l.last, err);
    tw_child_stop(&c, 0);
    return rc;
}

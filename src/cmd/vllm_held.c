/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/vllm_held.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"
#include "cmd/rank_report.h"
#include "os/fd.h"
#include "vllm/hold.h"

enum { LINE_MAX_BYTES = 1024 };
#define END_WAIT_NS  (2500 * TW_NS_PER_MS)
#define PUMP_WAIT_NS (2500 * TW_NS_PER_MS) /* the holder needs less to end what is left */

typedef struct reader {
    tw_vllm_held *h;
    char line[LINE_MAX_BYTES];
    size_t n;
} reader;

static void put_line(reader *r)
{
    static const size_t n_mark = sizeof TW_RANK_REPORT_MARK - 1;
    r->line[r->n] = '\0';
    const bool reports = strncmp(r->line, TW_RANK_REPORT_MARK, n_mark) == 0;
    if (r->n > 0 && !reports) {
        if (!r->h->silent)
            fprintf(stderr, "%s: %s\n", r->h->node, r->line);
        r->h->on_line(r->h->ctx, r->line);
    }
    r->n = 0;
}

static void take(reader *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bool end = p[i] == '\n' || p[i] == '\r';
        if (end || r->n + 1 == sizeof r->line)
            put_line(r);
        if (!end)
            r->line[r->n++] = (unsigned char)p[i] >= 0x20 ? p[i] : ' ';
    }
}

static void *pump(void *arg)
{
    reader r = {.h = arg};
    char chunk[4096];
    ssize_t n = 1;
    struct pollfd p[2] = {{.fd = r.h->child.out_fd, .events = POLLIN},
                          {.fd = r.h->stop_fd, .events = POLLIN}};
    while (n > 0 || (n < 0 && errno == EINTR)) {
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents != 0)
            break;
        n = read(r.h->child.out_fd, chunk, sizeof chunk);
        if (n > 0)
            take(&r, chunk, (size_t)n);
    }
    put_line(&r);
    if (r.h->on_end != NULL)
        r.h->on_end(r.h->ctx);
    atomic_store(&r.h->pump_ended, true);
    return NULL;
}

/* Less than a pipe takes at once: nobody need read yet. */
static int tell(tw_vllm_held *h, const json_t *part, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(60 * 1024);
    if (tw_json_dump(part, JSON_COMPACT, &text) != 0 || tw_buf_append(&text, "\n", 1) != 0)
        return tw_err_set(err, -E2BIG, "%s: the part is too long", h->node);
    const bool told = write(h->child.in_fd, text.data, text.len) == (ssize_t)text.len;
    explicit_bzero(text.data, text.len);
    return told ? 0 : tw_err_set(err, -EPIPE, "%s: its holder does not read", h->node);
}

int tw_vllm_held_start(tw_vllm_held *h, json_t *owned, tw_err *err)
{
    const char *argv[] = {"/proc/self/exe", "hold", NULL};
    TW_CLEANUP(tw_json_freep) json_t *part = owned;
    sigset_t all, old;
    if (part == NULL)
        return tw_err_set(err, -ENOMEM, "%s: no memory for a part", h->node);
    int rc = tw_child_spawn(argv,
                            TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT | TW_CHILD_ERR_TO_OUT |
                                TW_CHILD_OWN_GROUP,
                            -1, &h->child, err);
    if (rc == 0)
        rc = tell(h, part, err);
    if (rc != 0)
        return rc;
    h->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (h->stop_fd < 0)
        return tw_err_set(err, -errno, "%s: eventfd: %s", h->node, strerror(errno));
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    rc = -pthread_create(&h->pump, NULL, pump, h);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    h->has_pump = rc == 0;
    if (rc != 0)
        tw_fd_closep(&h->stop_fd);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: no thread: %s", h->node, strerror(-rc));
}

/* A process that hangs in a driver keeps its end of the pipe: it is not waited for. */
static void end_pump(tw_vllm_held *h)
{
    const uint64_t until = tw_clock_now_ns() + PUMP_WAIT_NS, one = 1;
    while (!atomic_load(&h->pump_ended) && tw_clock_now_ns() < until)
        usleep(5000);
    (void)!write(h->stop_fd, &one, sizeof one);
    pthread_join(h->pump, NULL);
    tw_fd_closep(&h->stop_fd);
}

void tw_vllm_held_stop(tw_vllm_held *h)
{
    if (h->child.pid <= 0)
        return;
    tw_fd_closep(&h->child.in_fd); /* the lifeline */
    const uint64_t until = tw_clock_now_ns() + END_WAIT_NS;
    while (!tw_child_poll(&h->child, NULL) && tw_clock_now_ns() < until)
        usleep(5000);
    if (!tw_child_poll(&h->child, NULL))
        (void)kill(h->child.pid, SIGKILL); /* the guard; the holder ends the rest */
    /* The pump reads until nobody has the other end any more: the fd stays open for it. */
    if (h->has_pump)
        end_pump(h);
    h->has_pump = false;
    tw_child_stop(&h->child, 0);
}

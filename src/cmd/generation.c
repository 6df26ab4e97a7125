/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/out.h"
#include "os/signal.h"

/* Through said_fd: SAID_DONE once, at the end; before it SAID_NO_OUT, where nobody reads. */
enum { SAID_DONE, SAID_NO_OUT };

static void say(const tw_generation *g, char what)
{
    if (write(g->said_fd, &what, 1) != 1)
        return;
}

static void print_token(tw_generation *g, const tw_event *ev)
{
    if (g->out_errno != 0)
        return;
    if (g->print_ids && ev->id != UINT32_MAX)
        printf("%s%u", g->n_ids++ > 0 ? "," : "", ev->id);
    if (g->echo)
        fwrite(ev->text, 1, ev->text_len, stdout);
    tw_err err;
    g->out_errno = -tw_out_flush(&err);
    if (g->out_errno != 0)
        say(g, SAID_NO_OUT);
}

static void on_event(void *ctx, const tw_event *ev)
{
    tw_generation *g = ctx;
    if (ev->kind == TW_EVENT_TOKEN) {
        print_token(g, ev);
        if (g->reply != NULL && tw_buf_append(g->reply, ev->text, ev->text_len) != 0)
            g->reply = NULL; /* past the ceiling: the history ends here */
        return;
    }
    g->finish = ev->finish;
    g->done = *ev;
    if (ev->err != NULL)
        g->err = *ev->err;
    say(g, SAID_DONE);
}

/* Whether the engine is through with it. */
static bool hear_done(int fd, bool *ret_cancel)
{
    char what = SAID_DONE;
    if (read(fd, &what, 1) != 1 || what == SAID_DONE)
        return true;
    *ret_cancel = true;
    return false;
}

int tw_generation_run(tw_node *n, tw_request *r, tw_generation *g, tw_err *err)
{
    int fds[2];
    uint64_t id;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return tw_err_set(err, -errno, "pipe: %s", strerror(errno));
    g->said_fd = fds[1];
    r->on_event = on_event;
    r->ctx = g;
    int rc = tw_engine_submit(n->engine, r, &id, err);
    bool cancelled = false;
    while (rc == 0) {
        struct pollfd p[] = {{.fd = fds[0], .events = POLLIN},
                             {.fd = cancelled ? -1 : tw_signal_fd(), .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno == EINTR)
            continue;
        bool cancel = p[1].revents != 0;
        if (p[0].revents != 0 && hear_done(fds[0], &cancel))
            break;
        if (cancel && !cancelled)
            tw_engine_cancel(n->engine, id);
        cancelled = cancelled || cancel;
    }
    close(fds[0]);
    close(fds[1]);
    if (rc == 0 && cancelled && g->out_errno == 0 && g->finish == TW_FINISH_CANCELLED)
        rc = tw_err_set(err, -EINTR, "interrupted");
    if (rc == 0 && g->finish == TW_FINISH_ERROR) {
        *err = g->err;
        rc = g->err.code;
    }
    return rc == 0 && g->out_errno != 0 ? tw_out_failed(g->out_errno, err) : rc;
}

void tw_generation_print_speed(const tw_node *n, const tw_generation *g)
{
    const tw_event *d = &g->done;
    tw_engine_info info;
    tw_engine_get_info(n->engine, &info);
    const double prefill_s = (double)d->prefill_ns / 1e9, decode_s = (double)d->decode_ns / 1e9;
    fprintf(stderr,
            "speed: start %.0f ms%s, %u prompt tokens in %.1f ms (%.1f tok/s), %u generated, "
            "%.1f tok/s\n",
            (double)n->open_ns / 1e6, info.is_mapped ? " (weights mapped)" : "", d->n_prompt,
            prefill_s * 1e3, prefill_s > 0 ? d->n_prompt / prefill_s : 0.0, d->n_generated,
            decode_s > 0 && d->n_generated > 1 ? (d->n_generated - 1) / decode_s : 0.0);
    tw_node_print_proof(n, d->n_generated);
}

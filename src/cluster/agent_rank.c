/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/agent_rank.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "base/str.h"
#include "fmt/agent_frame.h"
#include "os/secret.h"

enum { PART_MAX = 60 * 1024 };
#define END_GRACE_NS (300 * TW_NS_PER_MS) /* less than TW_AGENT_OVERDUE_NS */

/* A pipe takes PART_MAX bytes at once: nobody need read yet. */
int tw_agent_part_tell(int in_fd, const json_t *part, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf text = TW_BUF(PART_MAX);
    if (tw_json_dump(part, JSON_COMPACT, &text) != 0 || tw_buf_append(&text, "\n", 1) != 0)
        return tw_err_set(err, -E2BIG, "a part of more than %d bytes", PART_MAX);
    const ssize_t n = write(in_fd, text.data, text.len);
    explicit_bzero(text.data, text.len);
    return n == (ssize_t)text.len ? 0 : tw_err_set(err, -EPIPE, "who has a part does not read it");
}

int tw_agent_rank_start(tw_agent_rank *r, const json_t *request, tw_err *err)
{
    const json_t *part = json_object_get(request, "part");
    const json_t *rank = json_object_get(part, "rank");
    const bool holds = json_object_get(part, "argv") != NULL;
    const char *argv[] = {"/proc/self/exe", holds ? "hold" : "rank", NULL};
    if (!json_is_object(part) || !json_is_integer(rank))
        return tw_err_set(err, -EINVAL, "run-rank: no part with a rank");
    if (r->child.pid > 0)
        return tw_err_set(err, -EBUSY, "run-rank: rank %d is here already", r->rank);
    tw_agent_rank_stop(r);
    *r = (tw_agent_rank){.rank = (int)json_integer_value(rank)};
    tw_secret_guard(); /* the part holds the token */
    int rc = tw_child_spawn(argv, TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT | TW_CHILD_ERR_TO_OUT, -1,
                            &r->child, err);
    if (rc == 0)
        rc = tw_agent_part_tell(r->child.in_fd, part, err);
    if (rc != 0)
        tw_agent_rank_stop(r);
    return rc;
}

int tw_agent_rank_fd(const tw_agent_rank *r)
{
    return r->child.pid > 0 ? r->child.out_fd : -1;
}

/* Takes v over. */
static int put_event(tw_buf *out, json_t *v, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *event = v;
    if (event == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for an event");
    return tw_agent_frame_put(out, event, err);
}

static int put_line(tw_agent_rank *r, tw_buf *out, tw_err *err)
{
    size_t n = r->n_line;
    r->n_line = 0;
    if (n == 0)
        return 0;
    if (!tw_utf8_valid(r->line, n))
        for (size_t i = 0; i < n; i++)
            r->line[i] = (unsigned char)r->line[i] < 0x80 ? r->line[i] : '?';
    return put_event(out,
                     json_pack("{s:s, s:i, s:s%}", "event", "log", "rank", r->rank, "line", r->line,
                               n),
                     err);
}

static int take_output(tw_agent_rank *r, const char *p, size_t n, tw_buf *out, tw_err *err)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (p[i] == '\n' || p[i] == '\r' || r->n_line == sizeof r->line)
            rc = put_line(r, out, err);
        if (p[i] != '\n' && p[i] != '\r' && p[i] != '\0')
            r->line[r->n_line++] = p[i];
    }
    return rc;
}

int tw_agent_rank_read(tw_agent_rank *r, tw_buf *out, tw_err *err)
{
    char chunk[4096];
    ssize_t n = read(r->child.out_fd, chunk, sizeof chunk);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (n > 0)
        return take_output(r, chunk, (size_t)n, out, err);
    int rc = put_line(r, out, err);
    tw_child_stop(&r->child, END_GRACE_NS); /* it closed its output: it is ending by itself */
    r->ended_ns = tw_clock_now_ns();
    return rc != 0 ? rc
                   : put_event(out,
                               json_pack("{s:s, s:i, s:i}", "event", "exit", "rank", r->rank,
                                         "status", r->child.status),
                               err);
}

void tw_agent_rank_stop(tw_agent_rank *r)
{
    if (r->child.pid > 0)
        (void)kill(r->child.pid, SIGCONT); /* a stopped one could not take SIGTERM */
    tw_child_stop(&r->child, END_GRACE_NS);
    r->child.pid = 0;
}

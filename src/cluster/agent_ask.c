/* SPDX-License-Identifier: Apache-2.0 */
/* A held program (agent_rank.h's "argv") that runs to its end within a request, for what a node is asked
 * before anything runs there:
 *
 *    ask {"part":{"argv":[...],...},"limit_ms":20000} -> {"status":0,"out":"..."}
 *
 * status as by waitpid; out: the first 32 KiB of what it printed. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/scope.h"
#include "base/str.h"
#include "cluster/agent_op.h"
#include "cluster/agent_rank.h"
#include "os/child.h"
#include "os/secret.h"

enum { OUT_MAX = 32 * 1024, LIMIT_MS_MAX = 120 * 1000, LOOK_MS = 100 };
#define END_GRACE_NS (1000 * TW_NS_PER_MS)

static void stop_child(tw_child *c)
{
    tw_child_stop(c, END_GRACE_NS);
}

/* Until it has closed its output. */
static int hear(const tw_agent *a, const tw_child *c, uint64_t until_ns, tw_buf *out, tw_err *err)
{
    for (;;) {
        char chunk[4096];
        struct pollfd p = {.fd = c->out_fd, .events = POLLIN};
        if (tw_agent_is_cut(a))
            return tw_err_set(err, -ECANCELED, "ask: the head has gone");
        if (tw_clock_now_ns() >= until_ns)
            return tw_err_set(err, -ETIMEDOUT, "ask: it did not end in time");
        if (poll(&p, 1, LOOK_MS) <= 0)
            continue;
        const ssize_t n = read(c->out_fd, chunk, sizeof chunk);
        if (n == 0)
            return 0;
        if (n > 0 && out->len + (size_t)n <= OUT_MAX && tw_buf_append(out, chunk, (size_t)n) != 0)
            return tw_err_set(err, -ENOMEM, "ask: no memory for its words");
    }
}

static void make_plain(tw_buf *b)
{
    const bool valid = b->len == 0 || tw_utf8_valid(b->data, b->len);
    for (size_t i = 0; i < b->len; i++)
        if (b->data[i] == '\0' || (!valid && (unsigned char)b->data[i] >= 0x80))
            b->data[i] = '?';
}

int tw_agent_ask(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    const char *argv[] = {"/proc/self/exe", "hold", NULL};
    const json_t *part = json_object_get(request, "part");
    TW_CLEANUP(stop_child) tw_child child = {.pid = 0};
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(OUT_MAX + 64);
    tw_json_obj o = {.file = "ask", .prefix = "", .v = request, .err = err};
    const uint64_t limit_ms = tw_json_u64_needed(&o, "limit_ms", 1, LIMIT_MS_MAX);
    if (o.rc != 0)
        return o.rc;
    if (!json_is_array(json_object_get(part, "argv")))
        return tw_err_set(err, -EINVAL, "ask: no part with an argv");
    tw_secret_guard();
    int rc = tw_child_spawn(argv, TW_CHILD_PIPE_IN | TW_CHILD_PIPE_OUT | TW_CHILD_ERR_TO_OUT, -1,
                            &child, err);
    if (rc == 0)
        rc = tw_agent_part_tell(child.in_fd, part, err);
    if (rc == 0)
        rc = hear(a, &child, tw_clock_now_ns() + limit_ms * TW_NS_PER_MS, &out, err);
    if (rc != 0)
        return rc;
    tw_child_stop(&child, END_GRACE_NS); /* it closed its output: it is ending by itself */
    make_plain(&out);
    *ret = json_pack("{s:i, s:s%}", "status", child.status, "out", out.len > 0 ? out.data : "",
                     out.len);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "ask: no memory for its words");
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_do.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "host/setup_exec.h"
#include "host/toolbox_probe.h"
#include "host/toolbox_progress.h"
#include "host/toolbox_say.h"
#include "os/fd.h"

enum {
    WORDS_MAX = 40,
    STEPS_MAX = 40,
    OUT_MAX = 64 * 1024,
    SAYS_MAX = 64 * 1024,
    SAID_BYTES = 300
};
#define PULL_LIMIT_NS (12 * 3600 * TW_NS_PER_S)
#define STEP_LIMIT_NS (1800 * TW_NS_PER_S)
#define TELL_EVERY_NS (500 * TW_NS_PER_MS)

typedef struct doer {
    const tw_toolbox_face *face;
    int pty; /* -1: none */
    tw_toolbox_progress *progress;
    uint64_t told_ns;
} doer;

static bool should_stop(void *ctx)
{
    const doer *d = ctx;
    return d->face->should_stop != NULL && d->face->should_stop(d->face->ctx);
}

static void pass_line(void *ctx, const char *line)
{
    const doer *d = ctx;
    if (d->face->line != NULL)
        d->face->line(d->face->ctx, line);
}

/* ---- a terminal of its own: only on one does podman say how far it is ---- */

static void read_pty(void *ctx)
{
    doer *d = ctx;
    char chunk[4096];
    ssize_t n;
    while (d->pty >= 0 && (n = read(d->pty, chunk, sizeof chunk)) > 0)
        tw_toolbox_progress_feed(d->progress, chunk, (size_t)n);
    const uint64_t now = tw_clock_now_ns();
    if (d->face->progress == NULL || now - d->told_ns < TELL_EVERY_NS)
        return;
    uint64_t done, total;
    d->told_ns = now;
    tw_toolbox_progress_sum(d->progress, &done, &total);
    d->face->progress(d->face->ctx, done, total);
}

/* The slave's end; -1: there are no terminals here. */
static int open_pty(doer *d)
{
    char name[64];
    const struct winsize wide = {.ws_row = 60, .ws_col = 200};
    d->pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (d->pty < 0)
        return -1;
    if (grantpt(d->pty) != 0 || unlockpt(d->pty) != 0 || ptsname_r(d->pty, name, sizeof name) != 0)
        return -1;
    int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave >= 0)
        (void)ioctl(slave, TIOCSWINSZ, &wide);
    return slave;
}

static int run_on_pty(doer *d, const char *const *argv, tw_buf *says, tw_err *err)
{
    const char *all[WORDS_MAX + 8] = {"sh", "-c", "exec \"$@\" >&3 2>&3", "sh"};
    size_t n = 4;
    TW_CLEANUP(tw_fd_closep) int slave = open_pty(d);
    for (; *argv != NULL && n < TW_ARRAY_LEN(all) - 1; argv++)
        all[n++] = *argv;
    const tw_exec_job j = {.argv = slave >= 0 ? all : all + 4,
                           .limit_ns = PULL_LIMIT_NS,
                           .pass_fd = slave,
                           .says = says,
                           .on_slice = read_pty,
                           .should_stop = should_stop,
                           .ctx = d};
    int rc = tw_exec_run(&j, err);
    read_pty(d);
    tw_toolbox_progress_feed(d->progress, "\n", 1);
    if (rc != 0 && d->progress->last[0] != '\0')
        (void)!tw_buf_puts(says, d->progress->last);
    tw_fd_closep(&d->pty);
    return rc;
}

static int run_pull(doer *d, const char *const *argv, tw_buf *says, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_toolbox_progress *p = tw_mem_calloc(1, sizeof *p);
    if (p == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for a pull");
    d->progress = p;
    int rc = run_on_pty(d, argv, says, err);
    d->progress = NULL;
    return rc;
}

/* ---- steps ---- */

static int take_argv(const json_t *list, const char *argv[WORDS_MAX + 1], tw_err *err)
{
    const size_t n = json_array_size(list);
    for (size_t i = 0; i < n && i < WORDS_MAX; i++)
        argv[i] = json_string_value(json_array_get(list, i));
    for (size_t i = 0; i < n; i++)
        if (n > WORDS_MAX || argv[i] == NULL)
            return tw_err_set(err, -EINVAL, "toolbox: a step that is no command");
    if (n == 0)
        return tw_err_set(err, -EINVAL, "toolbox: a step without a command");
    argv[n] = NULL;
    return 0;
}

static json_t *failure(const char *id, int code, const char *says)
{
    char line[SAID_BYTES];
    tw_toolbox_pick_line(says, line, sizeof line);
    return json_pack("{s:s, s:s, s:s, s:i}", "id", id, "trouble",
                     tw_toolbox_trouble_name(tw_toolbox_trouble_of(says)), "says", line, "code",
                     code);
}

static int judge_probe(const char *said, const json_t *devices, tw_buf *says, tw_err *err)
{
    TW_CLEANUP(tw_mem_freep) tw_toolbox_probed *p = tw_mem_calloc(1, sizeof *p);
    if (p == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for an answer");
    tw_toolbox_probe_parse(said != NULL ? said : "", p);
    int rc = tw_toolbox_probe_judge(p, devices, err);
    if (p->answered)
        tw_buf_reset(says); /* what was said meanwhile is not the cause */
    return rc;
}

/* What goes into a frame has to be UTF-8; what we ask for is ASCII. */
static json_t *ascii_of(tw_buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        if ((unsigned char)b->data[i] >= 0x80 || b->data[i] == '\0')
            b->data[i] = '?';
    return json_string(b->len > 0 ? b->data : "");
}

/* Its own words, when it failed by itself: toolbox and distrobox complain on either. */
static const char *cause_of(int rc, bool judged, const tw_buf *out, const tw_buf *says,
                            const tw_err *why)
{
    if (rc != -EIO)
        return why->msg;
    if (says->len > 0)
        return says->data;
    return judged || out->len == 0 ? why->msg : out->data;
}

/* 0, or the failure in *ret_failed. */
static int run_step(doer *d, const json_t *step, json_t *outs, json_t **ret_failed, tw_err *err)
{
    const char *argv[WORDS_MAX + 1];
    TW_CLEANUP(tw_buf_done) tw_buf out = TW_BUF(OUT_MAX), says = TW_BUF(SAYS_MAX);
    const bool report = json_is_true(json_object_get(step, "report"));
    tw_err why = {0};
    int rc = take_argv(json_object_get(step, "argv"), argv, err);
    if (rc != 0)
        return rc;
    const tw_exec_job j = {.argv = argv,
                           .limit_ns = STEP_LIMIT_NS,
                           .out = &out,
                           .says = &says,
                           .on_line = report ? NULL : pass_line,
                           .should_stop = should_stop,
                           .ctx = d};
    rc = json_is_true(json_object_get(step, "progress")) ? run_pull(d, argv, &says, &why)
                                                         : tw_exec_run(&j, &why);
    if (rc == 0 && json_object_get(step, "judge") != NULL)
        rc = judge_probe(out.data, json_object_get(step, "judge"), &says, &why);
    if (rc == 0 && report)
        json_object_set_new(outs, tw_json_text_at(step, "id"), ascii_of(&out));
    if (rc != 0 && json_is_true(json_object_get(step, "may_fail"))) {
        pass_line(d, why.msg);
        return 0;
    }
    if (rc == 0)
        return 0;
    *ret_failed = failure(tw_json_text_at(step, "id"), rc,
                          cause_of(rc, json_object_get(step, "judge") != NULL, &out, &says, &why));
    return rc;
}

static void undo_steps(const json_t *steps, size_t n)
{
    for (size_t i = n; i > 0; i--) {
        const char *argv[WORDS_MAX + 1];
        const json_t *undo = json_object_get(json_array_get(steps, i - 1), "undo");
        tw_err ignored;
        if (undo != NULL && take_argv(undo, argv, &ignored) == 0)
            (void)!tw_setup_exec(argv, STEP_LIMIT_NS, true, NULL, NULL, NULL, &ignored);
    }
}

int tw_toolbox_do(const json_t *steps, const tw_toolbox_face *face, json_t **ret, tw_err *err)
{
    doer d = {.face = face, .pty = -1};
    TW_CLEANUP(tw_json_freep) json_t *outs = json_object();
    json_t *failed = NULL;
    const size_t n = json_array_size(steps);
    size_t i = 0;
    int rc =
        n <= STEPS_MAX ? 0 : tw_err_set(err, -EINVAL, "toolbox: more than %d steps", STEPS_MAX);
    for (; i < n && rc == 0; i++) {
        const json_t *step = json_array_get(steps, i);
        if (face->begins != NULL)
            face->begins(face->ctx, tw_json_text_at(step, "id"), tw_json_text_at(step, "title"));
        rc = run_step(&d, step, outs, &failed, err);
    }
    if (rc != 0) {
        undo_steps(steps, i);
        if (failed == NULL)
            return rc;
        json_object_set_new(failed, "undone", json_true());
    }
    *ret = json_pack("{s:O}", "outs", outs);
    if (failed != NULL && (*ret == NULL || json_object_set_new(*ret, "failed", failed) != 0))
        json_decref(failed);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for an answer");
}

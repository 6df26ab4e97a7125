/* SPDX-License-Identifier: Apache-2.0 */
/* A child of the menu: started, read without blocking, asked to end, ended. It has a process group
 * of its own, which is asked as a whole.
 * Must not know what is run, nor a screen. */
#ifndef TWINAX_UI_JOB_H
#define TWINAX_UI_JOB_H

#include <poll.h>

#include "base/buf.h"
#include "os/child.h"
#include "ui/command.h"
#include "ui/lines.h"

enum { TW_UI_OUT_MAX = 4 << 20, TW_UI_FDS_MAX = 2 };

typedef struct tw_ui_job {
    tw_child child;
    bool is_running;    /* started, and not all of it read and reaped */
    bool was_cancelled; /* by us */
    bool is_late;       /* it was cancelled for its limit */
    int status;         /* as by waitpid, once it is over */
    pid_t group;
    uint64_t began_ns, ended_ns, limit_ns;
    uint64_t asked_ns; /* the last signal */
    unsigned n_asked;
    tw_ui_lines *lines; /* not owned; NULL: a query */
    tw_buf out;         /* a query's stdout */
    char last[240];     /* a query's last line on stderr */
    size_t n_last;
} tw_ui_job;

/* Both streams into lines (cleared before), or, where that is NULL, stdout kept as it is. limit_ns:
 * of its whole life, 0: none. */
TW_MUST_CHECK int tw_ui_job_start(tw_ui_job *j, const char *program, const tw_ui_command *c,
                                  tw_ui_lines *lines, uint64_t limit_ns, tw_err *err);
/* Its fds into out; how many. */
size_t tw_ui_job_fds(const tw_ui_job *j, struct pollfd out[TW_UI_FDS_MAX]);
/* Reads what is there, reaps, insists where it was asked. True when it is over since this call. */
bool tw_ui_job_pump(tw_ui_job *j, uint64_t now_ns);
/* SIGINT to its group; asked again: SIGTERM, then SIGKILL. By itself so after 20 s and 25 s. */
void tw_ui_job_cancel(tw_ui_job *j, uint64_t now_ns);
/* Cancels, waits at most limit_ns, then kills. Safe on one that never ran. */
void tw_ui_job_done(tw_ui_job *j, uint64_t limit_ns);
/* Exit status, 128 and more for a signal; -1: it has none yet. */
int tw_ui_job_exit(const tw_ui_job *j);
/* Whole seconds since it began; 0 where now_ns is of a turn that began before it did. */
uint64_t tw_ui_job_age_s(const tw_ui_job *j, uint64_t now_ns);

#endif

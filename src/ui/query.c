/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ui/app.h"

void tw_ui_query_ask(tw_ui_query *q, const tw_ui_command *c, uint64_t now_ns)
{
    /* One that is on its way with other words answers another question. */
    if (q->job.is_running &&
        (q->command.used != c->used || memcmp(q->command.text, c->text, c->used) != 0)) {
        tw_ui_job_cancel(&q->job, now_ns);
        q->job.is_late = false;
    }
    q->command = *c;
    q->next_ns = now_ns;
    q->answered_ns = 0;
    q->why[0] = '\0';
}

void tw_ui_query_drop(tw_ui_query *q)
{
    if (q->job.is_running && !q->job.was_cancelled)
        tw_ui_job_cancel(&q->job, tw_clock_now_ns());
    q->next_ns = 0;
}

bool tw_ui_query_waits(const tw_ui_query *q)
{
    return q->next_ns != 0 && (q->job.is_running || q->answered_ns == 0);
}

static void start(tw_ui_query *q, const char *program, uint64_t now_ns)
{
    tw_err err = {0};
    if (tw_ui_job_start(&q->job, program, &q->command, NULL, q->limit_ns, &err) == 0)
        return;
    snprintf(q->why, sizeof q->why, "%s", err.msg);
    q->next_ns = q->every_ns > 0 ? now_ns + q->every_ns : 0;
}

static void take(tw_ui_query *q, uint64_t now_ns)
{
    q->answered_ns = now_ns;
    q->why[0] = '\0';
    if (q->job.is_late)
        snprintf(q->why, sizeof q->why, "no answer within %.0f s", (double)q->limit_ns * 1e-9);
    else if (q->job.out.len == 0 && q->job.last[0] != '\0')
        snprintf(q->why, sizeof q->why, "%.230s", q->job.last);
    else if (q->job.out.len == 0)
        snprintf(q->why, sizeof q->why, "no answer, exit status %d", tw_ui_job_exit(&q->job));
    q->next_ns = q->every_ns > 0 ? now_ns + q->every_ns : UINT64_MAX;
}

bool tw_ui_query_tick(tw_ui_query *q, const char *program, uint64_t now_ns)
{
    if (q->job.is_running) {
        if (!tw_ui_job_pump(&q->job, now_ns))
            return false;
        if (q->job.was_cancelled || q->next_ns == 0)
            return false; /* nobody waits for it any more; what is wanted starts at the next turn */
        take(q, now_ns);
        return true;
    }
    if (q->next_ns != 0 && now_ns >= q->next_ns)
        start(q, program, now_ns);
    return false;
}

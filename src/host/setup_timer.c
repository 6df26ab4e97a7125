/* SPDX-License-Identifier: Apache-2.0 */
/* The process that waits for the head: it takes back a step that was not confirmed, and does again one
 * whose undoing was not. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/setup_do.h"
#include "os/file.h"

enum { TIMER_STEP_US = 250000, TIMER_TRIES = 2400 };
#define START_LIMIT_NS (20 * TW_NS_PER_S)

/* A process that outlives this one, the ssh session and, under systemd, its scope. */
int tw_setup_timer_start(const tw_setup_site *s, json_int_t n, tw_err *err)
{
    char number[24], after[16], unit[48];
    snprintf(number, sizeof number, "%lld", (long long)n);
    snprintf(after, sizeof after, "%u", s->revert_s);
    snprintf(unit, sizeof unit, "--unit=twinax-revert-%s-%d", number, (int)getpid());
    const char *const by_systemd[] = {"systemd-run", "--quiet", "--collect", unit, s->self,
                                      "setup-hand",  "--timer", number,      NULL};
    const char *const alone[] = {"setsid",     "-f",      s->self,
                                 "setup-hand", "--timer", number,
                                 "--after",    after,     s->root[0] != '\0' ? "--root" : NULL,
                                 s->root,      NULL};
    if (s->root[0] == '\0' && geteuid() == 0 && tw_file_is_dir("/run/systemd/system") &&
        tw_setup_exec(by_systemd, START_LIMIT_NS, true, NULL, NULL, NULL, err) == 0)
        return 0;
    return tw_setup_exec(alone, START_LIMIT_NS, true, NULL, NULL, NULL, err);
}

static bool is_undoing(const json_t *entry)
{
    const char *state = tw_json_text_at(entry, "state");
    return strcmp(state, "undone") == 0 || strcmp(state, "undoing") == 0;
}

/* All of it is done, or undone: from then on the head has its time. */
static bool is_settled(const json_t *entry)
{
    const char *state = tw_json_text_at(entry, "state");
    return strcmp(state, "done") == 0 || strcmp(state, "undone") == 0;
}

/* 1: not yet; 0: nothing is left to do. */
static int revert(tw_setup_site *s, json_int_t n, bool was_settled, tw_err *err)
{
    int rc = tw_setup_site_lock(s, false, err);
    if (rc != 0)
        return rc == -EAGAIN ? 1 : rc; /* who holds the lock is still at work */
    json_t *own = tw_setup_journal_find(s, n);
    if (own != NULL && json_is_true(json_object_get(own, "unconfirmed"))) {
        if (is_settled(own) != was_settled)
            rc = 1; /* a moment ago */
        else if (is_undoing(own))
            rc = tw_setup_entry_redo(s, own, err);
        else
            rc = tw_setup_entry_undo(s, own, NULL, NULL, err);
    }
    tw_setup_site_unlock(s);
    return rc;
}

/* What fails (a full disk, no memory) is tried again: nobody else can come in to mend it. */
int tw_setup_timer(tw_setup_site *s, json_int_t n, tw_err *err)
{
    uint64_t until = tw_clock_now_ns() + s->revert_s * TW_NS_PER_S;
    bool was_settled = false;
    for (unsigned n_failed = 0; n_failed < TIMER_TRIES; usleep(TIMER_STEP_US)) {
        if (tw_setup_journal_read(s, err) != 0) {
            n_failed++;
            continue;
        }
        const json_t *e = tw_setup_journal_find(s, n);
        if (e == NULL || !json_is_true(json_object_get(e, "unconfirmed")))
            return 0;
        if (is_settled(e) && !was_settled) {
            was_settled = true;
            until = tw_clock_now_ns() + s->revert_s * TW_NS_PER_S;
        }
        int rc = tw_clock_now_ns() < until ? 1 : revert(s, n, was_settled, err);
        if (rc == 0)
            return 0;
        n_failed += rc < 0;
    }
    return err->code;
}

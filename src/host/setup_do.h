/* SPDX-License-Identifier: Apache-2.0 */
/* Does the steps of a plan on this host, and undoes them.
 *
 * Write-ahead: what a step may change is saved and the journal says `begun`, on disk, before the
 * first change; `done` after the last. What was cut off between (kill -9, power) is rolled back by
 * tw_setup_mend. A step that may cut the network is `unconfirmed` then: a process of its own, which
 * outlives ssh, undoes it after 60 s unless tw_setup_confirm came. Undoing such a step is guarded the
 * same way: `undoing`, `undone`, and done again unless tw_setup_confirm_undo came. */
#ifndef TWINAX_HOST_SETUP_DO_H
#define TWINAX_HOST_SETUP_DO_H

#include "host/setup_site.h"

/* A step that fails is rolled back at once; the error says so. *ret_n: the entry's number. */
TW_MUST_CHECK int tw_setup_apply(tw_setup_site *s, const json_t *step, json_int_t *ret_n,
                                 tw_err *err);
TW_MUST_CHECK int tw_setup_confirm(tw_setup_site *s, json_int_t n, tw_err *err);
/* Of a step whose undoing may have cut the network. -ETIMEDOUT: it was done again. */
TW_MUST_CHECK int tw_setup_confirm_undo(tw_setup_site *s, json_int_t n, tw_err *err);
/* Rolls back what was cut off or never confirmed. *ret_n: how many steps. */
TW_MUST_CHECK int tw_setup_mend(tw_setup_site *s, unsigned *ret_n, tw_err *err);
/* Undoes the last step. ret: {"id":"network","n":4,"left":3,"kept":["/etc/x"],"said":["..."],
 * "unconfirmed":true}; id absent when there was none. A file that was changed by others since is kept,
 * and named. Unconfirmed: it may have cut the network, and is done again unless confirmed in time. */
TW_MUST_CHECK int tw_setup_undo_last(tw_setup_site *s, json_t **ret, tw_err *err);
/* {"steps":[{"n","id","title","state","unconfirmed",...}],"unseen":"/var/lib/..."}; unseen: there is
 * root's own journal, which we may not read. */
TW_MUST_CHECK int tw_setup_status(tw_setup_site *s, json_t **ret, tw_err *err);
/* setup_timer.c. Starts the timer's own process for entry n; what that process does: undoes the entry,
 * or does it again, when neither is confirmed in time. */
TW_MUST_CHECK int tw_setup_timer_start(const tw_setup_site *s, json_int_t n, tw_err *err);
TW_MUST_CHECK int tw_setup_timer(tw_setup_site *s, json_int_t n, tw_err *err);

/* setup_undo.c; with the lock held. kept, said: arrays, may be NULL. */
TW_MUST_CHECK int tw_setup_entry_undo(tw_setup_site *s, json_t *entry, json_t *kept, json_t *said,
                                      tw_err *err);
/* The same, but the entry stays in the journal. */
TW_MUST_CHECK int tw_setup_entry_take_back(tw_setup_site *s, json_t *entry, json_t *kept,
                                           json_t *said, tw_err *err);
/* Does the entry's step again, over what is there after its undoing. */
TW_MUST_CHECK int tw_setup_entry_redo(tw_setup_site *s, json_t *entry, tw_err *err);
TW_MUST_CHECK int tw_setup_keep_copy(const tw_setup_site *s, const json_t *entry, size_t k,
                                     const char *what, const tw_setup_copy *c, tw_err *err);
/* Copies of all of the entry's files as they are now, and what was there. "after": as the step left them,
 * what differs from that later was changed by somebody else, and what others had changed by then is not
 * ours to know; "present": as they are before the way back, which is gone back if nobody comes in. */
TW_MUST_CHECK int tw_setup_keep_all(const tw_setup_site *s, json_t *entry, const char *what,
                                    tw_err *err);
/* DIR/saved/NNNN-K.before, .after or .present */
void tw_setup_saved_path(const tw_setup_site *s, const json_t *entry, size_t k, const char *what,
                         char out[TW_SETUP_PATH_BYTES]);
/* The entry's copies of files; then it cannot be undone any more. */
void tw_setup_saved_drop(const tw_setup_site *s, const json_t *entry);
/* Takes entry out of the journal in memory. */
void tw_setup_journal_drop(tw_setup_site *s, const json_t *entry);
/* Runs a list of words with a limit; lines go to the site. */
TW_MUST_CHECK int tw_setup_words(tw_setup_site *s, const json_t *words, tw_err *err);
/* Names of all installed packages, sorted, one a line. */
TW_MUST_CHECK int tw_setup_list_packages(const char *with, tw_buf *out, tw_err *err);
TW_MUST_CHECK int tw_setup_remove_packages(tw_setup_site *s, const char *with, const json_t *names,
                                           tw_err *err);

#endif

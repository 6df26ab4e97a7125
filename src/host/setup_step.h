/* SPDX-License-Identifier: Apache-2.0 */
/* A plan: what is to be changed on one node, as a list of steps, in the order in which they are done.
 * It is JSON from the start, since it is shown, sent, done and journalled as it is:
 *
 *    {"id":"kernel","title":"...","why":"...","root":true,"cuts":false,"login":false,"reboot":true,
 *     "do":[{"run":["update-grub"]},
 *           {"file":"/etc/default/grub","mode":420,"before":"..."|null,"after":"..."|null},
 *           {"install":["rdma-core"],"with":"apt"}],
 *     "touch":["/boot/grub/grub.cfg"],     files that the commands change: saved before
 *     "undo":[["cmd",...]],                run first when undone, may fail
 *     "settle":[["cmd",...]]}              run after the files are as before, may fail
 *
 * A file that belongs to the user, not to root, has "user":"name". */
#ifndef TWINAX_HOST_SETUP_STEP_H
#define TWINAX_HOST_SETUP_STEP_H

#include "fmt/json.h"
#include "host/facts.h"
#include "host/setup_seen.h"
#include "host/setup_want.h"

/* One plan being made. */
typedef struct tw_setup_maker {
    const tw_facts *f;
    const tw_setup_want *w;
    const tw_setup_seen *s;
    json_t *steps, *notes;
    json_t *step; /* the one that the next calls add to; borrowed */
    bool failed;  /* out of memory somewhere */
} tw_setup_maker;

enum tw_setup_flags {
    TW_SETUP_ROOT = 1,
    TW_SETUP_CUTS = 2,  /* may cut the network: reverts unless it is confirmed */
    TW_SETUP_LOGIN = 4, /* counts from the next login on */
    TW_SETUP_REBOOT = 8
};

/* Begins a step. `why` is one sentence. */
void tw_setup_begin(tw_setup_maker *m, const char *id, unsigned flags, const char *title,
                    const char *why_fmt, ...) TW_PRINTF(5, 6);
void tw_setup_note(tw_setup_maker *m, const char *fmt, ...) TW_PRINTF(2, 3);
/* Whether path is hidden, so that nobody knows if what step is about is done already: noted, and the
 * step is not planned as if it were missing. */
bool tw_setup_is_unseen(tw_setup_maker *m, const char *step, const char *path);
/* Words of one command, NULL at the end. */
void tw_setup_cmd(tw_setup_maker *m, ...) __attribute__((sentinel));
void tw_setup_try(tw_setup_maker *m, ...) __attribute__((sentinel)); /* may fail */
void tw_setup_undo(tw_setup_maker *m, ...) __attribute__((sentinel));
void tw_setup_settle(tw_setup_maker *m, ...) __attribute__((sentinel));
/* The same for words in arrays, NULL at the end. key: "run", "undo", "settle". */
void tw_setup_argv(tw_setup_maker *m, const char *key, const char *const *argv);
void tw_setup_touch(tw_setup_maker *m, const char *path);
void tw_setup_install(tw_setup_maker *m, const char *with, const char *const *packages);
/* before: what is there now (NULL: nothing); after NULL: it is removed. user NULL: root's. */
void tw_setup_file(tw_setup_maker *m, const char *path, unsigned mode, const char *after,
                   const char *user);

#endif

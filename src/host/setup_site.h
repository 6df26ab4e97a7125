/* SPDX-License-Identifier: Apache-2.0 */
/* Where steps are done and recorded: this host, or a folder that stands for one (tests).
 *
 * The journal is written before anything else is touched, and after it is done:
 *
 *    DIR/journal.json         0600, replaced as a whole, on disk before the step goes on
 *    DIR/journal.old          the one before that: for a person, when the other is damaged
 *    DIR/saved/0001-0.before  a file as it was; .after: as the step left it;
 *                             .present: as it was when the step was undone
 *    DIR/lock                 held while a step is done or undone
 *
 *    {"schema":1,"entries":[{"n":1,"state":"begun"|"done"|"undoing"|"undone","step":{...},"unconfirmed":true,
 *      "saved":[{"path":"/etc/x","was":"file"|"absent","mode":420,"uid":0,"gid":0,
 *                "is":"file"|"absent"}],
 *      "made":["/etc/x.d"],"installed":["pkg"],"with":"apt","groups":["rdma"]}]} */
#ifndef TWINAX_HOST_SETUP_SITE_H
#define TWINAX_HOST_SETUP_SITE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "fmt/json.h"
#include "host/setup_exec.h"

enum { TW_SETUP_PATH_BYTES = 1100, TW_SETUP_COPY_MAX = 8 << 20 };

typedef struct tw_setup_site {
    char root[512]; /* "": this host; else before every path */
    char dir[640];  /* the journal's */
    char self[512]; /* this program, for the timer */
    unsigned revert_s;
    int lock_fd; /* -1: not held */
    tw_setup_line on_line;
    void *ctx;
    json_t *journal;
} tw_setup_site;

/* root NULL: this host. DIR is /var/lib/twinax/setup for root, else in the user's state folder. */
TW_MUST_CHECK int tw_setup_site_init(const char *root, tw_setup_site *ret, tw_err *err);
void tw_setup_site_done(tw_setup_site *s);
bool tw_setup_site_path(const tw_setup_site *s, const char *path, char out[TW_SETUP_PATH_BYTES]);
void tw_setup_site_say(const tw_setup_site *s, const char *fmt, ...) TW_PRINTF(2, 3);

/* Waits for the lock (wait false: -EAGAIN), then reads the journal. */
TW_MUST_CHECK int tw_setup_site_lock(tw_setup_site *s, bool wait, tw_err *err);
void tw_setup_site_unlock(tw_setup_site *s);
/* Reads the journal without the lock; there being none is an empty one. A damaged one is an error
 * (-EBADMSG), and is kept with all that it speaks of. */
TW_MUST_CHECK int tw_setup_journal_read(tw_setup_site *s, tw_err *err);
/* With the lock held; on disk when it returns. An empty one removes the folder. */
TW_MUST_CHECK int tw_setup_journal_write(tw_setup_site *s, tw_err *err);
json_t *tw_setup_journal_entries(const tw_setup_site *s); /* borrowed */
json_t *tw_setup_journal_find(const tw_setup_site *s, json_int_t n);

/* A file, byte by byte. */
typedef struct tw_setup_copy {
    bool there;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    tw_buf text;
    /* Whose folder it is written in, when we are root: as that user, so that no link that this user
     * puts there leads us to a file of root's. 0: as ourselves. */
    uid_t as_uid;
    gid_t as_gid;
} tw_setup_copy;

/* From here on files are opened and made with the rights of uid, when we are root; 0: root's again. */
void tw_setup_act_as(uid_t uid, gid_t gid);

/* path: with the root. There being none is no error; a folder or device is. */
TW_MUST_CHECK int tw_setup_copy_read(const char *path, tw_setup_copy *ret, tw_err *err);
void tw_setup_copy_done(tw_setup_copy *c);
bool tw_setup_copy_same(const tw_setup_copy *a, const tw_setup_copy *b); /* bytes and presence */
/* Puts it there in one go (or removes it), on disk when it returns. A link is followed. */
TW_MUST_CHECK int tw_setup_copy_write(const char *path, const tw_setup_copy *c, tw_err *err);
/* Removes what a write that was cut off has left beside path. */
void tw_setup_copy_clean(const char *path);

#endif

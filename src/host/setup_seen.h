/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan needs beyond the facts: the texts of the files that it may edit, the answers of the
 * package and connection managers, and the user for whom all this is. Read once, then the plan is
 * pure. A recorded machine is a folder: its files under it, answers in .answers/NAME, .user. */
#ifndef TWINAX_HOST_SETUP_SEEN_H
#define TWINAX_HOST_SETUP_SEEN_H

#include <stdbool.h>

#include "fmt/json.h"
#include "host/facts.h"

typedef struct tw_setup_seen {
    json_t *files;   /* path -> text; null: we may not read it; of a folder: nor what is in it */
    json_t *answers; /* "nm-connections", "nm-profile-UUID", "packages" -> text */
    char user[64], home[256];
    unsigned uid, gid;
    bool as_root;     /* who reads this (and will do it) is root */
    char groups[512]; /* " wheel render " with spaces on both ends */
} tw_setup_seen;

/* root NULL: this machine. user: for whom; NULL: who runs this (or ran sudo). */
TW_MUST_CHECK int tw_setup_see(const char *root, const char *user, const tw_facts *f,
                               tw_setup_seen *ret, tw_err *err);
void tw_setup_seen_done(tw_setup_seen *s);
/* NULL: not there. *ret_hidden (may be NULL): it is, or may be, there, but unreadable. */
const char *tw_setup_seen_file(const tw_setup_seen *s, const char *path, bool *ret_hidden);
bool tw_setup_seen_has_folder(const tw_setup_seen *s, const char *prefix);  /* a file in it */
const char *tw_setup_seen_answer(const tw_setup_seen *s, const char *name); /* "" none */
bool tw_setup_seen_in_group(const tw_setup_seen *s, const char *group);

#endif

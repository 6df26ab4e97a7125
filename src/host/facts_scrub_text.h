/* SPDX-License-Identifier: Apache-2.0 */
/* Part of host/facts_scrub: one text, by what its bytes look like and by names that are known. What is
 * the same gets the same stand-in throughout. */
#ifndef TWINAX_HOST_FACTS_SCRUB_TEXT_H
#define TWINAX_HOST_FACTS_SCRUB_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum { TW_SCRUB_NAMES_MAX = 96, TW_SCRUB_SEEN_MAX = 256, TW_SCRUB_TEXT_MAX = 64 * 1024 };

typedef struct tw_scrub_seen { /* each stands for its place in the list */
    size_t n;
    char v[TW_SCRUB_SEEN_MAX][48];
} tw_scrub_seen;

typedef struct tw_scrub {
    size_t n_names;
    struct {
        char from[80], to[32];
    } names[TW_SCRUB_NAMES_MAX];
    tw_scrub_seen macs, addresses, uuids, groups, zones, profiles, users;
} tw_scrub;

/* From now on `from`, as a word, becomes `to`. Too short or too common a word is left to its own
 * field. */
void tw_scrub_add_name(tw_scrub *s, const char *from, const char *to);
/* Its place in the list from 1, added when new; the last place when the list is full. */
size_t tw_scrub_place(tw_scrub_seen *list, const char *what);
/* versions: it may hold numbers with three dots that are no addresses. Appends to out. */
TW_MUST_CHECK int tw_scrub_text(tw_scrub *s, const char *text, bool versions, tw_buf *out);
/* A kernel command line: only parameters that say nothing of this very machine stay. */
TW_MUST_CHECK int tw_scrub_cmdline(const char *text, tw_buf *out);

#endif

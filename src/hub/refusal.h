/* SPDX-License-Identifier: Apache-2.0 */
/* What the hub means by refusing: the same number stands for several causes, which need different
 * mends. */
#ifndef TWINAX_HUB_REFUSAL_H
#define TWINAX_HUB_REFUSAL_H

#include <stdint.h>

#include "hub/name.h"
#include "hub/place.h"

typedef struct tw_hub_answer {
    int status;             /* of HTTP */
    char code[40];          /* X-Error-Code: "GatedRepo", "RepoNotFound" ...; "": none */
    char message[160];      /* X-Error-Message */
    uint64_t retry_after_s; /* 0: not said; also from RateLimit, when nothing is left */
    char linked_etag[65];   /* X-Linked-Etag: of the file that a redirect leads to; "": not said */
} tw_hub_answer;

/* A header line as it came: notes what is of use; a status line begins anew (after a redirect). */
void tw_hub_answer_note(tw_hub_answer *a, const char *line, size_t n);
/* Whether waiting may help: 408, 429, 5xx. */
bool tw_hub_answer_may_retry(const tw_hub_answer *a);
/* Fills err: cause, and the page to visit. file: NULL when the listing was refused.
 * -EACCES (token, licence), -ENOENT (no such repository, revision, file), -EAGAIN (429), -EIO. */
int tw_hub_refused(const tw_hub_place *p, const tw_hub_name *name, const char *file,
                   const tw_hub_answer *a, tw_err *err);

#endif

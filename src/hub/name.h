/* SPDX-License-Identifier: Apache-2.0 */
/* What a model of the hub is called: "org/name" or "org/name@revision". */
#ifndef TWINAX_HUB_NAME_H
#define TWINAX_HUB_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "twinax/err.h"

enum { TW_HUB_REPO_BYTES = 200, TW_HUB_REVISION_BYTES = 128 };

typedef struct tw_hub_name {
    char repo[TW_HUB_REPO_BYTES];         /* "org/name" */
    char revision[TW_HUB_REVISION_BYTES]; /* branch, tag or commit; "main" when none was named */
} tw_hub_name;

/* Whether text has the form at all (and so is no path): predicate for what MODEL may be. */
bool tw_hub_name_is(const char *text);
/* -EINVAL says what is wrong with it. */
TW_MUST_CHECK int tw_hub_name_parse(const char *text, tw_hub_name *ret, tw_err *err);
/* 40 hexadecimal digits. */
bool tw_hub_is_commit(const char *revision);
/* Lower-case hexadecimal, 40 (git blob) or 64 (SHA-256) digits: it names a file of the cache. */
bool tw_hub_is_etag(const char *etag);
/* A path inside a repository that stays inside it. */
bool tw_hub_path_is_safe(const char *path);
/* "models--org--name" */
void tw_hub_name_folder(const char *repo, char *out, size_t out_bytes);

#endif

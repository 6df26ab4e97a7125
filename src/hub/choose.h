/* SPDX-License-Identifier: Apache-2.0 */
/* Which files of a repository are needed: settings, tokenizer, chat template and one set of weights.
 * Not: the same weights in other formats, pictures, papers. */
#ifndef TWINAX_HUB_CHOOSE_H
#define TWINAX_HUB_CHOOSE_H

#include "hub/list.h"

enum { TW_HUB_PATTERNS_MAX = 64 };

/* As snapshot_download's allow_patterns and ignore_patterns: hub/pattern.h. But a pattern that is a
 * file's very name means that file. */
typedef struct tw_hub_choice {
    const char *include[TW_HUB_PATTERNS_MAX]; /* none: what is needed */
    const char *exclude[TW_HUB_PATTERNS_MAX];
    unsigned n_include, n_exclude;
} tw_hub_choice;

/* Takes from the list what is not chosen. Errors: -ENOENT when nothing is left, or the weights are
 * several GGUF files of which one must be named. */
TW_MUST_CHECK int tw_hub_choose(const char *repo, const tw_hub_choice *c, tw_hub_list *l,
                                tw_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* --include and --exclude as `hf download` reads them: Python's fnmatch.fnmatchcase over whole paths.
 * Not fnmatch(3): there '\' takes the meaning of what follows, "[^a]" is a negation, and what one '?'
 * takes depends on the locale. */
#ifndef TWINAX_HUB_PATTERN_H
#define TWINAX_HUB_PATTERN_H

#include <stdbool.h>

/* '*' matches '/' too, '?' is one code point, "[a-c]" and "[!a]" sets; a '[' without its ']' is
 * itself; '\' is '/'; a pattern that ends with '/' means all below. */
bool tw_hub_pattern_matches(const char *pattern, const char *path);

#endif

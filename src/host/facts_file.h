/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of sysfs and procfs under a root: NULL is this machine's own. */
#ifndef TWINAX_HOST_FACTS_FILE_H
#define TWINAX_HOST_FACTS_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* The text without its last line end, cut to fit; false and "" when it cannot be read. */
bool tw_facts_text(const char *root, const char *path, char *out, size_t out_bytes);
bool tw_facts_link(const char *root, const char *path, char *out, size_t out_bytes);
bool tw_facts_exists(const char *root, const char *path);
/* root and path as one; false when too long. */
bool tw_facts_path(const char *root, const char *path, char *out, size_t out_bytes);

#endif

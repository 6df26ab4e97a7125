/* SPDX-License-Identifier: Apache-2.0 */
/* Small files of sysfs, procfs and /etc under a root: NULL is this machine's own. */
#ifndef TWINAX_HOST_FACTS_FILE_H
#define TWINAX_HOST_FACTS_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "host/facts_kinds.h"

/* The text without its last line end, cut to fit; false and "" when it cannot be read. */
bool tw_facts_text(const char *root, const char *path, char *out, size_t out_bytes);
bool tw_facts_link(const char *root, const char *path, char *out, size_t out_bytes);
bool tw_facts_exists(const char *root, const char *path);
/* root and path as one; false when too long. */
bool tw_facts_path(const char *root, const char *path, char *out, size_t out_bytes);
/* A file that holds one number, decimal or 0x. */
tw_count tw_facts_number(const char *root, const char *path);
/* The last part of where a link leads: a driver, a device. */
bool tw_facts_link_name(const char *root, const char *path, char *out, size_t out_bytes);
/* "a [b] c" -> "b"; without brackets the whole text. */
bool tw_facts_chosen(const char *root, const char *path, char *out, size_t out_bytes);
/* The last n bytes of a file that may be large, NUL-terminated. */
bool tw_facts_tail(const char *root, const char *path, char *out, size_t out_bytes);

/* The names of a folder in order, but for those that begin with a dot. */
enum { TW_NAMES_MAX = 256, TW_NAME_BYTES = 96 };
typedef struct tw_names {
    size_t n;
    char v[TW_NAMES_MAX][TW_NAME_BYTES];
} tw_names;

/* prefix: those that begin so, "" all. Longer names and more than fit are passed over. */
void tw_facts_names(const char *root, const char *folder, const char *prefix, tw_names *ret);

/* ---- texts that hold keys and values ---- */

/* KEY=VALUE of a shell-like file, quotes taken off; the last one counts. */
bool tw_text_value(const char *text, const char *key, char *out, size_t out_bytes);
/* The same inside [section] of an INI-like file. */
bool tw_text_ini(const char *text, const char *section, const char *key, char *out,
                 size_t out_bytes);
/* "key : 123 kB" of procfs; false when there is no such line. */
bool tw_text_number(const char *text, const char *key, uint64_t *ret);
/* Next line of *rest, without its end; NULL at the end. Writes into the text. */
char *tw_text_line(char **rest);
/* word stands in text between blanks or ends. */
bool tw_text_has_word(const char *text, const char *word);
/* printf into out, cut to fit without a compiler's complaint. */
void tw_text_set(char *out, size_t out_bytes, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif

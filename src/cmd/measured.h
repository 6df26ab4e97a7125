/* SPDX-License-Identifier: Apache-2.0 */
/* $XDG_CACHE_HOME/twinax/measured.json: what was measured once, of this machine and of ways to
 * others. A cache: one that is damaged is an empty one, one that cannot be written is forgotten.
 * Must not know what the numbers mean. */
#ifndef TWINAX_CMD_MEASURED_H
#define TWINAX_CMD_MEASURED_H

#include "fmt/json.h"

/* All of it: an object in every case. Owns: the caller. */
json_t *tw_measured_load(void);
/* v[section][key]; NULL: not there. Borrowed from v. */
const json_t *tw_measured_get(const json_t *v, const char *section, const char *key);
/* Keeps this one beside what others have written meanwhile; entry is taken over. */
void tw_measured_put(const char *section, const char *key, json_t *entry);

#endif

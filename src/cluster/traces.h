/* SPDX-License-Identifier: Apache-2.0 */
/* What twinax has put on this machine for this user: programs, configuration, state, units, caches
 * of its own, setup's journal. Never models.
 *
 *   [{"what":"program"|"config"|"unit"|"state"|"cache"|"runtime","path":"/...","bytes":N,"user":true},
 *    {"what":"package","path":"/usr/bin/twinax","manager":"apt"|"dnf"},
 *    {"what":"journal","path":"/var/lib/twinax/setup","steps":N}]
 *
 * Must not know who asks, nor other machines. */
#ifndef TWINAX_CLUSTER_TRACES_H
#define TWINAX_CLUSTER_TRACES_H

#include "fmt/json.h"

/* Owns: the caller. */
TW_MUST_CHECK int tw_traces_find(json_t **ret, tw_err *err);
/* paths: an array. What is among them and was found again by tw_traces_find is removed, folders with
 * all that is in them; nothing else is. *ret_left: an array of texts, what could not be. Packages and
 * journals are not removed so. */
TW_MUST_CHECK int tw_traces_remove(const json_t *paths, json_t **ret_left, tw_err *err);

/* "apt", "dnf", or NULL: no package owns the file. Asks dpkg-query and rpm. */
const char *tw_traces_manager(const char *path);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Groups that packages make when they are installed, and that no package takes away (Debian's rdma-core
 * makes `rdma`). One that came with our packages goes with them, unless somebody has come to use it; one
 * that was there before is no affair of ours. */
#ifndef TWINAX_HOST_SETUP_GROUP_H
#define TWINAX_HOST_SETUP_GROUP_H

#include "host/setup_site.h"

/* The names in /etc/group; NULL when out of memory. Owns: the caller, json_decref. */
json_t *tw_setup_groups_list(const tw_setup_site *s);
/* Those of now that are not in before. */
json_t *tw_setup_groups_new(const json_t *before, const json_t *now);
/* Removes each of names that nobody is in and no file belongs to; what becomes of each is said. */
void tw_setup_groups_remove(tw_setup_site *s, const json_t *names,
                            void (*say)(tw_setup_site *s, json_t *said, const char *text),
                            json_t *said);

#endif

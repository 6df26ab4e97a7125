/* SPDX-License-Identifier: Apache-2.0 */
/* What podman is told when distrobox makes the container. (toolbox passes nothing on: it shares the
 * host's /dev, /dev/shm and limits.) */
#ifndef TWINAX_HOST_TOOLBOX_FLAGS_H
#define TWINAX_HOST_TOOLBOX_FLAGS_H

#include "host/toolbox_plan.h"

enum { TW_TOOLBOX_FLAGS_BYTES = 2600 };

/* Stands for the place of librccl while the image is not here yet. */
#define TW_TOOLBOX_RCCL_LATER "LIBRCCL-OF-THE-IMAGE"

/* Joined; with_labels: and the labels by which a later refresh sees that nothing changed. */
void tw_toolbox_flags_print(const tw_toolbox_look *l, const tw_toolbox_want *w, bool with_labels,
                            const char *join, char *out, size_t out_bytes);

#endif

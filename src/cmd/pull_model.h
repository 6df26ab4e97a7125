/* SPDX-License-Identifier: Apache-2.0 */
/* MODEL of any command: a path, or "org/name[@rev]" of the hub. */
#ifndef TWINAX_CMD_PULL_MODEL_H
#define TWINAX_CMD_PULL_MODEL_H

#include "hub/pull.h"
#include "twinax/err.h"

/* *model becomes a path: itself when it is there or is no name of the hub; else the snapshot in the
 * cache, after a pull when it is not there whole (progress on stderr), unless HF_HUB_OFFLINE. The
 * cache is not asked whether the hub has a newer one. Owns: a static buffer. */
TW_MUST_CHECK int tw_pull_model(const char **model, tw_err *err);

/* pull_show.c: progress for people on stderr: a bar on a terminal, else a line now and then. */
typedef struct tw_pull_show {
    const char *name;
    bool tty, json; /* json: objects on stdout */
    uint64_t begun_ns, told_ns, begun_bytes;
    bool has_begun, drawn;
} tw_pull_show;

void tw_pull_show_init(tw_pull_show *s, const char *name, bool json);
void tw_pull_show_progress(void *show, const tw_hub_progress *p);
void tw_pull_show_end(tw_pull_show *s); /* the bar's line ends */
bool tw_pull_should_stop(void *show);   /* ctrl-C */
/* "1.25 GB" */
void tw_pull_size(uint64_t bytes, char out[16]);

#endif

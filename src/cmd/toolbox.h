/* SPDX-License-Identifier: Apache-2.0 */
/* Part of `twinax toolbox`. */
#ifndef TWINAX_CMD_TOOLBOX_H
#define TWINAX_CMD_TOOLBOX_H

#include <stdbool.h>

#include "cluster/toolbox_run.h"
#include "cmd/option.h"

typedef struct toolbox_opts {
    bool dry_run, yes, discard, json, remove_old, rccl_anyway;
    const char *name, *image, *with, *rccl, *to, *node, *nodes_list, *agent_path;
    const char *channel;
    uint32_t keep;
} toolbox_opts;

extern const tw_option_table tw_toolbox_refresh_tables[], tw_toolbox_rollback_tables[],
    tw_toolbox_list_tables[], tw_toolbox_enter_tables[];

/* From --nodes or twinax.conf; none: this machine alone. */
TW_MUST_CHECK int tw_toolbox_find_nodes(const toolbox_opts *o, tw_nodes *ret, tw_err *err);
/* The container that is meant, once the nodes were looked at: --name; else the channel's, or `vllm`
 * of the guide where only that is there. */
const char *tw_toolbox_pick_box(const toolbox_opts *o, const tw_toolbox_run *r);

/* ---- toolbox_show.c ---- */

/* A tw_toolbox_tell; ctx: a toolbox_show. */
typedef struct toolbox_show {
    const tw_toolbox_run *run; /* NULL until it is open */
    uint64_t image_bytes;
    bool quiet, tty, drawn;
    uint64_t done[TW_NODES_MAX], begun_ns, told_ns;
} toolbox_show;

void tw_toolbox_show_tell(void *ctx, size_t i_node, enum tw_toolbox_word what, const char *text,
                          uint64_t done, uint64_t total);
void tw_toolbox_show_plans(const tw_toolbox_run *r);
void tw_toolbox_show_list(const tw_toolbox_run *r, const char *box, const char *repo);
json_t *tw_toolbox_list_json(const tw_toolbox_run *r, const char *box, const char *repo);
json_t *tw_toolbox_run_json(const tw_toolbox_run *r, const char *what, const char *state,
                            const tw_err *why);

#endif

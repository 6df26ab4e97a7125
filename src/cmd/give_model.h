/* SPDX-License-Identifier: Apache-2.0 */
/* Before ranks start: nodes that lack the model get it over the cluster link. */
#ifndef TWINAX_CMD_GIVE_MODEL_H
#define TWINAX_CMD_GIVE_MODEL_H

#include "cluster/remote_push.h"
#include "cmd/far.h"

/* a->model: this machine's, a->model_asked: what MODEL was. A model of the hub is given to who lacks
 * it; a folder after --copy, or a yes on the terminal: -ENOENT names the node else. */
TW_MUST_CHECK int tw_give_model(tw_far *f, const tw_args *a, tw_err *err);
/* Where rank r's node has it: as it was told, else by a->model_id. */
TW_MUST_CHECK int tw_give_model_path(tw_far *f, const tw_args *a, unsigned r, char *ret,
                                     size_t ret_bytes, tw_err *err);
/* The same for `pull FOLDER`: to nodes that have no model with its id. */
TW_MUST_CHECK int tw_copy_model(const char *folder, const tw_nodes *nodes, bool copy, bool json,
                                const tw_push_face *push, tw_err *err);

#endif

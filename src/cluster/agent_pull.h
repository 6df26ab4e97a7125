/* SPDX-License-Identifier: Apache-2.0 */
/* A node's part in bringing a model to all nodes. The head asks, one "do" after the other, all of
 * the operation "pull":
 *
 *   list    {"model","include":[],"exclude":[],"net","endpoint","hf_token"} -> LIST: what the hub has;
 *           net false: what this cache has whole
 *   has     {"path","model_id"} -> {"has","why"}: a model with that id; where it was looked for
 *   files   {"files":[...]}                                  a part of LIST's files, ahead of open
 *   open    {"model","sha","files","range","self","n","address","token","verify","source"}
 *           -> {"path","need","free","port","has_token","endpoint","whole":[f],"busy":[f],"have":[[u,n]],"begun":[[u,bytes]]}
 *           verify: tells {"event":"hashed","bytes"} meanwhile
 *   begin   {"peers":[{"ip","port"}],"hf_token","endpoint","connections"}
 *   turn    {"wait_ms","net":[u],"peer":[[u,from]],"forget":[u],"drop":[peer]}
 *           -> what came since the last turn, see agent_pull.c
 *   end     {"finish":true}: the revision's name moves; all ends
 *
 * LIST: {"sha":COMMIT,"siblings":[{"rfilename","blobId","size"}]}, as the hub's own; u: a unit of
 * hub/range_map.h, f: a file's number in LIST. */
#ifndef TWINAX_CLUSTER_AGENT_PULL_H
#define TWINAX_CLUSTER_AGENT_PULL_H

#include "cluster/agent_op.h"
#include "hub/list.h"

/* What the program that runs the agent lends: whether a model with that id is here, at path or where
 * models usually are; ret_path: there. 1, 0 (err says
 * where it looked) or an error. */
typedef int (*tw_agent_has_model)(const char *path, const char *id, char *ret_path,
                                  size_t path_bytes, tw_err *err);
/* Once, before tw_agent_run. */
void tw_agent_on_has_model(tw_agent_has_model fn);

/* "siblings" of l[from, to). NULL: no memory. */
json_t *tw_pull_files_print(const tw_hub_list *l, size_t from, size_t to);
/* files: an array; checked like what a hub says. */
TW_MUST_CHECK int tw_pull_files_parse(const char *name, const char *commit, json_t *files,
                                      tw_hub_list *ret, tw_err *err);

#endif

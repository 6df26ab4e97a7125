/* SPDX-License-Identifier: Apache-2.0 */
/* Where this machine has a model that another one named: at the same path, else wherever a model
 * with the same id is, in the usual places. */
#ifndef TWINAX_CMD_FIND_MODEL_H
#define TWINAX_CMD_FIND_MODEL_H

#include "model/model.h"

/* Opens it. path: "~/" is this machine's home. id: what it must be; NULL: whatever lies at path.
 * Looked through after path: the folders beside it, then the cache of hub/place.h.
 * Errors: -ENOENT says where it looked. Cost: 10 s at most. */
TW_MUST_CHECK int tw_find_model(const char *path, const char *id, tw_model **ret, tw_err *err);
/* The same for any family, not opened: id may be of files_id.h. */
TW_MUST_CHECK int tw_find_model_path(const char *path, const char *id, char *ret, size_t ret_bytes,
                                     tw_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What a model's folder is, where its family is not one that the native engine knows: config.json and
 * the names and sizes of its weights, as far as a pull takes them. Nothing of the weights is read. */
#ifndef TWINAX_CMD_FILES_ID_H
#define TWINAX_CMD_FILES_ID_H

#include <stdbool.h>

#include "twinax/err.h"

enum { TW_FILES_ID_BYTES = 7 + 64 };

/* "files:0123...". -ENOENT: no folder, no config.json or no weights there. */
TW_MUST_CHECK int tw_files_id(const char *folder, char ret[TW_FILES_ID_BYTES], tw_err *err);
bool tw_files_id_is(const char *id);

#endif

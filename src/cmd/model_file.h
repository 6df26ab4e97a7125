/* SPDX-License-Identifier: Apache-2.0 */
/* A model that is one .gguf file among others: "ORG/NAME/FILE.gguf" of the hub, or a path. */
#ifndef TWINAX_CMD_MODEL_FILE_H
#define TWINAX_CMD_MODEL_FILE_H

#include <stdbool.h>

#include "hub/choose.h"
#include "hub/place.h"

enum {
    TW_MODEL_FILE_BYTES = 512,
    TW_MODEL_PATTERN_BYTES = 3 * TW_MODEL_FILE_BYTES + 32, /* each byte may be a set of its own */
};

typedef struct tw_model_file_name {
    char repo[TW_MODEL_FILE_BYTES];       /* "ORG/NAME" or "ORG/NAME@REVISION" */
    char file[TW_MODEL_FILE_BYTES];       /* in the repository */
    char pattern[TW_MODEL_PATTERN_BYTES]; /* that file; of a split model all its files */
} tw_model_file_name;

/* Whether text is "ORG/NAME[@REVISION]/FILE.gguf", and its parts. FILE may lie in folders; a revision
 * with slashes is refs/pr/1 and its like, or writes them as %2F. */
bool tw_model_file_parse(const char *text, tw_model_file_name *ret);
/* The pattern of a file's name (no folder in it). */
void tw_model_file_pattern(const char *file, char out[TW_MODEL_PATTERN_BYTES]);
bool tw_model_file_is(const char *path); /* ends with .gguf */

#endif

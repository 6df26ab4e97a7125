/* SPDX-License-Identifier: Apache-2.0 */
/* A model that is one .gguf file among others: "ORG/NAME/FILE.gguf" of the hub, or a path. */
#ifndef TWINAX_CMD_MODEL_FILE_H
#define TWINAX_CMD_MODEL_FILE_H

#include <stdbool.h>

#include "hub/choose.h"
#include "hub/place.h"

enum { TW_MODEL_FILE_BYTES = 512 };

typedef struct tw_model_file_name {
    char repo[TW_MODEL_FILE_BYTES];    /* "ORG/NAME" or "ORG/NAME@REVISION" */
    char file[TW_MODEL_FILE_BYTES];    /* in the repository */
    char pattern[TW_MODEL_FILE_BYTES]; /* that file; of a split model all its files */
} tw_model_file_name;

/* Whether text is "ORG/NAME[@REVISION]/FILE.gguf", and its parts. */
bool tw_model_file_parse(const char *text, tw_model_file_name *ret);
/* The pattern of a file's name (no folder in it). */
void tw_model_file_pattern(const char *file, char out[TW_MODEL_FILE_BYTES]);
bool tw_model_file_is(const char *path); /* ends with .gguf */

#endif

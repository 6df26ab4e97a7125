/* SPDX-License-Identifier: Apache-2.0 */
/* model.safetensors.index.json: which file of a folder holds which tensor. Every file is a plain
 * name inside the folder that ends in .safetensors, so an index can neither leave the folder nor
 * name itself. Pure: reads no file. */
#ifndef TWINAX_FMT_ST_INDEX_H
#define TWINAX_FMT_ST_INDEX_H

#include <stddef.h>

#include "base/mem.h"
#include "twinax/err.h"

enum { TW_ST_FILES_MAX = 4096 };

typedef struct tw_st_entry {
    const char *tensor;
    size_t i_file;
} tw_st_entry;

typedef struct tw_st_index {
    const char **files; /* [n_files], sorted, each once */
    size_t n_files;
    tw_st_entry *entries; /* [n], sorted by tensor */
    size_t n;
    tw_arena arena;
} tw_st_index;

TW_MUST_CHECK int tw_st_index_parse(const char *name, const char *json, size_t n, tw_st_index *ret,
                                    tw_err *err);
const tw_st_entry *tw_st_index_find(const tw_st_index *x, const char *tensor); /* NULL: none */
void tw_st_index_done(tw_st_index *x);

#endif

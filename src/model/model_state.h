/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of tw_model, for the files of this floor only. */
#ifndef TWINAX_MODEL_MODEL_STATE_H
#define TWINAX_MODEL_MODEL_STATE_H

#include "fmt/gguf.h"
#include "fmt/safetensors.h"
#include "fmt/st_index.h"
#include "model/experts.h"
#include "model/family.h"
#include "model/model.h"
#include "os/file.h"

enum { TW_MODEL_ID_CHARS = 64, TW_TENSOR_NAME_BYTES = 128 };

/* One tensor that the family names, checked: shape [n_rows][n_cols], cols 1 for a vector. */
typedef struct tw_tensor {
    const char *name; /* NULL: the model has none */
    const char *file;
    enum tw_dtype type;
    size_t i_file;
    size_t off_bytes; /* in the file's map */
    size_t n_rows, n_cols;
    /* The size of a head whose row 2i is our row i, and 2i + 1 our i + turned / 2 (rope's pairs side
     * by side); 0: rows lie as ours. */
    uint32_t turned;
    const struct tw_coded *coded; /* becomes of type as it loads; NULL: it is so in the file */
} tw_tensor;

typedef struct tw_model_file {
    const char *name; /* in the folder */
    tw_map map;
    tw_st st;     /* of a folder's files */
    tw_gguf gguf; /* of .gguf files */
} tw_model_file;

struct tw_model {
    tw_arena arena; /* texts, tensors, files */
    const char *path;
    const char *name;
    tw_model_config config;
    tw_gen_config gen;
    enum tw_dtype quant;  /* of plain matrices once loaded; F32: as they are */
    bool is_gguf;         /* path is a .gguf file */
    bool is_turned;       /* its q and k are: tw_tensor */
    tw_model_file *files; /* [n_files] */
    size_t n_files;
    tw_st_index index;  /* without files when there is one model.safetensors */
    tw_tensor *layers;  /* [L][TW_PART_LAYER_END] */
    tw_tensor *experts; /* [L][E][TW_EXPERT_PARTS], NULL when no layer has any */
    tw_tensor whole[TW_PART_END - TW_PART_LAYER_END];
    char id[TW_MODEL_ID_CHARS + 1];
    const char *chat_template, *bos_text, *eos_text;
    tw_tokenizer *tokenizer;
};

static inline const tw_tensor *tw_model_tensor(const tw_model *m, enum tw_part part, uint32_t i)
{
    if (part >= TW_PART_LAYER_END)
        return &m->whole[part - TW_PART_LAYER_END];
    return &m->layers[(size_t)i * TW_PART_LAYER_END + (size_t)part];
}

/* Only of a layer that has experts. */
static inline const tw_tensor *tw_model_expert(const tw_model *m, enum tw_expert_part part,
                                               uint32_t i_layer, uint32_t i_expert)
{
    const size_t at = (size_t)i_layer * m->config.n_experts + i_expert;
    return &m->experts[at * TW_EXPERT_PARTS + (size_t)part];
}

/* "FOLDER/name" from base/mem.h; NULL when out of memory. */
char *tw_model_join(const char *folder, const char *name);
/* Opens model.safetensors, or the files of its index: maps, headers, and that every tensor of the
 * index is where it says. */
TW_MUST_CHECK int tw_model_files_open(tw_model *m, tw_err *err);
/* Finds each part that the config wants and checks shape and dtype. */
TW_MUST_CHECK int tw_model_parts_bind(tw_model *m, tw_err *err);
/* The parts of experts, one tensor each or all of a layer in one. */
TW_MUST_CHECK int tw_model_experts_bind(tw_model *m, tw_err *err);
/* NULL: no such tensor. */
const tw_st_tensor *tw_model_tensor_find(const tw_model *m, const char *name, size_t *ret_file);
/* Refuses another shape than want's; keys: of config.json, that made it. */
TW_MUST_CHECK int tw_model_tensor_shape(const tw_st_tensor *t, const char *file,
                                        const tw_st_tensor *want, const char *keys, tw_err *err);
TW_MUST_CHECK int tw_model_tensor_type(const tw_st_tensor *t, const char *file, enum tw_dtype *ret,
                                       tw_err *err);
/* The tensor of this name, of the shape that spec says; why: " as ...", ends the text when it is
 * missing. */
TW_MUST_CHECK int tw_model_tensor_bind(tw_model *m, const char *name, const tw_part_spec *spec,
                                       const char *why, tw_tensor *ret, tw_err *err);
/* coded_bind.c. 1: a coded matrix of this name is there, t has it; 0: none is. t has its shape. */
TW_MUST_CHECK int tw_coded_bind(tw_model *m, const char *name, tw_tensor *t, tw_err *err);
/* Whether name is one of a coded matrix's parts, and that matrix's name. */
bool tw_coded_whole_name(const tw_model *m, const char *name, char out[TW_TENSOR_NAME_BYTES]);
bool tw_coded_is_empty_bias(const tw_model *m, const tw_st_tensor *t, size_t i_file);
/* Chat template, texts of bos and eos. */
TW_MUST_CHECK int tw_model_chat_read(tw_model *m, tw_err *err);
/* Fills m->id; config: the bytes of config.json. */
TW_MUST_CHECK int tw_model_identify(tw_model *m, const char *config, size_t n_config, tw_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* A model in a .gguf file, or in the files of a split one: in place of the folder's config.json,
 * safetensors, tokenizer_config.json. For the files of this floor only. */
#ifndef TWINAX_MODEL_MODEL_GGUF_H
#define TWINAX_MODEL_MODEL_GGUF_H

#include "model/model_state.h"

/* Opens the file, and its siblings where it is one of several; fills config and gen, chat template
 * and texts of bos and eos. */
TW_MUST_CHECK int tw_model_gguf_open(tw_model *m, tw_err *err);
/* A folder that holds .gguf files and no safetensors: the path of the one model in it, of base/mem.h, in
 * *ret; NULL: it is no such folder. -EINVAL: several models. */
TW_MUST_CHECK int tw_model_gguf_in_folder(const char *folder, char **ret, tw_err *err);
/* The tensor of a part, checked; of any file. */
TW_MUST_CHECK int tw_model_gguf_bind(const tw_model *m, enum tw_part part, uint32_t i_layer,
                                     tw_tensor *ret, tw_err *err);
/* The tensor of a part of all experts of a layer, checked: ret [E], one every TW_EXPERT_PARTS. */
TW_MUST_CHECK int tw_model_gguf_bind_experts(const tw_model *m, enum tw_expert_part part,
                                             uint32_t i_layer, tw_tensor *ret, tw_err *err);
/* -EINVAL names a tensor inside a layer that the config has no place for. */
TW_MUST_CHECK int tw_model_gguf_refuse_strays(const tw_model *m, tw_err *err);
const tw_gguf_tensor *tw_model_gguf_find(const tw_model *m, const char *name, size_t *ret_file);
/* "blk.3.attn_q.weight" */
void tw_model_gguf_part_name(enum tw_part part, uint32_t i_layer, char *out, size_t out_bytes);

#endif

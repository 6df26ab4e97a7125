/* SPDX-License-Identifier: Apache-2.0 */
/* The model's tokenizer, opened by the first who asks; and the model's end. */
#include <errno.h>

#include "base/scope.h"
#include "model/model_state.h"

int tw_model_tokenizer(tw_model *m, const tw_tokenizer **ret, tw_err *err)
{
    if (m->tokenizer == NULL && m->is_gguf) {
        int rc = tw_tokenizer_from_gguf(m->files[0].name, &m->files[0].gguf, m->config.vocab,
                                        &m->tokenizer, err);
        if (rc < 0)
            return rc;
    } else if (m->tokenizer == NULL) {
        TW_CLEANUP(tw_mem_freep) char *path = tw_model_join(m->path, "tokenizer.json");
        if (path == NULL)
            return tw_err_set(err, -ENOMEM, "tokenizer.json: no memory for its path");
        if (!tw_file_exists(path))
            return tw_err_set(err, -ENOENT, "model %s: tokenizer.json is missing", m->path);
        TW_CLEANUP(tw_map_close) tw_map map = {.p = NULL};
        int rc = tw_map_open(path, &map, err);
        if (rc == 0)
            rc = tw_tokenizer_new("tokenizer.json", map.p == NULL ? "" : (const char *)map.p,
                                  map.size_bytes, &m->tokenizer, err);
        if (rc < 0)
            return rc;
    }
    *ret = m->tokenizer;
    return 0;
}

void tw_model_close(tw_model *m)
{
    if (m == NULL)
        return;
    tw_tokenizer_free(m->tokenizer);
    for (size_t i = 0; i < m->n_files; i++) {
        tw_st_done(&m->files[i].st);
        tw_gguf_done(&m->files[i].gguf);
        tw_map_close(&m->files[i].map);
    }
    tw_st_index_done(&m->index);
    tw_arena_done(&m->arena);
    tw_mem_free(m);
}

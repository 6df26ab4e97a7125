/* SPDX-License-Identifier: Apache-2.0 */
/* The identity of a model (DESIGN 6): SHA-256 over config.json, tokenizer.json, the tensors'
 * names, dtypes and shapes, the files' sizes and the ids that end a text. Tensors and sizes are
 * sorted, so that neither the names nor the order of the files matter. Of GGUF files: the headers
 * whole, sizes and ids. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "model/model_state.h"
#include "os/sha256.h"

enum { LINE_MAX_BYTES = 128 };

/* Each piece goes in with its length before it, so that two pieces never read like one. */
static void add_piece(tw_sha256 *ctx, const char *what, const void *p, size_t n)
{
    char head[LINE_MAX_BYTES];
    int k = snprintf(head, sizeof(head), "%s %zu\n", what, n);
    tw_sha256_add(ctx, head, (size_t)k);
    tw_sha256_add(ctx, p, n);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const tw_st_tensor *const *)a)->name, (*(const tw_st_tensor *const *)b)->name);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int add_tensors(tw_sha256 *ctx, const tw_model *m)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < m->n_files; i++)
        n += m->files[i].st.n;
    TW_CLEANUP(tw_mem_freep) const tw_st_tensor **all = tw_mem_calloc(n, sizeof(*all));
    if (all == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_files; i++)
        for (size_t j = 0; j < m->files[i].st.n; j++)
            all[at++] = &m->files[i].st.tensors[j];
    qsort(all, n, sizeof(*all), by_name);
    for (size_t i = 0; i < n; i++) {
        char shape[LINE_MAX_BYTES * 2];
        tw_st_show_shape(all[i], shape, sizeof(shape));
        add_piece(ctx, "tensor", all[i]->name, strlen(all[i]->name));
        add_piece(ctx, all[i]->type_name, shape, strlen(shape));
    }
    return 0;
}

static int add_sizes(tw_sha256 *ctx, const tw_model *m)
{
    TW_CLEANUP(tw_mem_freep) uint64_t *sizes = tw_mem_calloc(m->n_files, sizeof(*sizes));
    if (sizes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_files; i++)
        sizes[i] = m->files[i].map.size_bytes;
    qsort(sizes, m->n_files, sizeof(*sizes), by_size);
    for (size_t i = 0; i < m->n_files; i++) {
        char text[LINE_MAX_BYTES];
        int n = snprintf(text, sizeof(text), "%" PRIu64, sizes[i]);
        add_piece(ctx, "file", text, (size_t)n);
    }
    return 0;
}

static void add_eos(tw_sha256 *ctx, const tw_model *m)
{
    for (unsigned i = 0; i < m->config.n_eos; i++) {
        char text[LINE_MAX_BYTES];
        int n = snprintf(text, sizeof(text), "%u", m->config.eos[i]);
        add_piece(ctx, "eos", text, (size_t)n);
    }
}

static int add_tokenizer(tw_sha256 *ctx, const tw_model *m, tw_err *err)
{
    TW_CLEANUP(tw_map_close) tw_map map = {.p = NULL};
    TW_CLEANUP(tw_mem_freep) char *path = tw_model_join(m->path, "tokenizer.json");
    if (path == NULL)
        return tw_err_set(err, -ENOMEM, "tokenizer.json: no memory for its path");
    if (!tw_file_exists(path)) {
        add_piece(ctx, "no tokenizer", NULL, 0);
        return 0;
    }
    int rc = tw_map_open(path, &map, err);
    if (rc == 0)
        add_piece(ctx, "tokenizer", map.p, map.size_bytes);
    return rc;
}

/* Metadata, tokenizer and tensors in one, as they lie in the files. */
static void add_headers(tw_sha256 *ctx, const tw_model *m)
{
    for (size_t i = 0; i < m->n_files; i++)
        add_piece(ctx, "gguf", m->files[i].map.p,
                  TW_MIN((size_t)m->files[i].gguf.data_off, m->files[i].map.size_bytes));
}

static int add_all(tw_sha256 *ctx, const tw_model *m, const char *config, size_t n_config,
                   tw_err *err)
{
    int rc = 0;
    if (m->is_gguf) {
        add_headers(ctx, m);
    } else {
        add_piece(ctx, "config", config, n_config);
        rc = add_tokenizer(ctx, m, err);
    }
    if (rc == 0)
        rc = add_tensors(ctx, m);
    if (rc == 0)
        rc = add_sizes(ctx, m);
    if (rc == 0)
        add_eos(ctx, m);
    return rc;
}

int tw_model_identify(tw_model *m, const char *config, size_t n_config, tw_err *err)
{
    _Static_assert((int)TW_MODEL_ID_CHARS == (int)TW_SHA256_HEX, "the id is the hash");
    tw_sha256 ctx;
    uint8_t hash[TW_SHA256_BYTES];
    tw_err cause = {.code = 0};
    tw_sha256_init(&ctx);
    const int rc = add_all(&ctx, m, config, n_config, &cause);
    tw_sha256_end(&ctx, hash);
    if (rc < 0 && cause.code == 0)
        return tw_err_set(err, rc, "model %s: cannot compute its identity: %s", m->path,
                          strerror(-rc));
    if (rc < 0) {
        if (err != NULL)
            *err = cause;
        return rc;
    }
    tw_sha256_print(hash, m->id);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/files_id.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/scope.h"
#include "hub/choose.h"
#include "os/file.h"
#include "os/sha256.h"

enum { FILES_MAX = 4096, NAME_BYTES = 256, CONFIG_MAX = 4 << 20, PATH_BYTES = 4096 };
static const char prefix[] = "files:";

typedef struct weight_file {
    char name[NAME_BYTES];
    uint64_t size;
} weight_file;

bool tw_files_id_is(const char *id)
{
    return strncmp(id, prefix, sizeof prefix - 1) == 0;
}

static bool is_weights(const char *name)
{
    static const char *const ends[] = {".safetensors", ".bin", ".gguf", ".pt"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < TW_ARRAY_LEN(ends); i++)
        if (n > strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const weight_file *)a)->name, ((const weight_file *)b)->name);
}

static size_t find_weights(const char *folder, weight_file *v)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    const struct dirent *e;
    struct stat st;
    while (d != NULL && n < FILES_MAX && (e = readdir(d)) != NULL)
        if (is_weights(e->d_name) && strlen(e->d_name) < NAME_BYTES &&
            fstatat(dirfd(d), e->d_name, &st, 0) == 0 && S_ISREG(st.st_mode)) {
            snprintf(v[n].name, NAME_BYTES, "%s", e->d_name);
            v[n++].size = (uint64_t)st.st_size;
        }
    if (d != NULL)
        closedir(d);
    qsort(v, n, sizeof *v, by_name);
    return n;
}

/* Those that a pull or a copy takes: what else lies beside them (training_args.bin) is one node's. all:
 * room for n; a set that nobody would pull stays as it is. */
static size_t keep_needed(weight_file *v, size_t n, tw_hub_file *all)
{
    const tw_hub_choice needed = {.n_include = 0};
    tw_hub_list l = {.v = all, .n = n};
    tw_err ignored;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        all[i] = (tw_hub_file){.path = v[i].name, .size = v[i].size};
    if (tw_hub_choose("", &needed, &l, &ignored) != 0)
        return n;
    for (size_t i = 0; i < n && kept < l.n; i++)
        if (l.v[kept].path == v[i].name) /* in the same order */
            v[kept++] = v[i];
    return kept;
}

int tw_files_id(const char *folder, char ret[TW_FILES_ID_BYTES], tw_err *err)
{
    char path[PATH_BYTES], hex[65], size[24];
    uint8_t hash[32];
    tw_sha256 ctx;
    TW_CLEANUP(tw_buf_done) tw_buf config = TW_BUF(CONFIG_MAX);
    TW_CLEANUP(tw_mem_freep) weight_file *v = tw_mem_calloc(FILES_MAX, sizeof *v);
    TW_CLEANUP(tw_mem_freep) tw_hub_file *all = tw_mem_calloc(FILES_MAX, sizeof *all);
    if (v == NULL || all == NULL)
        return tw_err_set(err, -ENOMEM, "no memory");
    snprintf(path, sizeof path, "%s/config.json", folder);
    int rc = tw_file_read(path, &config, err);
    if (rc != 0)
        return rc;
    const size_t n = keep_needed(v, find_weights(folder, v), all);
    if (n == 0)
        return tw_err_set(err, -ENOENT, "model %.150s: no weights there (*.safetensors)", folder);
    tw_sha256_init(&ctx);
    tw_sha256_add(&ctx, config.data, config.len);
    for (size_t i = 0; i < n; i++) {
        tw_sha256_add(&ctx, v[i].name, strlen(v[i].name) + 1);
        tw_sha256_add(&ctx, size, (size_t)snprintf(size, sizeof size, "%" PRIu64 ";", v[i].size));
    }
    tw_sha256_end(&ctx, hash);
    tw_sha256_print(hash, hex);
    snprintf(ret, TW_FILES_ID_BYTES, "%s%s", prefix, hex);
    return 0;
}

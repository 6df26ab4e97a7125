/* SPDX-License-Identifier: Apache-2.0 */
#include "fmt/st_index.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/scope.h"
#include "fmt/json.h"

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_tensor(const void *a, const void *b)
{
    return strcmp(((const tw_st_entry *)a)->tensor, ((const tw_st_entry *)b)->tensor);
}

static bool is_plain_text(const char *s)
{
    for (; *s != '\0'; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            return false;
    return true;
}

static int check_file(const char *name, const char *tensor, const json_t *v, tw_err *err)
{
    const char *file = json_string_value(v);
    const char *tail = file == NULL ? NULL : strrchr(file, '.');
    const char *wrong = NULL;
    if (file == NULL || file[0] == '\0')
        wrong = "want a file's name";
    else if (strchr(file, '/') != NULL || file[0] == '.')
        wrong = "want a plain name inside the folder";
    else if (tail != NULL && strcmp(tail, ".json") == 0)
        wrong = "an index may not name an index; want a .safetensors file";
    else if (tail == NULL || strcmp(tail, ".safetensors") != 0)
        wrong = "want a .safetensors file";
    if (wrong == NULL && is_plain_text(tensor))
        return 0;
    char found[64];
    tw_json_show(v, found, sizeof(found));
    return tw_err_set(err, -EINVAL, "%s: weight_map: tensor \"%.80s\" is in %s; %s", name,
                      is_plain_text(tensor) ? tensor : "?", found,
                      wrong == NULL ? "want no control bytes in its name" : wrong);
}

static int no_memory(const char *name, size_t n, tw_err *err)
{
    return tw_err_set(err, -ENOMEM, "%s: no memory for %zu entries", name, n);
}

/* Fills x->files: sorted, each once. */
static int collect_files(const char *name, const json_t *map, tw_st_index *x, tw_err *err)
{
    size_t n = json_object_size(map), i = 0;
    x->files = tw_arena_array(&x->arena, n + 1, sizeof(*x->files));
    TW_CLEANUP(tw_mem_freep) const char **all = tw_mem_calloc(n + 1, sizeof(*all));
    if (x->files == NULL || all == NULL)
        return no_memory(name, n, err);
    for (void *it = json_object_iter((json_t *)(uintptr_t)map); it != NULL;
         it = json_object_iter_next((json_t *)(uintptr_t)map, it))
        all[i++] = json_string_value(json_object_iter_value(it));
    qsort(all, n, sizeof(*all), by_text);
    for (i = 0; i < n; i++) {
        if (i > 0 && strcmp(all[i], all[i - 1]) == 0)
            continue;
        if (x->n_files == TW_ST_FILES_MAX)
            return tw_err_set(err, -EINVAL, "%s: weight_map names more than %d files", name,
                              TW_ST_FILES_MAX);
        const char *copy = tw_arena_strndup(&x->arena, all[i], strlen(all[i]));
        if (copy == NULL)
            return no_memory(name, n, err);
        x->files[x->n_files++] = copy;
    }
    return 0;
}

static int collect_entries(const char *name, json_t *map, tw_st_index *x, tw_err *err)
{
    x->entries = tw_arena_array(&x->arena, json_object_size(map) + 1, sizeof(*x->entries));
    if (x->entries == NULL)
        return no_memory(name, json_object_size(map), err);
    const char *key;
    json_t *v;
    json_object_foreach(map, key, v)
    {
        const char *file = json_string_value(v);
        const char **hit = bsearch(&file, x->files, x->n_files, sizeof(*x->files), by_text);
        tw_st_entry *e = &x->entries[x->n];
        e->tensor = tw_arena_strndup(&x->arena, key, strlen(key));
        if (e->tensor == NULL || hit == NULL)
            return no_memory(name, json_object_size(map), err);
        e->i_file = (size_t)(hit - x->files);
        x->n++;
    }
    qsort(x->entries, x->n, sizeof(*x->entries), by_tensor);
    return 0;
}

static int parse_map(const char *name, const json_t *root, tw_st_index *x, tw_err *err)
{
    json_t *map = json_object_get(root, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return tw_err_set(err, -EINVAL,
                          "%s: key weight_map is missing or empty, want tensor names to file names",
                          name);
    const char *key;
    json_t *v;
    json_object_foreach(map, key, v)
    {
        int rc = check_file(name, key, v, err);
        if (rc < 0)
            return rc;
    }
    int rc = collect_files(name, map, x, err);
    return rc < 0 ? rc : collect_entries(name, map, x, err);
}

int tw_st_index_parse(const char *name, const char *json, size_t n, tw_st_index *ret, tw_err *err)
{
    TW_CLEANUP(tw_json_freep) json_t *root = NULL;
    int rc = tw_json_parse(name, json, n, &root, err);
    if (rc < 0)
        return rc;
    tw_st_index x = {.files = NULL, .n_files = 0};
    tw_arena_init(&x.arena, 0);
    rc = parse_map(name, root, &x, err);
    if (rc < 0) {
        tw_st_index_done(&x);
        return rc;
    }
    *ret = x;
    return 0;
}

const tw_st_entry *tw_st_index_find(const tw_st_index *x, const char *tensor)
{
    tw_st_entry key = {.tensor = tensor};
    return x->n == 0 ? NULL : bsearch(&key, x->entries, x->n, sizeof(key), by_tensor);
}

void tw_st_index_done(tw_st_index *x)
{
    if (x == NULL)
        return;
    tw_arena_done(&x->arena);
    x->files = NULL;
    x->entries = NULL;
    x->n = x->n_files = 0;
}

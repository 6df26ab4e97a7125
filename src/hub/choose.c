/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/choose.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "hub/pattern.h"

typedef struct patterns {
    const char *const *v;
    unsigned n;
    uint64_t literal; /* bit i: a file has v[i] as its very name */
} patterns;
_Static_assert(TW_HUB_PATTERNS_MAX <= 64, "a bit for each pattern");

static patterns look_up(const char *const *v, unsigned n, const tw_hub_list *l)
{
    patterns p = {.v = v, .n = n};
    for (unsigned i = 0; i < n; i++)
        for (size_t j = 0; j < l->n; j++)
            p.literal |= (uint64_t)(strcmp(v[i], l->v[j].path) == 0) << i;
    return p;
}

/* "a[1].gguf" is that file, where there is one, and no set. */
static bool matches_any(const patterns *p, const char *path)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->literal >> i & 1 ? strcmp(p->v[i], path) == 0
                                : tw_hub_pattern_matches(p->v[i], path))
            return true;
    return false;
}

static bool ends(const char *path, const char *with)
{
    return tw_str_ends(tw_str_from(path), tw_str_from(with));
}

static bool is_top(const char *path)
{
    return strchr(path, '/') == NULL;
}

/* Small files that some engine may ask for. */
static bool is_setting(const char *path)
{
    static const char *const kinds[] = {".json", ".jinja",     ".model",   ".tiktoken",
                                        ".py",   "merges.txt", "vocab.txt"};
    static const char *const others[] = {"original/", "metal/", "onnx/", "openvino/",
                                         "coreml/",   "gguf/",  "."};
    for (size_t i = 0; i < TW_ARRAY_LEN(others); i++)
        if (strncmp(path, others[i], strlen(others[i])) == 0)
            return false;
    for (size_t i = 0; i < TW_ARRAY_LEN(kinds); i++)
        if (ends(path, kinds[i]))
            return true;
    return false;
}

/* Of one repository: which kinds of weights lie at its top. */
typedef struct kinds {
    bool safetensors, model_safetensors, bin;
    size_t n_gguf;
} kinds;

static kinds look(const tw_hub_list *l)
{
    kinds k = {.n_gguf = 0};
    for (size_t i = 0; i < l->n; i++) {
        const char *p = l->v[i].path;
        k.safetensors |= is_top(p) && ends(p, ".safetensors");
        k.model_safetensors |= is_top(p) && ends(p, ".safetensors") && strncmp(p, "model", 5) == 0;
        k.bin |= is_top(p) && ends(p, ".bin") && strncmp(p, "pytorch_model", 13) == 0;
        k.n_gguf += ends(p, ".gguf");
    }
    return k;
}

static bool is_needed(const kinds *k, const char *path)
{
    if (is_setting(path))
        return k->safetensors || !ends(path, ".safetensors.index.json");
    if (ends(path, ".safetensors"))
        return is_top(path) && (!k->model_safetensors || strncmp(path, "model", 5) == 0);
    if (k->safetensors)
        return false;
    if (ends(path, ".bin"))
        return k->bin && is_top(path) && strncmp(path, "pytorch_model", 13) == 0;
    return !k->bin && ends(path, ".gguf");
}

#define FIVE "[0-9][0-9][0-9][0-9][0-9]"

/* "x-00001-of-00003.gguf" and its like are one model. */
static bool is_one_set(const tw_hub_list *l, size_t n_gguf)
{
    size_t n_first = 0, n_split = 0;
    for (size_t i = 0; i < l->n; i++) {
        n_split += tw_hub_pattern_matches("*-" FIVE "-of-" FIVE ".gguf", l->v[i].path);
        n_first += tw_hub_pattern_matches("*-00001-of-" FIVE ".gguf", l->v[i].path);
    }
    return n_gguf == 1 || (n_split == n_gguf && n_first == 1);
}

int tw_hub_choose(const char *repo, const tw_hub_choice *c, tw_hub_list *l, tw_err *err)
{
    size_t n = 0;
    const size_t n_all = l->n;
    const kinds k = look(l);
    const patterns include = look_up(c->include, c->n_include, l);
    const patterns exclude = look_up(c->exclude, c->n_exclude, l);
    if (c->n_include == 0 && c->n_exclude == 0 && !k.safetensors && !k.bin && k.n_gguf > 0 &&
        !is_one_set(l, k.n_gguf))
        return tw_err_set(err, -ENOENT,
                          "%.100s has %zu .gguf files: say which one: ORG/NAME/FILE.gguf, or "
                          "--include '*Q4_K_M*'",
                          repo, k.n_gguf);
    for (size_t i = 0; i < l->n; i++) {
        const char *p = l->v[i].path;
        const bool in = c->n_include > 0 ? matches_any(&include, p) : is_needed(&k, p);
        if (in && !matches_any(&exclude, p))
            l->v[n++] = l->v[i];
    }
    l->n = n;
    if (n > 0)
        return 0;
    if (c->n_include > 0 || c->n_exclude > 0)
        return tw_err_set(err, -ENOENT,
                          "%.100s: none of its %zu files is left by --include and --exclude", repo,
                          n_all);
    return tw_err_set(err, -ENOENT,
                      "%.100s: no model in it (%zu files, none of .safetensors, .bin, .gguf or "
                      ".json): --include PATTERN takes others",
                      repo, n_all);
}

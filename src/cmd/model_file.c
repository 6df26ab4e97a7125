/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/model_file.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "fmt/gguf.h"
#include "hub/name.h"

bool tw_model_file_is(const char *path)
{
    return tw_str_ends(tw_str_from(path), TW_STR(".gguf"));
}

/* A pattern that only this name of n bytes matches. */
static size_t put_literal(const char *name, size_t n, char out[TW_MODEL_PATTERN_BYTES])
{
    size_t at = 0;
    for (size_t i = 0; i < n && i < TW_MODEL_FILE_BYTES; i++) {
        const bool special = strchr("[*?", name[i]) != NULL;
        if (special)
            out[at++] = '[';
        out[at++] = name[i];
        if (special)
            out[at++] = ']';
    }
    out[at] = '\0';
    return at;
}

void tw_model_file_pattern(const char *file, char out[TW_MODEL_PATTERN_BYTES])
{
    size_t stem;
    unsigned no, n;
    if (!tw_gguf_split_name(file, &stem, &no, &n)) {
        snprintf(out, TW_MODEL_PATTERN_BYTES, "%s", file); /* a file of that very name wins */
        return;
    }
    const size_t at = put_literal(file, stem, out);
    snprintf(out + at, TW_MODEL_PATTERN_BYTES - at, "-?\?\?\?\?-of-%05u.gguf", n);
}

/* The slash before FILE. A revision that begins with refs/ has three parts (refs/pr/1). */
static const char *find_file(const char *text)
{
    const char *name = strchr(text, '/'), *p = name != NULL ? strchr(name + 1, '/') : NULL;
    const char *at = name != NULL ? strchr(name, '@') : NULL;
    if (p != NULL && at != NULL && at < p && strncmp(at, "@refs/", 6) == 0)
        for (int i = 0; i < 2 && p != NULL; i++)
            p = strchr(p + 1, '/');
    return p;
}

/* Other revisions with a slash write it as addresses do. */
static void decode_slashes(char *repo)
{
    char *to = repo;
    bool in_revision = false;
    for (const char *p = repo; *p != '\0'; p++) {
        in_revision |= *p == '@';
        const bool slash = in_revision && (strncmp(p, "%2F", 3) == 0 || strncmp(p, "%2f", 3) == 0);
        *to++ = slash ? '/' : *p;
        p += slash ? 2 : 0;
    }
    *to = '\0';
}

bool tw_model_file_parse(const char *text, tw_model_file_name *ret)
{
    const char *slash = find_file(text);
    if (slash == NULL || !tw_model_file_is(text) || strlen(text) >= TW_MODEL_FILE_BYTES ||
        !tw_hub_path_is_safe(slash + 1))
        return false;
    snprintf(ret->repo, sizeof ret->repo, "%.*s", (int)(slash - text), text);
    decode_slashes(ret->repo);
    snprintf(ret->file, sizeof ret->file, "%s", slash + 1);
    tw_model_file_pattern(ret->file, ret->pattern);
    return tw_hub_name_is(ret->repo);
}

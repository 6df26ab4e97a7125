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

void tw_model_file_pattern(const char *file, char out[TW_MODEL_FILE_BYTES])
{
    size_t stem;
    unsigned no, n;
    if (tw_gguf_split_name(file, &stem, &no, &n))
        snprintf(out, TW_MODEL_FILE_BYTES, "%.*s-?\?\?\?\?-of-%05u.gguf", (int)stem, file, n);
    else
        snprintf(out, TW_MODEL_FILE_BYTES, "%s", file);
}

bool tw_model_file_parse(const char *text, tw_model_file_name *ret)
{
    const char *slash = strchr(text, '/');
    slash = slash != NULL ? strchr(slash + 1, '/') : NULL;
    if (slash == NULL || !tw_model_file_is(text) || strlen(text) >= TW_MODEL_FILE_BYTES ||
        !tw_hub_path_is_safe(slash + 1))
        return false;
    snprintf(ret->repo, sizeof ret->repo, "%.*s", (int)(slash - text), text);
    snprintf(ret->file, sizeof ret->file, "%s", slash + 1);
    tw_model_file_pattern(ret->file, ret->pattern);
    return tw_hub_name_is(ret->repo);
}

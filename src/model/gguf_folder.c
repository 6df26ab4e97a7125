/* SPDX-License-Identifier: Apache-2.0 */
/* A folder as pull makes it of a repository of .gguf files: the one model in it. */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "model/model_gguf.h"

enum { NAME_BYTES = 256 };

static void close_folder(DIR **d)
{
    if (*d != NULL)
        closedir(*d);
}

int tw_model_gguf_in_folder(const char *folder, char **ret, tw_err *err)
{
    TW_CLEANUP(close_folder) DIR *d = opendir(folder);
    char first[NAME_BYTES] = "";
    size_t n_models = 0, stem;
    unsigned no, n;
    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        tw_str name = tw_str_from(e->d_name);
        if (tw_str_ends(name, TW_STR(".safetensors")) ||
            tw_str_ends(name, TW_STR(".safetensors.index.json")))
            return 0;
        if (!tw_str_ends(name, TW_STR(".gguf")) || name.len >= NAME_BYTES ||
            (tw_gguf_split_name(e->d_name, &stem, &no, &n) && no > 1))
            continue;
        n_models++;
        if (n_models == 1 || strcmp(e->d_name, first) < 0)
            memcpy(first, name.p, name.len + 1);
    }
    if (n_models > 1)
        return tw_err_set(err, -EINVAL,
                          "model %s: %zu models in .gguf files are there: name one, such as %s/%s",
                          folder, n_models, folder, first);
    if (n_models == 0)
        return 0;
    *ret = tw_model_join(folder, first);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "model %s: no memory", folder);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/name.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { PART_MAX = 96 };

static bool part_is_good(const char *p, size_t n)
{
    if (n == 0 || n > PART_MAX || strchr("-.", p[0]) != NULL || strchr("-.", p[n - 1]) != NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && strchr("-._", p[i]) == NULL)
            return false;
    for (size_t i = 1; i < n; i++) /* the cache's folders are told apart by "--" */
        if (p[i] == p[i - 1] && (p[i] == '-' || p[i] == '.'))
            return false;
    return true;
}

static bool revision_is_good(const char *r)
{
    const size_t n = strlen(r);
    if (n == 0 || n >= TW_HUB_REVISION_BYTES || !tw_hub_path_is_safe(r))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)r[i] <= ' ' || (unsigned char)r[i] == 0x7f ||
            strchr("~^:?*[\\", r[i]) != NULL)
            return false;
    return true;
}

static bool take_apart(const char *text, size_t *ret_repo, const char **ret_revision)
{
    const char *at = strchr(text, '@'), *slash = strchr(text, '/');
    const size_t n = at != NULL ? (size_t)(at - text) : strlen(text);
    if (slash == NULL || slash >= text + n || n >= TW_HUB_REPO_BYTES)
        return false;
    *ret_repo = n;
    *ret_revision = at != NULL ? at + 1 : "main";
    return part_is_good(text, (size_t)(slash - text)) &&
           part_is_good(slash + 1, (size_t)(text + n - slash) - 1);
}

bool tw_hub_name_is(const char *text)
{
    const char *revision;
    size_t n;
    return take_apart(text, &n, &revision) && revision_is_good(revision);
}

int tw_hub_name_parse(const char *text, tw_hub_name *ret, tw_err *err)
{
    const char *revision = "";
    size_t n = 0;
    if (!take_apart(text, &n, &revision))
        return tw_err_set(err, -EINVAL,
                          "%.100s: no name of a model: wanted org/name or org/name@revision, of "
                          "letters, digits, '-', '_', '.'",
                          text);
    if (!revision_is_good(revision))
        return tw_err_set(err, -EINVAL,
                          "%.100s: no revision after '@': wanted a branch, a tag or a commit",
                          text);
    snprintf(ret->repo, sizeof ret->repo, "%.*s", (int)n, text);
    snprintf(ret->revision, sizeof ret->revision, "%s", revision);
    return 0;
}

static bool is_hex(const char *s, size_t n)
{
    return strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

bool tw_hub_is_commit(const char *revision)
{
    return is_hex(revision, 40);
}

bool tw_hub_is_etag(const char *etag)
{
    return is_hex(etag, 40) || is_hex(etag, 64);
}

bool tw_hub_path_is_safe(const char *path)
{
    for (const char *p = path;;) {
        const size_t n = strcspn(p, "/");
        if (n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)p[i] < ' ' || p[i] == '\\')
                return false;
        if (p[n] == '\0')
            return strlen(path) < 1024;
        p += n + 1;
    }
}

void tw_hub_name_folder(const char *repo, char *out, size_t out_bytes)
{
    const size_t n = strcspn(repo, "/");
    snprintf(out, out_bytes, "models--%.*s--%s", (int)n, repo, repo[n] == '/' ? repo + n + 1 : "");
}

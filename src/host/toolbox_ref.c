/* SPDX-License-Identifier: Apache-2.0 */
#include "host/toolbox_ref.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define KEPT "localhost/twinax/"

enum { SHA256_HEX = 64, STAMP_LEN = 15 };

const tw_toolbox_channel tw_toolbox_channels[] = {
    {"stable", "latest", "vllm-therock-gfx1151"},
    {"dev", "dev", "vllm-therock-gfx1151-dev"},
    {NULL, NULL, NULL},
};

const tw_toolbox_channel *tw_toolbox_channel_find(const char *name)
{
    for (const tw_toolbox_channel *c = tw_toolbox_channels; c->name != NULL; c++)
        if (strcmp(c->name, name) == 0 || strcmp(c->tag, name) == 0)
            return c;
    return NULL;
}

bool tw_toolbox_digest_is_good(const char *digest)
{
    return strncmp(digest, "sha256:", 7) == 0 && strlen(digest) == 7 + SHA256_HEX &&
           strspn(digest + 7, "0123456789abcdef") == SHA256_HEX;
}

static bool is_registry(const char *first, size_t n)
{
    return memchr(first, '.', n) != NULL || memchr(first, ':', n) != NULL ||
           (n == 9 && memcmp(first, "localhost", 9) == 0);
}

int tw_toolbox_ref_parse(const char *text, tw_toolbox_ref *ret, tw_err *err)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789._-/:";
    static const char tag_chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "0123456789._-";
    tw_toolbox_ref r = {.tag = ""};
    const char *at = strchr(text, '@');
    const size_t n_all = at != NULL ? (size_t)(at - text) : strlen(text);
    if (at != NULL && !tw_toolbox_digest_is_good(at + 1))
        return tw_err_set(err, -EINVAL, "image '%.80s': wanted @sha256: and 64 hex digits", text);
    if (at != NULL)
        snprintf(r.digest, sizeof r.digest, "%s", at + 1);
    const char *slash = memrchr(text, '/', n_all);
    const char *name = slash != NULL ? slash + 1 : text;
    const char *colon = memchr(name, ':', (size_t)(text + n_all - name));
    const size_t n = colon != NULL ? (size_t)(colon - text) : n_all;
    const size_t n_tag = colon != NULL ? (size_t)(text + n_all - colon - 1) : 0;
    if (n == 0 || strspn(text, plain) < n || text[0] == '/' || text[0] == '-' || text[n - 1] == '/')
        return tw_err_set(err, -EINVAL,
                          "image '%.80s': wanted a name such as docker.io/org/name:tag, in small "
                          "letters",
                          text);
    if (colon != NULL && (n_tag == 0 || n_tag >= sizeof r.tag ||
                          strspn(colon + 1, tag_chars) < n_tag || colon[1] == '-'))
        return tw_err_set(err, -EINVAL, "image '%.80s': the tag behind ':' is none", text);
    const char *first_end = memchr(text, '/', n);
    const bool has_registry = first_end != NULL && is_registry(text, (size_t)(first_end - text));
    const int len = snprintf(r.repo, sizeof r.repo, "%s%.*s",
                             has_registry        ? ""
                             : first_end != NULL ? "docker.io/"
                                                 : "docker.io/library/",
                             (int)n, text);
    if (len < 0 || (size_t)len + 2 + sizeof r.tag > sizeof r.repo + sizeof r.tag)
        return tw_err_set(err, -EINVAL, "image '%.60s...': too long a name", text);
    snprintf(r.tag, sizeof r.tag, "%.*s", (int)n_tag, colon != NULL ? colon + 1 : "");
    if (r.tag[0] == '\0' && r.digest[0] == '\0')
        snprintf(r.tag, sizeof r.tag, "latest");
    *ret = r;
    return 0;
}

void tw_toolbox_ref_print(const tw_toolbox_ref *r, char *out, size_t out_bytes)
{
    const bool by_tag = r->tag[0] != '\0';
    snprintf(out, out_bytes, "%s%c%s", r->repo, by_tag ? ':' : '@', by_tag ? r->tag : r->digest);
}

bool tw_toolbox_ref_is_local(const tw_toolbox_ref *r)
{
    return strncmp(r->repo, "localhost/", 10) == 0;
}

int tw_toolbox_name_check(const char *name, tw_err *err)
{
    static const char inner[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    const size_t n = strlen(name);
    bool good = n > 0 && n < TW_TOOLBOX_NAME_BYTES && strchr(inner, name[0]) != NULL &&
                strchr(inner, name[n - 1]) != NULL;
    for (size_t i = 1; good && i + 1 < n; i++)
        good = strchr(inner, name[i]) != NULL ||
               (strchr("._-", name[i]) != NULL && strchr(inner, name[i - 1]) != NULL);
    return good ? 0
                : tw_err_set(err, -EINVAL,
                             "--name '%.64s': wanted 1 to %d of a-z and 0-9, with single '.', '_' "
                             "or '-' between",
                             name, TW_TOOLBOX_NAME_BYTES - 1);
}

/* ---- stamps ---- */

void tw_toolbox_stamp_print(int64_t unix_s, char out[TW_TOOLBOX_STAMP_BYTES])
{
    const time_t t = (time_t)(unix_s > 0 ? unix_s : 0);
    struct tm tm;
    if (gmtime_r(&t, &tm) == NULL ||
        strftime(out, TW_TOOLBOX_STAMP_BYTES, "%Y%m%d-%H%M%S", &tm) == 0)
        snprintf(out, TW_TOOLBOX_STAMP_BYTES, "19700101-000000");
}

bool tw_toolbox_stamp_is_good(const char *text)
{
    return strlen(text) == STAMP_LEN && strspn(text, "0123456789") == 8 && text[8] == '-' &&
           strspn(text + 9, "0123456789") == 6;
}

const char *tw_toolbox_stamp_of(const char *name, const char *box, const char *repo)
{
    const char *colon = strrchr(name, ':');
    char own[TW_TOOLBOX_REF_BYTES];
    if (colon == NULL || !tw_toolbox_stamp_is_good(colon + 1))
        return NULL;
    const size_t n = (size_t)(colon - name);
    snprintf(own, sizeof own, KEPT "%s", box);
    const bool ours = strlen(own) == n && memcmp(own, name, n) == 0;
    const bool others = repo[0] != '\0' && strlen(repo) == n && memcmp(repo, name, n) == 0;
    return ours || others ? colon + 1 : NULL;
}

void tw_toolbox_stamp_name(const char *box, const char *stamp, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, KEPT "%s:%s", box, stamp);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/place.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/scope.h"
#include "base/str.h"
#include "os/file.h"

enum { STALL_S = 30, STALL_MAX_S = 3600 };

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v != NULL && v[0] != '\0' ? v : NULL;
}

static bool is_true(const char *name)
{
    const char *v = env(name);
    return v != NULL && (strcmp(v, "1") == 0 || strcasecmp(v, "on") == 0 ||
                         strcasecmp(v, "yes") == 0 || strcasecmp(v, "true") == 0);
}

static bool put(char *out, size_t *at, const char *p, size_t n)
{
    if (*at + n >= TW_HUB_PATH_BYTES)
        return false;
    memcpy(out + *at, p, n);
    *at += n;
    out[*at] = '\0';
    return true;
}

/* "$NAME" or "${NAME}" at p: its value, or itself where it is not set. Returns what it took. */
static size_t put_variable(const char *p, char *out, size_t *at, bool *ok)
{
    char name[64];
    const bool brace = p[1] == '{';
    const char *from = p + 1 + brace;
    size_t n = 0;
    while (isalnum((unsigned char)from[n]) || from[n] == '_')
        n++;
    if (n == 0 || n >= sizeof name || (brace && from[n] != '}')) {
        *ok = put(out, at, p, 1);
        return 1;
    }
    const size_t took = (size_t)(from - p) + n + brace;
    snprintf(name, sizeof name, "%.*s", (int)n, from);
    const char *v = getenv(name);
    *ok = v != NULL ? put(out, at, v, strlen(v)) : put(out, at, p, took);
    return took;
}

/* "~/" and variables, as a shell would. */
static int expand(const char *name, const char *path, char out[TW_HUB_PATH_BYTES], tw_err *err)
{
    size_t at = 0;
    bool ok = true;
    const char *home = env("HOME"), *p = path;
    out[0] = '\0';
    if (p[0] == '~' && (p[1] == '/' || p[1] == '\0') && home != NULL) {
        ok = put(out, &at, home, strlen(home));
        p++;
    }
    while (*p != '\0' && ok)
        if (*p == '$')
            p += put_variable(p, out, &at, &ok);
        else
            ok = put(out, &at, p++, 1);
    if (!ok)
        return tw_err_set(err, -ENAMETOOLONG, "%s: longer than %d bytes", name, TW_HUB_PATH_BYTES);
    while (at > 1 && out[at - 1] == '/')
        out[--at] = '\0';
    return 0;
}

static int join(char out[TW_HUB_PATH_BYTES], const char *folder, const char *name, tw_err *err)
{
    if (snprintf(out, TW_HUB_PATH_BYTES, "%s/%s", folder, name) >= TW_HUB_PATH_BYTES)
        return tw_err_set(err, -ENAMETOOLONG, "%s: too long a path", name);
    return 0;
}

static int find_home(char out[TW_HUB_PATH_BYTES], tw_err *err)
{
    char base[TW_HUB_PATH_BYTES];
    if (env("HF_HOME") != NULL)
        return expand("HF_HOME", env("HF_HOME"), out, err);
    if (env("XDG_CACHE_HOME") == NULL && env("HOME") == NULL)
        return tw_err_set(err, -ENOENT, "no place for models: set HOME or HF_HOME");
    int rc = env("XDG_CACHE_HOME") != NULL
                 ? expand("XDG_CACHE_HOME", env("XDG_CACHE_HOME"), base, err)
                 : join(base, env("HOME"), ".cache", err);
    return rc == 0 ? join(out, base, "huggingface", err) : rc;
}

static int find_cache(const char *home, char out[TW_HUB_PATH_BYTES], tw_err *err)
{
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"};
    for (int i = 0; i < 2; i++)
        if (env(names[i]) != NULL)
            return expand(names[i], env(names[i]), out, err);
    return join(out, home, "hub", err);
}

/* Without what a copy and paste may have brought. */
static int take_token(tw_hub_place *p, const char *text, const char *from, tw_err *err)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    bool good = n < sizeof p->token;
    for (size_t i = 0; i < n && good; i++)
        good = text[i] > ' ' && text[i] < 0x7f;
    if (!good)
        return tw_err_set(err, -EINVAL, "%s: no token: it has blanks or other odd characters",
                          from);
    memcpy(p->token, text, n);
    p->token[n] = '\0';
    snprintf(p->token_from, sizeof p->token_from, "%s", from);
    return 0;
}

static int find_token(tw_hub_place *p, const char *home, tw_err *err)
{
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    char path[TW_HUB_PATH_BYTES];
    if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        return 0;
    for (int i = 0; i < 2; i++)
        if (env(names[i]) != NULL)
            return take_token(p, env(names[i]), names[i], err);
    int rc = env("HF_TOKEN_PATH") != NULL ? expand("HF_TOKEN_PATH", env("HF_TOKEN_PATH"), path, err)
                                          : join(path, home, "token", err);
    if (rc != 0 || !tw_file_exists(path))
        return rc;
    tw_buf text TW_CLEANUP(tw_buf_done) = TW_BUF(4096);
    tw_err ignored = {0};
    if (tw_file_read(path, &text, &ignored) != 0 || text.len == 0)
        return 0; /* another's, or empty: as if there were none */
    rc = take_token(p, text.data, "the token file of `hf auth login`", err);
    explicit_bzero(text.data, text.len);
    return rc;
}

static int find_endpoint(tw_hub_place *p, tw_err *err)
{
    const char *e = env("HF_ENDPOINT") != NULL ? env("HF_ENDPOINT") : "https://huggingface.co";
    size_t n = strlen(e);
    while (n > 0 && e[n - 1] == '/')
        n--;
    if (n >= sizeof p->endpoint ||
        (strncmp(e, "https://", 8) != 0 && strncmp(e, "http://", 7) != 0) ||
        strpbrk(e, " \t\r\n\"<>@?#") != NULL)
        return tw_err_set(err, -EINVAL, "HF_ENDPOINT: %.100s: wanted https://HOST[:PORT]", e);
    snprintf(p->endpoint, sizeof p->endpoint, "%.*s", (int)n, e);
    return 0;
}

/* In the order of the `requests` library, then as OpenSSL's own tools. */
static int find_ca(tw_hub_place *p, tw_err *err)
{
    static const char *const names[] = {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE",
                                        "SSL_CERT_DIR"};
    size_t i = 0;
    while (i < TW_ARRAY_LEN(names) && env(names[i]) == NULL)
        i++;
    if (i == TW_ARRAY_LEN(names))
        return 0;
    int rc = expand(names[i], env(names[i]), p->ca_file, err);
    if (rc != 0)
        return rc;
    p->ca_is_folder = strcmp(names[i], "SSL_CERT_DIR") == 0 || tw_file_is_dir(p->ca_file);
    if (tw_file_exists(p->ca_file) || strchr(p->ca_file, ':') != NULL) /* several folders */
        return 0;
    return tw_err_set(err, -ENOENT, "%s: %.150s: no such file", names[i], env(names[i]));
}

static int find_stall(tw_hub_place *p, tw_err *err)
{
    const char *v = env("HF_HUB_DOWNLOAD_TIMEOUT");
    uint64_t s = STALL_S;
    if (v != NULL && (tw_str_to_u64(v, &s) != 0 || s == 0 || s > STALL_MAX_S))
        return tw_err_set(err, -EINVAL, "HF_HUB_DOWNLOAD_TIMEOUT: %.40s: wanted seconds, 1 to %d",
                          v, STALL_MAX_S);
    p->stall_s = (unsigned)s;
    return 0;
}

int tw_hub_place_cache(char ret[TW_HUB_PATH_BYTES], tw_err *err)
{
    char home[TW_HUB_PATH_BYTES] = "";
    tw_err why = {0};
    const int rc = find_home(home, &why);
    if (rc != 0 && env("HF_HUB_CACHE") == NULL && env("HUGGINGFACE_HUB_CACHE") == NULL)
        return tw_err_set(err, rc, "%s", why.msg);
    return find_cache(home, ret, err);
}

int tw_hub_place_get(tw_hub_place *ret, tw_err *err)
{
    char home[TW_HUB_PATH_BYTES];
    *ret = (tw_hub_place){.offline =
                              is_true("HF_HUB_OFFLINE") ||
                              (env("HF_HUB_OFFLINE") == NULL && is_true("TRANSFORMERS_OFFLINE"))};
    int rc = find_home(home, err);
    if (rc == 0)
        rc = find_cache(home, ret->cache, err);
    if (rc == 0)
        rc = find_endpoint(ret, err);
    if (rc == 0)
        rc = find_stall(ret, err);
    if (rc == 0)
        rc = find_ca(ret, err);
    if (rc == 0)
        rc = find_token(ret, home, err);
    return rc;
}

void tw_hub_place_done(tw_hub_place *p)
{
    explicit_bzero(p->token, sizeof p->token);
}

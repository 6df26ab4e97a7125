/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/refusal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { RETRY_MAX_S = 86400 };

/* The value when the line is "NAME: value". */
static bool header_is(const char *line, size_t n, const char *name, char *out, size_t out_bytes)
{
    const size_t k = strlen(name);
    if (n <= k || line[k] != ':' || strncasecmp(line, name, k) != 0)
        return false;
    const char *p = line + k + 1, *end = line + n;
    while (p < end && isspace((unsigned char)*p))
        p++;
    while (end > p && isspace((unsigned char)end[-1]))
        end--;
    size_t at = 0;
    for (; p < end && at + 1 < out_bytes; p++) /* nothing that a terminal would obey */
        if (*p >= ' ' && *p < 0x7f)
            out[at++] = *p;
    out[at] = '\0';
    return true;
}

/* "\"HASH\"", a weak one too; what is no hash of a file says nothing. */
static void take_etag(const char *text, char out[65])
{
    char etag[65];
    const char *begin = strchr(text, '"');
    begin = begin != NULL ? begin + 1 : text;
    const size_t n = strcspn(begin, "\"");
    if (n >= sizeof etag)
        return;
    memcpy(etag, begin, n);
    etag[n] = '\0';
    if (tw_hub_is_etag(etag))
        memcpy(out, etag, n + 1);
}

/* "\"api\";r=0;t=55": none left, more in 55 s. Source: draft-ietf-httpapi-ratelimit-headers. */
static void take_rate_limit(const char *text, tw_hub_answer *a)
{
    const char *left = strstr(text, ";r="), *wait = strstr(text, ";t=");
    if (left == NULL || wait == NULL || a->retry_after_s != 0 || strtoull(left + 3, NULL, 10) != 0)
        return;
    const unsigned long long s = strtoull(wait + 3, NULL, 10);
    a->retry_after_s = s < RETRY_MAX_S ? s : RETRY_MAX_S;
}

void tw_hub_answer_note(tw_hub_answer *a, const char *line, size_t n)
{
    char text[128];
    if (n > 5 && strncmp(line, "HTTP/", 5) == 0) {
        *a = (tw_hub_answer){.status = 0};
        return;
    }
    if (header_is(line, n, "x-linked-etag", text, sizeof text))
        take_etag(text, a->linked_etag);
    if (header_is(line, n, "ratelimit", text, sizeof text))
        take_rate_limit(text, a);
    (void)(header_is(line, n, "x-error-code", a->code, sizeof a->code) ||
           header_is(line, n, "x-error-message", a->message, sizeof a->message));
    if (header_is(line, n, "retry-after", text, sizeof text)) {
        char *end = NULL;
        const unsigned long long s = strtoull(text, &end, 10); /* a date is taken for "not said" */
        a->retry_after_s = end != text && *end == '\0' ? (s < RETRY_MAX_S ? s : RETRY_MAX_S) : 0;
    }
}

bool tw_hub_answer_may_retry(const tw_hub_answer *a)
{
    return a->status == 408 || a->status == 429 || (a->status >= 500 && a->status != 501);
}

static int refuse_gated(const tw_hub_place *p, const char *repo, tw_err *err)
{
    if (p->token[0] == '\0')
        return tw_err_set(
            err, -EACCES,
            "%.60s is gated and no token is given: accept its licence at %.60s/%.60s, "
            "then set HF_TOKEN to one from /settings/tokens",
            repo, p->endpoint, repo);
    return tw_err_set(err, -EACCES,
                      "%.60s is gated and this token's owner may not read it: accept its licence "
                      "at %.60s/%.60s (or wait to be let in)",
                      repo, p->endpoint, repo);
}

static int refuse_401(const tw_hub_place *p, const char *repo, tw_err *err)
{
    if (p->token[0] != '\0')
        return tw_err_set(err, -EACCES,
                          "the token of %.40s is not valid, or has expired: make one at "
                          "%.60s/settings/tokens",
                          p->token_from, p->endpoint);
    return tw_err_set(err, -EACCES,
                      "%.80s: unknown, or private: check the name at %.60s; a private one wants "
                      "HF_TOKEN (made at /settings/tokens)",
                      repo, p->endpoint);
}

static int refuse_404(const tw_hub_place *p, const tw_hub_name *name, const char *file,
                      const char *code, tw_err *err)
{
    if (strcmp(code, "RevisionNotFound") == 0)
        return tw_err_set(err, -ENOENT, "%.80s has no revision %.50s: see %.60s/%.40s/refs",
                          name->repo, name->revision, p->endpoint, name->repo);
    if (file != NULL)
        return tw_err_set(err, -ENOENT, "%.80s: %.80s is no longer there: pull again", name->repo,
                          file);
    return tw_err_set(err, -ENOENT, "%.80s: no such model at %.60s%s", name->repo, p->endpoint,
                      p->token[0] != '\0' ? ", or private and not for this token" : "");
}

int tw_hub_refused(const tw_hub_place *p, const tw_hub_name *name, const char *file,
                   const tw_hub_answer *a, tw_err *err)
{
    if (strcmp(a->code, "GatedRepo") == 0)
        return refuse_gated(p, name->repo, err);
    if (a->status == 401)
        return refuse_401(p, name->repo, err);
    if (a->status == 403)
        return tw_err_set(err, -EACCES,
                          "%.60s: forbidden%s%.80s: see what the token may do at "
                          "%.60s/settings/tokens",
                          name->repo, a->message[0] != '\0' ? ": " : "", a->message, p->endpoint);
    if (a->status == 404 || a->status == 410)
        return refuse_404(p, name, file, a->code, err);
    if (a->status == 429)
        return tw_err_set(err, -EAGAIN, "%.60s wants fewer requests (429): try again in %llu s%s",
                          p->endpoint,
                          (unsigned long long)(a->retry_after_s != 0 ? a->retry_after_s : 60),
                          p->token[0] == '\0' ? "; with HF_TOKEN more are allowed" : "");
    return tw_err_set(err, -EIO, "%.60s answered %d for %.80s%s%.60s", p->endpoint, a->status,
                      file != NULL ? file : name->repo, a->message[0] != '\0' ? ": " : "",
                      a->message);
}

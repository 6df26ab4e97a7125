/* SPDX-License-Identifier: Apache-2.0 */
/* Web pages of other origins: a browser lets a page read our answers only where these say so
 * (Fetch standard, "CORS protocol"). Without --cors nothing of it is ever sent. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/scope.h"
#include "serve/server.h"

enum { ORIGIN_MAX = 255, HEADERS_MAX = 1024 };
static const char preflight_s[] = "600"; /* so long a browser need not ask again */

static bool is_any(const char *list)
{
    return strcmp(list, "*") == 0;
}

/* The next of a list by commas: its length; *p moves behind it. 0 where it is empty. */
static size_t next_origin(const char **p, const char **ret)
{
    *p += strspn(*p, " ");
    *ret = *p;
    size_t n = strcspn(*p, ",");
    *p += n + ((*p)[n] == ',');
    while (n > 0 && (*ret)[n - 1] == ' ')
        n--;
    return n;
}

/* scheme://host or scheme://host:port, as a browser sends it. */
static bool is_origin(const char *o, size_t n)
{
    const size_t scheme = strspn(o, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    if (scheme == 0 || n > ORIGIN_MAX || n < scheme + 4 || strncmp(o + scheme, "://", 3) != 0)
        return false;
    for (size_t i = scheme + 3; i < n; i++)
        if (o[i] <= ' ' || o[i] == 0x7f || strchr("/?#@*", o[i]) != NULL)
            return false;
    return true;
}

int tw_serve_cors_check(const char *list, tw_err *err)
{
    const char *p = list, *one;
    if (is_any(list))
        return 0;
    do {
        size_t n = next_origin(&p, &one);
        if (!is_origin(one, n))
            return tw_err_set(err, -EINVAL,
                              "--cors: '%.*s' is no origin: wanted https://host or "
                              "https://host:port, without a path; several with commas; or *",
                              (int)TW_MIN(n, (size_t)60), one);
    } while (*p != '\0');
    return 0;
}

/* What the page's Allow-Origin must say, or NULL: it may not read our answers. */
static const char *allowed_origin(const tw_http *h)
{
    const char *list = h->serve->cors, *one;
    const char *origin =
        MHD_lookup_connection_value(h->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN);
    if (list == NULL || origin == NULL)
        return NULL;
    if (is_any(list))
        return list;
    do {
        size_t n = next_origin(&list, &one);
        if (strlen(origin) == n && strncasecmp(origin, one, n) == 0)
            return origin;
    } while (*list != '\0');
    return NULL;
}

bool tw_cors_allows(const tw_http *h)
{
    return allowed_origin(h) != NULL;
}

/* Names of headers and commas, nothing else: it is sent back as it came. */
static bool is_names(const char *s)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ";
    return s[0] != '\0' && strlen(s) <= HEADERS_MAX && s[strspn(s, good)] == '\0';
}

void tw_cors_put(const tw_http *h, struct MHD_Response *r, const char *methods)
{
    const char *origin = allowed_origin(h);
    if (origin == NULL)
        return;
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if (!is_any(origin))
        (void)MHD_add_response_header(r, MHD_HTTP_HEADER_VARY, MHD_HTTP_HEADER_ORIGIN);
    if (methods == NULL)
        return;
    const char *headers =
        MHD_lookup_connection_value(h->conn, MHD_HEADER_KIND,
                                    MHD_HTTP_HEADER_ACCESS_CONTROL_REQUEST_HEADERS);
    if (headers == NULL || !is_names(headers))
        headers = "Authorization, Content-Type";
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_METHODS, methods);
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_ALLOW_HEADERS, headers);
    (void)MHD_add_response_header(r, MHD_HTTP_HEADER_ACCESS_CONTROL_MAX_AGE, preflight_s);
}

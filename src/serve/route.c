/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint, which method, may this client ask; and the answers that need no generation. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/scope.h"
#include "serve/server.h"

static const char models_prefix[] = "/v1/models/";

enum tw_route tw_http_route(const char *url)
{
    if (strcmp(url, "/v1/chat/completions") == 0)
        return TW_ROUTE_CHAT;
    if (strcmp(url, "/v1/completions") == 0)
        return TW_ROUTE_TEXT;
    if (strcmp(url, "/v1/models") == 0)
        return TW_ROUTE_MODELS;
    if (strncmp(url, models_prefix, sizeof(models_prefix) - 1) == 0)
        return TW_ROUTE_MODEL;
    if (strcmp(url, "/health") == 0)
        return TW_ROUTE_HEALTH;
    if (strcmp(url, "/metrics") == 0)
        return TW_ROUTE_METRICS;
    return TW_ROUTE_UNKNOWN;
}

/* Takes the same time wherever the two differ. */
static bool same_key(const char *key, const char *given)
{
    size_t n_key = strlen(key), n_given = strlen(given);
    unsigned diff = n_key != n_given;
    for (size_t i = 0; i < n_key; i++)
        diff |= (unsigned char)key[i] ^ (unsigned char)(i < n_given ? given[i] : 0);
    return diff == 0;
}

static bool has_key(const tw_http *h)
{
    const char *auth =
        MHD_lookup_connection_value(h->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (h->serve->key == NULL)
        return true;
    if (auth == NULL || strncasecmp(auth, "Bearer ", 7) != 0)
        return false;
    return same_key(h->serve->key, auth + 7);
}

/* Without a key any web page that the user opens could post to a loopback port: browsers send
 * Origin then, and only pages of this machine, and those of --cors, are let in. */
static bool is_foreign_page(const tw_http *h)
{
    static const char *const ours[] = {"http://localhost", "http://127.0.0.1", "http://[::1]",
                                       "https://localhost", "https://127.0.0.1"};
    const char *origin =
        MHD_lookup_connection_value(h->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_ORIGIN);
    if (h->serve->key || !h->serve->loopback || origin == NULL || tw_cors_allows(h))
        return false;
    for (size_t i = 0; i < TW_ARRAY_LEN(ours); i++) {
        size_t n = strlen(ours[i]);
        if (strncmp(origin, ours[i], n) == 0 && (origin[n] == 0 || origin[n] == ':'))
            return false;
    }
    return true;
}

void tw_http_check(tw_http *h, const char *method)
{
    tw_openai_fail *f = &h->fail;
    bool post = h->route == TW_ROUTE_CHAT || h->route == TW_ROUTE_TEXT;
    bool options = strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0;
    if (h->route == TW_ROUTE_UNKNOWN)
        tw_openai_fail_set(f, 404, "invalid_request_error", "unknown_url", NULL,
                           "no such endpoint; there are /v1/chat/completions, /v1/completions, "
                           "/v1/models, /health and /metrics");
    else if (is_foreign_page(h))
        tw_openai_fail_set(f, 403, "invalid_request_error", "foreign_origin", NULL,
                           "a web page of another site asks a server without a key; start it "
                           "with --api-key, or name the site with --cors");
    else if (h->route != TW_ROUTE_HEALTH && !options && !has_key(h))
        tw_openai_fail_set(f, 401, "invalid_request_error", "invalid_api_key", NULL,
                           "the API key is missing or wrong: send \"Authorization: Bearer KEY\"");
    else if (!options && (post ? strcmp(method, MHD_HTTP_METHOD_POST) != 0
                               : strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
                                     strcmp(method, MHD_HTTP_METHOD_HEAD) != 0))
        tw_openai_fail_set(f, 405, "invalid_request_error", "method_not_allowed", NULL,
                           "method %.16s does not go with this endpoint, wanted %s", method,
                           post ? "POST" : "GET");
}

static enum MHD_Result reply_health(tw_http *h)
{
    tw_err err = {0};
    tw_openai_fail f = {0};
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64);
    if (tw_engine_health(h->serve->engine, &err)) {
        tw_openai_fail_set(&f, 503, "server_error", "engine_failed", NULL, "%s", err.msg);
        return tw_http_refuse(h, &f);
    }
    if (tw_buf_puts(&b, "{\"status\":\"ok\"}"))
        return MHD_NO;
    return tw_http_reply(h, 200, &b);
}

static enum MHD_Result reply_models(tw_http *h)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 << 10);
    tw_engine_info info = {0};
    tw_openai_fail f = {0};
    if (h->route == TW_ROUTE_MODEL && strcmp(h->url_model, h->serve->name) != 0) {
        tw_openai_fail_set(&f, 404, "invalid_request_error", "model_not_found", "model",
                           "model \"%.100s\" is not served here, \"%.100s\" is", h->url_model,
                           h->serve->name);
        return tw_http_refuse(h, &f);
    }
    tw_engine_get_info(h->serve->engine, &info);
    if (tw_openai_print_model(&b, h->serve->name, h->serve->created_s, info.ctx,
                              h->route == TW_ROUTE_MODELS))
        return MHD_NO;
    return tw_http_reply(h, 200, &b);
}

static enum MHD_Result reply_metrics(tw_http *h)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(64 << 10);
    return tw_serve_metrics(h->serve, &b) ? MHD_NO : tw_http_reply_text(h, &b);
}

enum MHD_Result tw_http_get(tw_http *h, const char *method)
{
    const tw_buf nothing = TW_BUF(1);
    if (strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0)
        return tw_http_reply(h, 204, &nothing);
    if (h->route == TW_ROUTE_METRICS)
        return reply_metrics(h);
    return h->route == TW_ROUTE_HEALTH ? reply_health(h) : reply_models(h);
}

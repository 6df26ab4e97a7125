/* SPDX-License-Identifier: Apache-2.0 */
/* The server's life, and the life of one request inside libmicrohttpd. */
#include "serve/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "os/sock.h"
#include "serve/server.h"

/* A peer's silence counts as death after 1.5 s; with this look all is over within 2 s. */
enum { HEALTH_MS = 250 };

static tw_http *http_new(tw_serve *s, struct MHD_Connection *conn, const char *url,
                         const char *method)
{
    tw_http *h = tw_mem_calloc(1, sizeof(*h));
    if (h == NULL)
        return NULL;
    h->serve = s;
    h->conn = conn;
    h->fd = -1;
    h->route = tw_http_route(url);
    h->body = TW_BUF(TW_OPENAI_BODY_MAX);
    if (h->route == TW_ROUTE_MODEL)
        h->url_model = tw_mem_strdup(url + strlen("/v1/models/"));
    tw_http_check(h, method);
    h->discard = h->fail.status != 0 || (h->route != TW_ROUTE_CHAT && h->route != TW_ROUTE_TEXT);
    if (h->route != TW_ROUTE_MODEL || h->url_model)
        return h;
    tw_mem_free(h);
    return NULL;
}

/* A request for an answer is counted until its end: closing waits for it. */
static void count_open(tw_http *h, bool open)
{
    tw_serve *s = h->serve;
    if (h->open == open)
        return;
    h->open = open;
    pthread_mutex_lock(&s->lock);
    if (open)
        s->n_open++;
    else
        s->n_open--;
    pthread_cond_broadcast(&s->ended);
    pthread_mutex_unlock(&s->lock);
}

static void http_free(tw_http *h)
{
    if (h->stream) {
        tw_serve_live_remove(h);
        tw_stream_detach(h->stream);
        tw_stream_cancel(h->stream, h->serve->engine); /* nothing when all is done */
        tw_stream_put(h->stream);
    }
    for (size_t i = 0; h->texts && i < h->n_choices; i++)
        tw_buf_done(&h->texts[i]);
    tw_mem_free(h->texts);
    tw_mem_free(h->role_sent);
    tw_mem_free(h->url_model);
    h->serve->n_body_bytes -= h->body.len;
    tw_buf_done(&h->body);
    tw_buf_done(&h->out);
    tw_prepare_done(h);
    count_open(h, false);
    tw_mem_free(h);
}

static void too_large(tw_http *h)
{
    h->discard = true;
    h->serve->n_body_bytes -= h->body.len;
    tw_buf_done(&h->body);
    if (h->fail.status == 0)
        tw_openai_fail_set(&h->fail, 413, "invalid_request_error", "body_too_large", NULL,
                           "the body is larger than %d MiB", TW_OPENAI_BODY_MAX >> 20);
}

/* False: the connection is cut, this body has no end. */
static bool take_body(tw_http *h, const char *p, size_t n)
{
    h->n_seen += n;
    if (!h->discard && h->n_seen > TW_OPENAI_BODY_MAX)
        too_large(h);
    if (!h->discard && h->serve->n_body_bytes + n > TW_SERVE_BODIES_MAX_BYTES) {
        too_large(h);
        tw_openai_fail_set(&h->fail, 503, "server_error", "overloaded", NULL,
                           "too many large requests at once");
    }
    if (h->discard)
        return h->n_seen <= TW_SERVE_DISCARD_MAX_BYTES;
    if (tw_buf_append(&h->body, p, n))
        return false;
    h->serve->n_body_bytes += n;
    return true;
}

/* The body's length is told before it comes: one that is much too long is refused unread. */
static bool is_hopeless(const tw_http *h)
{
    const char *z =
        MHD_lookup_connection_value(h->conn, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    uint64_t n = 0;
    return z && tw_str_to_u64(z, &n) == 0 && n > TW_SERVE_DISCARD_MAX_BYTES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *n_upload, void **con_cls)
{
    tw_http *h = *con_cls;
    (void)version;
    if (h == NULL) {
        h = http_new(cls, conn, url, method);
        if (h == NULL)
            return MHD_NO;
        *con_cls = h;
        tw_crowd_moved(h->serve, conn, false);
        if (!is_hopeless(h))
            return MHD_YES;
        too_large(h);
        return tw_http_refuse(h, &h->fail);
    }
    if (h->stream) /* resumed */
        return tw_http_collect(h);
    if (h->prepared) /* resumed */
        return tw_http_start(h);
    tw_crowd_moved(h->serve, conn, *n_upload == 0);
    if (*n_upload) {
        bool ok = take_body(h, upload, *n_upload);
        *n_upload = 0;
        return ok ? MHD_YES : MHD_NO;
    }
    if (h->fail.status)
        return tw_http_refuse(h, &h->fail);
    if (strcmp(method, MHD_HTTP_METHOD_POST) == 0) {
        count_open(h, true);
        return tw_http_generate(h);
    }
    return tw_http_get(h, method);
}

static void on_completed(void *cls, struct MHD_Connection *conn, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    (void)why;
    tw_crowd_moved(cls, conn, false);
    if (*con_cls)
        http_free(*con_cls);
    *con_cls = NULL;
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* Nothing unauthenticated listens where others could reach it. */
static int check_address(const tw_serve_opts *o, const char *host, bool *ret_loopback, tw_err *err)
{
    *ret_loopback = is_loopback(host);
    if (!*ret_loopback && (o->api_key == NULL || o->api_key[0] == 0) && !o->no_auth)
        return tw_err_set(err, -EACCES,
                          "%s can be reached from other machines and there is no API key: "
                          "set TWINAX_API_KEY or give --api-key KEY, or --no-auth if everybody "
                          "there may use it",
                          host);
    return 0;
}

static int listen_on(const char *host, uint16_t port, int *ret_fd, uint16_t *ret_port, tw_err *err)
{
    int r = tw_sock_listen(host, port, ret_fd, ret_port, err);
    if (r == -EADDRINUSE)
        return tw_err_set(err, r,
                          "%s port %u: another program listens there: end it, or give another "
                          "--port (0: the kernel chooses one)",
                          host, (unsigned)port);
    if (r == -EACCES)
        return tw_err_set(err, r,
                          "%s port %u: %s: ports below 1024 are root's, give another --port", host,
                          (unsigned)port, strerror(EACCES));
    return r;
}

static const char *host_of(const tw_serve_opts *o)
{
    const char *host = o->host && o->host[0] ? o->host : "127.0.0.1";
    return strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
}

int tw_serve_check(const tw_serve_opts *o, tw_err *err)
{
    bool loopback = false;
    int fd = -1;
    int r = check_address(o, host_of(o), &loopback, err);
    if (r == 0)
        r = listen_on(host_of(o), o->port, &fd, NULL, err);
    if (fd >= 0)
        close(fd);
    return r;
}

static int start_daemon(tw_serve *s, const char *host, uint16_t port, tw_err *err)
{
    int fd = -1;
    int r = listen_on(host, port, &fd, &s->port, err);
    if (r)
        return r;
    snprintf(s->host, sizeof(s->host), strchr(host, ':') ? "[%s]" : "%s", host);
    s->daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
                         on_request, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, s, MHD_OPTION_NOTIFY_CONNECTION, tw_crowd_notify, s,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)TW_SERVE_CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TW_SERVE_TIMEOUT_S,
                         MHD_OPTION_END);
    if (s->daemon)
        return 0;
    r = errno ? -errno : -EIO;
    close(fd);
    return tw_err_set(err, r, "the HTTP server does not start on %s port %u", host, s->port);
}

/* The tokenizer is opened by its first use, which must come from one thread: this one. */
static int open_tokenizer(tw_model *m, tw_err *err)
{
    uint32_t *ids = NULL;
    size_t n = 0;
    int r = tw_model_tokenize(m, "a", 1, false, &ids, &n, err);
    if (r == 0)
        tw_text_free(ids);
    return r;
}

static tw_serve *serve_new(const tw_serve_opts *o)
{
    tw_serve *s = tw_mem_calloc(1, sizeof(*s));
    pthread_condattr_t attr;
    if (s == NULL)
        return NULL;
    s->engine = o->engine;
    s->model = o->model;
    s->epoll_fd = s->wake_fd = -1;
    s->created_s = tw_clock_unix_s();
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->ended, &attr);
    pthread_mutex_init(&s->prepare.lock, NULL);
    pthread_cond_init(&s->prepare.more, NULL);
    pthread_condattr_destroy(&attr);
    bool key = o->api_key && o->api_key[0];
    s->key = key ? tw_mem_strdup(o->api_key) : NULL;
    s->cors = o->cors ? tw_mem_strdup(o->cors) : NULL;
    s->name = tw_mem_strdup(o->name ? o->name : tw_model_name(o->model));
    if (s->name && (s->key || !key) && (s->cors || !o->cors))
        return s;
    tw_serve_close(s);
    return NULL;
}

int tw_serve_open(const tw_serve_opts *o, tw_serve **ret, tw_err *err)
{
    const char *host = host_of(o);
    bool loopback = false;
    int r = check_address(o, host, &loopback, err);
    if (r == 0)
        r = open_tokenizer(o->model, err);
    if (r)
        return r;
    tw_serve *s = serve_new(o);
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "out of memory");
    s->loopback = loopback;
    r = tw_serve_watch_start(s, err);
    if (r == 0)
        r = tw_prepare_start(&s->prepare, err);
    if (r == 0)
        r = start_daemon(s, host, o->port, err);
    if (r) {
        tw_serve_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

uint16_t tw_serve_port(const tw_serve *s)
{
    return s->port;
}

const char *tw_serve_host(const tw_serve *s)
{
    return s->host;
}

int tw_serve_run(tw_serve *s, int stop_fd, bool until_engine_ends, tw_err *err)
{
    struct pollfd p = {.fd = stop_fd, .events = POLLIN};
    for (;;) {
        int n = poll(&p, 1, until_engine_ends ? HEALTH_MS : -1);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return tw_err_set(err, -errno, "cannot wait: %s", strerror(errno));
        int r = until_engine_ends ? tw_engine_health(s->engine, err) : 0;
        if (r)
            return r;
    }
}

/* Tells every open answer that it ends, and gives them a moment to be sent. */
static void end_answers(tw_serve *s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += TW_SERVE_CLOSE_S;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    for (tw_http *h = s->live; h; h = h->next)
        tw_stream_close(h->stream);
    while (s->n_open && pthread_cond_timedwait(&s->ended, &s->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&s->lock);
}

void tw_serve_close(tw_serve *s)
{
    if (s == NULL)
        return;
    const int fd = s->daemon ? MHD_quiesce_daemon(s->daemon) : -1;
    tw_prepare_stop(&s->prepare);
    if (s->daemon) {
        end_answers(s);
        MHD_stop_daemon(s->daemon);
        if (fd >= 0)
            close(fd);
    }
    tw_serve_watch_stop(s);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->prepare.lock);
    pthread_cond_destroy(&s->prepare.more);
    pthread_mutex_destroy(&s->lock);
    if (s->key)
        explicit_bzero(s->key, strlen(s->key));
    tw_mem_free(s->key);
    tw_mem_free(s->cors);
    tw_mem_free(s->name);
    tw_mem_free(s);
}

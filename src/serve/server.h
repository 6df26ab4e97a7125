/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the HTTP server. Owners: the HTTP thread owns every tw_http (its live list apart, which
 * the server's lock guards), but while the preparer has it; the stream guards itself. */
#ifndef TWINAX_SERVE_SERVER_H
#define TWINAX_SERVE_SERVER_H

#include <microhttpd.h>
#include <pthread.h>

#include "base/buf.h"
#include "fmt/openai.h"
#include "serve/serve.h"
#include "serve/stream.h"

enum {
    TW_SERVE_CONNECTIONS_MAX = 512,
    TW_SERVE_CROWD_MAX = 448, /* beyond it a new connection costs the idlest one its place */
    TW_SERVE_BODIES_MAX_BYTES = 64 << 20,  /* held for all connections together */
    TW_SERVE_DISCARD_MAX_BYTES = 64 << 20, /* read and thrown away so that a refusal arrives */
    TW_SERVE_ANSWER_MAX_BYTES = 64 << 20,
    TW_SERVE_TIMEOUT_S = 120, /* of a connection on which nothing moves */
    TW_SERVE_CLOSE_S = 1      /* for open answers to end when the server stops */
};

struct tw_http;
struct tw_conn;

/* HTTP thread only. */
typedef struct tw_crowd {
    struct tw_conn *idlest, *newest;
    size_t n, n_closed; /* n_closed: of them, closed by us, not yet gone */
} tw_crowd;

/* prepare.c */
typedef struct tw_prepare {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    struct tw_http *first, *last; /* waiting */
    bool running;
} tw_prepare;

typedef struct tw_prompt_ids {
    uint32_t *ids; /* from tw_model_tokenize; NULL: borrowed has them */
    const uint32_t *borrowed;
    size_t n;
} tw_prompt_ids;

typedef struct tw_prompts {
    tw_prompt_ids *p; /* [n] */
    size_t n;
} tw_prompts;

struct tw_serve {
    tw_engine *engine;
    tw_model *model;
    char *key;  /* NULL: none */
    char *cors; /* NULL: none */
    char *name;
    char host[64];
    uint16_t port;
    bool loopback;
    uint64_t created_s;
    struct MHD_Daemon *daemon;
    size_t n_body_bytes; /* HTTP thread only */
    tw_crowd crowd;
    tw_prepare prepare;

    pthread_t watcher;
    bool watching;
    int epoll_fd, wake_fd;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t ended; /* n_open went down */
    struct tw_http *live; /* requests with a stream */
    size_t n_open;        /* requests for an answer, from their whole body to their end */
    uint64_t next_serial;
    bool closing;
};

enum tw_route {
    TW_ROUTE_CHAT,
    TW_ROUTE_TEXT,
    TW_ROUTE_MODELS,
    TW_ROUTE_MODEL,
    TW_ROUTE_HEALTH,
    TW_ROUTE_METRICS,
    TW_ROUTE_UNKNOWN
};

/* One HTTP request. */
typedef struct tw_http {
    tw_serve *serve;
    struct MHD_Connection *conn;
    enum tw_route route;
    char *url_model; /* the NAME of /v1/models/NAME */
    tw_buf body;
    size_t n_seen;
    bool discard;        /* the body is not kept: the request is refused when it has arrived */
    tw_openai_fail fail; /* status 0: none */

    bool open;     /* counted in n_open */
    bool prepared; /* request, prompts and fail are what became of the body */
    tw_openai_request request;
    tw_prompts prompts;
    struct tw_http *next_waiting;

    tw_stream *stream; /* while it is on the live list */
    uint64_t serial;
    int fd;
    struct tw_http *next, *prev;

    char id[48];
    tw_openai_head head;
    size_t n_choices, n_prompts;
    tw_buf *texts;   /* [n_choices]: whole answer, not a stream */
    bool *role_sent; /* [n_choices]: stream */
    tw_buf out;      /* stream: text for the socket */
    bool last_out;   /* stream: after out comes the end */
} tw_http;

/* reply.c */
enum MHD_Result tw_http_reply(tw_http *h, int status, const tw_buf *json);
enum MHD_Result tw_http_reply_text(tw_http *h, const tw_buf *text); /* of /metrics */
enum MHD_Result tw_http_refuse(tw_http *h, const tw_openai_fail *f);
enum MHD_Result tw_http_reply_stream(tw_http *h);
int tw_http_no_memory(tw_openai_fail *f); /* fills it; -ENOMEM's words */
/* answers what ended wrong */
void tw_http_fail_from(tw_openai_fail *f, const tw_err *err);

/* route.c */
enum tw_route tw_http_route(const char *url);
void tw_http_check(tw_http *h, const char *method); /* fills h->fail when it is to be refused */
enum MHD_Result tw_http_get(tw_http *h, const char *method);

/* generate.c: a POST whose body has arrived; it is prepared; its connection was resumed. */
enum MHD_Result tw_http_generate(tw_http *h);
enum MHD_Result tw_http_start(tw_http *h);
enum MHD_Result tw_http_collect(tw_http *h);

/* prepare.c */
TW_MUST_CHECK int tw_prepare_start(tw_prepare *p, tw_err *err);
/* What waits is resumed and refused; nothing is taken any more. */
void tw_prepare_stop(tw_prepare *p);
/* Suspends the connection until h is prepared; false: the server is closing. */
bool tw_prepare_put(tw_http *h);
void tw_prepare_done(tw_http *h); /* frees what was made */

/* cors.c: whether the page that asks is one of --cors; and what its browser must be told so that it
 * may read the answer. methods: of a preflight's answer, else NULL. */
bool tw_cors_allows(const tw_http *h);
void tw_cors_put(const tw_http *h, struct MHD_Response *r, const char *methods);

/* metrics.c */
TW_MUST_CHECK int tw_serve_metrics(tw_serve *s, tw_buf *b);

/* crowd.c: of MHD_OPTION_NOTIFY_CONNECTION; and when something moved on a connection. busy: a whole
 * request is there and unanswered. */
void tw_crowd_notify(void *cls, struct MHD_Connection *conn, void **socket_context,
                     enum MHD_ConnectionNotificationCode what);
void tw_crowd_moved(tw_serve *s, struct MHD_Connection *conn, bool busy);

/* watch.c */
int tw_serve_watch_start(tw_serve *s, tw_err *err);
void tw_serve_watch_stop(tw_serve *s);
/* false: the server is closing. Puts h on the live list and its socket under watch. */
bool tw_serve_live_add(tw_http *h);
void tw_serve_live_remove(tw_http *h);

#endif

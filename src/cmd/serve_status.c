/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/serve_status.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"
#include "base/str.h"
#include "cmd/rank_report.h"
#include "os/fd.h"
#include "os/sock.h"
#include "twinax/version.h"

enum { SEND_LIMIT_S = 2, FULL_WAIT_US = 200 * 1000 };
#define ENGINE_WAIT_NS (300 * TW_NS_PER_MS)
#define WORDS_LIMIT_NS (2 * TW_NS_PER_S)

struct tw_serve_status {
    const tw_args *args;
    int listen_fd, stop_fd;
    pthread_t thread;
    uint64_t began_ns;
    _Atomic uint64_t done_bytes, total_bytes;
    pthread_mutex_t lock; /* guards what follows */
    tw_node *node;        /* NULL: it is loading */
    uint64_t ready_ns;
    char url[160];
    json_t *(*other)(void *ctx); /* NULL: the native engine */
    void *other_ctx;
};

static double seconds_since(uint64_t t_ns)
{
    return (double)(tw_clock_now_ns() - t_ns) / 1e9;
}

/* ---- one rank ---- */

static const char *node_name(const tw_args *a, unsigned r, char host[64])
{
    if (a->nodes.n > r)
        return a->nodes.v[r].name;
    (void)gethostname(host, 63);
    return host;
}

/* A rank beside us: the kernel knows. */
static json_t *report_of_child(pid_t pid)
{
    char host[64] = "";
    tw_life_proc p = {0};
    (void)gethostname(host, sizeof host - 1);
    (void)tw_life_proc_read(pid, &p);
    return json_pack("{s:s, s:i, s:I, s:I}", "host", host, "pid", (int)pid, "start",
                     (json_int_t)p.start, "rss_bytes", (json_int_t)tw_life_proc_rss(pid));
}

/* What the rank said last; an object with the age of it alone when it said nothing yet. */
static json_t *report_of_far(tw_far *far, unsigned r)
{
    char text[1024];
    uint64_t age_ns = 0;
    json_error_t je;
    json_t *v = NULL;
    if (tw_far_report(far, r, text, sizeof text, &age_ns))
        v = json_loads(text, 0, &je);
    if (!json_is_object(v)) {
        json_decref(v);
        return json_object();
    }
    json_object_set_new(v, "age_s", json_real((double)age_ns / 1e9));
    return v;
}

static json_t *transport_json(const tw_coll_peer_stats *p)
{
    json_t *v =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:I}", "transport", p->transport,
                  "device", p->device, "local", p->local, "peer", p->peer, "mtu", (int)p->mtu,
                  "tx_bytes", (json_int_t)p->tx_bytes, "rx_bytes", (json_int_t)p->rx_bytes,
                  "tx_messages", (json_int_t)p->tx_msgs, "rx_messages", (json_int_t)p->rx_msgs);
    if (v != NULL && p->gid[0] != '\0') {
        json_object_set_new(v, "port", json_integer((json_int_t)p->port));
        json_object_set_new(v, "gid", json_string(p->gid));
        json_object_set_new(v, "peer_gid", json_string(p->peer_gid));
    }
    json_t *refused = v != NULL ? json_array() : NULL;
    for (unsigned i = 0; i < TW_COLL_REFUSALS_MAX && p->refused[i].transport[0] != '\0'; i++)
        json_array_append_new(refused, json_pack("{s:s, s:s}", "transport", p->refused[i].transport,
                                                 "reason", p->refused[i].reason));
    if (v != NULL)
        json_object_set_new(v, "refused", refused);
    return v;
}

static json_t *rank_json(const struct tw_serve_status *s, unsigned r, const tw_engine_stats *st)
{
    const tw_node *n = s->node;
    const tw_args *a = s->args;
    char host[64] = "";
    json_t *v = r == 0                 ? tw_rank_report_make()
                : n->group.far != NULL ? report_of_far(n->group.far, r)
                                       : report_of_child(n->group.children[r].pid);
    if (v == NULL)
        return NULL;
    json_object_set_new(v, "rank", json_integer((json_int_t)r));
    json_object_set_new(v, "node", json_string(node_name(a, r, host)));
    if (r > 0 && n->group.far != NULL) {
        json_object_set_new(v, "ssh", json_string(a->nodes.v[r].ssh));
        json_object_set_new(v, "agent_path", json_string(a->nodes.v[r].agent_path));
    }
    if (r > 0 && st->has_coll && st->coll.peer[r].transport[0] != '\0')
        json_object_set_new(v, "link", transport_json(&st->coll.peer[r]));
    return v;
}

/* ---- the whole ---- */

static json_t *speed_json(const tw_engine_stats *st)
{
    const double busy_s = (double)st->busy_ns / 1e9;
    return json_pack("{s:f, s:f, s:f, s:f, s:I, s:I, s:I}", "generated_tok_s",
                     (double)st->n_generated_10s / 10, "prompt_tok_s",
                     (double)st->n_prompt_10s / 10, "generated_tok_s_since_start",
                     busy_s > 0 ? (double)st->info.n_generated_tokens / busy_s : 0.0, "busy_s",
                     busy_s, "generated_tokens", (json_int_t)st->info.n_generated_tokens,
                     "prompt_tokens", (json_int_t)st->info.n_prompt_tokens, "steps",
                     (json_int_t)st->info.n_steps);
}

static void add_engine(const struct tw_serve_status *s, json_t *v)
{
    tw_engine_stats st;
    tw_err why = {0};
    tw_engine_get_stats(s->node->engine, ENGINE_WAIT_NS, &st);
    const int rc = tw_engine_health(s->node->engine, &why);
    json_object_set_new(v, "health", json_string(rc == 0 ? "ok" : why.msg));
    json_object_set_new(v, "model",
                        json_pack("{s:s, s:s}", "name", tw_model_name(s->node->model), "id",
                                  tw_model_id(s->node->model)));
    json_object_set_new(v, "requests",
                        json_pack("{s:i, s:i, s:i}", "running", (int)st.info.n_running, "waiting",
                                  (int)st.info.n_waiting, "at_once", (int)st.info.max_seqs));
    json_object_set_new(v, "ctx", json_integer((json_int_t)st.info.ctx));
    json_object_set_new(v, "threads", json_integer((json_int_t)st.info.n_threads));
    json_object_set_new(v, "kernels", json_string(st.info.cpu));
    json_object_set_new(v, "weight_bytes", json_integer((json_int_t)st.info.weight_bytes));
    json_object_set_new(v, "kv_bytes", json_integer((json_int_t)st.info.kv_bytes));
    json_object_set_new(v, "speed", speed_json(&st));
    json_object_set_new(v, "links_are_old", json_boolean(st.coll_is_old));
    if (st.has_coll)
        json_object_set_new(v, "heartbeat_late_s", json_real((double)st.coll.beat_late_ns / 1e9));
    json_t *ranks = json_array();
    for (unsigned r = 0; r < st.info.n_ranks; r++)
        json_array_append_new(ranks, rank_json(s, r, &st));
    json_object_set_new(v, "ranks", ranks);
}

static json_t *make_other(const struct tw_serve_status *s)
{
    json_t *v = s->other(s->other_ctx);
    if (v != NULL && json_object_update_new(v, json_pack("{s:i, s:s, s:i}", "schema", 1, "version",
                                                         tw_version(), "pid", (int)getpid())) == 0)
        return v;
    json_decref(v);
    return NULL;
}

static json_t *make_status(struct tw_serve_status *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->other != NULL) {
        json_t *made = make_other(s);
        pthread_mutex_unlock(&s->lock);
        return made;
    }
    json_t *v =
        json_pack("{s:i, s:s, s:s, s:i, s:s, s:f}", "schema", 1, "version", tw_version(), "engine",
                  "native", "pid", (int)getpid(), "state", s->node != NULL ? "ready" : "loading",
                  "uptime_s", seconds_since(s->node != NULL ? s->ready_ns : s->began_ns));
    if (v != NULL && s->node != NULL) {
        json_object_set_new(v, "url", json_string(s->url));
        add_engine(s, v);
    } else if (v != NULL) {
        json_object_set_new(v, "loading",
                            json_pack("{s:I, s:I}", "done_bytes",
                                      (json_int_t)atomic_load(&s->done_bytes), "total_bytes",
                                      (json_int_t)atomic_load(&s->total_bytes)));
    }
    pthread_mutex_unlock(&s->lock);
    return v;
}

static void answer(struct tw_serve_status *s, int fd)
{
    struct timeval limit = {.tv_sec = SEND_LIMIT_S};
    struct ucred who = {.uid = (uid_t)-1};
    socklen_t n_who = sizeof who;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n_who) != 0 ||
        (who.uid != geteuid() && who.uid != 0))
        return;
    TW_CLEANUP(tw_json_freep) json_t *v = make_status(s);
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_STATUS_MAX_BYTES);
    if (v == NULL || tw_json_dump(v, JSON_COMPACT, &b) != 0 || tw_buf_puts(&b, "\n") != 0)
        return;
    (void)!tw_sock_send_all(fd, b.data, b.len, tw_clock_now_ns() + SEND_LIMIT_S * TW_NS_PER_S);
}

static void *serve_status(void *arg)
{
    struct tw_serve_status *s = arg;
    for (;;) {
        struct pollfd p[2] = {{.fd = s->listen_fd, .events = POLLIN},
                              {.fd = s->stop_fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (p[1].revents != 0 || (p[0].revents & (POLLERR | POLLNVAL)) != 0)
            return NULL;
        TW_CLEANUP(tw_fd_closep) int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            answer(s, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
            usleep(FULL_WAIT_US); /* it stays readable: no reason to spin */
    }
}

static void note_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct tw_serve_status *s = ctx;
    atomic_store(&s->done_bytes, done_bytes);
    atomic_store(&s->total_bytes, total_bytes);
}

/* ---- its life ---- */

static int passed_fd(void)
{
    const char *text = getenv(TW_STATUS_FD_ENV);
    uint64_t fd = 0;
    int type = 0;
    socklen_t n = sizeof type;
    if (text == NULL || tw_str_to_u64(text, &fd) != 0 || fd < 3 || fd > 1024 ||
        getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &type, &n) != 0 || type == 0)
        return -1;
    (void)unsetenv(TW_STATUS_FD_ENV); /* the other ranks have no use for it */
    (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    (void)fcntl((int)fd, F_SETFL, O_NONBLOCK);
    return (int)fd;
}

static int start_thread(struct tw_serve_status *s)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    int rc = pthread_create(&s->thread, NULL, serve_status, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

int tw_serve_status_start(tw_args *a, tw_serve_status **ret, tw_err *err)
{
    const int fd = passed_fd();
    *ret = NULL;
    if (fd < 0)
        return 0;
    struct tw_serve_status *s = tw_mem_calloc(1, sizeof *s);
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory to tell the status");
    s->args = a;
    s->listen_fd = fd;
    s->began_ns = tw_clock_now_ns();
    pthread_mutex_init(&s->lock, NULL);
    s->stop_fd = eventfd(0, EFD_CLOEXEC);
    int rc = s->stop_fd < 0 ? errno : start_thread(s);
    if (rc != 0) {
        tw_mem_free(s);
        return tw_err_set(err, -rc, "no thread to tell the status: %s", strerror(rc));
    }
    a->engine.progress = note_progress;
    a->engine.progress_ctx = s;
    a->report_ms = TW_STATUS_REPORT_MS;
    *ret = s;
    return 0;
}

/* Who serves from now on is known: ranks elsewhere have sent their first word, which may be on its
 * way yet. */
static void await_words(tw_node *n)
{
    const uint64_t until = tw_clock_now_ns() + WORDS_LIMIT_NS;
    for (unsigned r = 1; r < n->args.tp && n->group.far != NULL; r++) {
        char text[1024];
        uint64_t age_ns;
        while (!tw_far_report(n->group.far, r, text, sizeof text, &age_ns) &&
               tw_clock_now_ns() < until)
            usleep(2000);
    }
}

void tw_serve_status_ready(tw_serve_status *s, tw_node *n, const char *url)
{
    if (s == NULL)
        return;
    await_words(n);
    pthread_mutex_lock(&s->lock);
    s->node = n;
    s->ready_ns = tw_clock_now_ns();
    snprintf(s->url, sizeof s->url, "%s", url);
    pthread_mutex_unlock(&s->lock);
}

void tw_serve_status_other(tw_serve_status *s, json_t *(*make)(void *ctx), void *ctx)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->other = make;
    s->other_ctx = ctx;
    pthread_mutex_unlock(&s->lock);
}

void tw_serve_status_stop(tw_serve_status *s)
{
    const uint64_t one = 1;
    if (s == NULL)
        return;
    if (write(s->stop_fd, &one, sizeof one) == sizeof one)
        pthread_join(s->thread, NULL);
    close(s->stop_fd);
    close(s->listen_fd);
    pthread_mutex_destroy(&s->lock);
    tw_mem_free(s);
}

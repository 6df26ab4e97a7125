/* SPDX-License-Identifier: Apache-2.0 */
/* A suspended connection does not notice that its client has left: this thread does, and cancels.
 * It also cancels what ran over its queue. It sleeps until one of both happens. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "serve/server.h"

enum { STOP_SERIAL = 0 }; /* epoll data of the eventfd; requests count from 1 */

/* The request's stream, with a reference, or NULL when it has ended meanwhile. */
static tw_stream *find_stream(tw_serve *s, uint64_t serial)
{
    tw_stream *found = NULL;
    pthread_mutex_lock(&s->lock);
    for (tw_http *h = s->live; h && found == NULL; h = h->next)
        if (h->serial == serial)
            found = tw_stream_get(h->stream);
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* The first live stream, in order of serial, past *serial that ran over its queue. */
static tw_stream *find_full(tw_serve *s, uint64_t *serial)
{
    tw_http *best = NULL;
    pthread_mutex_lock(&s->lock);
    for (tw_http *h = s->live; h; h = h->next)
        if (h->serial > *serial && (best == NULL || h->serial < best->serial) &&
            tw_stream_is_full(h->stream))
            best = h;
    tw_stream *found = best ? tw_stream_get(best->stream) : NULL;
    if (best)
        *serial = best->serial;
    pthread_mutex_unlock(&s->lock);
    return found;
}

static void cancel_full(tw_serve *s)
{
    uint64_t serial = 0;
    for (tw_stream *st; (st = find_full(s, &serial)) != NULL;) {
        tw_stream_cancel(st, s->engine);
        tw_stream_put(st);
    }
}

static bool stopping(tw_serve *s)
{
    pthread_mutex_lock(&s->lock);
    bool stop = !s->watching;
    pthread_mutex_unlock(&s->lock);
    return stop;
}

static void *watch(void *arg)
{
    tw_serve *s = arg;
    struct epoll_event ev[16];
    while (!stopping(s)) {
        int n = epoll_wait(s->epoll_fd, ev, 16, -1);
        if (n < 0 && errno != EINTR)
            break;
        for (int i = 0; i < n; i++) {
            uint64_t rung;
            if (ev[i].data.u64 == STOP_SERIAL) {
                if (read(s->wake_fd, &rung, sizeof(rung)) == sizeof(rung))
                    cancel_full(s);
                continue;
            }
            tw_stream *st = find_stream(s, ev[i].data.u64);
            if (st)
                tw_stream_cancel(st, s->engine);
            tw_stream_put(st);
        }
    }
    return NULL;
}

int tw_serve_watch_start(tw_serve *s, tw_err *err)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = STOP_SERIAL};
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->wake_fd < 0 || s->epoll_fd < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->wake_fd, &ev) < 0)
        return tw_err_set(err, -errno, "cannot watch sockets: %s", strerror(errno));
    s->watching = true;
    int r = pthread_create(&s->watcher, NULL, watch, s);
    if (r) {
        s->watching = false;
        return tw_err_set(err, -r, "cannot start a thread: %s", strerror(r));
    }
    return 0;
}

void tw_serve_watch_stop(tw_serve *s)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&s->lock);
    bool was = s->watching;
    s->watching = false;
    pthread_mutex_unlock(&s->lock);
    if (was && write(s->wake_fd, &one, sizeof(one)) == sizeof(one))
        pthread_join(s->watcher, NULL);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    s->wake_fd = s->epoll_fd = -1;
}

bool tw_serve_live_add(tw_http *h)
{
    tw_serve *s = h->serve;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(h->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    h->fd = info ? info->connect_fd : -1;
    pthread_mutex_lock(&s->lock);
    bool ok = !s->closing;
    if (ok) {
        h->serial = ++s->next_serial;
        h->next = s->live;
        h->prev = NULL;
        if (s->live)
            s->live->prev = h;
        s->live = h;
    }
    pthread_mutex_unlock(&s->lock);
    struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = h->serial};
    if (ok && h->fd >= 0 && epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, h->fd, &ev) < 0)
        h->fd = -1; /* unwatched: its client's leaving shows when something is written */
    return ok;
}

void tw_serve_live_remove(tw_http *h)
{
    tw_serve *s = h->serve;
    if (h->fd >= 0)
        (void)epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
    pthread_mutex_lock(&s->lock);
    if (h->prev)
        h->prev->next = h->next;
    else
        s->live = h->next;
    if (h->next)
        h->next->prev = h->prev;
    pthread_mutex_unlock(&s->lock);
}

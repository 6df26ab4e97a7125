/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/share.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/probe.h"
#include "cluster/share_inside.h"
#include "os/fd.h"

int tw_share_open(const tw_share_opts *o, tw_share **ret, uint16_t *ret_port, tw_err *err)
{
    tw_share *s = tw_mem_calloc(1, sizeof *s);
    if (s == NULL)
        return tw_err_set(err, -ENOMEM, "no memory for the exchange");
    s->o = *o;
    s->listen_fd = -1;
    atomic_store(&s->door_until_ns, TW_NEVER_NS);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    for (unsigned i = 0; i < SHARE_GIVERS_MAX; i++)
        s->givers[i].fd = -1;
    for (unsigned i = 0; i < SHARE_TAKERS_MAX; i++)
        s->takers[i].fd = -1;
    const char *fault = getenv("TW_PULL_FAULT"); /* tests */
    atomic_store(&s->flip, fault != NULL && strcmp(fault, "flip") == 0);
    int rc = tw_probe_listen(o->ip, 0, &s->listen_fd, ret_port, err);
    if (rc == 0) {
        rc = -pthread_create(&s->door, NULL, tw_share_door, s);
        s->has_door = rc == 0;
        if (rc != 0)
            (void)!tw_err_set(err, rc, "no thread for the exchange: %s", strerror(-rc));
    }
    if (rc != 0) {
        tw_share_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

int tw_share_meet(tw_share *s, unsigned peer, const char *ip, uint16_t port, tw_err *err)
{
    share_peer *p = &s->peers[peer];
    if (peer >= s->o.n_nodes || peer == s->o.self || p->is_met)
        return tw_err_set(err, -EINVAL, "node %u is no peer to meet", peer);
    snprintf(p->ip, sizeof p->ip, "%s", ip);
    p->port = port;
    p->is_met = true;
    for (unsigned i = 0; i < TW_SHARE_STREAMS; i++) {
        share_conn *c = &s->takers[s->n_takers];
        *c = (share_conn){.s = s, .fd = -1, .peer = peer};
        const int rc = pthread_create(&c->thread, NULL, tw_share_take, c);
        if (rc != 0)
            return tw_err_set(err, -rc, "no thread for the exchange: %s", strerror(rc));
        c->has_thread = true;
        s->n_takers++;
    }
    return 0;
}

void tw_share_begin(tw_share *s)
{
    const uint64_t ns = s->o.door_ns != 0 ? s->o.door_ns : SHARE_DOOR_NS;
    atomic_store(&s->door_until_ns, tw_clock_now_ns() + ns);
}

int tw_share_order(tw_share *s, size_t unit, unsigned from, tw_err *err)
{
    int rc = 0;
    share_peer *p = &s->peers[from];
    pthread_mutex_lock(&s->lock);
    if (!p->is_met)
        rc = tw_err_set(err, -EINVAL, "node %u was not met", from);
    if (rc == 0 && p->n == p->cap) {
        const size_t cap = TW_MAX(2 * p->cap, (size_t)32);
        size_t *v = tw_mem_realloc(p->orders, cap * sizeof *v);
        if (v == NULL)
            rc = tw_err_set(err, -ENOMEM, "no memory");
        else {
            p->orders = v;
            p->cap = cap;
        }
    }
    if (rc == 0)
        p->orders[p->n++] = unit;
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

void tw_share_drop(tw_share *s, unsigned peer)
{
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < SHARE_TAKERS_MAX; i++)
        if (s->takers[i].peer == peer && s->takers[i].fd >= 0)
            (void)shutdown(s->takers[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
}

void tw_share_look(tw_share *s, tw_share_news *ret)
{
    *ret = (tw_share_news){.taken_bytes = atomic_load(&s->taken_bytes),
                           .given_bytes = atomic_load(&s->given_bytes),
                           .n_refused = atomic_load(&s->n_refused)};
}

static void end_conn(share_conn *c)
{
    if (c->has_thread)
        pthread_join(c->thread, NULL);
    tw_fd_closep(&c->fd);
}

void tw_share_close(tw_share *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->stop, true);
    if (s->has_door)
        pthread_join(s->door, NULL);
    tw_fd_closep(&s->listen_fd);
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < SHARE_GIVERS_MAX; i++)
        if (s->givers[i].fd >= 0)
            (void)shutdown(s->givers[i].fd, SHUT_RDWR); /* who waits on it wakes */
    for (unsigned i = 0; i < SHARE_TAKERS_MAX; i++)
        if (s->takers[i].fd >= 0)
            (void)shutdown(s->takers[i].fd, SHUT_RDWR);
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < SHARE_GIVERS_MAX; i++)
        end_conn(&s->givers[i]);
    for (unsigned i = 0; i < SHARE_TAKERS_MAX; i++)
        end_conn(&s->takers[i]);
    for (unsigned i = 0; i < TW_SHARE_NODES_MAX; i++)
        tw_mem_free(s->peers[i].orders);
    explicit_bzero(s->o.token, sizeof s->o.token);
    pthread_cond_destroy(&s->more);
    pthread_mutex_destroy(&s->lock);
    tw_mem_free(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Connections in the order of their last movement. When most places are taken, the idlest one whose
 * request has not arrived is closed for a new one: who holds hundreds of silent connections keeps
 * nobody out. All of it on the HTTP thread. */
#include <sys/socket.h>

#include "base/mem.h"
#include "serve/server.h"

struct tw_conn {
    int fd;
    bool busy;   /* a whole request has arrived, its answer is not sent yet */
    bool closed; /* by us: its end is on the way */
    struct tw_conn *next, *prev;
};

static void take_out(tw_crowd *c, struct tw_conn *n)
{
    *(n->prev != NULL ? &n->prev->next : &c->idlest) = n->next;
    *(n->next != NULL ? &n->next->prev : &c->newest) = n->prev;
    n->next = n->prev = NULL;
}

static void put_last(tw_crowd *c, struct tw_conn *n)
{
    n->prev = c->newest;
    n->next = NULL;
    *(c->newest != NULL ? &c->newest->next : &c->idlest) = n;
    c->newest = n;
}

static void make_room(tw_crowd *c)
{
    if (c->n - c->n_closed <= TW_SERVE_CROWD_MAX)
        return;
    for (struct tw_conn *n = c->idlest; n != NULL; n = n->next)
        if (!n->busy && !n->closed && n->fd >= 0) {
            n->closed = true;
            c->n_closed++;
            (void)shutdown(n->fd, SHUT_RDWR);
            return;
        }
}

static struct tw_conn *conn_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

void tw_crowd_notify(void *cls, struct MHD_Connection *conn, void **socket_context,
                     enum MHD_ConnectionNotificationCode what)
{
    tw_crowd *c = &((tw_serve *)cls)->crowd;
    struct tw_conn *n = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED && n != NULL) {
        take_out(c, n);
        c->n--;
        c->n_closed -= n->closed;
        tw_mem_free(n);
        *socket_context = NULL;
    }
    if (what != MHD_CONNECTION_NOTIFY_STARTED)
        return;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    n = tw_mem_calloc(1, sizeof *n);
    if (n == NULL)
        return; /* it is served all the same, and never dropped */
    n->fd = info != NULL ? info->connect_fd : -1;
    *socket_context = n;
    put_last(c, n);
    c->n++;
    make_room(c);
}

void tw_crowd_moved(tw_serve *s, struct MHD_Connection *conn, bool busy)
{
    struct tw_conn *n = conn_of(conn);
    if (n == NULL)
        return;
    n->busy = busy;
    take_out(&s->crowd, n);
    put_last(&s->crowd, n);
}

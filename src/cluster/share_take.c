/* SPDX-License-Identifier: Apache-2.0 */
/* The taking end: a thread for each connection to a peer, which takes what is ordered from that one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/scope.h"
#include "cluster/share_inside.h"
#include "link/crc32c.h"
#include "os/fd.h"
#include "os/sock.h"

enum {
    REFUSED_MAX = 3
}; /* blocks of one unit with a wrong checksum: this path is not to be trusted */

/* The next order; false: the end. */
static bool await_order(share_conn *c, size_t *ret_unit)
{
    tw_share *s = c->s;
    share_peer *p = &s->peers[c->peer];
    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stop) && p->n == 0)
        pthread_cond_wait(&s->more, &s->lock);
    const bool got = !atomic_load(&s->stop);
    if (got) {
        *ret_unit = p->orders[0];
        memmove(p->orders, p->orders + 1, --p->n * sizeof p->orders[0]);
    }
    pthread_mutex_unlock(&s->lock);
    return got;
}

static int ask(share_conn *c, size_t unit, uint64_t offset)
{
    uint8_t raw[TW_SHARE_ASK_BYTES];
    tw_share_ask_print(&(tw_share_ask){.unit = (uint32_t)unit, .offset = offset}, raw);
    return tw_sock_send_all(c->fd, raw, sizeof raw, tw_clock_now_ns() + SHARE_STALL_NS);
}

/* What was asked for, up to the unit's end or the first block that is not as it was sent: what
 * follows that one is let go, and *ret_bad is true. */
static int receive(share_conn *c, size_t unit, uint64_t *offset, uint8_t *block, bool *ret_bad)
{
    tw_share *s = c->s;
    uint8_t raw[TW_SHARE_HEAD_BYTES];
    const uint64_t size = tw_hub_map_bytes(tw_hub_store_map(s->o.store), unit);
    *ret_bad = false;
    for (uint64_t at = *offset; at < size;) {
        const uint64_t until = tw_clock_now_ns() + SHARE_STALL_NS;
        tw_share_head h;
        tw_err ignored;
        int rc = tw_sock_recv_all(c->fd, raw, sizeof raw, until);
        if (rc == 0)
            rc = tw_share_head_parse(raw, &h);
        if (rc != 0)
            return rc;
        if (h.bytes == 0)
            return -ENODATA;
        if (h.bytes > size - at)
            return -EPROTO;
        rc = tw_sock_recv_all(c->fd, block, h.bytes, until);
        if (rc != 0)
            return rc;
        at += h.bytes;
        *ret_bad = *ret_bad || tw_crc32c(0, block, h.bytes) != h.crc;
        if (*ret_bad)
            continue;
        if (tw_hub_store_put(s->o.store, unit, block, h.bytes, &ignored) != 0)
            return -EIO; /* the store keeps the cause */
        atomic_fetch_add(&s->taken_bytes, h.bytes);
        *offset = at;
    }
    return 0;
}

static int take(share_conn *c, size_t unit, uint8_t *block)
{
    tw_share *s = c->s;
    const uint64_t size = tw_hub_map_bytes(tw_hub_store_map(s->o.store), unit);
    uint64_t offset = 0;
    int rc = 0;
    if (!tw_hub_store_claim(s->o.store, unit, &offset))
        return tw_hub_store_done(s->o.store, unit) == size ? 0 : -EBUSY;
    for (unsigned n_bad = 0; rc == 0 && offset < size;) {
        bool bad = false;
        rc = ask(c, unit, offset);
        if (rc == 0)
            rc = receive(c, unit, &offset, block, &bad);
        if (rc == 0 && bad) {
            atomic_fetch_add(&s->n_refused, 1);
            rc = ++n_bad == REFUSED_MAX ? -EBADMSG : 0;
        }
    }
    tw_hub_store_release(s->o.store, unit);
    return rc;
}

static const char *explain(int rc)
{
    return rc == -EACCES      ? "it does not know our token"
           : rc == -ETIMEDOUT ? "nothing came for 20 s"
           : rc == -EBADMSG   ? "what comes from it is damaged again and again"
                              : strerror(-rc);
}

/* Nothing comes from this peer any more: what was ordered, and what will be, fails. */
static void lose_peer(share_conn *c, int rc, const char *why)
{
    tw_share *s = c->s;
    share_peer *p = &s->peers[c->peer];
    char text[160];
    size_t unit;
    snprintf(text, sizeof text, "%s", why != NULL ? why : explain(rc));
    pthread_mutex_lock(&s->lock);
    p->is_lost = true;
    pthread_mutex_unlock(&s->lock);
    s->o.on_unit(s->o.arg, SIZE_MAX, c->peer, -ENOTCONN, text);
    while (await_order(c, &unit))
        s->o.on_unit(s->o.arg, unit, c->peer, -ENOTCONN, text);
}

static int meet(share_conn *c, tw_err *err)
{
    tw_share *s = c->s;
    const share_peer *p = &s->peers[c->peer];
    const uint64_t until = tw_clock_now_ns() + SHARE_MEET_NS;
    int fd = -1, rc = -ETIMEDOUT;
    while (rc != 0 && !atomic_load(&s->stop) && tw_clock_now_ns() < until)
        rc = tw_sock_connect(p->ip, p->port, s->o.ip, tw_clock_now_ns() + TW_NS_PER_S, &fd, err);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    c->fd = fd; /* from here on close can wake us */
    pthread_mutex_unlock(&s->lock);
    rc = tw_share_greet(fd, s->o.token, tw_clock_now_ns() + SHARE_GREET_NS);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s port %u: %s", p->ip, p->port, explain(rc));
}

void *tw_share_take(void *conn)
{
    share_conn *c = conn;
    tw_share *s = c->s;
    tw_err why = {0};
    size_t unit = 0;
    TW_CLEANUP(tw_mem_freep) uint8_t *block = tw_mem_alloc(TW_SHARE_BLOCK_BYTES);
    int rc = block == NULL ? tw_err_set(&why, -ENOMEM, "no memory") : meet(c, &why);
    if (rc != 0) {
        lose_peer(c, rc, why.msg);
        return NULL;
    }
    while (await_order(c, &unit)) {
        rc = take(c, unit, block);
        const bool lost = rc != 0 && rc != -EBUSY && rc != -ENODATA;
        s->o.on_unit(s->o.arg, unit, c->peer, lost ? -ENOTCONN : rc, rc != 0 ? explain(rc) : "");
        if (lost) {
            lose_peer(c, rc, NULL);
            break;
        }
    }
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "coll/gate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/scope.h"
#include "os/sock.h"
#include "os/sys.h"

_Static_assert((int)TW_GATE_PREFIX == TW_FRAME_CTL_BYTES + TW_FRAME_NONCE_BYTES,
               "a knock is as long as what decides on the frame after it");

enum { MAKE_ROOM = 16 }; /* pushed out at once when all places are taken */

void tw_gate_init(tw_gate *g, int listener, int unix_listener, const uint8_t *token)
{
    g->listeners[0] = listener;
    g->listeners[1] = unix_listener;
    g->token = token;
    g->n_pending = 0;
    g->n_dropped = 0;
    g->last_drop[0] = '\0';
}

void tw_gate_guest_done(tw_gate_guest *g)
{
    if (g->fd >= 0)
        close(g->fd);
    g->fd = -1;
    tw_mem_free(g->body);
    g->body = NULL;
}

void tw_gate_done(tw_gate *g)
{
    for (size_t i = 0; i < g->n_pending; i++)
        tw_gate_guest_done(&g->pending[i].g);
    g->n_pending = 0;
    for (int i = 0; i < TW_GATE_LISTENERS; i++) {
        if (g->listeners[i] >= 0)
            close(g->listeners[i]);
        g->listeners[i] = -1;
    }
}

unsigned tw_gate_polls(const tw_gate *g, struct pollfd *ret)
{
    unsigned n = 0;
    for (int i = 0; i < TW_GATE_LISTENERS; i++)
        if (g->listeners[i] >= 0)
            ret[n++] = (struct pollfd){.fd = g->listeners[i], .events = POLLIN};
    for (size_t i = 0; i < g->n_pending; i++)
        ret[n++] = (struct pollfd){.fd = g->pending[i].g.fd, .events = POLLIN};
    return n;
}

/* Order is age: the first one is the oldest. */
static void remove_pending(tw_gate *g, size_t i)
{
    g->n_pending--;
    memmove(&g->pending[i], &g->pending[i + 1], (g->n_pending - i) * sizeof g->pending[0]);
}

static void drop_pending(tw_gate *g, size_t i, const char *why)
{
    tw_gate_guest *guest = &g->pending[i].g;
    g->n_dropped++;
    snprintf(g->last_drop, sizeof g->last_drop, "%s: %s", guest->name, why);
    tw_gate_guest_done(guest);
    remove_pending(g, i);
}

static void refuse_token(const tw_gate_guest *guest)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(512);
    if (tw_frame_text_encode(&b, TW_FRAME_REFUSE, 0,
                             "the token is another: this is a rank of another group") == 0)
        (void)!send(guest->fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The knock is here: a challenge goes back. NULL, or why to drop. */
static const char *answer_knock(const tw_gate *g, tw_gate_pending *p)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_GATE_PREFIX);
    tw_gate_guest *guest = &p->g;
    tw_frame_ctl ctl;
    uint8_t *nonces = guest->talk.nonces;
    if (tw_frame_ctl_decode(p->prefix, &ctl) != 0 || ctl.type != TW_FRAME_KNOCK ||
        ctl.bytes != TW_FRAME_NONCE_BYTES)
        return "does not speak our protocol";
    guest->talk.token = g->token;
    memcpy(nonces, p->prefix + TW_FRAME_CTL_BYTES, TW_FRAME_NONCE_BYTES);
    if (tw_sys_random(nonces + TW_FRAME_NONCE_BYTES, TW_FRAME_NONCE_BYTES) != 0)
        return "no random bytes for a challenge";
    if (tw_frame_ctl_encode(&b, TW_FRAME_CHALLENGE, nonces + TW_FRAME_NONCE_BYTES,
                            TW_FRAME_NONCE_BYTES) != 0)
        return "no memory";
    if (send(guest->fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)b.len)
        return "does not take a challenge";
    p->has_knocked = true;
    p->n = 0;
    return NULL;
}

/* Header and proof are here: NULL when good, else why not. */
static const char *check_prefix(tw_gate_pending *p)
{
    tw_gate_guest *guest = &p->g;
    tw_err ignored;
    if (tw_frame_ctl_decode(p->prefix, &guest->ctl) != 0 ||
        guest->ctl.bytes < 2 * TW_FRAME_PROOF_BYTES)
        return "does not speak our protocol";
    const uint8_t *proof = p->prefix + TW_FRAME_CTL_BYTES;
    if (tw_proof_check(&guest->talk, TW_PROOF_CALLER, p->prefix, TW_FRAME_CTL_BYTES, proof,
                       &ignored) != 0) {
        refuse_token(guest);
        return "wrong token";
    }
    guest->body = tw_mem_alloc(guest->ctl.bytes);
    if (guest->body == NULL)
        return "no memory";
    memcpy(guest->body, proof, TW_FRAME_PROOF_BYTES);
    return NULL;
}

static const char *check_seal(const tw_gate_guest *g)
{
    tw_err ignored;
    const size_t at = g->ctl.bytes - TW_FRAME_PROOF_BYTES;
    return tw_proof_check(&g->talk, TW_PROOF_BODY, g->body, at, g->body + at, &ignored) == 0
               ? NULL
               : "its words were altered on the way";
}

/* Reads on. NULL and *ret_whole, or why to drop. */
static const char *read_pending(const tw_gate *g, tw_gate_pending *p, bool *ret_whole)
{
    *ret_whole = false;
    for (;;) {
        bool prefix = p->n < TW_GATE_PREFIX; /* or of the knock */
        size_t end = prefix ? TW_GATE_PREFIX : TW_FRAME_CTL_BYTES + (size_t)p->g.ctl.bytes;
        if (p->n == end) {
            const char *why = check_seal(&p->g);
            *ret_whole = why == NULL;
            return why;
        }
        uint8_t *at = prefix ? p->prefix + p->n : p->g.body + (p->n - TW_FRAME_CTL_BYTES);
        ssize_t got = recv(p->g.fd, at, end - p->n, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return NULL;
        if (got <= 0)
            return "closed before its hello was whole";
        p->n += (size_t)got;
        if (prefix && p->n >= 4 && memcmp(p->prefix, "TWXC", 4) != 0)
            return "does not speak our protocol";
        if (!prefix || p->n < TW_GATE_PREFIX)
            continue;
        const char *why = p->has_knocked ? check_prefix(p) : answer_knock(g, p);
        if (why != NULL)
            return why;
    }
}

static bool find_whole(tw_gate *g, uint64_t now_ns, tw_gate_guest *ret)
{
    for (size_t i = 0; i < g->n_pending;) {
        tw_gate_pending *p = &g->pending[i];
        bool whole;
        const char *why = read_pending(g, p, &whole);
        if (whole) {
            *ret = p->g;
            remove_pending(g, i);
            return true;
        }
        if (why == NULL && now_ns >= p->until_ns)
            why = "no whole hello in 2 s";
        if (why != NULL)
            drop_pending(g, i, why);
        else
            i++;
    }
    return false;
}

static bool accept_one(tw_gate *g, uint64_t now_ns)
{
    for (int i = 0; i < TW_GATE_LISTENERS; i++) {
        int fd;
        if (g->listeners[i] < 0 || tw_sock_accept(g->listeners[i], &fd) != 0)
            continue;
        tw_gate_pending *p = &g->pending[g->n_pending++];
        p->g = (tw_gate_guest){.fd = fd, .is_unix = i == 1};
        p->has_knocked = false;
        p->n = 0;
        p->until_ns = now_ns + TW_GATE_HELLO_NS;
        tw_sock_peer_name(fd, p->g.name, sizeof p->g.name);
        return true;
    }
    return false;
}

bool tw_gate_next(tw_gate *g, uint64_t now_ns, tw_gate_guest *ret)
{
    for (;;) {
        bool more = true;
        while (more && g->n_pending < TW_GATE_PENDING)
            more = accept_one(g, now_ns);
        /* Everybody is read before newcomers may push the oldest out. */
        if (find_whole(g, now_ns, ret))
            return true;
        if (!more)
            return false;
        while (g->n_pending > TW_GATE_PENDING - MAKE_ROOM)
            drop_pending(g, 0, "made room for newer connections");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The first words on a connection of the rendezvous: see proof.h. */
#include <errno.h>
#include <string.h>

#include "coll/meet.h"
#include "os/sys.h"

/* Rank 0 keeps its own time and tells who is missing: let it speak first. */
#define PATIENCE_NS (2 * TW_NS_PER_S)

int tw_meet_expect(const tw_meet *m, int fd, const char *who, enum tw_frame_type type, tw_buf *body,
                   tw_err *err)
{
    tw_frame_ctl f;
    char text[200];
    uint8_t rank;
    int rc = tw_meet_recv(fd, &f, body, m->deadline_ns + PATIENCE_NS);
    if (rc == -ETIMEDOUT)
        return tw_err_set(err, rc, "%s says nothing more: its rendezvous hangs", who);
    if (rc != 0)
        return tw_err_set(err, rc, "%s ended the rendezvous without a word: %s", who,
                          strerror(-rc));
    /* A challenge is the same in every version: rank 0 can be told ours in earnest. */
    if (f.version != TW_FRAME_VERSION && f.type != TW_FRAME_REFUSE && f.type != TW_FRAME_CHALLENGE)
        return tw_err_set(err, -EPROTO, "%s speaks protocol version %u, rank %u speaks %u", who,
                          f.version, m->rank, TW_FRAME_VERSION);
    if (f.type == type)
        return 0;
    if (f.type == TW_FRAME_REFUSE &&
        tw_frame_text_decode((const uint8_t *)body->data, body->len, &rank, text, sizeof text) == 0)
        return tw_err_set(err, -ECONNREFUSED, "%s refused: %s", who, text);
    return tw_err_set(err, -EPROTO, "%s sent frame type %u, expected %u", who, f.type,
                      (unsigned)type);
}

static int knock(const tw_meet *m, int fd, const char *who, tw_proof_talk *t, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_FRAME_CTL_BYTES + TW_FRAME_BODY_MAX);
    uint8_t *theirs = t->nonces + TW_FRAME_NONCE_BYTES;
    t->token = m->o->token;
    int rc = tw_sys_random(t->nonces, TW_FRAME_NONCE_BYTES);
    if (rc == 0)
        rc = tw_frame_ctl_encode(&b, TW_FRAME_KNOCK, t->nonces, TW_FRAME_NONCE_BYTES);
    if (rc == 0)
        rc = tw_meet_send(fd, &b, m->deadline_ns);
    if (rc != 0)
        return tw_err_set(err, rc, "%s: first words: %s", who, strerror(-rc));
    rc = tw_meet_expect(m, fd, who, TW_FRAME_CHALLENGE, &b, err);
    if (rc != 0)
        return rc;
    if (b.len != TW_FRAME_NONCE_BYTES)
        return tw_err_set(err, -EPROTO, "%s sent a challenge of %zu bytes, wanted %d", who, b.len,
                          TW_FRAME_NONCE_BYTES);
    memcpy(theirs, b.data, TW_FRAME_NONCE_BYTES);
    return 0;
}

int tw_meet_call(const tw_meet *m, int fd, const char *who, tw_buf *frame, tw_proof_talk *ret,
                 tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_FRAME_CTL_BYTES + TW_FRAME_BODY_MAX);
    int rc = knock(m, fd, who, ret, err);
    if (rc != 0)
        return rc;
    tw_proof_seal(ret, (uint8_t *)frame->data, frame->len);
    rc = tw_meet_send(fd, frame, m->deadline_ns);
    if (rc != 0)
        return tw_err_set(err, rc, "%s: send the hello: %s", who, strerror(-rc));
    rc = tw_meet_expect(m, fd, who, TW_FRAME_WELCOME, &b, err);
    if (rc != 0)
        return rc;
    const char *seal = frame->data + frame->len - TW_FRAME_PROOF_BYTES;
    rc = b.len != TW_FRAME_PROOF_BYTES
             ? -EACCES
             : tw_proof_check(ret, TW_PROOF_LISTENER, seal, TW_FRAME_PROOF_BYTES,
                              (const uint8_t *)b.data, err);
    if (rc == -EACCES)
        return tw_err_set(err, rc,
                          "%s does not know the group's token: something else answers there", who);
    return rc;
}

int tw_meet_welcome(const tw_gate_guest *g, uint64_t deadline_ns, tw_err *err)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_FRAME_CTL_BYTES + TW_FRAME_PROOF_BYTES);
    const uint8_t *seal = g->body + g->ctl.bytes - TW_FRAME_PROOF_BYTES;
    uint8_t ours[TW_FRAME_PROOF_BYTES];
    tw_proof_make(&g->talk, TW_PROOF_LISTENER, seal, TW_FRAME_PROOF_BYTES, ours);
    int rc = tw_frame_ctl_encode(&b, TW_FRAME_WELCOME, ours, sizeof ours);
    if (rc == 0)
        rc = tw_meet_send(g->fd, &b, deadline_ns);
    return rc == 0 ? 0 : tw_err_set(err, rc, "%s: welcome: %s", g->name, strerror(-rc));
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The rendezvous' inside, shared by its files: one meeting in the making. */
#ifndef TWINAX_COLL_MEET_H
#define TWINAX_COLL_MEET_H

#include "base/scope.h"
#include "coll/gate.h"
#include "coll/rendezvous.h"
#include "link/verbs.h"

typedef struct tw_meet {
    const tw_coll_opts *o;
    unsigned rank, n_ranks;
    uint64_t deadline_ns;
    char host_id[96];   /* boot id '/' network namespace */
    char unix_name[48]; /* of our abstract listener; empty: none */
    char address[64];   /* worker: of its TCP link listener */
    uint16_t port;
    tw_gate gate;
    tw_gate_guest hellos[TW_RANKS_MAX]; /* rank 0: accepted ones; the bodies hold their strings */
    tw_buf table_body;                  /* worker */
    tw_frame_table table;
    bool ready[TW_RANKS_MAX]; /* rank 0 */
    char who[80];             /* worker: "rank 0 at 10.0.0.1 port 1234" */
    tw_proof_talk talk;       /* worker: with rank 0 */
    tw_verbs_pool *pool;      /* of the links by RDMA; NULL before the first try */
    tw_meeting m;
} tw_meet;

/* hello.c: what a rank says of itself, and whether two agree. */
void tw_meet_find_host_id(char *out, size_t out_bytes);
TW_MUST_CHECK int tw_meet_hello_encode(const tw_meet *m, tw_buf *b);
tw_frame_peer tw_meet_self(const tw_meet *m);
/* -EPROTO and the first difference, by name and both values. */
TW_MUST_CHECK int tw_meet_compare(const tw_meet *m, const tw_frame_hello *theirs, tw_err *err);
/* Compute threads of the ranks whose host is ours. */
unsigned tw_meet_threads_here(const tw_meet *m);

/* lanes.c: the second connections, which become links. */
TW_MUST_CHECK int tw_meet_unix_listen(tw_meet *m, int *ret_fd, tw_err *err);
TW_MUST_CHECK int tw_meet_connect_link(tw_meet *m, unsigned peer, tw_err *err);
/* Takes the guest, who brought a LINK frame. 0 also when he is turned away. */
TW_MUST_CHECK int tw_meet_accept_link(tw_meet *m, tw_gate_guest *guest, tw_err *err);

/* rendezvous.c: blocking frames on a rendezvous connection. */
/* Listens on all interfaces, however spelled: never ours (P5). */
bool tw_meet_is_wildcard(int fd);
TW_MUST_CHECK int tw_meet_send(int fd, const tw_buf *b, uint64_t deadline_ns);
TW_MUST_CHECK int tw_meet_recv(int fd, tw_frame_ctl *ret, tw_buf *body, uint64_t deadline_ns);
/* proof.h's part of a caller, on a new connection: knock and challenge; then a whole HELLO or LINK
 * frame, which gets its proofs, is answered by a WELCOME that proves the listener. who: for errors.
 * -ECONNRESET: the gate made room for others, or its time ran out; a new connection may do better. */
TW_MUST_CHECK int tw_meet_call(const tw_meet *m, int fd, const char *who, tw_buf *frame,
                               tw_proof_talk *ret, tw_err *err);
/* The listener's: says that it knows the token too and has heard this guest. */
TW_MUST_CHECK int tw_meet_welcome(const tw_gate_guest *g, uint64_t deadline_ns, tw_err *err);
/* A frame of this type, or -ECONNREFUSED and what comes instead. */
TW_MUST_CHECK int tw_meet_expect(const tw_meet *m, int fd, const char *who, enum tw_frame_type type,
                                 tw_buf *body, tw_err *err);
void tw_meet_send_text(int fd, unsigned rank, const char *text); /* REFUSE; best effort */
TW_MUST_CHECK int tw_meet_send_empty(int fd, enum tw_frame_type type, uint64_t deadline_ns);
TW_MUST_CHECK int tw_meet_as_head(tw_meet *m, tw_err *err);   /* head.c: rank 0 */
TW_MUST_CHECK int tw_meet_as_worker(tw_meet *m, tw_err *err); /* worker.c */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* From options to links between all pairs, or a refusal that every rank prints alike.
 *
 *   rank k                            rank 0
 *   KNOCK nonce         ------------>
 *                       <------------  CHALLENGE nonce
 *   HELLO facts         ------------>  compares; WELCOME or REFUSE text
 *     proof, seal       <------------    seal
 *                       <------------  TABLE, once all have come: where everyone's links listen
 *                                        seal
 *   KNOCK, LINK k, 0    ------------>  (a second connection: the link; same towards ranks 1..k-1)
 *                       <------------  CHALLENGE, WELCOME
 *   READY               ------------>  has all its links
 *                       <------------  GO, once all are ready; listeners are closed by then
 *
 * Proofs and seals (proof.h) show both ways, without sending the token, that the other end knows it,
 * and that facts and addresses are the sender's own. What is said later on a connection is as safe as
 * the network it goes over: the group adds floats in the clear.
 * One that knows the token and differs (protocol, facts) ends the rendezvous for all at once: it
 * is a real rank, and waiting would not mend it. One that does not is dropped. */
#ifndef TWINAX_COLL_RENDEZVOUS_H
#define TWINAX_COLL_RENDEZVOUS_H

#include "link/link.h"
#include "twinax/coll.h"

typedef struct tw_meeting {
    tw_link *links[TW_RANKS_MAX]; /* own entry NULL */
    int fds[TW_RANKS_MAX];        /* rendezvous connections, nonblocking; -1: none */
    unsigned n_threads_here;      /* compute threads of all ranks on this machine */
} tw_meeting;

/* n_ranks >= 2. Takes listen_fd. */
TW_MUST_CHECK int tw_rendezvous(const tw_coll_opts *opts, tw_meeting *ret, tw_err *err);

#endif

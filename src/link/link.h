/* SPDX-License-Identifier: Apache-2.0 */
/* A link moves messages between two ranks, in order, both ways at once. It knows bytes, sequence
 * numbers and an operation code that it compares; never a dtype, never a third rank.
 *
 * One send and one receive may be under way at a time. Starting them costs nothing; tw_link_poll
 * moves what can be moved now and never blocks. Buffers belong to the caller and stay untouched by
 * him until the direction is idle again, except the bytes that tx_done and rx_done tell.
 * Every message carries its number in its direction, its operation and its size: a difference from
 * what the receiver expects is an error that names the peer and both.
 *
 * A transport must: keep order, deliver each byte once or fail, report a closed peer as
 * -ECONNRESET after all bytes that came before it. It may: move less than asked, or nothing.
 * It must not: allocate, block or retry by itself in write and read.
 * Thread: one at a time. */
#ifndef TWINAX_LINK_LINK_H
#define TWINAX_LINK_LINK_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "fmt/frame.h"
#include "os/rdma.h"
#include "twinax/err.h"

typedef struct tw_link tw_link;

/* Names of operations for messages; NULL for an unknown one. */
typedef const char *tw_link_op_name_fn(uint8_t op);

/* A transport seen as two byte streams. (One that moves whole messages into registered memory
 * will bring its own poll.) */
typedef struct tw_link_ops {
    const char *name; /* "tcp" */
    /* Bytes moved, 0 when none can be moved now, or a negative errno. */
    ssize_t (*write)(tw_link *l, const struct iovec *iov, int n_iov);
    ssize_t (*read)(tw_link *l, const struct iovec *iov, int n_iov);
    /* May be NULL: how far a large paced send may be ahead of what has come (SIZE_MAX: as far as it can). What is sent and not taken lies in the kernel, and
     * past the caches' size every copy of it costs several times more. */
    size_t (*lead)(tw_link *l);
    /* May both be NULL. view: *ret is what has come, in one piece; its bytes. skip: n of them are
     * done with. */
    ssize_t (*view)(tw_link *l, const void **ret);
    void (*skip)(tw_link *l, size_t n);
    /* Before sleeping: fills what to poll(2) for. False: do not sleep, something may move now. */
    bool (*arm)(tw_link *l, struct pollfd *ret);
    void (*disarm)(tw_link *l, short revents); /* after sleeping, only where arm gave true */
    void (*close)(tw_link *l);                 /* frees l */
    /* May be NULL. More than an errno is known: fills err for code, which write or read gave, and
     * returns the code that callers see. */
    int (*explain)(const tw_link *l, int code, tw_err *err);
} tw_link_ops;

enum { TW_LINK_LEAD_MIN = 128 * 1024, TW_LINK_LEAD_STEP = 4096 };

/* What carried the bytes; for the proof of transport. */
typedef struct tw_link_proof {
    char device[32]; /* interface, RDMA device, or "memfd" */
    char local[64], peer[64];
    uint32_t mtu; /* of the interface; rdma: of the path; 0: does not apply */
    /* rdma alone: */
    uint8_t port;
    uint16_t gid_index;
    char gid[48], peer_gid[48]; /* as addresses; empty: by LID */
    uint32_t qpn, peer_qpn;
    tw_rdma_counters port_before; /* the port's own, when the link was made */
    bool by_flag;                 /* what comes is seen by a flag in memory where that is faster */
    uint64_t rx_by_flag;          /* pieces that were */
} tw_link_proof;

/* A transport that was thought of for this pair and not taken, and why. */
typedef struct tw_link_refusal {
    char transport[8], reason[200];
} tw_link_refusal;

enum { TW_LINK_REFUSALS_MAX = 3 };

typedef struct tw_link_tx {
    uint8_t head[TW_FRAME_DATA_BYTES];
    const uint8_t *p;   /* [bytes] */
    size_t bytes, done; /* done counts head and payload */
    size_t lead;
    bool busy;
} tw_link_tx;

/* Takes from the front of what has come as many bytes as it can now; 0 only while a send of the same
 * link is under way, or of less than a unit: a transport may cut a message at any byte. */
enum { TW_LINK_SINK_UNIT = 4 };
typedef size_t tw_link_sink_fn(void *ctx, const void *p, size_t bytes);

typedef struct tw_link_rx {
    uint8_t head[TW_FRAME_DATA_BYTES];
    tw_frame_data got;
    uint8_t *p; /* [bytes], at most */
    size_t bytes, done;
    uint8_t op;
    bool exact, busy, checked; /* checked: the head is here and right */
    tw_link_sink_fn *sink;     /* NULL: the payload goes to p */
    void *sink_ctx;
    size_t room, lo, hi; /* sink: p [room], of which [lo, hi) still waits */
    size_t eaten;        /* payload bytes the sink took */
    bool stalled;        /* it took nothing of what is there: a send must move first */
} tw_link_rx;

struct tw_link {
    const tw_link_ops *ops;
    uint8_t rank, peer;          /* ours, theirs */
    bool verify;                 /* checksum on every message, both directions */
    tw_link_op_name_fn *op_name; /* set by the owner of the codes, may stay NULL */
    char who[96];                /* "rank 1 (tcp 10.0.0.2:1234)" for messages */
    tw_link_proof proof;
    tw_link_refusal refused[TW_LINK_REFUSALS_MAX];
    unsigned n_refused;
    tw_link_tx tx;
    tw_link_rx rx;
    uint64_t tx_seq, rx_seq; /* of the message under way or next */
    uint64_t tx_bytes, rx_bytes, tx_msgs, rx_msgs;
};

/* Fills the common part; transports call it when proof is filled. */
void tw_link_init(tw_link *l, const tw_link_ops *ops, uint8_t rank, uint8_t peer, bool verify);
void tw_link_close(tw_link *l); /* NULL is fine */
void tw_link_refuse(tw_link *l, const char *transport, const char *reason);

/* p [bytes] is borrowed until tw_link_tx_idle. No other send may be under way. */
void tw_link_send(tw_link *l, uint8_t op, const void *p, size_t bytes);
/* The same where the peer sends us about as much at the same time: a large message then stays near
 * what has come of his, see tw_link_ops.lead. */
void tw_link_send_paced(tw_link *l, uint8_t op, const void *p, size_t bytes);
/* exact: the message must have this size; else bytes is the most it may have (-EMSGSIZE) and
 * tw_link_rx_bytes tells its size. */
void tw_link_recv(tw_link *l, uint8_t op, void *p, size_t bytes, bool exact);
/* Of exactly this size, handed piece by piece to sink as it comes, without a copy where the
 * transport allows it, else by way of p [room]. Not on a link that verifies: what is handed on
 * cannot be taken back. */
void tw_link_recv_sink(tw_link *l, uint8_t op, size_t bytes, void *p, size_t room,
                       tw_link_sink_fn *sink, void *ctx);
/* 1: bytes were moved, 0: none, or an error: closed peer, unexpected message, wrong checksum. */
TW_MUST_CHECK int tw_link_poll(tw_link *l, tw_err *err);

static inline bool tw_link_tx_idle(const tw_link *l)
{
    return !l->tx.busy;
}

static inline bool tw_link_rx_idle(const tw_link *l)
{
    return !l->rx.busy;
}

/* Something that may come would be taken: to be asked before sleeping. */
static inline bool tw_link_rx_wants(const tw_link *l)
{
    return l->rx.busy && !l->rx.stalled;
}

/* What may be sent now; never little, so that nobody wakes for it. */
static inline size_t tw_link_tx_room(const tw_link *l)
{
    if (l->tx.lead == SIZE_MAX || !l->rx.busy)
        return SIZE_MAX;
    const size_t end = l->rx.done + l->tx.lead;
    return l->tx.done + TW_LINK_LEAD_STEP <= end ? end - l->tx.done : 0;
}

static inline bool tw_link_tx_wants(const tw_link *l)
{
    return l->tx.busy && tw_link_tx_room(l) > 0;
}

/* Bytes of the message last received. */
static inline size_t tw_link_rx_bytes(const tw_link *l)
{
    return (size_t)l->rx.got.bytes;
}

/* Payload bytes that the caller may overwrite again / may read already. */
size_t tw_link_tx_done(const tw_link *l);
size_t tw_link_rx_done(const tw_link *l);

/* A connected TCP socket, which the link then owns (also on failure). */
TW_MUST_CHECK int tw_link_tcp_new(int fd, uint8_t rank, uint8_t peer, bool verify, tw_link **ret,
                                  tw_err *err);

/* Two rings in a memfd, and a connected unix socket as doorbell and sign of life; the link owns
 * both fds (also on failure). The maker creates the memfd, sends it and keeps side 0. */
TW_MUST_CHECK int tw_link_shm_make(int *ret_memfd, tw_err *err);
TW_MUST_CHECK int tw_link_shm_new(int memfd, int sock, unsigned side, uint8_t rank, uint8_t peer,
                                  bool verify, tw_link **ret, tw_err *err);

#endif

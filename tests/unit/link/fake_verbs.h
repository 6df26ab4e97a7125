/* SPDX-License-Identifier: Apache-2.0 */
/* An RDMA library and its network inside this process, behind the link's table. Queue pairs find
 * each other by number; bytes move by memcpy under one lock. What can go wrong is asked for. */
#ifndef TWINAX_TESTS_FAKE_VERBS_H
#define TWINAX_TESTS_FAKE_VERBS_H

#include "link/verbs_lib.h"

typedef struct fake_device {
    char name[TW_RDMA_NAME_BYTES];
    bool is_iwarp;
    int open_rc;
    unsigned n_ports, n_gids;
    tw_verbs_port ports[2];
    tw_rdma_gid gids[8];
} fake_device;

typedef struct fake_verbs {
    unsigned n_devices;
    fake_device dev[4];
    bool no_gid_query; /* an old library */
    int reg_rc, create_cq_rc, create_qp_rc, init_rc, rtr_rc, rts_rc, recv_rc;
    /* Writes move only when somebody polls, and not each time: for one thread that polls. One with
     * a flag moves in three steps: bytes, flag, immediate. */
    bool lazy;
    /* Counted from now: the write that fails (1: the next; 0: none), with this status. */
    unsigned fail_write_in, fail_status;
    bool swallow;      /* writes vanish: no answer at all */
    bool wrong_rkey;   /* of all writes */
    bool keep_recvs;   /* posted receives are forgotten */
    bool lose_flags;   /* of writes that have one: it is not written */
    bool flag_first;   /* and before the bytes, as an adapter might */
    unsigned cq_limit; /* 0: as asked; else queues overrun at this depth */
    uint8_t damage;    /* XOR for the first byte of each write */
    uint64_t n_writes, n_events, n_regs, n_reg_bytes;
    tw_verbs_path last_path;
} fake_verbs;

extern fake_verbs fake;
extern const tw_verbs_api fake_verbs_api;

/* One active RoCE port "fake0" at 127.0.0.1: GIDs 0 and 1 are link-local, 2 is the address as
 * RoCE v1, 3 as RoCE v2. */
void fake_reset(void);
/* The in-th write from now fails so; while other threads are at it. */
void fake_fail_write(unsigned in, unsigned status);
/* What was opened and not closed. */
unsigned fake_n_handles(void);

#endif

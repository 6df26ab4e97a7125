/* SPDX-License-Identifier: Apache-2.0 */
/* Names and a /30 of the link-local range for the veth pair of --netns, which no other run in this
 * network namespace has: runs whose pids leave the same rest, and runs in containers that share the
 * host's network but count their pids from 1, ask for the same. Makes no interface. */
#ifndef TWINAX_CMD_VETH_H
#define TWINAX_CMD_VETH_H

#include <sys/types.h>

#include "twinax/err.h"

typedef struct tw_veth {
    char name0[16], name1[16]; /* twxPIDa and b; twxPID-Na where those are taken */
    char ip0[64], ip1[64];
} tw_veth;

/* *ret_lock_fd holds the choice, against all in this namespace, until it is closed or its process
 * ends. Errors: -EADDRNOTAVAIL, none of those that were tried is free. */
TW_MUST_CHECK int tw_veth_choose(pid_t pid, tw_veth *ret, int *ret_lock_fd, tw_err *err);

#endif

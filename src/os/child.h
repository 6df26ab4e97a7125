/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes that die with their parent. */
#ifndef TWINAX_OS_CHILD_H
#define TWINAX_OS_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "twinax/err.h"

typedef struct tw_child {
    pid_t pid;  /* 0: none */
    int in_fd;  /* we write, child's stdin; -1 when not asked for */
    int out_fd; /* we read, child's stdout; -1 when not asked for */
    int err_fd; /* we read, child's stderr; -1 when not asked for */
    int status; /* once poll or stop has reaped it: as by waitpid */
} tw_child;

enum tw_child_flags {
    TW_CHILD_PIPE_IN = 1,
    TW_CHILD_PIPE_OUT = 2,
    TW_CHILD_NEW_NET = 4,      /* unshare(CLONE_NEWNET) before exec */
    TW_CHILD_NEW_USER_NET = 8, /* CLONE_NEWUSER | CLONE_NEWNET, uid mapped to root */
    TW_CHILD_NULL_IN = 16,     /* stdin is /dev/null (else, without PIPE_IN, it is inherited) */
    TW_CHILD_ERR_TO_OUT = 32,  /* with PIPE_OUT: stderr goes the same way */
    TW_CHILD_PIPE_ERR = 64,    /* stderr has a pipe of its own */
    TW_CHILD_OWN_GROUP =
        128 /* a process group of its own: the terminal's ctrl-C does not reach it */
};

/* argv[0] is looked up on PATH when it has no slash. pass_fd >= 0 is inherited as fd 3.
 * The child gets SIGKILL when the thread that spawned it ends (PR_SET_PDEATHSIG, raced safely):
 * spawn from the main thread. Its signals are reset to default, unblocked; all other fds are closed
 * in it. Errors of exec are reported here. A new network namespace has its loopback down. */
TW_MUST_CHECK int tw_child_spawn(const char *const *argv, unsigned flags, int pass_fd,
                                 tw_child *ret, tw_err *err);
/* True when it has ended (and from then on); *ret_status as by waitpid, NULL is allowed. Never
 * blocks. */
bool tw_child_poll(tw_child *c, int *ret_status);
/* Asks (SIGTERM), after grace_ns insists (SIGKILL), reaps, closes fds. Safe on a zeroed child. Takes at
 * most grace_ns and 2 s: what even SIGKILL does not end is left behind. */
void tw_child_stop(tw_child *c, uint64_t grace_ns);
/* Runs to the end with stdin from /dev/null; 0 when it exits with 0, else -EIO naming the command,
 * its status and the last line it printed; -ETIMEDOUT when it was still there after a minute
 * (limit_ns): it is ended then. */
#define TW_CHILD_RUN_NS UINT64_C(60000000000)
TW_MUST_CHECK int tw_child_run(const char *const *argv, tw_err *err);
TW_MUST_CHECK int tw_child_run_for(const char *const *argv, uint64_t limit_ns, tw_err *err);

#endif

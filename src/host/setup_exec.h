/* SPDX-License-Identifier: Apache-2.0 */
/* One command to its end, with what it says and a time limit. */
#ifndef TWINAX_HOST_SETUP_EXEC_H
#define TWINAX_HOST_SETUP_EXEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

typedef void (*tw_setup_line)(void *ctx, const char *line);

/* stdin is /dev/null. out (may be NULL): stdout, and stderr too when with_err; what does not fit is
 * dropped. on_line (may be NULL): each line as it comes, without control characters.
 * 0: it exited with 0; -EIO with its status and last line; -ETIMEDOUT; -ENOENT: no such program. */
TW_MUST_CHECK int tw_setup_exec(const char *const *argv, uint64_t limit_ns, bool with_err,
                                tw_buf *out, tw_setup_line on_line, void *ctx, tw_err *err);

/* The same with more to say. What is NULL or 0 is not wanted. */
typedef struct tw_exec_job {
    const char *const *argv;
    uint64_t limit_ns;
    bool with_err;      /* stderr goes into out and to on_line */
    int pass_fd;        /* > 0: the program's fd 3 */
    tw_buf *out, *says; /* says: stderr, when it does not go into out */
    tw_setup_line on_line;
    bool (*should_stop)(void *ctx); /* looked at every 50 ms: true ends it, -ECANCELED */
    void (*on_slice)(void *ctx);    /* as often */
    void *ctx;
} tw_exec_job;

TW_MUST_CHECK int tw_exec_run(const tw_exec_job *j, tw_err *err);

#endif

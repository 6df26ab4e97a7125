/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/remote_push.h"

#include <string.h>

#include "base/scope.h"
#include "cluster/push.h"

typedef struct named {
    const tw_push_face *f;
    const char *node;
} named;

static void pass_on(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    const named *n = ctx;
    n->f->progress(n->node, done_bytes, total_bytes);
}

int tw_remote_push_greet(const tw_push_face *f, tw_remote *n, tw_err *err)
{
    int rc = tw_remote_greet(n, err);
    return rc == 0 && f != NULL ? tw_remote_check_arith(n, err) : rc;
}

int tw_remote_push_mend(const tw_push_face *f, const char *node, const char *ssh, int rc,
                        tw_remote **n, tw_err *err)
{
    bool copied = false;
    named ctx = {.f = f, .node = node};
    if (f == NULL || !tw_push_mends(rc) || strcmp(ssh, "local") == 0)
        return rc;
    const tw_push_opts o = {.name = ssh, .progress = pass_on, .ctx = &ctx};
    tw_remote_closep(n);
    if (err != NULL)
        *err = (tw_err){0}; /* why it could not be had is mended, or another error comes */
    rc = tw_push_node(&o, &copied, err);
    if (rc != 0)
        return rc;
    f->told(node, copied);
    rc = tw_remote_start(ssh, TW_PUSH_PATH, n, err);
    if (rc == 0)
        rc = tw_remote_push_greet(f, *n, err);
    return rc;
}

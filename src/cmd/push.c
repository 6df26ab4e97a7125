/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/push.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/scope.h"
#include "cluster/push.h"

static void draw(const char *node, uint64_t done_bytes, uint64_t total_bytes)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s: copying twinax-node %3" PRIu64 "%%%s", node,
                done_bytes * 100 / TW_MAX(total_bytes, UINT64_C(1)),
                done_bytes == total_bytes ? "\n" : "");
}

static void tell(const char *node, bool copied)
{
    tw_log(TW_LOG_INFO, "nodes", "%s: twinax-node %s " TW_PUSH_PATH, node,
           copied ? "copied to" : "is there already, as");
}

const tw_push_face *tw_push_face_of(bool push)
{
    static const tw_push_face face = {.progress = draw, .told = tell};
    return push ? &face : NULL;
}

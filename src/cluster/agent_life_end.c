/* SPDX-License-Identifier: Apache-2.0 */
/* The operation "life-end": is this rank still here, which should have ended with its head? It is
 * waited for, then killed; by its start time, so that no other process is ever meant. */
#include <errno.h>
#include <signal.h>

#include "base/clock.h"
#include "cluster/agent_op.h"
#include "cluster/life_proc.h"

enum { GRACE_MAX_MS = 5000 };
#define KILLED_NS (2 * TW_NS_PER_S)

int tw_agent_life_end(tw_agent *a, const json_t *request, json_t **ret, tw_err *err)
{
    tw_json_obj o = {.file = "life-end", .prefix = "", .v = request, .err = err};
    tw_life_proc p = {.pid = (pid_t)tw_json_u64_needed(&o, "pid", 2, INT32_MAX)};
    p.start = tw_json_u64_needed(&o, "start", 1, INT64_MAX);
    const uint64_t grace_ns = tw_json_u64(&o, "grace_ms", 0, 0, GRACE_MAX_MS) * TW_NS_PER_MS;
    (void)a;
    if (o.rc != 0)
        return o.rc;
    bool killed = false;
    bool gone = tw_life_proc_await_gone(&p, 1, grace_ns);
    if (!gone) {
        killed = tw_life_proc_kill(&p, SIGKILL) == 0;
        gone = tw_life_proc_await_gone(&p, 1, KILLED_NS);
    }
    *ret = json_pack("{s:b, s:b}", "killed", (int)killed, "left", (int)!gone);
    return *ret != NULL ? 0 : tw_err_set(err, -ENOMEM, "no memory for an answer");
}

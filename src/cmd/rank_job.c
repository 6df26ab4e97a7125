/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "cmd/bench_coll.h"
#include "cmd/node.h"

int tw_rank_job(const tw_rank_job_part *p, tw_err *err)
{
    if (strcmp(p->job, TW_JOB_BENCH_COLL) != 0)
        return tw_err_set(err, -ENOSYS, "rank: no job '%.40s' in this version", p->job);
    const tw_bench_coll_part b = {.opts = p->opts, .sizes = p->sizes, .wire16 = p->wire16};
    return tw_bench_coll_rank(&b, err);
}

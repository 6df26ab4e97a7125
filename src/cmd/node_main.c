/* SPDX-License-Identifier: Apache-2.0 */
/* twinax-node: what another machine needs to take part, and no more: `agent`, `rank`, `version`. It
 * links nothing but the C library, so that one file is copied and runs (push.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cmd/commands.h"
#include "cmd/node.h"
#include "os/signal.h"
#include "twinax/version.h"

int tw_rank_job(const tw_rank_job_part *p, tw_err *err)
{
    return tw_err_set(err, -ENOTSUP,
                      "rank: twinax-node cannot do '%.40s': install twinax on this machine",
                      p->job);
}

/* With 0, 1 or 2 closed, the next file that is opened would get what is meant for them. */
static void open_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            return;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    open_standard_fds();
    tw_log_set(TW_LOG_INFO, -1);
    if (strcmp(word, "rank") == 0) /* keeps its signals */
        return tw_cmd_rank(argc - 1, argv + 1);
    tw_signal_init();
    if (strcmp(word, "agent") == 0)
        return tw_cmd_agent(argc - 1, argv + 1);
    if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0) {
        printf("twinax-node %s (protocol %d, arithmetic %d)\n", tw_version(), TW_PROTOCOL_VERSION,
               TW_ARITH_VERSION);
        return TW_EXIT_OK;
    }
    fputs("twinax-node: agent, rank or version; twinax on another machine starts it through ssh\n",
          stderr);
    return TW_EXIT_USAGE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax agent`: the far end of a head's ssh connection. */
#include "cluster/agent.h"

#include <stdio.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"

int tw_cmd_agent(int argc, char **argv)
{
    tw_err err = {0};
    (void)argv;
    if (argc > 1 || isatty(STDIN_FILENO)) {
        fputs("twinax agent: speaks frames on stdin and stdout; `twinax compare --node NAME` and "
              "others start it through ssh\n",
              stderr);
        return TW_EXIT_USAGE;
    }
    if (tw_agent_run(STDIN_FILENO, STDOUT_FILENO, &err) == 0)
        return TW_EXIT_OK;
    fprintf(stderr, "twinax agent: %s\n", err.msg);
    return TW_EXIT_FAILED;
}

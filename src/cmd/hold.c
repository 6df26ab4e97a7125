/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax hold`: holds a program for an agent, or inside a container for another holder. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/rank_report.h"
#include "vllm/count.h"
#include "vllm/hold.h"

static tw_hold_report wanted; /* of the one run of this process */

static json_t *count_wire(void)
{
    tw_vllm_count c;
    tw_vllm_count_read(NULL, wanted.interface, wanted.hca, &c);
    return tw_vllm_count_print(&c);
}

static void report(const tw_hold_report *r)
{
    tw_err err = {0};
    wanted = *r;
    if (wanted.interface[0] != '\0')
        tw_rank_report_add("wire", count_wire);
    if (tw_rank_report_start(r->ms, &err) != 0)
        fprintf(stderr, "twinax hold: %s\n", err.msg);
}

/* `hold -- WORDS` is how the command line is shown to people; the words come on stdin. */
static int start(int argc, char **argv)
{
    tw_err err = {0};
    int status = 0;
    (void)argc, (void)argv;
    if (isatty(STDIN_FILENO)) {
        fputs("twinax hold: is started by an agent, which says on stdin what to hold\n", stderr);
        return TW_EXIT_USAGE;
    }
    /* The lifeline says when to end, to a whole group's ctrl-C too. */
    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    if (tw_hold_run(STDIN_FILENO, report, &status, &err) != 0) {
        fprintf(stderr, "twinax %s\n", err.msg);
        return TW_EXIT_FAILED;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const tw_command tw_command_hold = {.name = "hold", .run = start, .keeps_signals = true};

/* SPDX-License-Identifier: Apache-2.0 */
/* `twinax agent`: the far end of a head's ssh connection. */
#include "cluster/agent.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cluster/agent_proof.h"
#include "cluster/agent_pull.h"
#include "cmd/args.h"
#include "cmd/commands.h"
#include "cmd/find_model.h"
#include "cmd/peak_known.h"
#include "hub/verified.h"

/* Stuck in an operation while the head is dead: what it started dies with the process. */
static void end_process(void *ctx)
{
    (void)ctx;
    _exit(TW_EXIT_FAILED);
}

static int identify(const char *path, tw_agent_model *ret, tw_err *err)
{
    char content[TW_HUB_ETAG_BYTES];
    tw_model *m = NULL;
    tw_err ignored;
    int rc = tw_model_open(path, &m, err);
    if (rc == 0)
        snprintf(ret->id, sizeof ret->id, "%s", tw_model_id(m));
    tw_model_close(m);
    if (rc == 0 && tw_hub_content_id(path, content, &ignored) == 0)
        snprintf(ret->content, sizeof ret->content, "%s", content);
    return rc;
}

static int has_model(const char *path, const char *id, char *ret_path, size_t path_bytes,
                     tw_err *err)
{
    const int rc = tw_find_model_path(path, id, ret_path, path_bytes, err);
    return rc == -ENOENT ? 0 : rc == 0 ? 1 : rc;
}

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
    tw_agent_on_overdue(end_process, NULL);
    tw_agent_on_identify(identify);
    tw_agent_on_has_model(has_model);
    tw_peak_lend();
    if (tw_agent_run(STDIN_FILENO, STDOUT_FILENO, &err) == 0)
        return TW_EXIT_OK;
    fprintf(stderr, "twinax agent: %s\n", err.msg);
    return TW_EXIT_FAILED;
}

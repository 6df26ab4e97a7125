/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "base/str.h"
#include "cmd/commands.h"

static const tw_command command_rank = {
    .name = "rank",
    .args = "< PART",
    .about = "A rank of a run on this machine. Rank 0 starts it.",
    .run = tw_cmd_rank,
    .keeps_signals = true,
};

static const tw_command command_agent = {
    .name = "agent",
    .args = "",
    .about = "The far end of a head's ssh connection: speaks frames on stdin and stdout.",
    .run = tw_cmd_agent,
};

const tw_command *const tw_commands[] = {
    &tw_command_run,
    &tw_command_serve,
    &tw_command_tokenize,
    &tw_command_detokenize,
    &tw_command_pull,
    &tw_command_models,
    &tw_command_models_verify,
    &tw_command_models_rm,
    &tw_command_models_packs,
    &tw_command_bench,
    &tw_command_bench_coll,
    &tw_command_bench_kern,
    &tw_command_compare,
    &tw_command_doctor,
    &tw_command_plan,
    &tw_command_up,
    &tw_command_status,
    &tw_command_logs,
    &tw_command_down,
    &tw_command_setup,
    &tw_command_config,
    &tw_command_ui,
    &tw_command_toolbox,
    &tw_command_toolbox_refresh,
    &tw_command_toolbox_enter,
    &tw_command_toolbox_rollback,
    &tw_command_toolbox_list,
    &tw_command_upgrade,
    &tw_command_uninstall,
    &tw_command_version,
    &tw_command_help,
    &tw_command_keep,
    &command_rank,
    &command_agent,
    &tw_command_setup_hand,
    &tw_command_hold,
    NULL,
};

static const char *const group_titles[TW_GROUPS] = {[TW_GROUP_MODEL] = "a model",
                                                    [TW_GROUP_MEASURE] = "measure",
                                                    [TW_GROUP_HOSTS] = "the machines",
                                                    [TW_GROUP_CLUSTER] = "in the background",
                                                    [TW_GROUP_PROGRAM] = "this program"};

const char *tw_command_group_title(enum tw_command_group g)
{
    return group_titles[g];
}

/* The guide's names of programs. */
static const struct program {
    const char *name, *command;
} programs[] = {
    {"compare_eth_vs_rdma", "compare"},
    {"start-vllm-cluster", "ui"},
    {"refresh_toolbox", "toolbox refresh"},
};

static const tw_command *find_named(const char *name)
{
    for (const tw_command *const *c = tw_commands; *c != NULL; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

const tw_command *tw_command_find(int n, char *const *words, int *ret_n)
{
    char two[80];
    *ret_n = 2;
    if (n >= 2 && snprintf(two, sizeof two, "%s %s", words[0], words[1]) < (int)sizeof two &&
        strchr(words[0], ' ') == NULL) {
        const tw_command *c = find_named(two);
        if (c != NULL)
            return c;
    }
    *ret_n = 1;
    return n >= 1 && strchr(words[0], ' ') == NULL ? find_named(words[0]) : NULL;
}

const tw_command *tw_command_of_program(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    char name[64];
    snprintf(name, sizeof name, "%s", slash != NULL ? slash + 1 : argv0);
    const size_t n = strlen(name);
    if (n > 3 && strcmp(name + n - 3, ".sh") == 0)
        name[n - 3] = '\0';
    for (size_t i = 0; i < TW_ARRAY_LEN(programs); i++)
        if (strcmp(programs[i].name, name) == 0)
            return find_named(programs[i].command);
    return NULL;
}

const tw_command *tw_command_program(size_t *i, const char **ret_name)
{
    while (*i < TW_ARRAY_LEN(programs)) {
        const struct program *p = &programs[(*i)++];
        const tw_command *c = find_named(p->command);
        *ret_name = p->name;
        if (c != NULL)
            return c;
    }
    return NULL;
}

void tw_command_suggest(const char *name, tw_err *err)
{
    const char *best = NULL;
    unsigned least = 3; /* a name that is farther is no misspelling */
    for (const tw_command *const *c = tw_commands; *c != NULL; c++) {
        const unsigned far = (*c)->summary != NULL ? tw_str_distance(name, (*c)->name) : 99;
        if (far < least) {
            least = far;
            best = (*c)->name;
        }
    }
    if (best != NULL)
        (void)!tw_err_set(err, -EINVAL, "%s: no such command; did you mean %s? see `twinax help`",
                          name, best);
    else
        (void)!tw_err_set(err, -EINVAL, "%s: no such command; see `twinax help`", name);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* All commands. A new one: src/cmd/NAME.c with its tw_command, a line here, a line in
 * command_table.c. */
#ifndef TWINAX_CMD_COMMANDS_H
#define TWINAX_CMD_COMMANDS_H

#include "cmd/option.h"

extern const tw_command tw_command_run, tw_command_serve, tw_command_tokenize,
    tw_command_detokenize;
extern const tw_command tw_command_bench, tw_command_bench_coll, tw_command_bench_kern,
    tw_command_compare, tw_command_doctor;
extern const tw_command tw_command_up, tw_command_down, tw_command_status, tw_command_logs,
    tw_command_keep, tw_command_plan;
extern const tw_command tw_command_pull, tw_command_models, tw_command_models_verify,
    tw_command_models_packs, tw_command_models_rm;
extern const tw_command tw_command_setup, tw_command_setup_hand;
extern const tw_command tw_command_config;
extern const tw_command tw_command_ui;
extern const tw_command tw_command_setup, tw_command_setup_hand, tw_command_hold;
extern const tw_command tw_command_toolbox, tw_command_toolbox_refresh, tw_command_toolbox_enter,
    tw_command_toolbox_rollback, tw_command_toolbox_list;
extern const tw_command tw_command_config, tw_command_uninstall;
extern const tw_command tw_command_config, tw_command_uninstall, tw_command_upgrade;
extern const tw_command tw_command_version, tw_command_help;

/* Of children. */
int tw_cmd_rank(int argc, char **argv);
int tw_cmd_agent(int argc, char **argv);

/* In the order of `twinax help`; NULL at the end. */
extern const tw_command *const tw_commands[];

/* The command that words[0], or words[0] and words[1], names; *ret_n: how many words that took.
 * NULL: none. */
const tw_command *tw_command_find(int n, char *const *words, int *ret_n);
/* The one that a program of this name (argv[0], a path) is, with or without ".sh": the guide's
 * names. NULL: none. */
const tw_command *tw_command_of_program(const char *argv0);
/* The guide's names of programs that are commands here: the i-th one, in *ret_name; NULL: there are no
 * more. A name whose command is not built is left out. */
const tw_command *tw_command_program(size_t *i, const char **ret_name);
/* "a model", "measure": how help names a group. */
const char *tw_command_group_title(enum tw_command_group g);
/* "NAME: no such command", and a similar one. */
void tw_command_suggest(const char *name, tw_err *err);

#endif

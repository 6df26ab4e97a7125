/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands: each parses its own argv[1..] and returns the exit code. */
#ifndef TWINAX_CMD_COMMANDS_H
#define TWINAX_CMD_COMMANDS_H

int tw_cmd_run(int argc, char **argv);
int tw_cmd_serve(int argc, char **argv);
int tw_cmd_bench(int argc, char **argv);
int tw_cmd_rank(int argc, char **argv);
int tw_cmd_compare(int argc, char **argv);
int tw_cmd_agent(int argc, char **argv);
int tw_cmd_tokenize(int argc, char **argv);
int tw_cmd_detokenize(int argc, char **argv);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of serve, up and keep: what it does not say, [serve] and [cluster] of twinax.conf
 * say, where the file is read at all (not with --nodes, --local or --tp 1). */
#ifndef TWINAX_CMD_SERVE_CONFIG_H
#define TWINAX_CMD_SERVE_CONFIG_H

#include "cmd/args.h"

/* As tw_args_parse, of a struct that begins with the tw_args and holds its defaults. MODEL may come
 * from the file. */
TW_MUST_CHECK int tw_serve_args_parse(const tw_command *c, int argc, char **argv, tw_args *a,
                                      tw_err *err);

extern const tw_option_table tw_serve_tables[];

#endif

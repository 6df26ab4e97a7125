/* SPDX-License-Identifier: Apache-2.0 */
/* Manual pages, made from the tables of commands, options and keys: what --help prints, in roff
 * (man(7)'s macros alone, which groff and mandoc both know).
 * Must not know: what a command does. */
#ifndef TWINAX_CMD_MAN_H
#define TWINAX_CMD_MAN_H

#include <stdio.h>

#include "cmd/option.h"

/* twinax-run(1): the page of one command. */
void tw_man_print_command(const tw_command *c, FILE *out);
/* twinax(1): all commands, files, environment. */
void tw_man_print_overview(FILE *out);
/* twinax-node(1) and twinax.conf(5). */
void tw_man_print_node(FILE *out);
void tw_man_print_config(FILE *out);
/* All of them: DIR/man1/NAME.1, DIR/man5/NAME.5. Pages of an earlier build are taken away. */
TW_MUST_CHECK int tw_man_write_all(const char *dir, tw_err *err);

/* ---- what the pages are made with ---- */

/* Head, and the NAME section. section: "1"; names are in lower case, with '-' for ' '. */
void tw_man_head(FILE *out, const char *name, const char *section, const char *summary);
/* Prose: what roff would understand is taken away, `words` become bold. */
void tw_man_text(FILE *out, const char *text);
/* To be typed as it is: every '-' stays one. */
void tw_man_literal(FILE *out, const char *text);
/* ".TP": left bold, right as prose. */
void tw_man_entry(FILE *out, const char *left, const char *right);
/* ".SH title" with an entry for each; v NULL: nothing. */
void tw_man_notes(FILE *out, const char *title, const tw_note *v);

#endif

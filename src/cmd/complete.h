/* SPDX-License-Identifier: Apache-2.0 */
/* What may come next on a command line: the shells ask the program itself
 * (`twinax help --complete -- WORDS`), so that what they offer is what this build knows.
 *
 * The answer: one line that says how, "words" or "nospace" (no space behind it), with " files" or
 * " dirs" where the shell's own names come too; then "WORD\tWHAT IT IS" lines, all of which begin
 * with the last word that was typed.
 * Must not ask other machines, nor take long: somebody has pressed a key. */
#ifndef TWINAX_CMD_COMPLETE_H
#define TWINAX_CMD_COMPLETE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "cmd/option.h"

/* words[0]: the program; words[n - 1]: what is being typed, may be empty. */
void tw_complete(int n, char *const *words, FILE *out);
/* The script for a shell that asks so: "bash", "zsh" or "fish"; NULL: none is known. */
const char *tw_complete_script(const char *shell);

/* ---- complete_value.c ---- */

typedef struct tw_completion {
    tw_buf words;       /* "WORD\tWHAT\n" */
    const char *prefix; /* stands before each: "--tp=" */
    const char *typed;  /* behind prefix */
    bool files, dirs, nospace;
} tw_completion;

void tw_completion_add(tw_completion *c, const char *word, const char *what);
/* Values of an option, of a command's first word (its kind is in `args`). */
void tw_complete_option(tw_completion *c, const tw_option *o);
void tw_complete_word(tw_completion *c, const char *args);

#endif

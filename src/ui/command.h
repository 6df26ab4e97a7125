/* SPDX-License-Identifier: Apache-2.0 */
/* A command line of twinax: what the menu runs is what it shows. Copied as a value. */
#ifndef TWINAX_UI_COMMAND_H
#define TWINAX_UI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "twinax/err.h"

enum { TW_UI_WORDS_MAX = 40, TW_UI_WORDS_BYTES = 2048 };

typedef struct tw_ui_command {
    uint16_t n, used;
    uint16_t at[TW_UI_WORDS_MAX];
    char text[TW_UI_WORDS_BYTES]; /* words after "twinax", each with its NUL */
    bool is_cut;                  /* too long: it cannot be run */
} tw_ui_command;

/* "up --tp 2" as words; NULL at the end of them. */
tw_ui_command tw_ui_command_of(const char *word, ...) __attribute__((sentinel));
void tw_ui_command_add(tw_ui_command *c, const char *word);
void tw_ui_command_addf(tw_ui_command *c, const char *fmt, ...) TW_PRINTF(2, 3);
const char *tw_ui_command_word(const tw_ui_command *c, size_t i); /* "" beyond the last */
/* argv of program and the words, which stay c's; NULL at the end. */
void tw_ui_command_argv(const tw_ui_command *c, const char *program,
                        const char *argv[TW_UI_WORDS_MAX + 2]);
/* As one types it in a shell: "twinax up '/my model'". Returns out. */
char *tw_ui_command_print(const tw_ui_command *c, char *out, size_t out_bytes);

#endif

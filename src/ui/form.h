/* SPDX-License-Identifier: Apache-2.0 */
/* Fields that are filled in: texts, choices, a button that goes on. Keys in, state out; drawn by
 * form_draw.c.
 * Pure: must not know children, or what the fields are for. */
#ifndef TWINAX_UI_FORM_H
#define TWINAX_UI_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "ui/screen.h"

enum { TW_UI_FIELDS_MAX = 12, TW_UI_FIELD_BYTES = 256, TW_UI_MESSAGE_BYTES = 160 };

enum tw_ui_field_type { TW_UI_TEXT_FIELD, TW_UI_CHOICE_FIELD, TW_UI_BUTTON };

typedef struct tw_ui_field {
    const char *label, *hint; /* hint: beside it, when nothing is wrong */
    enum tw_ui_field_type type;
    char text[TW_UI_FIELD_BYTES];
    size_t at;                  /* the cursor, in bytes */
    const char *const *choices; /* NULL at the end */
    unsigned choice;
    bool is_off; /* shown, but not to be reached */
    char message[TW_UI_MESSAGE_BYTES];
    /* False: message says what is found and wanted. NULL: anything. */
    bool (*check)(const char *text, char message[TW_UI_MESSAGE_BYTES]);
} tw_ui_field;

typedef struct tw_ui_form {
    tw_ui_field v[TW_UI_FIELDS_MAX];
    size_t n, i_picked;
} tw_ui_form;

enum tw_ui_form_word {
    TW_UI_FORM_NOTHING, /* the key is another's */
    TW_UI_FORM_MOVED,
    TW_UI_FORM_CHANGED, /* a value */
    TW_UI_FORM_GO       /* Enter on the button, and all checks are good */
};

void tw_ui_field_set(tw_ui_field *f, const char *text);
enum tw_ui_form_word tw_ui_form_key(tw_ui_form *f, int key);
/* Checks all; the first that is wrong is picked. */
bool tw_ui_form_check(tw_ui_form *f);
void tw_ui_form_draw(tw_ui_screen *s, const tw_ui_form *f, int row, int col, int label_cols);

/* Checks. */
bool tw_ui_check_ip(const char *text, char message[TW_UI_MESSAGE_BYTES]);   /* or empty */
bool tw_ui_check_host(const char *text, char message[TW_UI_MESSAGE_BYTES]); /* wanted */
bool tw_ui_check_if(const char *text, char message[TW_UI_MESSAGE_BYTES]);   /* or empty */
bool tw_ui_check_ctx(const char *text, char message[TW_UI_MESSAGE_BYTES]);  /* or "auto" */
bool tw_ui_check_port(const char *text, char message[TW_UI_MESSAGE_BYTES]);
bool tw_ui_check_model(const char *text, char message[TW_UI_MESSAGE_BYTES]); /* org/name[@rev] */

#endif

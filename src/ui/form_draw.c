/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "ui/form.h"
#include "ui/text.h"

enum { FIELD_COLS = 32 };

/* The end of a text that is longer than its field, up to the cursor and beyond. */
static const char *visible(const tw_ui_field *f, size_t width, size_t *ret_cursor)
{
    char head[TW_UI_FIELD_BYTES];
    const char *from = f->text;
    snprintf(head, sizeof head, "%.*s", (int)f->at, f->text);
    const char *to_cursor = head;
    while (tw_ui_columns(to_cursor) >= width) {
        do
            to_cursor++;
        while (((unsigned char)*to_cursor & 0xc0) == 0x80);
    }
    from += to_cursor - head;
    *ret_cursor = tw_ui_columns(to_cursor);
    return from;
}

static void draw_text(tw_ui_screen *s, const tw_ui_field *f, bool picked, int row, int col)
{
    size_t cursor = 0;
    const char *from = picked ? visible(f, FIELD_COLS, &cursor) : f->text;
    tw_ui_put_width(s, row, col, FIELD_COLS, picked ? TW_UI_FIELD_PICKED : TW_UI_FIELD, from);
    if (picked) {
        s->cursor_row = row;
        s->cursor_col = TW_MIN(col + (int)cursor, s->cols - 1);
    }
}

/* All of them, the chosen one in brackets: seen without colours too. */
static void draw_choices(tw_ui_screen *s, const tw_ui_field *f, bool picked, int row, int col)
{
    for (unsigned i = 0; f->choices[i] != NULL; i++) {
        const bool chosen = i == f->choice;
        const enum tw_ui_style style = f->is_off ? TW_UI_DIM
                                       : !chosen ? TW_UI_DIM
                                       : picked  ? TW_UI_PICKED
                                                 : TW_UI_BOLD;
        col = tw_ui_put(s, row, col, style, chosen ? "[%s]" : " %s ", f->choices[i]);
        col++;
    }
}

static void draw_field(tw_ui_screen *s, const tw_ui_field *f, bool picked, int row, int col,
                       int label_cols)
{
    const int at = col + label_cols, hint_at = at + FIELD_COLS + 2;
    if (f->type == TW_UI_BUTTON) {
        tw_ui_put(s, row, at, picked ? TW_UI_PICKED : TW_UI_BOLD, "[ %s ]", f->label);
        return;
    }
    tw_ui_put(s, row, col,
              f->is_off ? TW_UI_DIM
              : picked  ? TW_UI_BOLD
                        : TW_UI_PLAIN,
              "%s", f->label);
    if (f->type == TW_UI_TEXT_FIELD)
        draw_text(s, f, picked, row, at);
    else
        draw_choices(s, f, picked, row, at);
    if (f->message[0] != '\0')
        tw_ui_put(s, row + 1, at, TW_UI_BAD, "%s", f->message);
    else if (f->hint != NULL)
        tw_ui_put(s, row, hint_at, TW_UI_DIM, "%s", f->hint);
}

void tw_ui_form_draw(tw_ui_screen *s, const tw_ui_form *f, int row, int col, int label_cols)
{
    for (size_t i = 0; i < f->n; i++) {
        const tw_ui_field *k = &f->v[i];
        if (k->type == TW_UI_BUTTON)
            row++;
        draw_field(s, k, i == f->i_picked, row, col, label_cols);
        row += k->message[0] != '\0' ? 2 : 1;
    }
}

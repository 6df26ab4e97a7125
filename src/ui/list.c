/* SPDX-License-Identifier: Apache-2.0 */
#include "base/scope.h"
#include "ui/app.h"

void tw_ui_list_show(tw_ui_list *l, size_t rows)
{
    if (l->n > 0 && l->i_picked >= l->n)
        l->i_picked = l->n - 1;
    if (l->i_picked < l->top)
        l->top = l->i_picked;
    if (rows > 0 && l->i_picked >= l->top + rows)
        l->top = l->i_picked - rows + 1;
    if (l->n <= rows)
        l->top = 0;
}

bool tw_ui_list_key(tw_ui_list *l, int key, size_t rows)
{
    const size_t last = l->n > 0 ? l->n - 1 : 0, page = rows > 1 ? rows - 1 : 1;
    switch (key) {
    case TW_UI_KEY_UP:
        l->i_picked = l->i_picked > 0 ? l->i_picked - 1 : last;
        break;
    case TW_UI_KEY_DOWN:
        l->i_picked = l->i_picked < last ? l->i_picked + 1 : 0;
        break;
    case TW_UI_KEY_PAGE_UP:
        l->i_picked = l->i_picked > page ? l->i_picked - page : 0;
        break;
    case TW_UI_KEY_PAGE_DOWN:
        l->i_picked = TW_MIN(l->i_picked + page, last);
        break;
    case TW_UI_KEY_HOME:
        l->i_picked = 0;
        break;
    case TW_UI_KEY_END:
        l->i_picked = last;
        break;
    default:
        return false;
    }
    tw_ui_list_show(l, rows);
    return true;
}

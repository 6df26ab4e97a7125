/* SPDX-License-Identifier: Apache-2.0 */
#include "ui/form.h"

#include <string.h>

#include "base/scope.h"
#include "base/str.h"

void tw_ui_field_set(tw_ui_field *f, const char *text)
{
    size_t n = strlen(text);
    if (n >= sizeof f->text)
        n = tw_utf8_complete(text, sizeof f->text - 1);
    memmove(f->text, text, n);
    f->text[n] = '\0';
    f->at = n;
    f->message[0] = '\0';
}

/* ---- a text ---- */

static size_t before(const tw_ui_field *f)
{
    size_t at = f->at;
    while (at > 0 && ((unsigned char)f->text[--at] & 0xc0) == 0x80)
        continue;
    return at;
}

static size_t behind(const tw_ui_field *f)
{
    size_t at = f->at;
    if (f->text[at] != '\0')
        at++;
    while (((unsigned char)f->text[at] & 0xc0) == 0x80)
        at++;
    return at;
}

static bool cut(tw_ui_field *f, size_t from, size_t to)
{
    if (from == to)
        return false;
    memmove(f->text + from, f->text + to, strlen(f->text + to) + 1);
    f->at = from;
    return true;
}

static bool insert(tw_ui_field *f, uint32_t cp)
{
    char bytes[4];
    const size_t n = tw_utf8_encode(cp, bytes), len = strlen(f->text);
    if (len + n >= sizeof f->text)
        return false;
    memmove(f->text + f->at + n, f->text + f->at, len - f->at + 1);
    memcpy(f->text + f->at, bytes, n);
    f->at += n;
    return true;
}

/* True when the text is another. */
static bool edit(tw_ui_field *f, int key)
{
    switch (key) {
    case TW_UI_KEY_BACKSPACE:
        return cut(f, before(f), f->at);
    case TW_UI_KEY_DELETE:
        return cut(f, f->at, behind(f));
    case TW_UI_KEY_CTRL_U:
        return cut(f, 0, strlen(f->text));
    case TW_UI_KEY_LEFT:
        f->at = before(f);
        return false;
    case TW_UI_KEY_RIGHT:
        f->at = behind(f);
        return false;
    case TW_UI_KEY_HOME:
        f->at = 0;
        return false;
    case TW_UI_KEY_END:
        f->at = strlen(f->text);
        return false;
    default:
        return key >= ' ' && key != 0x7f && !(key >= 0x80 && key < 0xa0) && key < 0x110000 &&
               insert(f, (uint32_t)key);
    }
}

/* ---- the form ---- */

static bool check(tw_ui_field *f)
{
    f->message[0] = '\0';
    return f->check == NULL || f->is_off || f->check(f->text, f->message);
}

bool tw_ui_form_check(tw_ui_form *f)
{
    bool good = true;
    for (size_t i = f->n; i-- > 0;)
        if (!check(&f->v[i])) {
            good = false;
            f->i_picked = i;
        }
    return good;
}

static enum tw_ui_form_word step(tw_ui_form *f, size_t by)
{
    (void)check(&f->v[f->i_picked]); /* who leaves a field is told what is wrong with it */
    for (size_t k = 0; k < f->n; k++) {
        f->i_picked = (f->i_picked + by) % f->n;
        if (!f->v[f->i_picked].is_off)
            break;
    }
    return TW_UI_FORM_MOVED;
}

static bool choose(tw_ui_field *f, int key)
{
    unsigned n = 0;
    while (f->choices[n] != NULL)
        n++;
    if (key == TW_UI_KEY_RIGHT || key == ' ')
        f->choice = (f->choice + 1) % n;
    else if (key == TW_UI_KEY_LEFT)
        f->choice = (f->choice + n - 1) % n;
    else
        return false;
    return true;
}

enum tw_ui_form_word tw_ui_form_key(tw_ui_form *f, int key)
{
    tw_ui_field *k = &f->v[f->i_picked];
    if (key == TW_UI_KEY_UP || key == TW_UI_KEY_BACKTAB)
        return step(f, f->n - 1);
    if (key == TW_UI_KEY_DOWN || key == TW_UI_KEY_TAB)
        return step(f, 1);
    if (key == TW_UI_KEY_ENTER && k->type == TW_UI_BUTTON)
        return tw_ui_form_check(f) ? TW_UI_FORM_GO : TW_UI_FORM_MOVED;
    if (key == TW_UI_KEY_ENTER)
        return check(k) ? step(f, 1) : TW_UI_FORM_MOVED;
    if (k->type == TW_UI_CHOICE_FIELD)
        return choose(k, key) ? TW_UI_FORM_CHANGED : TW_UI_FORM_NOTHING;
    if (k->type == TW_UI_BUTTON || key == TW_UI_KEY_ESC || key == TW_UI_KEY_CTRL_C)
        return TW_UI_FORM_NOTHING;
    if (!edit(k, key))
        return TW_UI_FORM_MOVED;
    k->message[0] = '\0';
    return TW_UI_FORM_CHANGED;
}

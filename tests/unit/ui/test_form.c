/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/form.h"

static const char *const colours[] = {"red", "green", "blue", NULL};

static tw_ui_form make(void)
{
    return (tw_ui_form){.n = 4,
                        .v = {{"Address", NULL, .check = tw_ui_check_ip},
                              {"Colour", NULL, TW_UI_CHOICE_FIELD, .choices = colours},
                              {"Off", NULL, .is_off = true},
                              {"GO", .type = TW_UI_BUTTON}}};
}

static void type(tw_ui_form *f, const char *text)
{
    for (; *text != '\0'; text++)
        assert_int_equal(tw_ui_form_key(f, *text), TW_UI_FORM_CHANGED);
}

static void edits(void **state)
{
    tw_ui_form f = make();
    tw_ui_field *k = &f.v[0];
    (void)state;
    type(&f, "10.0.2");
    (void)tw_ui_form_key(&f, TW_UI_KEY_LEFT);
    type(&f, "0.");
    assert_string_equal(k->text, "10.0.0.2");
    (void)tw_ui_form_key(&f, TW_UI_KEY_HOME);
    (void)tw_ui_form_key(&f, TW_UI_KEY_DELETE);
    assert_string_equal(k->text, "0.0.0.2");
    assert_int_equal(tw_ui_form_key(&f, TW_UI_KEY_BACKSPACE), TW_UI_FORM_MOVED); /* none before */
    (void)tw_ui_form_key(&f, TW_UI_KEY_END);
    (void)tw_ui_form_key(&f, 0x00e4); /* two bytes */
    (void)tw_ui_form_key(&f, TW_UI_KEY_LEFT);
    assert_int_equal(k->at, 7);
    (void)tw_ui_form_key(&f, TW_UI_KEY_RIGHT);
    (void)tw_ui_form_key(&f, TW_UI_KEY_BACKSPACE);
    assert_string_equal(k->text, "0.0.0.2");
    (void)tw_ui_form_key(&f, TW_UI_KEY_CTRL_U);
    assert_string_equal(k->text, "");
    for (int i = 0; i < 2 * TW_UI_FIELD_BYTES; i++)
        (void)tw_ui_form_key(&f, 'x');
    assert_int_equal(strlen(k->text), TW_UI_FIELD_BYTES - 1);
}

/* Who leaves a field is told what is wrong; it keeps nobody, but the button does not go on. */
static void checks(void **state)
{
    tw_ui_form f = make();
    (void)state;
    type(&f, "10.0.0.");
    assert_int_equal(tw_ui_form_key(&f, TW_UI_KEY_ENTER), TW_UI_FORM_MOVED);
    assert_int_equal(f.i_picked, 0);
    assert_non_null(strstr(f.v[0].message, "192.168.100.1"));
    assert_int_equal(tw_ui_form_key(&f, TW_UI_KEY_UP), TW_UI_FORM_MOVED);
    assert_int_equal(f.i_picked, 3);
    assert_int_equal(tw_ui_form_key(&f, TW_UI_KEY_ENTER), TW_UI_FORM_MOVED);
    assert_int_equal(f.i_picked, 0); /* brought to what is wrong */
    type(&f, "1");
    assert_string_equal(f.v[0].message, "");
    (void)tw_ui_form_key(&f, TW_UI_KEY_TAB);
    (void)tw_ui_form_key(&f, TW_UI_KEY_TAB); /* over the one that is off */
    assert_int_equal(f.i_picked, 3);
    assert_int_equal(tw_ui_form_key(&f, TW_UI_KEY_ENTER), TW_UI_FORM_GO);
    assert_int_equal(tw_ui_form_key(&f, TW_UI_KEY_ESC), TW_UI_FORM_NOTHING);
}

static void chooses(void **state)
{
    tw_ui_form f = make();
    f.i_picked = 1;
    (void)state;
    assert_int_equal(tw_ui_form_key(&f, TW_UI_KEY_LEFT), TW_UI_FORM_CHANGED);
    assert_int_equal(f.v[1].choice, 2);
    (void)tw_ui_form_key(&f, ' ');
    assert_int_equal(f.v[1].choice, 0);
    assert_int_equal(tw_ui_form_key(&f, 'x'), TW_UI_FORM_NOTHING);
}

static void fields_take(void **state)
{
    static const struct {
        bool (*check)(const char *, char *);
        const char *good[4], *bad[5];
    } v[] = {{tw_ui_check_ip,
              {"", "192.168.100.1", "fe80::2%thunderbolt0"},
              {"1.2.3", "x", "1.2.3.4%eth0"}},
             {tw_ui_check_host,
              {"box2", "me@box2.lan", "192.168.100.2"},
              {"", "-o", "a b", "a,b", "a/b"}},
             {tw_ui_check_if, {"", "enp194s0np0"}, {"-x", "a b", "0123456789abcdef"}},
             {tw_ui_check_ctx, {"auto", "16", "131072"}, {"", "15", "lots", "2000000"}},
             {tw_ui_check_port, {"0", "8000", "65535"}, {"", "-1", "65536"}},
             {tw_ui_check_model, {"org/name", "org/name@v2"}, {"", "name", "org/", "/x", "a b/c"}}};
    char message[TW_UI_MESSAGE_BYTES];
    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
        for (size_t k = 0; k < 4 && v[i].good[k] != NULL; k++)
            assert_true(v[i].check(v[i].good[k], message));
        for (size_t k = 0; k < 5 && v[i].bad[k] != NULL; k++) {
            message[0] = '\0';
            if (v[i].check(v[i].bad[k], message) || message[0] == '\0')
                fail_msg("%zu: '%s' is taken", i, v[i].bad[k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(edits), cmocka_unit_test(checks),
                                       cmocka_unit_test(chooses), cmocka_unit_test(fields_take)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

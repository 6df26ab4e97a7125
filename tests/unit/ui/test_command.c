/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ui/command.h"

static void prints(void **state)
{
    char out[256];
    tw_ui_command c = tw_ui_command_of("up", "/my model", "--tp", NULL);
    (void)state;
    tw_ui_command_addf(&c, "%d", 2);
    tw_ui_command_add(&c, "it's");
    tw_ui_command_add(&c, "");
    tw_ui_command_add(&c, "$(reboot)");
    assert_string_equal(tw_ui_command_print(&c, out, sizeof out),
                        "twinax up '/my model' --tp 2 'it'\\''s' '' '$(reboot)'");
    assert_string_equal(tw_ui_command_word(&c, 0), "up");
    assert_string_equal(tw_ui_command_word(&c, 99), "");
    assert_string_equal(tw_ui_command_print(&c, out, 12), "twinax up '");
}

/* What is run is what is shown; a copy is as good. */
static void argv_is_the_words(void **state)
{
    const char *argv[TW_UI_WORDS_MAX + 2];
    tw_ui_command c = tw_ui_command_of("down", "--json", NULL), copy = c;
    (void)state;
    memset(&c, 0xff, sizeof c);
    tw_ui_command_argv(&copy, "/bin/twinax", argv);
    assert_string_equal(argv[0], "/bin/twinax");
    assert_string_equal(argv[1], "down");
    assert_string_equal(argv[2], "--json");
    assert_null(argv[3]);
}

static void has_ends(void **state)
{
    tw_ui_command c = tw_ui_command_of("up", NULL);
    char word[1000];
    (void)state;
    for (int i = 0; i < TW_UI_WORDS_MAX - 1; i++)
        tw_ui_command_add(&c, "x");
    assert_false(c.is_cut);
    tw_ui_command_add(&c, "x");
    assert_true(c.is_cut);
    c = tw_ui_command_of("up", NULL);
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    tw_ui_command_add(&c, word);
    tw_ui_command_add(&c, word);
    assert_false(c.is_cut);
    tw_ui_command_add(&c, word);
    assert_true(c.is_cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(prints),
                                       cmocka_unit_test(argv_is_the_words),
                                       cmocka_unit_test(has_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

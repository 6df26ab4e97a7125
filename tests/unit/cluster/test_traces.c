/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/traces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/scope.h"

static char home[64];

/* A home and a runtime folder of its own. */
static int make_home(void **state)
{
    (void)state;
    snprintf(home, sizeof home, "/tmp/twinax-traces-XXXXXX");
    if (mkdtemp(home) == NULL || setenv("HOME", home, 1) != 0)
        return -1;
    (void)unsetenv("XDG_CONFIG_HOME");
    (void)unsetenv("XDG_STATE_HOME");
    (void)unsetenv("XDG_CACHE_HOME");
    return setenv("XDG_RUNTIME_DIR", home, 1);
}

static int remove_home(void **state)
{
    (void)state;
    return rmdir(home);
}

static bool is_found(const char *what)
{
    TW_CLEANUP(tw_json_freep) json_t *list = NULL;
    tw_err err = {0};
    size_t i;
    json_t *v;
    bool found = false;
    assert_int_equal(tw_traces_find(&list, &err), 0);
    json_array_foreach(list, i, v)
    {
        found = found || (strcmp(tw_json_text_at(v, "what"), what) == 0 &&
                          strncmp(tw_json_text_at(v, "path"), home, strlen(home)) == 0);
    }
    return found;
}

/* Who made /tmp/twinax-0 before root did must not have root walk through it, and remove what is
 * swapped in meanwhile. */
static void runtime_folder_of_another(void **state)
{
    char path[96];
    (void)state;
    snprintf(path, sizeof path, "%s/twinax", home);
    assert_false(is_found("runtime"));
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(is_found("runtime"));
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 12345, 12345), 0);
        assert_false(is_found("runtime"));
    } else {
        print_message("# skipped: only root can give a folder away\n");
    }
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink("/", path), 0);
    assert_false(is_found("runtime"));
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(runtime_folder_of_another, make_home, remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

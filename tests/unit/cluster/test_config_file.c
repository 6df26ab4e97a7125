/* SPDX-License-Identifier: Apache-2.0 */
/* Who else may write the configuration, or read a key, is told. */
#include "cluster/config_file.h"

#include <errno.h>
#include <fcntl.h>
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

#include "os/file.h"

static char folder[64], before[512];

static int enter(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/twinax-config-XXXXXX");
    assert_non_null(getcwd(before, sizeof before));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    setenv("XDG_CONFIG_HOME", "/nowhere", 1);
    setenv("HOME", folder, 1);
    return 0;
}

static int leave(void **state)
{
    (void)state;
    (void)unlink("twinax.conf");
    (void)unlink("key");
    assert_int_equal(chdir(before), 0);
    assert_int_equal(rmdir(folder), 0);
    return 0;
}

static void put(const char *path, const char *text, mode_t mode)
{
    tw_err err = {0};
    (void)unlink(path);
    assert_int_equal(tw_file_write(path, text, strlen(text), &err), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static const tw_config_found *find(void)
{
    static tw_config_found f;
    tw_err err = {0};
    assert_int_equal(tw_config_find(&f, &err), 0);
    return &f;
}

static void test_who_may_write(void **state)
{
    static const struct {
        mode_t folder, file;
        const char *warning; /* NULL: taken */
    } cases[] = {
        {0700, 0600, NULL},
        {0755, 0644, NULL},
        {0700, 0646, "may be written by everybody"},
        {0777, 0600, "is in a folder that everybody may write"},
        {01777, 0600, NULL}, /* sticky: only its owner can put another one there */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put("twinax.conf", "[cluster]\nnodes = a,b\n", cases[i].file);
        assert_int_equal(chmod(folder, cases[i].folder), 0);
        const tw_config_found *f = find();
        if (cases[i].warning == NULL) {
            assert_string_equal(f->warning, "");
            assert_int_equal(f->config.nodes.n, 2);
        } else if (strstr(f->warning, cases[i].warning) == NULL || f->config.nodes.n != 0) {
            fail_msg("%o %o: '%s', %zu nodes", cases[i].folder, cases[i].file, f->warning,
                     f->config.nodes.n);
        }
    }
    assert_int_equal(chmod(folder, 0700), 0);
}

static void test_key(void **state)
{
    char key[32] = "untouched", path[128];
    tw_err err = {0};
    (void)state;
    snprintf(path, sizeof path, "%s/key", folder);
    put("key", "geheim-1\r\nrest\n", 0600);
    assert_int_equal(tw_config_key_read(path, key, sizeof key, &err), 0);
    assert_string_equal(key, "geheim-1");
    assert_int_equal(tw_config_key_read("~/key", key, sizeof key, &err), 0);
    put("key", "geheim-2", 0400);
    assert_int_equal(tw_config_key_read("~/key", key, sizeof key, &err), 0);
    assert_string_equal(key, "geheim-2");
    const mode_t loose[] = {0640, 0604, 0620, 0602, 0610};
    for (size_t i = 0; i < sizeof loose / sizeof *loose; i++) {
        put("key", "geheim-3", loose[i]);
        assert_int_equal(tw_config_key_read(path, key, sizeof key, &err), -EPERM);
        assert_non_null(strstr(err.msg, "chmod 600"));
    }
    const char *bad[] = {"", "\n", "with space", "control\x01",
                         "0123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put("key", bad[i], 0600);
        assert_int_equal(tw_config_key_read(path, key, sizeof key, &err), -EINVAL);
        assert_null(strstr(err.msg, "0123456789012345678")); /* nothing of it is shown */
    }
    assert_string_equal(key, "geheim-2");
    assert_int_equal(tw_config_key_read("/tmp", key, sizeof key, &err), -EPERM);
    assert_int_equal(tw_config_key_read("/nowhere/key", key, sizeof key, &err), -ENOENT);
    if (geteuid() == 0) {
        put("key", "geheim-4", 0600);
        assert_int_equal(chown("key", 12345, 0), 0);
        assert_int_equal(tw_config_key_read(path, key, sizeof key, &err), -EPERM);
        assert_non_null(strstr(err.msg, "belongs to user 12345"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_who_may_write, enter, leave),
        cmocka_unit_test_setup_teardown(test_key, enter, leave),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

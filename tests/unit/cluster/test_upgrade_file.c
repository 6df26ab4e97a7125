/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/upgrade_file.h"

#include <errno.h>
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

#include "base/buf.h"
#include "base/scope.h"
#include "os/file.h"

typedef struct place {
    char dir[64], path[96], old[96], from[96];
} place;

static int make_place(void **state)
{
    static place p;
    snprintf(p.dir, sizeof p.dir, "/tmp/twinax-upgrade-XXXXXX");
    if (mkdtemp(p.dir) == NULL)
        return -1;
    snprintf(p.path, sizeof p.path, "%s/prog", p.dir);
    snprintf(p.old, sizeof p.old, "%s/prog.old", p.dir);
    snprintf(p.from, sizeof p.from, "%s/from", p.dir);
    *state = &p;
    return 0;
}

static int remove_place(void **state)
{
    const place *p = *state;
    unlink(p->path);
    unlink(p->old);
    unlink(p->from);
    return rmdir(p->dir); /* nothing else may be left */
}

static void put(const char *path, const char *text)
{
    tw_err err;
    assert_int_equal(tw_file_write(path, text, strlen(text), &err), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

static void assert_is(const char *path, const char *text)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(1000);
    tw_err err;
    assert_int_equal(tw_file_read(path, &b, &err), 0);
    assert_string_equal(b.data, text);
}

static void test_forward_and_back(void **state)
{
    const place *p = *state;
    struct stat st;
    bool had = false;
    tw_err err;
    put(p->path, "one");
    put(p->from, "two");
    assert_false(tw_upgrade_has_old(p->path));
    assert_int_equal(tw_upgrade_keep(p->path, &had, &err), 0);
    assert_true(had && tw_upgrade_has_old(p->path));
    assert_int_equal(tw_upgrade_put(p->path, p->from, &err), 0);
    assert_is(p->path, "two");
    assert_is(p->old, "one");
    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0755);
    assert_int_equal(tw_upgrade_back(p->path, true, &err), 0);
    assert_is(p->path, "one");
    assert_is(p->old, "two");
    assert_int_equal(tw_upgrade_back(p->path, false, &err), 0);
    assert_is(p->path, "two");
    assert_int_equal(tw_upgrade_back(p->path, true, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "prog.old"));
}

static void test_kept_twice(void **state)
{
    const place *p = *state;
    bool had = false;
    tw_err err;
    put(p->path, "one");
    for (int i = 0; i < 2; i++) /* the second time both are one file already */
        assert_int_equal(tw_upgrade_keep(p->path, &had, &err), 0);
    assert_is(p->old, "one");
}

static void test_none_before(void **state)
{
    const place *p = *state;
    bool had = true;
    tw_err err;
    put(p->from, "two");
    assert_int_equal(tw_upgrade_keep(p->path, &had, &err), 0);
    assert_false(had);
    assert_int_equal(tw_upgrade_put(p->path, p->from, &err), 0);
    assert_is(p->path, "two");
    assert_false(tw_upgrade_has_old(p->path));
}

static void test_cannot(void **state)
{
    const place *p = *state;
    char long_path[2000], inside[96];
    bool had = false;
    tw_err err;
    put(p->path, "one");
    assert_int_equal(tw_upgrade_put(p->path, p->from, &err), -ENOENT); /* nothing to put */
    assert_is(p->path, "one");
    assert_int_equal(mkdir(p->old, 0755), 0);
    snprintf(inside, sizeof inside, "%.80s/x", p->old);
    put(inside, "x");
    assert_true(tw_upgrade_keep(p->path, &had, &err) < 0);
    assert_is(p->path, "one");
    assert_int_equal(unlink(inside), 0);
    assert_int_equal(rmdir(p->old), 0);
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(tw_upgrade_keep(long_path, &had, &err), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_forward_and_back, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_kept_twice, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_none_before, make_place, remove_place),
        cmocka_unit_test_setup_teardown(test_cannot, make_place, remove_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

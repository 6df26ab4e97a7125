/* SPDX-License-Identifier: Apache-2.0 */
/* Machines made of files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/scope.h"
#include "os/cpus.h"
#include "os/file.h"

static char root[64];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/twinax-cpus-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static int drop_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 8, FTW_PHYS | FTW_DEPTH);
}

static void put(const char *text, const char *before, int number, const char *after)
{
    char path[256];
    tw_err err;
    snprintf(path, sizeof(path), "%s/devices/system/%s%d/%s", root, before, number, after);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)!mkdir(path, 0700);
        *slash = '/';
    }
    assert_int_equal(tw_file_write(path, text, strlen(text), &err), 0);
}

static void put_siblings(const char *text, int cpu)
{
    put(text, "cpu/cpu", cpu, "topology/thread_siblings_list");
}

static void put_node(const char *text, int node)
{
    put(text, "node/node", node, "cpulist");
}

/* Two nodes, four cores each, two threads a core, numbered as such machines do; one node is 0, the
 * other 2. */
static void make_server(void)
{
    for (int cpu = 0; cpu < 16; cpu++) {
        char text[32];
        snprintf(text, sizeof(text), "%d,%d\n", cpu % 8, cpu % 8 + 8);
        put_siblings(text, cpu);
    }
    put_node("0-3,8-11\n", 0);
    put_node("4-7,12-15\n", 2);
}

static void neighbours_share_memory(void **state)
{
    (void)state;
    static const int want[] = {0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15};
    static const int some[] = {1, 9, 6, 14};
    int cpus[16];
    make_server();
    for (int i = 0; i < 16; i++)
        cpus[i] = i;
    assert_int_equal(tw_cpus_order(root, cpus, 16), 2);
    assert_memory_equal(cpus, want, sizeof(want));
    int few[] = {6, 9, 14, 1}; /* what a cpuset left */
    assert_int_equal(tw_cpus_order(root, few, 4), 2);
    assert_memory_equal(few, some, sizeof(some));
    int one[] = {3, 2};
    assert_int_equal(tw_cpus_order(root, one, 2), 1);
}

/* Cores whose threads have neighbouring numbers, and no nodes at all. */
static void cores_come_before_their_threads(void **state)
{
    (void)state;
    static const int want[] = {0, 2, 1, 3};
    int cpus[] = {0, 1, 2, 3};
    for (int cpu = 0; cpu < 4; cpu++)
        put_siblings(cpu < 2 ? "0-1\n" : "2-3\n", cpu);
    assert_int_equal(tw_cpus_order(root, cpus, 4), 1);
    assert_memory_equal(cpus, want, sizeof(want));
}

static void what_is_not_told_changes_nothing(void **state)
{
    (void)state;
    static const int want[] = {1, 2, 5};
    int cpus[] = {1, 2, 5};
    static const char *const odd[] = {"", "x", "-", "1-", "5-1", "1-99999999", ",,", "\n"};
    assert_int_equal(tw_cpus_order("/nowhere", cpus, 3), 1);
    assert_memory_equal(cpus, want, sizeof(want));
    for (size_t i = 0; i < TW_ARRAY_LEN(odd); i++) {
        put_node(odd[i], 0);
        put_siblings(odd[i], 1);
        assert_true(tw_cpus_order(root, cpus, 3) >= 1);
        assert_true(cpus[0] + cpus[1] + cpus[2] == 8);
    }
    assert_int_equal(tw_cpus_order(root, cpus, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(neighbours_share_memory, make_root, drop_root),
        cmocka_unit_test_setup_teardown(cores_come_before_their_threads, make_root, drop_root),
        cmocka_unit_test_setup_teardown(what_is_not_told_changes_nothing, make_root, drop_root),
    };
    return cmocka_run_group_tests_name("os cpus", tests, NULL, NULL);
}

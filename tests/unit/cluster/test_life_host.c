/* SPDX-License-Identifier: Apache-2.0 */
/* life_heat, life_awake, life_unit: what this machine is to a service in the background. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cluster/life_awake.h"
#include "cluster/life_heat.h"
#include "cluster/life_unit.h"

static char root[64];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/twinax-host-XXXXXX");
    assert_non_null(mkdtemp(root));
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void put(const char *name, const char *text)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void heat_is_the_hottest_chip(void **state)
{
    (void)state;
    tw_life_heat h;
    tw_life_heat_read(root, &h);
    assert_false(h.has_celsius || h.has_watts);
    put("sys/class/hwmon/hwmon0/name", "nvme\n");
    put("sys/class/hwmon/hwmon0/temp1_input", "99000\n"); /* a disk is no chip */
    put("sys/class/hwmon/hwmon1/name", "k10temp\n");
    put("sys/class/hwmon/hwmon1/temp1_input", "61500\n");
    put("sys/class/hwmon/hwmon2/name", "amdgpu\n");
    put("sys/class/hwmon/hwmon2/temp1_input", "70000\n");
    put("sys/class/hwmon/hwmon2/temp2_input", "-1000\n");
    put("sys/class/hwmon/hwmon2/power1_average", "54321000\n");
    tw_life_heat_read(root, &h);
    assert_true(h.has_celsius && h.celsius == 70.0);
    assert_string_equal(h.celsius_of, "amdgpu");
    assert_true(h.has_watts && h.watts > 54.3 && h.watts < 54.4);
}

static void a_mouse_makes_no_laptop(void **state)
{
    (void)state;
    assert_false(tw_life_is_laptop(root));
    put("sys/class/power_supply/hidpp_0/type", "Battery\n");
    put("sys/class/power_supply/hidpp_0/scope", "Device\n");
    put("sys/class/power_supply/AC/type", "Mains\n");
    assert_false(tw_life_is_laptop(root));
    put("sys/class/power_supply/BAT0/type", "Battery\n");
    assert_true(tw_life_is_laptop(root));
}

static void sleep_is_what_one_clock_missed(void **state)
{
    (void)state;
    tw_life_sleep s = {.known = false};
    const uint64_t sec = TW_NS_PER_S;
    assert_int_equal(tw_life_sleep_look(&s, 1000 * sec, 900 * sec), 0); /* slept before us */
    assert_int_equal(tw_life_sleep_look(&s, 1010 * sec, 910 * sec), 0);
    assert_int_equal(tw_life_sleep_look(&s, 1020 * sec + 500, 920 * sec), 0); /* two readings */
    assert_int_equal(tw_life_sleep_look(&s, 1100 * sec, 930 * sec), 70 * sec);
    assert_int_equal(tw_life_sleep_look(&s, 1110 * sec, 940 * sec), 0);
    /* Short ones are not lost, they add up. */
    assert_int_equal(tw_life_sleep_look(&s, 1110 * sec + 600000000, 940 * sec), 0);
    assert_int_equal(tw_life_sleep_look(&s, 1111 * sec + 200000000, 940 * sec), 1200000000);
}

static void a_unit_quotes_what_it_is_told(void **state)
{
    (void)state;
    char *argv[] = {(char *)(uintptr_t) "a b", (char *)(uintptr_t) "50%$x\"\\", NULL};
    tw_life_unit u = {.program = "/opt/t w/twinax",
                      .folder = "/work/a%b",
                      .path = "/bin:/usr/bin",
                      .env_file = "/c/serve.env",
                      .model = "demo",
                      .argv = argv,
                      .made_linger = true};
    tw_buf b = TW_BUF(8192);
    tw_err err = {0};
    assert_int_equal(tw_life_unit_print(&u, &b, &err), 0);
    assert_non_null(strstr(b.data, "ExecStart=\"/opt/t w/twinax\" keep \"a b\" "
                                   "\"50%%$$x\\\"\\\\\"\n"));
    assert_non_null(strstr(b.data, "WorkingDirectory=/work/a%%b\n"));
    assert_non_null(strstr(b.data, "EnvironmentFile=-/c/serve.env\n"));
    assert_true(tw_life_unit_made_linger(b.data));
    tw_buf_reset(&b);
    u.made_linger = false;
    assert_int_equal(tw_life_unit_print(&u, &b, &err), 0);
    assert_false(tw_life_unit_made_linger(b.data));
    argv[0] = (char *)(uintptr_t) "a\nExecStartPre=evil";
    tw_buf_reset(&b);
    assert_int_equal(tw_life_unit_print(&u, &b, &err), -EINVAL);
    tw_buf_done(&b);
}

static void what_survives_depends_on_the_session(void **state)
{
    (void)state;
    tw_life_session s;
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    tw_life_session_read(root, &s);
    assert_false(s.has_manager || s.has_linger || s.kills || s.has_logind);
    assert_non_null(strstr(tw_life_survives(&s, "session"), "and logout"));
    put("run/systemd/seats/x", "");
    put("run/user/7/systemd/private", "");
    put("etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=no\n");
    put("etc/systemd/logind.conf.d/own.conf", "[Login]\nKillUserProcesses=yes\n");
    tw_life_session_read(root, &s);
    assert_true(s.has_manager && s.kills && s.has_logind);
    assert_non_null(strstr(tw_life_survives(&s, "session"), "not logout"));
    assert_non_null(strstr(tw_life_survives(&s, "unit"), "ends at logout"));
    s.has_linger = true;
    assert_non_null(strstr(tw_life_survives(&s, "unit"), "after a reboot"));
    assert_non_null(strstr(tw_life_survives(&s, "scope"), "survives logout"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(heat_is_the_hottest_chip, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_mouse_makes_no_laptop, make_root, remove_root),
        cmocka_unit_test(sleep_is_what_one_clock_missed),
        cmocka_unit_test(a_unit_quotes_what_it_is_told),
        cmocka_unit_test_setup_teardown(what_survives_depends_on_the_session, make_root,
                                        remove_root),
    };
    return cmocka_run_group_tests_name("cluster_life_host", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char full[] = "; two boxes\n"
                           "[cluster]\n"
                           "nodes = box1, box2 ; the head first\n"
                           "\n"
                           "[node.box1]\n"
                           "ip = 192.168.100.1\n"
                           "[node.box2]\r\n"
                           "  ssh = me@box2.lan\r\n"
                           "  ip = 192.168.100.2\r\n"
                           "  threads = 16\r\n"
                           "  agent_path = /opt/bin/twinax\r\n"
                           "[node.spare]\n"
                           "ip = fd00::3\n";

static void test_full(void **state)
{
    tw_nodes n;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_config_parse("t.conf", full, sizeof full - 1, &n, &err), 0);
    assert_int_equal(n.n, 2);
    assert_string_equal(n.v[0].name, "box1");
    assert_string_equal(n.v[0].ssh, "box1");
    assert_string_equal(n.v[0].ip, "192.168.100.1");
    assert_string_equal(n.v[1].ssh, "me@box2.lan");
    assert_string_equal(n.v[1].ip, "192.168.100.2");
    assert_string_equal(n.v[1].agent_path, "/opt/bin/twinax");
    assert_int_equal(n.v[0].threads, 0);
    assert_int_equal(n.v[1].threads, 16);
}

/* A section does not take the list's own address away, but its own one wins. */
static void test_address_in_list(void **state)
{
    const char *text = "[cluster]\nnodes=a=10.0.0.1,b=10.0.0.2\n[node.a]\nthreads=2\n"
                       "[node.b]\nip=10.0.0.9";
    tw_nodes n;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &n, &err), 0);
    assert_string_equal(n.v[0].ip, "10.0.0.1");
    assert_int_equal(n.v[0].threads, 2);
    assert_string_equal(n.v[1].ip, "10.0.0.9");
}

static void test_no_nodes(void **state)
{
    const char *texts[] = {"", "\n# nothing\n", "[node.a]\nip=10.0.0.1\n",
                           "\xef\xbb\xbf[cluster]\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tw_nodes n = {.n = 7};
        tw_err err = {0};
        assert_int_equal(tw_config_parse("t.conf", texts[i], strlen(texts[i]), &n, &err), 0);
        assert_int_equal(n.n, 0);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"[cluster]\nnods = a", "t.conf:2: unknown key 'nods'; did you mean 'nodes'?"},
        {"[node.a]\nthread = 4", "t.conf:2: unknown key 'thread'; did you mean 'threads'?"},
        {"[node.a]\ncolour = red", "unknown key 'colour'; there are: ssh ip threads agent_path"},
        {"[claster]\nnodes = a", "unknown section 'claster'; did you mean 'cluster'?"},
        {"[serve]\nport = 1", "unknown section 'serve'; there are: cluster node.NAME"},
        {"nodes = a", "t.conf:1: a key before any section"},
        {"[cluster]\nnodes = -oProxyCommand=x", "begins with '-' is refused"},
        {"[node.a]\nssh = -oProxyCommand=x", "begins with '-' is refused"},
        {"[node.-a]\nip = 10.0.0.1", "begins with '-' is refused"},
        {"[node.]\nip = 10.0.0.1", "an ssh name of 1 to"},
        {"[cluster]\nnodes = a,,b", "an ssh name of 1 to"},
        {"[cluster]\nnodes = a,a", "a is named twice"},
        {"[cluster]\nnodes = a\nnodes = b", "t.conf:3: 'nodes' is given twice"},
        {"[node.a]\nip = 10.0.0.1\nip = 10.0.0.2", "t.conf:3: this key is given twice"},
        {"[cluster]\nnodes = a b", "no spaces"},
        {"[cluster]\nnodes = 1,2,3,4,5,6,7,8,9", "more than 8"},
        {"[node.a]\nip = 10.0.0.256", "'10.0.0.256' is no IP address"},
        {"[node.a]\nip = fe80::1", "link-local"},
        {"[node.a]\nip = 0.0.0.0", "every address"},
        {"[node.a]\nthreads = 0", "wanted a number from 1 to 1024"},
        {"[node.a]\nthreads = 4x", "wanted a number from 1 to 1024"},
        {"[cluster]\nnodes", "t.conf:2: neither"},
        {"[cluster\nnodes = a", "t.conf:1: neither"},
        {"[node.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nip = 1", "section's name"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tw_nodes n = {.n = 7};
        tw_err err = {0};
        int rc = tw_config_parse("t.conf", cases[i].text, strlen(cases[i].text), &n, &err);
        if (rc >= 0 || strstr(err.msg, cases[i].words) == NULL || n.n != 7)
            fail_msg("%s: %d %s", cases[i].text, rc, err.msg);
        assert_int_equal(err.code, rc);
    }
}

/* Neither cut nor continued: inih would do both. */
static void test_long_lines(void **state)
{
    char text[1024];
    tw_nodes n;
    tw_err err = {0};
    (void)state;
    snprintf(text, sizeof text, "[node.a]\nagent_path = /%0300d\n", 1);
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &n, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "t.conf:2: a longer line"));
    snprintf(text, sizeof text, "[cluster]\nnodes = a\n [node.a]\n threads = 3\n");
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &n, &err), 0);
    assert_int_equal(n.v[0].threads, 3);
    assert_int_equal(tw_config_parse("t.conf", "[cluster]\nno\0des=a", 19, &n, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "zero byte"));
}

static void test_list(void **state)
{
    tw_nodes n;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_nodes_parse("local=192.168.100.1, me@b.lan=fd00::2,c", &n, &err), 0);
    assert_int_equal(n.n, 3);
    assert_string_equal(n.v[1].ssh, "me@b.lan");
    assert_string_equal(n.v[1].ip, "fd00::2");
    assert_string_equal(n.v[2].ip, "");
    assert_int_equal(tw_nodes_parse("local,local", &n, &err), 0);
    assert_int_equal(tw_nodes_parse("", &n, &err), -EINVAL);
    assert_int_equal(tw_nodes_parse("a=,b", &n, &err), -EINVAL);
    assert_int_equal(tw_nodes_parse("a,b,", &n, &err), -EINVAL);
    assert_int_equal(n.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),       cmocka_unit_test(test_address_in_list),
        cmocka_unit_test(test_no_nodes),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

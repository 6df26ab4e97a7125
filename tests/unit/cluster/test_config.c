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

#include "base/scope.h"
#include "cluster/config_keys.h"

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
    tw_config c;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_config_parse("t.conf", full, sizeof full - 1, &c, &err), 0);
    const tw_nodes n = c.nodes;
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
    tw_config c;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &c, &err), 0);
    const tw_nodes n = c.nodes;
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
        tw_config c = {.nodes.n = 7};
        tw_err err = {0};
        assert_int_equal(tw_config_parse("t.conf", texts[i], strlen(texts[i]), &c, &err), 0);
        assert_int_equal(c.nodes.n, 0);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"[cluster]\nnods = a", "t.conf:2: unknown key 'nods'; did you mean 'nodes'?"},
        {"[node.a]\nthread = 4", "t.conf:2: unknown key 'thread'; did you mean 'threads'?"},
        {"[node.a]\ncolour = red", "unknown key 'colour'; there are: ssh ip interface rdma_device "
                                   "threads agent_path model_path"},
        {"[claster]\nnodes = a", "unknown section 'claster'; did you mean 'cluster'?"},
        {"[vllm]\nport = 1", "unknown section 'vllm'; there are: cluster node.NAME serve"},
        {"nodes = a", "t.conf:1: a key before any section"},
        {"[cluster]\nnodes = -oProxyCommand=x", "begins with '-' is refused"},
        {"[node.a]\nssh = -oProxyCommand=x", "begins with '-' is refused"},
        {"[node.-a]\nip = 10.0.0.1", "begins with '-' is refused"},
        {"[node.]\nip = 10.0.0.1", "an ssh name of 1 to"},
        {"[cluster]\nnodes = a,,b", "an ssh name of 1 to"},
        {"[cluster]\nnodes = a,a", "a is named twice"},
        {"[cluster]\nnodes = a\nnodes = b", "t.conf:3: 'nodes' is given twice"},
        {"[node.a]\nip = 10.0.0.1\nip = 10.0.0.2", "t.conf:3: 'ip' is given twice"},
        {"[serve]\nport = 1\nport = 2", "t.conf:3: 'port' is given twice"},
        {"[cluster]\ntransport = rmda", "transport 'rmda': wanted auto, rdma, tcp or shm"},
        {"[serve]\nport = 65536", "t.conf:2: port '65536': wanted a number from 1 to 65535"},
        {"[serve]\ntp = 3", "tp '3': wanted 1, 2, 4 or 8"},
        {"[serve]\nno_auth = maybe", "no_auth 'maybe': wanted yes or no"},
        {"[serve]\napi_key = geheim", "unknown key 'api_key'; there are: model engine"},
        {"[serve]\napi_key_file = key", "wanted a path that begins with / or ~/"},
        {"[node.a]\nagent_path = ../twinax", "wanted a path that begins with / or ~/"},
        {"[cluster]\ninterface = eth0/1", "wanted a name without spaces"},
        {"[cluster]\nnodes = a]b", "no brackets"},
        {"[serve]\nmodel =;x", "begins with ';'"},
        {"[cluster]\nnodes = a\n[node.a]\nip = fe80::1", "node a: fe80::1 is link-local: add its"},
        {"[node.a]\nip = fe80::1%", "is no zone"},
        {"[node.a]\nip = fe80::1%abcdefghijklmnop", "is no zone"},
        {"[node.a]\nip = fd00::1%eth0", "is not link-local: it takes no zone"},
        {"[cluster]\nnodes = a\n[node.a]\nip = fe80::1%eth0\ninterface = eth1",
         "its address is on eth0, its interface is eth1"},
        {"[cluster]\nnodes = a b", "no spaces"},
        {"[cluster]\nnodes = 1,2,3,4,5,6,7,8,9", "more than 8"},
        {"[node.a]\nip = 10.0.0.256", "'10.0.0.256' is no IP address"},
        {"[node.a]\nip = 0.0.0.0", "every address"},
        {"[node.a]\nthreads = 0", "wanted a number from 1 to 1024"},
        {"[node.a]\nthreads = 4x", "wanted a number from 1 to 1024"},
        {"[cluster]\nnodes", "t.conf:2: neither"},
        {"[cluster\nnodes = a", "t.conf:1: neither"},
        {"[node.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\nip = 1", "section's name"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tw_config c = {.nodes.n = 7};
        tw_err err = {0};
        int rc = tw_config_parse("t.conf", cases[i].text, strlen(cases[i].text), &c, &err);
        if (rc >= 0 || strstr(err.msg, cases[i].words) == NULL || c.nodes.n != 7)
            fail_msg("%s: %d %s", cases[i].text, rc, err.msg);
        assert_int_equal(err.code, rc);
    }
}

/* Neither cut nor continued: inih would do both. */
static void test_long_lines(void **state)
{
    char text[1024];
    tw_config c;
    tw_err err = {0};
    (void)state;
    snprintf(text, sizeof text, "[node.a]\nagent_path = /%0300d\n", 1);
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &c, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "t.conf:2: a longer line"));
    snprintf(text, sizeof text, "[cluster]\nnodes = a\n [node.a]\n threads = 3\n");
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &c, &err), 0);
    assert_int_equal(c.nodes.v[0].threads, 3);
    assert_int_equal(tw_config_parse("t.conf", "[cluster]\nno\0des=a", 19, &c, &err), -EINVAL);
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

static const tw_config rich = {
    .nodes = {.n = 8,
              .v = {{.name = "a", .ssh = "a", .ip = "192.168.100.1"},
                    {.name = "b",
                     .ssh = "me@b.lan",
                     .ip = "fe80::2%thunderbolt0",
                     .interface = "thunderbolt0",
                     .rdma_device = "irdma0:1",
                     .agent_path = "~/.local/bin/twinax-node",
                     .model_path = "/data/a model",
                     .threads = 16},
                    {.name = "c", .ssh = "c", .ip = "fd00::3"},
                    {.name = "local", .ssh = "local", .ip = "10.0.0.1"},
                    {.name = "local", .ssh = "local", .ip = "10.0.0.2"},
                    {.name = "f", .ssh = "f"},
                    {.name = "g", .ssh = "ssh-g"},
                    {.name = "h", .ssh = "h", .threads = 1}}},
    .transport = "rdma",
    .interface = "enp1s0f0np0",
    .rdma_device = "irdma0",
    .serve = {.model = "org/name",
              .engine = "native",
              .host = "0.0.0.0",
              .port = 8080,
              .tp = 8,
              .ctx = 32768,
              .max_seqs = 16,
              .chunk = 512,
              .threads = 8,
              .kv = "f32",
              .arith = "wire16",
              .api_key_file = "~/.config/twinax/key",
              .no_auth = true,
              .no_pack_cache = true,
              .pack_cache_gib = 200,
              .cors = "https://a.example,http://b:3000"},
};

static void test_write(void **state)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_CONFIG_MAX_BYTES);
    tw_config in = rich, out;
    tw_err err = {0};
    (void)state;
    memcpy(in.nodes.v[1].model_path, "/data/a model;v2", 17); /* no comment without a space */
    assert_int_equal(tw_config_write(&in, &b, &err), 0);
    if (tw_config_parse("t.conf", b.data, b.len, &out, &err) != 0)
        fail_msg("%s in\n%s", err.msg, b.data);
    assert_memory_equal(&in, &out, sizeof in);
    assert_non_null(strstr(b.data, "; twinax or twinax-node there"));
    tw_buf_reset(&b);
    in = (tw_config){.nodes.n = 0};
    assert_int_equal(tw_config_write(&in, &b, &err), 0);
    assert_int_equal(tw_config_parse("t.conf", b.data, b.len, &out, &err), 0);
    assert_memory_equal(&in, &out, sizeof in);
}

static void test_write_refused(void **state)
{
    TW_CLEANUP(tw_buf_done) tw_buf b = TW_BUF(TW_CONFIG_MAX_BYTES);
    tw_config c = rich;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_config_write(&c, &b, &err), 0);
    const char *bad[] = {"a ;b", ";b", "a\n[node.x]", " a", "a "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(c.serve.model, sizeof c.serve.model, "%s", bad[i]);
        assert_int_equal(tw_config_write(&c, &b, &err), -EINVAL);
        assert_non_null(strstr(err.msg, "model"));
    }
    c = rich;
    snprintf(c.nodes.v[0].name, sizeof c.nodes.v[0].name, "-oProxyCommand=x");
    assert_int_equal(tw_config_write(&c, &b, &err), -EINVAL);
}

static void test_link_local(void **state)
{
    const char *text = "[cluster]\nnodes = a,b\ninterface = thunderbolt0\n[node.a]\nip = fe80::1\n"
                       "[node.b]\nip = FE80::2\ninterface = tb1\n";
    tw_config c;
    tw_nodes n;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &c, &err), 0);
    assert_string_equal(c.nodes.v[0].ip, "fe80::1%thunderbolt0");
    assert_string_equal(c.nodes.v[1].ip, "FE80::2%tb1");
    assert_true(tw_node_is_link_local(&c.nodes.v[1]));
    assert_string_equal(tw_node_zone(&c.nodes.v[1]), "tb1");
    assert_string_equal(tw_config_interface(&c, &c.nodes.v[0]), "thunderbolt0");
    assert_int_equal(tw_nodes_parse("a=fe80::1%eth0,b=febf::2%eth1", &n, &err), 0);
    assert_int_equal(tw_nodes_parse("a=fe80::1", &n, &err), -EINVAL);
    assert_int_equal(tw_nodes_parse("a=fd80::1,b=feb::1", &n, &err), 0);
    assert_false(tw_node_is_link_local(&n.v[0]) || tw_node_is_link_local(&n.v[1]));
}

/* What is wrong is noted, each line of it, and the rest is read; lines are those of the file. */
static void test_traced(void **state)
{
    const char *text = "[cluster]\nnodes = a, b=10.0.0.2\nfrob = 1\n[node.a]\nip=10.0.0.1\n"
                       "threads=0\n[serve]\nport = 9000\nport = 9001\nwhat is this\n[nowhere]\n"
                       "x=1\n";
    static const int lines[] = {3, 6, 9, 12, 10};
    static tw_config_trace t;
    tw_config c;
    tw_err err = {0};
    (void)state;
    assert_int_equal(tw_config_parse_traced("t.conf", text, strlen(text), &c, &t, &err), 0);
    assert_int_equal(c.nodes.n, 2);
    assert_int_equal(c.serve.port, 9000);
    assert_string_equal(c.nodes.v[0].ip, "10.0.0.1");
    assert_int_equal(t.cluster[0], 2);
    assert_int_equal(t.cluster[1], 0);
    assert_int_equal(t.nodes[0][1], 5); /* ip */
    assert_int_equal(t.nodes[1][1], 0); /* in the list */
    assert_int_equal(t.serve[3], 8);    /* port */
    assert_int_equal(t.n_bad, TW_ARRAY_LEN(lines));
    for (size_t i = 0; i < TW_ARRAY_LEN(lines); i++)
        assert_int_equal(t.bad[i].line, lines[i]);
    assert_int_equal(tw_config_parse("t.conf", text, strlen(text), &c, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "t.conf:3: "));
}

/* More than is kept is counted, and lines that cannot be read harm nobody. */
static void test_traced_flood(void **state)
{
    static char text[TW_CONFIG_MAX_BYTES];
    static tw_config_trace t;
    tw_config c;
    tw_err err = {0};
    size_t n = 0;
    (void)state;
    for (int i = 0; i < 100; i++) {
        memset(text + n, 'x', 300);
        text[n + 300] = '\n';
        n += 301;
    }
    text[n++] = '\0';
    assert_int_equal(tw_config_parse_traced("t.conf", text, n, &c, &t, &err), 0);
    assert_in_range(t.n_bad, 101, 102);
    assert_int_equal(c.nodes.n, 0);
}

/* A default that is a value is one that the key takes. */
static void test_defaults(void **state)
{
    static const struct {
        const tw_config_key *keys;
        size_t n;
    } tables[] = {{tw_config_cluster_keys, sizeof(tw_config)},
                  {tw_config_node_keys, sizeof(tw_node_spec)},
                  {tw_config_serve_keys, sizeof(tw_serve_spec)}};
    (void)state;
    for (size_t i = 0; i < TW_ARRAY_LEN(tables); i++)
        for (const tw_config_key *k = tables[i].keys; k->name != NULL; k++) {
            static union {
                tw_config c;
                tw_node_spec n;
                tw_serve_spec s;
            } base;
            tw_err err = {0};
            assert_true(tables[i].n <= sizeof base);
            if (k->def != NULL && k->choices != NULL)
                assert_int_equal(tw_config_key_set(k, "x", k->def, &base, &err), 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traced),
        cmocka_unit_test(test_traced_flood),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_address_in_list),
        cmocka_unit_test(test_no_nodes),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_refused),
        cmocka_unit_test(test_link_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Paths found in made-up pairs of machines, and what is said of their speed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/scope.h"
#include "cluster/facts.h"
#include "cluster/path.h"
#include "cluster/verdict.h"

static tw_net net[2];

static tw_net_if *add(tw_net *n, const char *name, enum tw_net_kind kind, const char *address)
{
    tw_net_if *f = &n->ifs[n->n_ifs++];
    *f = (tw_net_if){.kind = kind, .up = true, .carrier = true, .mtu = 1500};
    snprintf(f->name, sizeof f->name, "%s", name);
    if (address != NULL) {
        assert_true(tw_net_addr_parse(address, &f->addrs[0]));
        f->n_addrs = 1;
    }
    return f;
}

/* The guide's pair: a LAN, an E810 with RDMA, a Thunderbolt cable. */
static int make_pair(void **state)
{
    (void)state;
    memset(net, 0, sizeof net);
    for (int i = 0; i < 2; i++) {
        char ip[32];
        snprintf(net[i].host, sizeof net[i].host, "node%d", i + 1);
        snprintf(ip, sizeof ip, "192.168.1.%d/24", 10 + i);
        tw_net_if *lan = add(&net[i], i == 0 ? "enp1s0" : "eno1", TW_NET_ETHERNET, ip);
        lan->default_route = true;
        lan->speed_mbit = 1000;
        snprintf(ip, sizeof ip, "192.168.100.%d/30", 1 + i);
        tw_net_if *roce = add(&net[i], "enp194s0np0", TW_NET_ETHERNET, ip);
        snprintf(roce->rdma, sizeof roce->rdma, "irdma0");
        snprintf(roce->state, sizeof roce->state, "ACTIVE");
        snprintf(roce->gid_types, sizeof roce->gid_types, "RoCE v2");
        roce->speed_mbit = 100000;
        roce->pci_width = 4;
        roce->pci_gts = 16;
        snprintf(ip, sizeof ip, "192.168.2.%d/24", 1 + i);
        add(&net[i], "thunderbolt0", TW_NET_THUNDERBOLT, ip);
    }
    return 0;
}

static int find(enum tw_path_kind k, const char *given, tw_path *ret, tw_err *err)
{
    tw_path_ask ask = {.kind = k, .given = given, .here = &net[0], .there = &net[1]};
    return tw_path_find(&ask, ret, err);
}

static void check(enum tw_path_kind k, const char *given, const char *here, const char *there)
{
    tw_path p;
    tw_err err = {0};
    if (find(k, given, &p, &err) != 0)
        fail_msg("%s", err.msg);
    assert_string_equal(p.here_ip, here);
    assert_string_equal(p.there_ip, there);
}

static void check_no(enum tw_path_kind k, const char *given, const char *words)
{
    tw_path p;
    tw_err err = {0};
    assert_true(find(k, given, &p, &err) < 0);
    if (strstr(err.msg, words) == NULL)
        fail_msg("'%s' lacks '%s'", err.msg, words);
}

/* The configured addresses are the path of the kind that their interface is; the others are found
 * as ever. */
static void check_cluster(const char *ours, const char *theirs, enum tw_path_kind k,
                          const char *here)
{
    tw_path_ask ask = {.kind = k,
                       .here = &net[0],
                       .there = &net[1],
                       .here_cluster_ip = ours,
                       .there_cluster_ip = theirs};
    tw_path p;
    tw_err err = {0};
    if (tw_path_find(&ask, &p, &err) != 0)
        fail_msg("%s", err.msg);
    assert_string_equal(p.here_ip, here);
}

static void test_cluster_addresses(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) { /* two cards: the first one found is not the cluster's */
        char ip[32];
        snprintf(ip, sizeof ip, "10.9.0.%d/24", 1 + i);
        add(&net[i], "cable0", TW_NET_ETHERNET, ip);
        snprintf(ip, sizeof ip, "10.8.0.%d/24", 1 + i);
        add(&net[i], "thunderbolt1", TW_NET_THUNDERBOLT, ip);
        snprintf(ip, sizeof ip, "10.7.0.%d/24", 1 + i);
        tw_net_if *lan = add(&net[i], "lan1", TW_NET_ETHERNET, ip);
        lan->default_route = true;
    }
    check_cluster("10.9.0.1", "10.9.0.2", TW_PATH_ROCE, "10.9.0.1");
    check_cluster("10.9.0.1", "10.9.0.2", TW_PATH_THUNDERBOLT, "192.168.2.1");
    check_cluster("10.9.0.1", "10.9.0.2", TW_PATH_LAN, "192.168.1.10");
    check_cluster("10.8.0.1", "10.8.0.2", TW_PATH_THUNDERBOLT, "10.8.0.1");
    check_cluster("10.8.0.1", "10.8.0.2", TW_PATH_ROCE, "192.168.100.1");
    check_cluster("10.7.0.1", "10.7.0.2", TW_PATH_LAN, "10.7.0.1");
    check_cluster("10.7.0.1", "10.7.0.2", TW_PATH_RDMA, "192.168.100.1");
    check_cluster("10.9.0.1", "", TW_PATH_ROCE, "192.168.100.1");
    check_cluster("10.9.0.1", "10.9.0.77", TW_PATH_ROCE, "192.168.100.1");
    check_cluster("10.1.2.3", "10.9.0.2", TW_PATH_ROCE, "192.168.100.1");
}

static void test_by_interface(void **state)
{
    (void)state;
    check(TW_PATH_LAN, NULL, "192.168.1.10", "192.168.1.11");
    check(TW_PATH_ROCE, NULL, "192.168.100.1", "192.168.100.2");
    check(TW_PATH_THUNDERBOLT, NULL, "192.168.2.1", "192.168.2.2");
    check(TW_PATH_RDMA, NULL, "192.168.100.1", "192.168.100.2");
}

static void test_given(void **state)
{
    (void)state;
    check(TW_PATH_LAN, "192.168.2.1", "192.168.2.1", "192.168.2.2");
    check(TW_PATH_LAN, "192.168.2.2", "192.168.2.1", "192.168.2.2");
    check(TW_PATH_LAN, "192.168.1.10,192.168.100.2", "192.168.1.10", "192.168.100.2");
    check_no(TW_PATH_LAN, "192.168.1.99", "no address of either machine");
    check_no(TW_PATH_LAN, "192.168.1.11,192.168.1.10", "no address of node1");
    check_no(TW_PATH_LAN, "192.168.1.10,192.168.1.10", "no address of node2");
    check_no(TW_PATH_LAN, "host", "in numbers");
    check_no(TW_PATH_LAN, "192.168.1.10,", "in numbers");
}

static void test_reasons(void **state)
{
    (void)state;
    net[1].ifs[2].kind = TW_NET_OTHER;
    net[1].ifs[2].n_addrs = 0;
    check_no(TW_PATH_THUNDERBOLT, NULL, "node2 has no thunderbolt interface");
    net[0].ifs[2].carrier = false;
    check_no(TW_PATH_THUNDERBOLT, NULL, "thunderbolt0 is without a carrier");
    net[0].ifs[2].up = false;
    check_no(TW_PATH_THUNDERBOLT, NULL, "thunderbolt0 is down");
    net[0].ifs[0].n_addrs = 0;
    check_no(TW_PATH_LAN, NULL, "enp1s0 has no address");
    net[1].ifs[1].addrs[0].ip[10] = '9'; /* 192.168.900.2: no such thing; and no subnet */
    check_no(TW_PATH_ROCE, NULL, "node2 has no address in the subnet of enp194s0np0");
}

static void test_rdma_reasons(void **state)
{
    (void)state;
    snprintf(net[1].ifs[1].gid_types, sizeof net[1].ifs[1].gid_types, "IB/RoCE v1");
    check_no(TW_PATH_RDMA, NULL, "no RoCE v2 GID");
    snprintf(net[0].ifs[1].state, sizeof net[0].ifs[1].state, "DOWN");
    check_no(TW_PATH_RDMA, NULL, "irdma0 port 0 of node1 is DOWN");
    net[0].ifs[1].rdma[0] = '\0';
    snprintf(net[0].rdma_why, sizeof net[0].rdma_why, "no such card");
    check_no(TW_PATH_RDMA, NULL, "node1: no such card");
    check_no(TW_PATH_RDMA, "192.168.100.1",
             "enp194s0np0 of node1 has no RDMA device: no such card");
}

/* Link-local addresses fit everywhere: the kind of interface decides. */
static void test_link_local(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++) {
            char ip[32];
            snprintf(ip, sizeof ip, "fe80::%d%d/64", i + 1, k);
            assert_true(tw_net_addr_parse(ip, &net[i].ifs[k].addrs[0]));
        }
    tw_path p;
    tw_err err = {0};
    assert_int_equal(find(TW_PATH_THUNDERBOLT, NULL, &p, &err), 0);
    assert_string_equal(p.here_ip, "fe80::12%thunderbolt0");
    assert_string_equal(p.there_ip, "fe80::22");
    assert_string_equal(p.to_ip, "fe80::22%thunderbolt0");
    check(TW_PATH_LAN, "fe80::11%enp194s0np0,fe80::20", "fe80::11%enp194s0np0", "fe80::20");
    check_no(TW_PATH_LAN, "fe80::11%thunderbolt0,fe80::20", "no address of node1");
}

static void test_names(void **state)
{
    (void)state;
    char name[32];
    tw_net_if *f = &net[0].ifs[0];
    tw_path_name(TW_PATH_LAN, f, name, sizeof name);
    assert_string_equal(name, "Ethernet (1G LAN)");
    f->speed_mbit = 2500;
    tw_path_name(TW_PATH_LAN, f, name, sizeof name);
    assert_string_equal(name, "Ethernet (2.5G LAN)");
    f->kind = TW_NET_WIFI;
    tw_path_name(TW_PATH_LAN, f, name, sizeof name);
    assert_string_equal(name, "Wi-Fi (LAN)");
    tw_path_name(TW_PATH_ROCE, NULL, name, sizeof name);
    assert_string_equal(name, "Ethernet (RoCE NIC)");
}

static void judge(enum tw_path_kind k, double us, double gbit, enum tw_verdict_level want,
                  const char *words)
{
    tw_path p;
    tw_err err = {0};
    tw_verdict v;
    assert_int_equal(find(k, NULL, &p, &err), 0);
    tw_verdict_judge(&(tw_measured){.path = &p, .lat_us = us, .min_gbit = gbit}, &v);
    if (v.level != want || strstr(v.text, words) == NULL)
        fail_msg("%s: '%s', wanted %s with '%s'", tw_verdict_name(v.level), v.text,
                 tw_verdict_name(want), words);
}

static void test_verdicts(void **state)
{
    (void)state;
    judge(TW_PATH_RDMA, 5.2, 54.4, TW_VERDICT_GOOD, "PCIe x4 at 16 GT/s is the ceiling");
    judge(TW_PATH_RDMA, 35, 54.4, TW_VERDICT_BAD, "35.0 us is far too slow");
    judge(TW_PATH_ROCE, 34, 55.7, TW_VERDICT_GOOD, "as it should be");
    judge(TW_PATH_ROCE, 34, 20, TW_VERDICT_BAD, "20.00 of 53.56 Gbit/s");
    judge(TW_PATH_LAN, 37, 0.94, TW_VERDICT_GOOD, "1G Ethernet");
    judge(TW_PATH_LAN, 37, 0.09, TW_VERDICT_BAD, "0.09 of 0.94");
    judge(TW_PATH_LAN, 100, 0.94, TW_VERDICT_SLOW, "100.0 us is slow");
    judge(TW_PATH_THUNDERBOLT, 60, 17, TW_VERDICT_GOOD, "Thunderbolt");
    judge(TW_PATH_THUNDERBOLT, 60, 5, TW_VERDICT_SLOW, "5.00 of 9.00");
    snprintf(net[0].ifs[1].rdma, sizeof net[0].ifs[1].rdma, "rxe0");
    judge(TW_PATH_RDMA, 400, 1, TW_VERDICT_UNKNOWN, "rxe0 is RDMA in software");
    net[1].ifs[0].kind = TW_NET_WIFI;
    judge(TW_PATH_LAN, 900, 0.4, TW_VERDICT_SLOW, "this is Wi-Fi");
    net[1].ifs[0].kind = TW_NET_ETHERNET;
    snprintf(net[0].ifs[0].driver, sizeof net[0].ifs[0].driver, "veth");
    judge(TW_PATH_LAN, 5, 20, TW_VERDICT_UNKNOWN, "virtual");
}

static void test_facts_there_and_back(void **state)
{
    (void)state;
    static tw_net again;
    tw_err err = {0};
    net[0].ifs[0].addrs[1] = net[0].ifs[1].addrs[0];
    net[0].ifs[0].n_addrs = 2;
    snprintf(net[0].ifs[1].pci, sizeof net[0].ifs[1].pci, "0000:c2:00.0");
    TW_CLEANUP(tw_json_freep) json_t *v = tw_facts_net_print(&net[0]);
    assert_non_null(v);
    assert_int_equal(tw_facts_net_parse(v, &again, &err), 0);
    assert_memory_equal(&again, &net[0], sizeof again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_by_interface, make_pair),
        cmocka_unit_test_setup(test_cluster_addresses, make_pair),
        cmocka_unit_test_setup(test_given, make_pair),
        cmocka_unit_test_setup(test_reasons, make_pair),
        cmocka_unit_test_setup(test_rdma_reasons, make_pair),
        cmocka_unit_test_setup(test_link_local, make_pair),
        cmocka_unit_test_setup(test_names, make_pair),
        cmocka_unit_test_setup(test_verdicts, make_pair),
        cmocka_unit_test_setup(test_facts_there_and_back, make_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

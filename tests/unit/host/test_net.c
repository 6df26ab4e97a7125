/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded machines (made up from published reports), and this one. */
#include <errno.h>
#include <ftw.h>
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

#include "host/net.h"
#include "os/file.h"

static char root[64];
static tw_net net;

static void make_parents(char *path)
{
    for (char *c = path + 1; *c != '\0'; c++)
        if (*c == '/') {
            *c = '\0';
            (void)mkdir(path, 0755);
            *c = '/';
        }
}

static void put(const char *where, const char *text)
{
    char path[512];
    tw_err err = {0};
    snprintf(path, sizeof path, "%s/%s", root, where);
    make_parents(path);
    assert_int_equal(tw_file_write(path, text, strlen(text), &err), 0);
}

static void put_link(const char *where, const char *to)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, where);
    make_parents(path);
    assert_int_equal(symlink(to, path), 0);
}

static void put_if(const char *name, const char *what, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "sys/class/net/%s/%s", name, what);
    put(path, text);
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/twinax-net-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put_card(const char *name, const char *pci, const char *driver)
{
    char path[256], to[256];
    snprintf(path, sizeof path, "sys/class/net/%s/device", name);
    snprintf(to, sizeof to, "../../../devices/pci0000:00/%s", pci);
    put_link(path, to);
    snprintf(path, sizeof path, "sys/devices/pci0000:00/%s/driver", pci);
    snprintf(to, sizeof to, "../../bus/pci/drivers/%s", driver);
    put_link(path, to);
}

/* The guide's board: E810 in an x4 slot, 2.5G on board, Wi-Fi, a Thunderbolt cable. */
static void make_strix_halo(void)
{
    put_card("enp194s0np0", "0000:c2:00.0", "ice");
    put("sys/devices/pci0000:00/0000:c2:00.0/current_link_width", "4\n");
    put("sys/devices/pci0000:00/0000:c2:00.0/max_link_width", "16\n");
    put("sys/devices/pci0000:00/0000:c2:00.0/current_link_speed", "16.0 GT/s PCIe\n");
    put_if("enp194s0np0", "type", "1\n");
    put_if("enp194s0np0", "mtu", "9000\n");
    put_if("enp194s0np0", "speed", "100000\n");
    put_if("enp194s0np0", "flags", "0x1003\n");
    put_if("enp194s0np0", "carrier", "1\n");
    put_card("eno1", "0000:bf:00.0", "r8169");
    put_if("eno1", "type", "1\n");
    put_if("eno1", "speed", "2500\n");
    put_if("eno1", "flags", "0x1003\n");
    put_card("wlp1s0", "0000:c0:00.0", "mt7925e");
    put_if("wlp1s0", "type", "1\n");
    put_if("wlp1s0", "uevent", "DEVTYPE=wlan\nINTERFACE=wlp1s0\n");
    put_if("thunderbolt0", "type", "1\n");
    put_if("thunderbolt0", "speed", "-1\n");
    put_if("lo", "type", "772\n");
    put("sys/class/infiniband/irdma0/ports/1/state", "4: ACTIVE\n");
    put("sys/class/infiniband/irdma0/ports/1/gid_attrs/ndevs/0", "enp194s0np0\n");
    put("sys/class/infiniband/irdma0/ports/1/gid_attrs/ndevs/1", "enp194s0np0\n");
    put("sys/class/infiniband/irdma0/ports/1/gid_attrs/types/0", "IB/RoCE v1\n");
    put("sys/class/infiniband/irdma0/ports/1/gid_attrs/types/1", "RoCE v2\n");
    put("proc/net/route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "wlp1s0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
        "eno1\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "eno1\t0001A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n");
    put("proc/sys/kernel/hostname", "halo1\n");
    put("addresses", "enp194s0np0 192.168.100.1/30\neno1 192.168.1.10/24\neno1 fe80::AB/64\n"
                     "gone 10.0.0.1/8\nbroken\neno1 300.1.1.1/8\n");
}

static void test_strix_halo(void **state)
{
    (void)state;
    tw_err err = {0};
    make_strix_halo();
    assert_int_equal(tw_net_read(root, &net, &err), 0);
    assert_string_equal(net.host, "halo1");
    assert_int_equal(net.n_ifs, 5);
    const tw_net_if *roce = tw_net_find(&net, "enp194s0np0"), *lan = tw_net_find(&net, "eno1");
    assert_string_equal(roce->driver, "ice");
    assert_string_equal(roce->pci, "0000:c2:00.0");
    assert_string_equal(roce->rdma, "irdma0");
    assert_string_equal(roce->state, "ACTIVE");
    assert_string_equal(roce->gid_types, "IB/RoCE v1, RoCE v2");
    assert_int_equal(roce->rdma_port, 1);
    assert_int_equal(roce->pci_width, 4);
    assert_int_equal(roce->pci_max_width, 16);
    assert_int_equal((int)(tw_net_pci_gbit(roce) * 10), 630);
    assert_int_equal(roce->mtu, 9000);
    assert_int_equal(roce->speed_mbit, 100000);
    assert_true(roce->up && roce->carrier && !roce->default_route);
    assert_int_equal(roce->kind, TW_NET_ETHERNET);
    assert_true(lan->default_route && lan->rdma[0] == '\0');
    assert_int_equal(lan->n_addrs, 2);
    assert_string_equal(lan->addrs[1].ip, "fe80::ab");
    assert_true(lan->addrs[1].link_local);
    assert_int_equal(tw_net_find(&net, "wlp1s0")->kind, TW_NET_WIFI);
    assert_int_equal(tw_net_find(&net, "thunderbolt0")->kind, TW_NET_THUNDERBOLT);
    assert_int_equal(tw_net_find(&net, "thunderbolt0")->speed_mbit, 0);
    assert_int_equal(tw_net_find(&net, "lo")->kind, TW_NET_LOOPBACK);
    assert_string_equal(net.rdma_why, "");
    assert_ptr_equal(tw_net_find_ip(&net, "fe80::ab%eno1", NULL), lan);
    assert_null(tw_net_find_ip(&net, "fe80::ab%wlp1s0", NULL));
    assert_null(tw_net_find_ip(&net, "not an address", NULL));
}

static void test_no_rdma_has_a_reason(void **state)
{
    (void)state;
    tw_err err = {0};
    put_if("lo", "type", "772\n");
    assert_int_equal(tw_net_read(root, &net, &err), 0);
    assert_non_null(strstr(net.rdma_why, "/sys/class/infiniband is not there"));
    put("sys/class/infiniband/.keep", "");
    assert_int_equal(tw_net_read(root, &net, &err), 0);
    assert_non_null(strstr(net.rdma_why, "is empty"));
    put("sys/class/infiniband/rxe0/ports/1/state", "4: ACTIVE\n");
    assert_int_equal(tw_net_read(root, &net, &err), 0);
    assert_non_null(strstr(net.rdma_why, "belongs to an interface"));
}

static void test_default_route_of_ipv6(void **state)
{
    (void)state;
    tw_err err = {0};
    put_if("eth0", "type", "1\n");
    put_if("lo", "type", "772\n");
    put("proc/net/ipv6_route",
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n");
    assert_int_equal(tw_net_read(root, &net, &err), 0);
    assert_true(tw_net_find(&net, "eth0")->default_route);
    assert_false(tw_net_find(&net, "lo")->default_route);
}

static void test_nothing_recorded(void **state)
{
    (void)state;
    tw_err err = {0};
    assert_int_equal(tw_net_read(root, &net, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "no recorded machine"));
}

static void test_this_machine(void **state)
{
    (void)state;
    tw_err err = {0};
    const tw_net_addr *a = NULL;
    assert_int_equal(tw_net_read(NULL, &net, &err), 0);
    const tw_net_if *lo = tw_net_find_ip(&net, "127.0.0.1", &a);
    assert_non_null(lo);
    assert_string_equal(lo->name, "lo");
    assert_int_equal(lo->kind, TW_NET_LOOPBACK);
    assert_int_equal(a->prefix, 8);
    assert_true(lo->mtu > 0 && lo->up);
    assert_true(net.host[0] != '\0');
}

static bool same(const char *a, const char *b)
{
    tw_net_addr x, y;
    assert_true(tw_net_addr_parse(a, &x) && tw_net_addr_parse(b, &y));
    return tw_net_same_subnet(&x, &y);
}

static void test_subnets(void **state)
{
    (void)state;
    assert_true(same("192.168.100.1/30", "192.168.100.2/30"));
    assert_false(same("192.168.100.1/30", "192.168.100.5/30"));
    assert_false(same("192.168.100.1/24", "192.168.100.5/30"));
    assert_true(same("10.0.0.1/0", "11.0.0.1/0"));
    assert_false(same("10.0.0.1/32", "10.0.0.2/32"));
    assert_true(same("fd00::1/64", "fd00::ffff:0:1/64"));
    assert_false(same("fd00::1/64", "10.0.0.1/8"));
}

static void test_addresses(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",          "1.2.3",      "1.2.3.4/33",
        "1.2.3.4/x", "::/129",     "eth0",
        "1.2.3.4/",  "1.2.3.4/-1", "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
    tw_net_addr a;
    char text[64];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(tw_net_addr_parse(bad[i], &a));
    assert_true(tw_net_addr_parse("FE80:0::1/10", &a));
    tw_net_addr_format(&a, "eth0", text, sizeof text);
    assert_string_equal(text, "fe80::1%eth0");
    tw_net_addr_format(&a, NULL, text, sizeof text);
    assert_string_equal(text, "fe80::1");
    assert_true(tw_net_addr_parse("fd00::1", &a));
    tw_net_addr_format(&a, "eth0", text, sizeof text);
    assert_string_equal(text, "fd00::1");
    assert_int_equal(a.prefix, 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_strix_halo, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_no_rdma_has_a_reason, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_default_route_of_ipv6, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_nothing_recorded, make_root, remove_root),
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_subnets),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

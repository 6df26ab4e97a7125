/* SPDX-License-Identifier: Apache-2.0 */
/* Which device, port and GID; and what each machine that lacks something is told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "link/verbs_inside.h"
#include "verbs_pair.h"

static int setup(void **state)
{
    (void)state;
    fake_reset();
    return 0;
}

/* Both ends refuse with the same cause, rank 0's own one; the connection stays fresh. */
static void refused(const char *device, const char *words[], size_t n_words)
{
    pair_end e[2];
    tw_link *l[2];
    tw_err err = {0};
    uint8_t in[3];
    pair_init(e, false);
    e[0].opts.device = e[1].opts.device = device;
    pair_meet(e);
    for (unsigned i = 0; i < 2; i++) {
        char who[16];
        snprintf(who, sizeof who, "rank %u: ", i);
        assert_int_equal(e[i].rc, -EOPNOTSUPP);
        assert_int_equal(e[i].err.code, -EOPNOTSUPP);
        assert_memory_equal(e[i].err.msg, who, strlen(who));
        for (size_t k = 0; k < n_words; k++)
            if (strstr(e[i].err.msg, words[k]) == NULL)
                fail_msg("wanted \"%s\" in: %s", words[k], e[i].err.msg);
    }
    assert_int_equal(fake_n_handles(), 0);
    /* tcp takes it from here. */
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(tw_link_tcp_new(e[i].fd, (uint8_t)i, (uint8_t)(i ^ 1), false, &l[i], &err),
                         0);
    tw_link_send(l[0], 1, "abc", 3);
    tw_link_recv(l[1], 1, in, 3, true);
    while (!tw_link_tx_idle(l[0]) || !tw_link_rx_idle(l[1]))
        for (unsigned i = 0; i < 2; i++)
            if (tw_link_poll(l[i], &err) < 0)
                fail_msg("%s", err.msg);
    assert_memory_equal(in, "abc", 3);
    tw_link_close(l[0]);
    tw_link_close(l[1]);
}

#define REFUSED(device, ...)                                                                       \
    do {                                                                                           \
        const char *words_[] = {__VA_ARGS__};                                                      \
        refused(device, words_, TW_ARRAY_LEN(words_));                                             \
    } while (0)

static void opens(const char *device)
{
    pair_end e[2];
    tw_link *l[2];
    pair_init(e, false);
    e[0].opts.device = e[1].opts.device = device;
    pair_meet(e);
    for (unsigned i = 0; i < 2; i++) {
        if (e[i].rc != 0)
            fail_msg("%s", e[i].err.msg);
        l[i] = e[i].l;
    }
    pair_close(l);
}

static fake_device *add_copy(const char *name)
{
    fake_device *d = &fake.dev[fake.n_devices++];
    *d = fake.dev[0];
    snprintf(d->name, sizeof d->name, "%s", name);
    return d;
}

static void test_nothing_there(void **state)
{
    (void)state;
    fake.n_devices = 0;
    REFUSED(NULL, "no RDMA device", "/dev/infiniband");
    fake.n_devices = 1;
    REFUSED("mlx5_7", "no RDMA device mlx5_7", "there are fake0:1 (Ethernet, active)");
    fake.dev[0].open_rc = -EACCES;
    REFUSED(NULL, "fake0 cannot be opened", "Permission denied", "/dev/infiniband");
}

/* Every device and port, whatever its state. */
static void test_unknown_name_gets_the_list(void **state)
{
    (void)state;
    fake_device *d = add_copy("fake1");
    d->n_ports = 2;
    d->ports[1] = (tw_verbs_port){.state = TW_VERBS_PORT_DOWN};
    add_copy("fake2")->open_rc = -EACCES;
    REFUSED("fake", "no RDMA device fake; there are ",
            "fake0:1 (Ethernet, active); fake1:1 (Ethernet, active); fake1:2 (InfiniBand, down); "
            "fake2 (Permission denied)");
    assert_int_equal(fake_n_handles(), 0);
}

static void test_gids(void **state)
{
    (void)state;
    fake_device *d = &fake.dev[0];
    d->n_gids = 3; /* the address as RoCE v1 alone */
    REFUSED(NULL, "no RDMA port for 127.0.0.1", "only as RoCE v1 (GID 2)", "wanted RoCE v2");
    d->n_gids = 2;
    REFUSED(NULL, "127.0.0.1", "fake0:1 is at fe80::9");
    d->n_gids = 1;
    REFUSED(NULL, "fake0:1 has no GID of type RoCE v2");
    d->n_gids = 0;
    REFUSED(NULL, "fake0:1 has no GID of type RoCE v2");
}

static void test_gid_index_is_found(void **state)
{
    (void)state;
    fake_device *d = &fake.dev[0];
    d->gids[3].index = 11;
    opens(NULL);
    assert_int_equal(fake.last_path.gid_index, 11);
    opens("fake0");
    opens("fake0:1");
}

static void test_iwarp(void **state)
{
    (void)state;
    fake.dev[0].is_iwarp = true;
    REFUSED(NULL, "fake0 runs iWARP", "wanted RoCE v2", "devlink dev param set", "enable_roce");
}

static void test_port_state(void **state)
{
    (void)state;
    fake_device *d = &fake.dev[0];
    d->ports[0].state = TW_VERBS_PORT_DOWN;
    REFUSED(NULL, "fake0:1 is down");
    d->ports[0].is_ethernet = false;
    d->ports[0].state = TW_VERBS_PORT_INIT;
    REFUSED(NULL, "fake0:1 is initialising", "opensm");
    d->ports[0].state = TW_VERBS_PORT_ACTIVE;
    REFUSED(NULL, "fake0:1 has no LID", "opensm");
    REFUSED("fake0:2", "fake0 has 1 ports");
}

static void test_several(void **state)
{
    (void)state;
    add_copy("fake1");
    REFUSED(NULL, "2 RDMA ports would do", "fake0:1; fake1:1", "--rdma-device");
    opens("fake1");
    /* One with the address and one without: no question. */
    fake.dev[0].n_gids = 2;
    opens(NULL);
}

static void test_native_infiniband(void **state)
{
    (void)state;
    fake_device *d = &fake.dev[0];
    d->ports[0] = (tw_verbs_port){.state = TW_VERBS_PORT_ACTIVE,
                                  .is_ethernet = false,
                                  .mtu_code = 5,
                                  .lid = 7};
    opens(NULL);
    assert_false(fake.last_path.is_ethernet);
    assert_int_equal(fake.last_path.lid, 7);
    add_copy("fake1");
    REFUSED(NULL, "2 RDMA ports would do", "fake0:1; fake1:1");
    opens("fake1:1");
    /* A RoCE port that has the address wins. */
    fake.dev[1].ports[0].is_ethernet = true;
    opens(NULL);
    assert_true(fake.last_path.is_ethernet);
}

static void test_resources(void **state)
{
    (void)state;
    struct rlimit old, low = {64 * 1024, 64 * 1024};
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &old), 0);
    low.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &low), 0);
    fake.reg_rc = -ENOMEM;
    REFUSED(NULL, "fake0: register 1092 KiB", "memlock limit is 64 KiB", "wanted unlimited",
            "ulimit -l unlimited");
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &old), 0);
    fake.reg_rc = -EINVAL;
    REFUSED(NULL, "fake0: register memory: Invalid argument");
    fake.reg_rc = 0;
    fake.create_cq_rc = -ENOMEM;
    REFUSED(NULL, "fake0: completion queue");
    fake.create_cq_rc = 0;
    fake.create_qp_rc = -ENOMEM;
    REFUSED(NULL, "fake0: queue pair: ");
    fake.create_qp_rc = 0;
    fake.init_rc = -EINVAL;
    REFUSED(NULL, "queue pair to INIT");
    fake.init_rc = 0;
    fake.recv_rc = -ENOMEM;
    REFUSED(NULL, "post receives");
    fake.recv_rc = 0;
    fake.rtr_rc = -ENODATA; /* what a zero GID gives */
    REFUSED(NULL, "fake0:1: connect queue pair", "to 127.0.0.1 qp", "No data available");
    fake.rtr_rc = 0;
    fake.rts_rc = -EINVAL;
    REFUSED(NULL, "connect queue pair");
}

/* The path is proven before it is used. */
static void test_probe(void **state)
{
    (void)state;
    fake.damage = 0x20;
    REFUSED(NULL, "first write came damaged");
    fake_reset();
    fake.wrong_rkey = true;
    REFUSED(NULL, "r"); /* one end sees a remote access error, the other one is flushed */
    fake_reset();
    fake.fail_write_in = 1;
    fake.fail_status = TW_VERBS_RETRY_EXC_ERR;
    pair_end e[2];
    pair_init(e, false);
    pair_meet(e);
    unsigned n = 0;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(e[i].rc, -EOPNOTSUPP);
        n += strstr(e[i].err.msg, "path MTU 4096 is too big") != NULL &&
             strstr(e[i].err.msg, "ping -M do -s 4140") != NULL;
        close(e[i].fd);
    }
    assert_true(n >= 1);
    assert_int_equal(fake_n_handles(), 0);
}

/* One end has a device, the other one has not: both know, with the reason and whose it is. */
static void test_one_sided(void **state)
{
    (void)state;
    pair_end e[2];
    pair_init(e, false);
    e[1].opts.device = "none9";
    pair_meet(e);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(e[i].rc, -EOPNOTSUPP);
        assert_string_equal(
            e[i].err.msg,
            "rank 1: there is no RDMA device none9; there are fake0:1 (Ethernet, active)");
        close(e[i].fd);
    }
}

/* Garbage, silence and a closed door where an offer should be: an error in time, never a hang. */
static void test_bad_peers(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        pair_end e[2];
        uint8_t bytes[TW_VERBS_OFFER_BYTES];
        memset(bytes, 0x58, sizeof bytes);
        pair_init(e, false);
        e[0].opts.deadline_ns = tw_clock_now_ns() + 50 * TW_NS_PER_MS;
        if (kind == 0)
            assert_int_equal(tw_sock_send_all(e[1].fd, bytes, sizeof bytes, TW_NEVER_NS), 0);
        if (kind == 1)
            close(e[1].fd);
        pair_run(&e[0]);
        assert_int_equal(e[0].rc, kind == 0 ? -EPROTO : kind == 1 ? -ECONNRESET : -ETIMEDOUT);
        assert_non_null(strstr(e[0].err.msg, "rank 1: "));
        if (kind != 1)
            close(e[1].fd);
        assert_int_equal(fake_n_handles(), 0);
    }
}

/* Every allocation may fail, at either end: an error, nothing left open, nobody hangs. */
static void test_no_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1;; n++) {
        pair_end e[2];
        pair_init(e, false);
        tw_mem_fail_at(n);
        pair_meet(e);
        tw_mem_fail_at(0);
        unsigned n_good = 0;
        for (unsigned i = 0; i < 2; i++) {
            n_good += e[i].rc == 0;
            if (e[i].rc == 0)
                tw_link_close(e[i].l);
            else if (e[i].rc == -EOPNOTSUPP)
                close(e[i].fd);
        }
        assert_int_equal(fake_n_handles(), 0);
        assert_int_not_equal(n_good, 1);
        if (n_good == 2) {
            assert_true(n > 2);
            return;
        }
    }
}

static void test_offer(void **state)
{
    (void)state;
    tw_verbs_offer o = {.usable = true,
                        .is_ethernet = true,
                        .mtu_code = 3,
                        .lid = 513,
                        .qpn = 0xabcdef,
                        .psn = 0x123456,
                        .rkey = 0xfffffffe,
                        .n_slots = 8,
                        .slot_bytes = 4096,
                        .addr = UINT64_C(0xfedcba9876543210),
                        .gid = {[15] = 9},
                        .why = "because"};
    tw_verbs_offer back;
    uint8_t b[TW_VERBS_OFFER_BYTES];
    tw_verbs_offer_encode(&o, b);
    assert_int_equal(tw_verbs_offer_decode(b, &back), 0);
    assert_memory_equal(back.gid, o.gid, sizeof o.gid);
    assert_string_equal(back.why, o.why);
    assert_true(back.addr == o.addr && back.rkey == o.rkey && back.qpn == o.qpn &&
                back.psn == o.psn && back.lid == o.lid && back.mtu_code == o.mtu_code &&
                back.n_slots == o.n_slots && back.slot_bytes == o.slot_bytes && back.usable &&
                back.is_ethernet);
    b[80] = '\033'; /* a peer's words are printed */
    assert_int_equal(tw_verbs_offer_decode(b, &back), 0);
    assert_int_equal(back.why[0], '?');
    memset(b + 80, 'x', TW_VERBS_WHY_BYTES);
    assert_int_equal(tw_verbs_offer_decode(b, &back), 0);
    assert_int_equal(strlen(back.why), TW_VERBS_WHY_BYTES - 1);
    b[4] = 2;
    assert_int_equal(tw_verbs_offer_decode(b, &back), -EPROTO);
}

static void put_file(const char *root, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *s = full + strlen(root) + 1; (s = strchr(s, '/')) != NULL; s++) {
        *s = '\0';
        (void)mkdir(full, 0700);
        *s = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void remove_tree(const char *root)
{
    char cmd[300];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", root);
    assert_int_equal(system(cmd), 0);
}

/* An old library knows no GID types; the kernel's files do. */
static void test_sysfs(void **state)
{
    (void)state;
    char root[] = "/tmp/twinax-sysfs-XXXXXX", pci[64];
    tw_rdma_counters c;
    tw_rdma_gid g[4];
    assert_non_null(mkdtemp(root));
    put_file(root, "fake0/node_type", "1: CA\n");
    put_file(root, "iw0/node_type", "4: RNIC\n");
    put_file(root, "fake0/ports/1/gids/0", "fe80:0000:0000:0000:0000:0000:0000:0009\n");
    put_file(root, "fake0/ports/1/gid_attrs/types/0", "IB/RoCE v1\n");
    put_file(root, "fake0/ports/1/gids/1", "0000:0000:0000:0000:0000:0000:0000:0000\n");
    put_file(root, "fake0/ports/1/gids/2", "0000:0000:0000:0000:0000:ffff:7f00:0001\n");
    put_file(root, "fake0/ports/1/gid_attrs/types/2", "RoCE v2\n");
    put_file(root, "fake0/ports/1/hw_counters/sent_pkts", "12\n");
    put_file(root, "fake0/ports/1/hw_counters/rcvd_pkts", "34\n");
    assert_int_equal(tw_rdma_gids(root, "fake0", 1, g, 4), 2);
    assert_int_equal(g[0].type, TW_RDMA_GID_ROCE_V1);
    assert_int_equal(g[1].type, TW_RDMA_GID_ROCE_V2);
    assert_int_equal(g[1].index, 2);
    tw_rdma_netdev(root, "fake0", 1, pci, sizeof pci);
    assert_string_equal(pci, "");
    put_file(root, "fake0/ports/1/gid_attrs/ndevs/2", "eth7\n");
    tw_rdma_netdev(root, "fake0", 1, pci, sizeof pci);
    assert_string_equal(pci, "eth7");
    assert_true(tw_rdma_is_iwarp(root, "iw0"));
    assert_false(tw_rdma_is_iwarp(root, "fake0"));
    assert_false(tw_rdma_is_iwarp(root, "none"));
    tw_rdma_pci_name(root, "fake0", pci, sizeof pci);
    assert_string_equal(pci, "");
    tw_rdma_counters_read(root, "fake0", 1, &c);
    assert_true(c.known_packets && !c.known_bytes && c.tx_packets == 12 && c.rx_packets == 34);
    put_file(root, "fake0/ports/1/counters/port_xmit_data", "10\n");
    put_file(root, "fake0/ports/1/counters/port_rcv_data", "20\n");
    tw_rdma_counters_read(root, "fake0", 1, &c);
    assert_true(c.known_bytes && c.tx_bytes == 40 && c.rx_bytes == 80);
    fake.no_gid_query = true;
    pair_end e[2];
    pair_init(e, false);
    e[0].opts.sysfs = e[1].opts.sysfs = root;
    pair_meet(e);
    for (unsigned i = 0; i < 2; i++)
        if (e[i].rc != 0)
            fail_msg("%s", e[i].err.msg);
    assert_int_equal(fake.last_path.gid_index, 2);
    assert_int_equal(e[0].l->proof.port_before.tx_bytes, 40);
    tw_link *l[2] = {e[0].l, e[1].l};
    pair_close(l);
    remove_tree(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_there, setup),
        cmocka_unit_test_setup(test_unknown_name_gets_the_list, setup),
        cmocka_unit_test_setup(test_gids, setup),
        cmocka_unit_test_setup(test_gid_index_is_found, setup),
        cmocka_unit_test_setup(test_iwarp, setup),
        cmocka_unit_test_setup(test_port_state, setup),
        cmocka_unit_test_setup(test_several, setup),
        cmocka_unit_test_setup(test_native_infiniband, setup),
        cmocka_unit_test_setup(test_resources, setup),
        cmocka_unit_test_setup(test_probe, setup),
        cmocka_unit_test_setup(test_one_sided, setup),
        cmocka_unit_test_setup(test_bad_peers, setup),
        cmocka_unit_test_setup(test_no_memory, setup),
        cmocka_unit_test_setup(test_offer, setup),
        cmocka_unit_test_setup(test_sysfs, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

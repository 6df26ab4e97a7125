/* SPDX-License-Identifier: Apache-2.0 */
/* Recorded machines (made up from published reports), and this one, as facts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/scope.h"
#include "host/facts_reader.h"
#include "tree.h"

static tw_facts f, again; /* too large for a stack */
static tree box;

static int end_tree(void **state)
{
    (void)state;
    tree_remove(&box);
    return 0;
}

static void read_box(const tw_facts_opts *more)
{
    tw_facts_opts o = more != NULL ? *more : (tw_facts_opts){0};
    tw_err err = {0};
    o.root = box.root;
    if (tw_facts_read(&o, &f, &err) != 0)
        fail_msg("%s", err.msg);
    TW_CLEANUP(tw_json_freep) json_t *v = tw_facts_print(&f);
    if (tw_facts_parse(v, &again, &err) != 0)
        fail_msg("%s", err.msg);
    assert_memory_equal(&f, &again, sizeof f); /* the same after the way through JSON */
}

static bool known_as(tw_count c, uint64_t v)
{
    return c.known && c.v == v;
}

static void check_strix_host(void)
{
    assert_string_equal(f.os.id, "fedora");
    assert_string_equal(f.os.version_id, "43");
    assert_string_equal(f.os.kernel, "6.18.5-200.fc43.x86_64");
    assert_string_equal(f.os.lockdown, "integrity");
    assert_int_equal(f.os.uptime_s, 3600);
    assert_true(f.os.systemd == TW_YES && f.os.efi == TW_YES && f.os.secure_boot == TW_YES);
    assert_true(f.os.laptop == TW_NO && f.os.is_ostree == TW_NO);
    assert_string_equal(f.os.virtual_machine, "");
    assert_string_equal(f.board.vendor, "Framework");
    assert_string_equal(f.board.bios_version, "03.04");
    assert_string_equal(f.cpu.name, "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S");
    assert_int_equal(f.cpu.level, 4);
    assert_true(f.cpu.n_cpus == 2 && f.cpu.n_cores == 1 && f.cpu.max_mhz == 5187);
    assert_string_equal(f.cpu.governor, "mixed");
    assert_int_equal(f.mem.total_bytes, UINT64_C(131265284) * 1024);
    assert_int_equal(f.mem.installed_bytes, UINT64_C(128) << 30);
    assert_true(known_as(f.mem.huge_page_bytes, 2 << 20) && known_as(f.mem.huge_total, 0));
    assert_string_equal(f.mem.thp, "madvise");
    assert_string_equal(f.mem.iommu, "passthrough");
    assert_string_equal(f.mem.aspm, "off");
    assert_true(f.heat.cpu_c > 61.2 && f.heat.cpu_c < 61.3 && f.heat.gpu_c > 47.9);
    assert_true(known_as(f.heat.gpu_uw, 11046000) && known_as(f.heat.package_uj, 123456789));
    assert_true(known_as(f.heat.gpu_busy_percent, 7));
}

static void check_strix_gpu(void)
{
    assert_int_equal(f.n_gpus, 1);
    assert_string_equal(f.gpus[0].pci, "0000:c1:00.0");
    assert_string_equal(f.gpus[0].driver, "amdgpu");
    assert_string_equal(f.gpus[0].gfx, "gfx1151");
    assert_string_equal(f.gpus[0].render, "/dev/dri/renderD128");
    assert_true(known_as(f.gpus[0].vram_bytes, 512 << 20));
    assert_true(known_as(f.gpu_limits.ttm_pages_limit, 32505856));
    assert_true(known_as(f.gpu_limits.amdgpu_gttsize_mb, 126976));
    assert_true(f.gpu_limits.amdgpu_gttsize_auto == TW_NO && f.gpu_limits.amdgpu == TW_YES);
    assert_non_null(tw_facts_find_dev(&f, "/dev/kfd"));
    assert_non_null(tw_facts_find_dev(&f, "/dev/infiniband/uverbs0"));
}

static void check_strix_user(void)
{
    assert_string_equal(f.user.name, "alice");
    assert_string_equal(f.user.home, "/var/home/alice");
    assert_true(known_as(f.user.uid, 1000));
    assert_int_equal(f.user.n_groups, 2); /* this login has no rdma yet */
    assert_int_equal(f.user.n_file_groups, 3);
    assert_true(f.user.sudo == TW_YES && f.user.sudo_group == TW_YES);
    assert_string_equal(f.limits.memlock_rule, "* soft memlock unlimited");
    assert_true(f.session.linger == TW_YES && f.session.runtime_dir == TW_YES);
    assert_int_equal(f.session.can_suspend, TW_YES);
    assert_true(f.ssh.server == TW_YES && f.ssh.port == 22);
    assert_true(known_as(f.ssh.n_authorized, 1));
    assert_int_equal(f.ssh.n_keys, 2);
    assert_true(f.ssh.keys[0].encrypted == TW_NO && f.ssh.keys[1].encrypted == TW_YES);
    assert_string_equal(f.ssh.keys[0].type, "ssh-ed25519");
    assert_true(f.ssh.keys[0].has_public == TW_YES && f.ssh.keys[1].has_public == TW_NO);
    assert_string_equal(f.time.service, "chronyd");
}

static void check_strix_card(void)
{
    const tw_facts_nic *n = tw_facts_find_nic(&f, "enp194s0np0");
    assert_non_null(n);
    assert_string_equal(n->vendor_id, "8086");
    assert_string_equal(n->device_id, "1592");
    assert_string_equal(n->firmware, "4.91 0x800214b5 1.3909.0");
    assert_string_equal(n->mac, "b4:96:91:aa:bb:01");
    assert_int_equal(n->mac_local, TW_NO);
    assert_string_equal(n->pci_slot_max, "16.0 GT/s x4");
    assert_true(n->pci_max_gts > 15.9 && n->temperature_c > 54.9);
    assert_true(known_as(n->rp_filter, 2));
    assert_string_equal(n->rdma_mode, "roce");
    assert_string_equal(n->rdma_provider, "irdma");
    assert_int_equal(n->rdma_mtu, 4096);
    assert_true(known_as(n->uverbs_abi, 3));
    assert_int_equal(n->n_gids, 2);
    assert_string_equal(n->gids[1], "1 RoCE v2 192.168.100.1");
    assert_int_equal(n->owner, TW_OWNER_NETWORKMANAGER);
    assert_string_equal(n->profile, "rdma0");
    assert_string_equal(n->profile_file,
                        "/etc/NetworkManager/system-connections/rdma0.nmconnection");
    assert_string_equal(n->method, "static");
    assert_true(known_as(n->profile_mtu, 9000));
    assert_string_equal(n->zone, "trusted");
    assert_true(known_as(n->counters.rx_crc, 4) && known_as(n->counters.carrier_changes, 3));
    assert_true(known_as(n->counters.aer_correctable, 2) && known_as(n->counters.aer_fatal, 0));
    assert_false(n->counters.aer_nonfatal.known);
    assert_true(known_as(n->counters.rdma_cnp, 11) && known_as(n->counters.tcp_retransmits, 42));
    const tw_facts_nic *lan = tw_facts_find_nic(&f, "eno1");
    assert_string_equal(lan->profile, "Wired connection 1");
    assert_string_equal(lan->method, "dhcp");
    assert_string_equal(lan->zone, "");
}

static void check_strix_net(void)
{
    assert_string_equal(f.routes.ssh_interface, "eno1");
    assert_string_equal(f.routes.ssh_from, "192.168.1.7");
    assert_string_equal(f.routes.default_interface, "eno1");
    assert_int_equal(f.routes.n, 2);
    assert_string_equal(f.routes.v[0].gateway, "192.168.1.1");
    assert_string_equal(f.routes.v[1].name, "enp194s0np0");
    assert_string_equal(f.routes.v[1].gateway, "");
    assert_string_equal(f.routes.v[1].neighbour, "b4:96:91:00:00:02");
    assert_int_equal(f.routes.n_listen, 3);
    assert_string_equal(f.routes.listen[1].ip, "127.0.0.1");
    assert_int_equal(f.routes.listen[1].port, 8000);
    assert_int_equal(f.firewall.kind, TW_FIREWALL_FIREWALLD);
    assert_int_equal(f.firewall.active, TW_YES);
    assert_string_equal(f.firewall.default_zone, "FedoraWorkstation");
    assert_int_equal(f.firewall.n_trusted, 1);
    assert_string_equal(f.firewall.trusted[0], "enp194s0np0");
    assert_string_equal(f.firewall.sources[0], "192.168.100.0/30");
    assert_string_equal(f.rdma.version, "61.0");
    assert_string_equal(f.rdma.library, "/usr/lib64/libibverbs.so.1");
    assert_int_equal(f.rdma.n_providers, 2);
    assert_string_equal(f.rdma.providers[0], "irdma-rdmav59");
    assert_true(f.rdma.librdmacm == TW_YES && f.rdma.cm == TW_YES);
    assert_true(known_as(f.rdma.kernel_abi, 6));
    assert_string_equal(f.rdma.netns_mode, "shared");
}

static void check_strix_software(void)
{
    assert_int_equal(f.boot.kind, TW_BOOT_GRUBBY);
    assert_true(strstr(f.boot.persistent, "ttm.pages_limit=32505856") != NULL);
    assert_string_equal(f.boot.grub_cfg, "/boot/grub2/grub.cfg");
    assert_int_equal(f.boot.reboot_pending, TW_YES); /* console= is new */
    assert_string_equal(f.boot.newest_kernel, "6.18.10-200.fc43.x86_64");
    assert_true(tw_facts_has_tool(&f, "nmcli") && tw_facts_has_tool(&f, "grubby"));
    assert_true(tw_facts_is_running(&f, "NetworkManager"));
    assert_false(tw_facts_is_running(&f, "systemd-networkd"));
    assert_true(tw_facts_has_module(&f, "irdma") && !tw_facts_has_module(&f, "mlx5_ib"));
    assert_int_equal(f.thunderbolt.net_available, TW_YES);
    assert_string_equal(f.security.selinux, "enforcing");
    assert_int_equal(f.security.n_denials, 1);
    assert_true(strncmp(f.security.denials[0], "avc:  denied", 12) == 0);
    assert_int_equal(f.container.rootless_ready, TW_YES);
    assert_int_equal(f.container.n_images, 2);
    assert_string_equal(f.container.images[0].digest, "sha256:abcd");
    assert_string_equal(f.container.images[0].vllm, "0.14.0rc1+rocm");
    assert_string_equal(f.container.images[0].ray, "2.52.1"); /* of the layer below */
    assert_string_equal(f.container.images[1].ray, "");       /* its layer's name is no path */
    assert_int_equal(f.n_left, 3);
    assert_string_equal(f.left[0].of, "ray");
    assert_string_equal(f.left[0].what, "/opt/venv/raylet --node_ip_address=192.168.100.1");
    assert_int_equal(f.left[0].age_s, 600);
    assert_string_equal(f.left[1].what, "twinax rank --nodes x");
    assert_string_equal(f.left[2].what, "/dev/shm/plasma_1");
    assert_int_equal(f.left[2].kind, TW_LEFT_SHM);
    assert_int_equal(f.twinax.n_ours, 1);
    assert_string_equal(f.twinax.ours[0], "/etc/udev/rules.d/70-twinax.rules");
}

static void test_strix_e810(void **state)
{
    (void)state;
    tree_make(&box, "strix_e810.tree");
    read_box(&(tw_facts_opts){.n_peers = 1, .peers = {"192.168.100.2"}, .containers = true});
    check_strix_host();
    check_strix_gpu();
    check_strix_user();
    check_strix_card();
    check_strix_net();
    check_strix_software();
}

static void test_connectx(void **state)
{
    (void)state;
    tree_make(&box, "connectx_netplan.tree");
    read_box(NULL);
    const tw_facts_nic *n = tw_facts_find_nic(&f, "enp1s0f0np0"),
                       *lan = tw_facts_find_nic(&f, "eno2");
    assert_int_equal(n->owner, TW_OWNER_NETPLAN);
    assert_string_equal(n->owner_renderer, "networkd");
    assert_string_equal(n->method, "static");
    assert_true(known_as(n->profile_mtu, 9000));
    assert_string_equal(n->rdma_provider, "mlx5_ib");
    assert_string_equal(n->gids[0], "3 RoCE v2 10.0.0.5");
    assert_int_equal(n->runtime_pm, TW_YES);
    assert_true(known_as(n->counters.rdma_out_of_sequence, 9));
    assert_true(known_as(n->counters.rdma_tx_bytes, 400) &&
                known_as(n->counters.rdma_rx_bytes, 800));
    assert_int_equal(lan->owner, TW_OWNER_NETPLAN); /* by its file alone */
    assert_string_equal(lan->profile_file, "/etc/netplan/50-cloud-init.yaml");
    assert_int_equal(f.firewall.kind, TW_FIREWALL_UFW);
    assert_int_equal(f.firewall.n_sources, 1);
    assert_string_equal(f.firewall.sources[0], "10.0.0.0/24");
    assert_string_equal(f.firewall.trusted[0], "enp1s0f0np0");
    assert_int_equal(f.boot.kind, TW_BOOT_GRUB);
    assert_string_equal(f.boot.persistent_default, "quiet splash");
    assert_string_equal(f.boot.next, "root=UUID=7 ro quiet splash");
    assert_int_equal(f.boot.reboot_pending, TW_YES); /* the packages say so */
    assert_int_equal(f.mem.installed_bytes, UINT64_C(64) << 30);
    assert_int_equal(f.container.n_images, 0);
}

static void test_thunderbolt(void **state)
{
    (void)state;
    tree_make(&box, "thunderbolt.tree");
    read_box(NULL);
    const tw_facts_nic *n = tw_facts_find_nic(&f, "thunderbolt0");
    assert_int_equal(tw_net_find(&f.net, "thunderbolt0")->kind, TW_NET_THUNDERBOLT);
    assert_int_equal(n->owner, TW_OWNER_IFUPDOWN);
    assert_string_equal(n->method, "static");
    assert_true(known_as(n->profile_mtu, 62000));
    assert_string_equal(n->profile_file, "/etc/network/interfaces.d/thunderbolt");
    assert_int_equal(n->mac_local, TW_YES);
    assert_int_equal(f.thunderbolt.n_devices, 2);
    assert_true(known_as(f.thunderbolt.n_peers, 1));
    assert_string_equal(f.thunderbolt.security, "iommu");
    const tw_facts_tb_device *d = &f.thunderbolt.devices[0];
    assert_true(d->peer == TW_YES && d->rx_lanes == 2 && d->rx_gbit > 19.9);
    assert_string_equal(d->device, "right-laptop");
    assert_true(f.thunderbolt.devices[1].peer == TW_NO &&
                f.thunderbolt.devices[1].authorized == TW_NO);
    assert_int_equal(f.boot.kind, TW_BOOT_SYSTEMD);
    assert_string_equal(f.boot.persistent, "quiet iommu=pt");
    assert_int_equal(f.boot.reboot_pending, TW_YES);
    assert_true(f.os.laptop == TW_YES && f.session.on_battery == TW_YES);
    assert_int_equal(f.firewall.kind, TW_FIREWALL_NONE);
    assert_int_equal(f.mem.installed_bytes, 256 << 20);
}

static void test_vm(void **state)
{
    (void)state;
    tree_make(&box, "vm.tree");
    read_box(&(tw_facts_opts){.interface = "lo"});
    assert_string_equal(f.os.virtual_machine, "unnamed");
    assert_int_equal(f.boot.kind, TW_BOOT_NONE);
    assert_int_equal(f.cpu.level, 1);
    assert_int_equal(f.n_gpus, 0);
    assert_int_equal(f.n_nics, 2); /* lo was asked for */
    assert_int_equal(f.os.laptop, TW_UNKNOWN);
    assert_false(f.thunderbolt.n_peers.known);
    assert_true(f.mem.swap_total_bytes.known == false);
    assert_string_equal(f.rdma.library, "");
}

/* Rubbish in place of each file is unknown, not an error. */
static void test_rubbish(void **state)
{
    (void)state;
    static const char *const files[] = {"proc/net/route",     "proc/net/tcp", "proc/net/snmp",
                                        "proc/cpuinfo",       "proc/meminfo", "etc/passwd",
                                        "etc/group",          "proc/1/stat",  "proc/net/arp",
                                        "etc/default/grub",   "proc/cmdline", "etc/os-release",
                                        "etc/ufw/user.rules", "etc/subuid",   "proc/uptime",
                                        "proc/net/if_inet6",  "environ",      "proc/net/unix"};
    static const char *const rubbish[] = {
        "",
        "\n",
        ":::::::\n::\n",
        "= = = =\n[x\n",
        "1 (\n",
        ")(",
        "99999999999999999999999999999999999999 -1 ffffffffffffffffffffff zz\n",
        "\xff\xfe\x80 \x1b[2J\n"};
    for (size_t k = 0; k < TW_ARRAY_LEN(rubbish); k++) {
        tree_make(&box, "vm.tree");
        for (size_t i = 0; i < TW_ARRAY_LEN(files); i++)
            tree_put(&box, files[i], rubbish[k]);
        tree_put(&box, "home/.ssh/id_x", rubbish[k]);
        read_box(&(tw_facts_opts){.containers = true, .n_peers = 1, .peers = {"10.0.0.1"}});
        tree_remove(&box);
    }
}

static void test_no_recorded_machine(void **state)
{
    (void)state;
    tw_err err = {0};
    assert_int_equal(tw_facts_read(&(tw_facts_opts){.root = "/nowhere"}, &f, &err), -ENOENT);
}

static void test_this_machine(void **state)
{
    (void)state;
    tw_err err = {0};
    tw_facts_opts o = {.n_peers = 2,
                       .peers = {"127.0.0.1", "::1"},
                       .interface = "lo",
                       .model_path = "/proc",
                       .containers = true};
    if (tw_facts_read(&o, &f, &err) != 0)
        fail_msg("%s", err.msg);
    assert_true(f.os.kernel[0] != '\0' && f.cpu.n_cpus > 0 && f.mem.total_bytes > 0);
    assert_true(f.limits.memlock_soft.known && f.limits.memlock_child.known);
    assert_true(f.n_disks > 0 && f.disks[0].total_bytes > 0);
    assert_true(f.time.real_ns > UINT64_C(1700000000000000000));
    const tw_facts_nic *lo = tw_facts_find_nic(&f, "lo");
    assert_true(lo != NULL && lo->counters.at_ns > 0);
    bool has_way = false;
    for (size_t i = 0; i < f.routes.n; i++)
        has_way |=
            strcmp(f.routes.v[i].to, "127.0.0.1") == 0 && strcmp(f.routes.v[i].name, "lo") == 0;
    assert_true(has_way);
    assert_true(f.twinax.path[0] == '/');
    TW_CLEANUP(tw_json_freep) json_t *v = tw_facts_print(&f);
    assert_int_equal(tw_facts_parse(v, &again, &err), 0);
    assert_memory_equal(&f, &again, sizeof f);
}

/* Another program is asked with an end to the waiting, and none is left behind. */
static void test_ask(void **state)
{
    (void)state;
    static const char *const hello[] = {"sh", "-c", "echo hello", NULL};
    static const char *const failed[] = {"sh", "-c", "echo hello; exit 3", NULL};
    static const char *const late[] = {"sleep", "600", NULL};
    static const char *const endless[] = {"sh", "-c", "while :; do echo y; done", NULL};
    static const char *const none[] = {"twinax-no-such-program", NULL};
    char out[64];
    uint64_t limit_ns = tw_clock_now_ns() + 60 * TW_NS_PER_S;
    assert_true(tw_reader_ask(hello, limit_ns, out, sizeof out));
    assert_string_equal(out, "hello\n");
    assert_false(tw_reader_ask(failed, limit_ns, out, sizeof out));
    assert_false(tw_reader_ask(none, limit_ns, out, sizeof out));
    assert_false(tw_reader_ask(endless, limit_ns, out, sizeof out)); /* more than fits */
    assert_int_equal(strlen(out), sizeof out - 1);
    assert_false(tw_reader_ask(late, tw_clock_now_ns() + 50 * TW_NS_PER_MS, out, sizeof out));
    assert_false(tw_reader_ask(hello, 0, out, sizeof out));
    errno = 0;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_strix_e810, end_tree),
                                       cmocka_unit_test_teardown(test_connectx, end_tree),
                                       cmocka_unit_test_teardown(test_thunderbolt, end_tree),
                                       cmocka_unit_test_teardown(test_vm, end_tree),
                                       cmocka_unit_test_teardown(test_rubbish, end_tree),
                                       cmocka_unit_test(test_ask),
                                       cmocka_unit_test(test_no_recorded_machine),
                                       cmocka_unit_test(test_this_machine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

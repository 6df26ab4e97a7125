/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the kernel modules, programs and services that matter are here. */
#include <stdio.h>
#include <string.h>

#include "base/scope.h"
#include "host/facts_reader.h"

static const char *const modules[] = {"amdgpu",    "amdxdna",   "amdttm",      "ttm",
                                      "ice",       "irdma",     "i40e",        "mlx4_core",
                                      "mlx4_ib",   "mlx5_core", "mlx5_ib",     "bnxt_en",
                                      "bnxt_re",   "rdma_rxe",  "siw",         "ib_core",
                                      "ib_uverbs", "ib_umad",   "ib_ipoib",    "rdma_cm",
                                      "rdma_ucm",  "iw_cm",     "thunderbolt", "thunderbolt_net",
                                      "nf_tables", "ip_tables", "r8169",       "atlantic",
                                      "igc",       "ixgbe",     "k10temp",     "coretemp",
                                      "nvidia",    "kvm_amd",   "xe",          "i915"};
_Static_assert(TW_ARRAY_LEN(modules) <= TW_FACTS_MODULES_MAX, "all fit");

static const char *const tools[] = {"nmcli",
                                    "netplan",
                                    "networkctl",
                                    "ifup",
                                    "ip",
                                    "firewall-cmd",
                                    "ufw",
                                    "nft",
                                    "iptables",
                                    "grubby",
                                    "grub2-mkconfig",
                                    "grub-mkconfig",
                                    "update-grub",
                                    "kernelstub",
                                    "bootctl",
                                    "kernel-install",
                                    "rpm-ostree",
                                    "dnf",
                                    "dnf5",
                                    "apt-get",
                                    "zypper",
                                    "pacman",
                                    "sudo",
                                    "podman",
                                    "docker",
                                    "toolbox",
                                    "distrobox",
                                    "skopeo",
                                    "iperf3",
                                    "ib_write_bw",
                                    "devlink",
                                    "ethtool",
                                    "rdma",
                                    "modprobe",
                                    "loginctl",
                                    "systemctl",
                                    "systemd-run",
                                    "systemd-inhibit",
                                    "sysctl",
                                    "udevadm",
                                    "ssh",
                                    "sshd",
                                    "ssh-keygen",
                                    "ssh-copy-id",
                                    "visudo",
                                    "restorecon",
                                    "semanage",
                                    "setenforce",
                                    "dracut",
                                    "update-initramfs",
                                    "boltctl",
                                    "tuned-adm",
                                    "cpupower",
                                    "rsync",
                                    "tmux",
                                    "python3",
                                    "dmidecode",
                                    "lspci",
                                    "chronyc",
                                    "timedatectl",
                                    "nvmupdate64e"};
_Static_assert(TW_ARRAY_LEN(tools) <= TW_FACTS_TOOLS_MAX, "all fit");

/* Unit, and what the kernel calls its process (15 bytes). */
static const struct {
    const char *unit, *comm;
} services[] = {{"NetworkManager", "NetworkManager"},
                {"firewalld", "firewalld"},
                {"systemd-networkd", "systemd-network"},
                {"systemd-resolved", "systemd-resolve"},
                {"systemd-logind", "systemd-logind"},
                {"systemd-timesyncd", "systemd-timesyn"},
                {"chronyd", "chronyd"},
                {"chrony", "chronyd"},
                {"ntpd", "ntpd"},
                {"ntpsec", "ntpsec"},
                {"sshd", "sshd"},
                {"ssh", "sshd"},
                {"docker", "dockerd"},
                {"containerd", "containerd"},
                {"bolt", "boltd"},
                {"tuned", "tuned"},
                {"power-profiles-daemon", "power-profiles-"},
                {"thermald", "thermald"},
                {"auditd", "auditd"},
                {"irqbalance", "irqbalance"},
                {"dhcpcd", "dhcpcd"},
                {"connman", "connmand"},
                {"opensm", "opensm"},
                {"tlp", "tlp"},
                {"dbus", "dbus-daemon"},
                {"dbus-broker", "dbus-broker"},
                {"polkit", "polkitd"},
                {"earlyoom", "earlyoom"},
                {"systemd-oomd", "systemd-oomd"}};
_Static_assert(TW_ARRAY_LEN(services) <= TW_FACTS_TOOLS_MAX, "all fit");

static void add_name(char (*list)[24], size_t *n, const char *name)
{
    tw_text_set(list[(*n)++], 24, "%s", name);
}

/* By its cgroup: the kernel's word that a unit has processes. */
static bool is_unit_alive(tw_facts_reader *r, const char *unit)
{
    char path[128], text[128];
    tw_text_set(path, sizeof path, "sys/fs/cgroup/system.slice/%s.service/cgroup.events", unit);
    return tw_facts_text(r->root, path, text, sizeof text) && strstr(text, "populated 1") != NULL;
}

void tw_reader_software(tw_facts_reader *r)
{
    tw_facts *f = r->f;
    for (size_t i = 0; i < TW_ARRAY_LEN(modules); i++) {
        char path[64];
        tw_text_set(path, sizeof path, "sys/module/%s", modules[i]);
        if (tw_facts_exists(r->root, path))
            add_name(f->modules, &f->n_modules, modules[i]);
    }
    for (size_t i = 0; i < TW_ARRAY_LEN(tools); i++)
        if (tw_reader_which(r, tools[i], NULL, 0))
            add_name(f->tools, &f->n_tools, tools[i]);
    bool cgroups = tw_facts_exists(r->root, "sys/fs/cgroup/system.slice");
    for (size_t i = 0; i < TW_ARRAY_LEN(services); i++)
        if (cgroups ? is_unit_alive(r, services[i].unit)
                    : tw_reader_has_process(r, services[i].comm))
            add_name(f->running, &f->n_running, services[i].unit);
}

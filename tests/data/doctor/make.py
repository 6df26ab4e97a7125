#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the synthetic records of this folder: machines made up from published reports, each with
its source. Records of real machines (named recorded-*) are written by `twinax doctor --record`.
"""

import copy
import json
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
GIB = 1 << 30
GUIDE = "synthetic: after the host configuration of the two-node Strix Halo RoCE guide"
STRIX_LINE = "iommu=pt pci=realloc pcie_aspm=off amdgpu.gttsize={gtt} ttm.pages_limit={pages}"
MODEL_ID = "4f1c9d0a7be25c63d81fa0972c4be8f13d5e60b79ac8e2d41f7b3a6c5d9e8071"


def gtt(gib):
    return {"gtt": (gib - 4) * 1024, "pages": (gib - 4) * 262144}


def system(os_id, version, pretty, kernel, cmdline, **more):
    return {
        "os": {
            "id": os_id, "version_id": version, "pretty_name": pretty, "kernel": kernel, "machine": "x86_64",
            "cmdline": cmdline, "laptop": False, "systemd": True, "is_ostree": False,
        },
        "user": {
            "name": "user1", "home": "/srv/user1", "uid": 1000, "sudo": True, "sudo_group": True,
            "groups": ["user1", "wheel", "render", "video"], "file_groups": ["user1", "wheel", "render", "video"],
            "system_groups": ["render", "video", "rdma"],
        },
        "limits": {"memlock_soft": "unlimited", "memlock_hard": "unlimited", "memlock_child": "unlimited",
                   "nofile_soft": 1024, "nofile_hard": 524288},
        "disks": [
            {"what": "root", "path": "/", "filesystem": "btrfs", "free_bytes": 600 * GIB, "total_bytes": 930 * GIB},
            {"what": "models", "path": "/srv/user1/.cache/huggingface", "filesystem": "btrfs",
             "free_bytes": 600 * GIB, "total_bytes": 930 * GIB},
        ],
        "security": {},
        "session": {"linger": True, "user_manager": True, "runtime_dir": True, "inhibitors": True,
                    "can_suspend": False},
        "ssh": {"server": True, "port": 22, "client": True, "agent_keys": 0, "agent_only": False},
        "time": {"synchronised": True, "service": "chronyd"},
        "twinax": {"version": "0.1.0", "protocol": 5, "arithmetic": 1},
        "running": ["NetworkManager", "firewalld"],
        "modules": ["ice", "irdma", "ib_uverbs", "rdma_ucm", "amdgpu"],
    } | more  # fmt: skip


def strix(gib=128, vram=0.5, kernel="6.18.5-200.fc43.x86_64", cmdline=None, gtt_gib=None):
    line = "BOOT_IMAGE=(hd0,gpt2)/vmlinuz-%s root=UUID=0 ro rootflags=subvol=root rhgb quiet" % kernel
    limits = gtt(gib)
    good = cmdline is None
    line += " " + (STRIX_LINE.format(**limits) if good else cmdline)
    total = int((gib - vram) * GIB * 0.985)
    gtt_bytes = limits["pages"] * 4096 if gtt_gib is None else int(gtt_gib * GIB)
    f = system("fedora", "43", "Fedora Linux 43 (Workstation Edition)", kernel, line.strip())
    f |= {
        "board": {"vendor": "Framework", "product": "Desktop (AMD Ryzen AI Max 300 Series)", "bios_version": "03.02"},
        "cpu": {"name": "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", "n_cpus": 32, "n_cores": 16, "n_usable": 32,
                "governor": "performance", "scaling_driver": "amd-pstate-epp", "preference": "performance",
                "level": 4, "avx512": True},
        "mem": {"total_bytes": total, "available_bytes": total - 3 * GIB, "installed_bytes": gib * GIB,
                "huge_total": 0, "huge_free": 0, "huge_page_bytes": 2 << 20, "thp": "madvise",
                "iommu": "passthrough" if good else "translated"},
        "gpus": [{"pci": "0000:c3:00.0", "driver": "amdgpu", "vendor_id": "1002", "device_id": "1586",
                  "gfx": "gfx1151", "vram_bytes": int(vram * GIB), "gtt_bytes": gtt_bytes,
                  "render": "/dev/dri/renderD128"}],
        "gpu_limits": {"amdgpu": True, "ttm_pages_limit": gtt_bytes // 4096,
                       "amdgpu_gttsize_mb": limits["gtt"] if good else 0, "amdgpu_gttsize_auto": not good},
        "devs": [
            {"path": "/dev/kfd", "group": "render", "mode": 0o666, "usable": True},
            {"path": "/dev/dri/renderD128", "group": "render", "mode": 0o666, "usable": True},
            {"path": "/dev/infiniband/uverbs0", "group": "rdma", "mode": 0o666, "usable": True},
        ],
        "boot": {"kind": "grubby", "config": "/etc/default/grub", "persistent": line, "next": line,
                 "reboot_pending": False, "bls": True},
        "container": {"asked": True, "podman": "5.6.2", "toolbox": "0.3", "rootless_ready": True,
                      "boxes": [{"name": "vllm", "image": "docker.io/kyuz0/vllm-therock-gfx1151:latest",
                                 "image_digest": "sha256:1b5c3f", "made_by": "toolbox", "vllm": "0.11.2",
                                 "ray": "2.52.0"}]},
        "security": {"selinux": "enforcing"},
    }  # fmt: skip
    return f


def lan(ip, name="enp191s0", driver="r8169", kind="ethernet"):
    return {"name": name, "kind": kind, "driver": driver, "up": True, "carrier": True, "default_route": True,
            "mtu": 1500, "speed_mbit": 5000 if kind == "ethernet" else 0, "addresses": [f"{ip}/24"]}  # fmt: skip


def card(f, ip, lan_ip, prefix=30, name="enp194s0np0", driver="ice", rdma="irdma0", mtu=9000, **nic):
    """An RDMA card with its cable; f gets it."""
    i = {
        "name": name, "kind": "ethernet", "driver": driver, "up": True, "carrier": True, "default_route": False,
        "mtu": mtu, "speed_mbit": 100000, "addresses": [f"{ip}/{prefix}"] if ip else [],
        "pci": {"address": "0000:c2:00.0", "width": 4, "max_width": 16, "gts": 16.0},
        "rdma": {"device": rdma, "port": 1, "state": "ACTIVE", "gid_types": "IB/RoCE v1, RoCE v2"},
    }  # fmt: skip
    n = {
        "name": name, "firmware": "4.91 0x800214b5 1.3909.0", "vendor_id": "8086", "device_id": "1592",
        "mac_local": False, "mtu_min": 68, "mtu_max": 9702, "duplex": "full", "port": "DAC", "fec": "RS",
        "fec_asked": "auto", "pci_max_gts": 16.0, "pci_slot_max": "16.0 GT/s x4", "runtime_pm": False,
        "rdma_mode": "roce", "rdma_provider": "irdma", "rdma_mtu": 4096,
        "gids": ["0 IB/RoCE v1 fe80::1", "1 RoCE v2 fe80::1", "2 IB/RoCE v1 " + ip, "3 RoCE v2 " + ip] if ip else [],
        "module": {"present": True, "kind": "QSFP28", "cable": "passive copper", "vendor": "QSFPTEK",
                   "part": "QT-100G-CU1M", "length_m": 1, "connector": "no separable connector"},
        "counters": {"name": name, "at_ns": 1000, "rx_crc": 0, "rx_errors": 0, "rx_discards": 0,
                     "fec_uncorrectable": 0, "aer_correctable": 0, "aer_nonfatal": 0, "aer_fatal": 0},
        "owner": "networkmanager", "profile": "rdma0", "method": "static", "zone": "trusted",
    } | nic  # fmt: skip
    f["net"] = {"host": "host", "interfaces": [lan(lan_ip), i]}
    f["nics"] = [n]
    f["rdma"] = {"version": "57.0", "library": "/lib64/libibverbs.so.1", "librdmacm": True, "kernel_abi": 1,
                 "providers": ["irdma-rdmav57", "mlx4-rdmav57", "mlx5-rdmav57", "rxe-rdmav57"], "cm": True}  # fmt: skip
    f["firewall"] = {"kind": "firewalld", "active": True, "default_zone": "FedoraWorkstation",
                     "trusted": [name] if n["zone"] == "trusted" else []}  # fmt: skip
    f["routes"] = {"ssh_interface": "enp191s0", "default_interface": "enp191s0", "list": []}
    return f


def routes(f, peers, name):
    f["routes"]["list"] = [{"to": p, "name": name} for p in peers]


def node(name, ip, f, interface="", why=""):
    n = {"name": name, "ssh": name, "ip": ip}
    if interface:
        n["interface"] = interface
    if f is not None:
        n["facts"] = f
    if why:
        n["why"] = why
    return n


def proofs(n, mtu=9000, port="passes", mtu_tried=None, dead=(), load=(47.1, 47.3)):
    alive = [i for i in range(n) if i not in dead]
    nodes = [{} if i == 0 or i in dead else
             {"clock_ahead_s": 0.0021, "round_trip_ms": 0.9, "ssh_back": True} for i in range(n)]  # fmt: skip
    ways = [{"from": i, "to": j, "port": port, "mtu": mtu, "mtu_tried": mtu_tried or mtu}
            for i in alive for j in alive if i != j]  # fmt: skip
    loads = [{"a": i, "b": j, "seconds": 2.0, "to_gbit": load[0], "from_gbit": load[1], "a_grown": {}, "b_grown": {}}
             for i in alive for j in alive if i < j]  # fmt: skip
    return {"nodes": nodes, "ways": ways, "loads": loads}


def write(name, source, nodes, config, proofs_=None):
    record = {"schema": 1, "source": source, "config": config, "nodes": nodes}
    if proofs_ is not None:
        record["proofs"] = proofs_
    (HERE / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


VLLM_RDMA = {"engine": "vllm", "transport": "rdma"}


def good_pair(gib=128, **more):
    nodes = []
    for k in 1, 2:
        f = card(strix(gib, **more), f"192.168.100.{k}", f"192.168.1.{10 + k}")
        routes(f, [f"192.168.100.{3 - k}"], "enp194s0np0")
        f["model"] = {"path": "/srv/user1/models/big", "id": MODEL_ID, "bytes": 140 * GIB if gib > 100 else 60 * GIB}
        nodes.append(node(f"box{k}", f"192.168.100.{k}", f, "enp194s0np0"))
    nodes[1]["facts"]["os"]["kernel"] = nodes[1]["facts"]["os"]["kernel"].replace("6.18.5", "6.18.6")
    return nodes


def make_good():
    write("strix128-e810-good", GUIDE, good_pair(), VLLM_RDMA | {"model": "/srv/user1/models/big"}, proofs(2))
    for gib in 64, 96:
        write(f"strix{gib}-e810-good", f"{GUIDE}, with {gib} GB", good_pair(gib), VLLM_RDMA, proofs(2))


def make_fresh():
    nodes = []
    for k in 1, 2:
        f = card(strix(cmdline="", gtt_gib=62.4), "", f"192.168.1.{10 + k}", mtu=1500, owner="none", profile="",
                 firmware="3.20 0x8000d83e 1.3146.0", rdma_mode="iwarp", devlink_cmode="runtime", rdma_mtu=1024,
                 zone="", method="", enable_roce=False, enable_iwarp=True)  # fmt: skip
        f["net"]["interfaces"][1]["rdma"]["gid_types"] = ""
        f["limits"] |= {"memlock_soft": 8 << 20, "memlock_hard": 8 << 20, "memlock_child": 8 << 20}
        f["user"]["groups"] = f["user"]["file_groups"] = ["user1", "wheel"]
        for d in f["devs"]:
            d |= {"mode": 0o660, "usable": False}
        f["rdma"] = {}
        f["container"] = {"asked": True, "podman": "5.6.2", "rootless_ready": True}
        f["session"]["linger"] = False
        f["ssh"]["server"] = False
        f["time"]["synchronised"] = False
        f["gpus"][0]["vram_bytes"] = 32 * GIB
        f["mem"]["total_bytes"] = 94 * GIB
        f["mem"]["available_bytes"] = 90 * GIB
        f["cpu"] |= {"governor": "powersave", "preference": "power"}
        nodes.append(node(f"box{k}", f"192.168.100.{k}", f, "enp194s0np0"))
    bad = {"nodes": [{}, {"clock_ahead_s": -71.5, "round_trip_ms": 0.8, "ssh_back": False,
                          "ssh_back_why": "Permission denied (publickey)"}],
           "ways": [{"from": 0, "to": 1, "port": "unreachable", "why": "No route to host"},
                    {"from": 1, "to": 0, "port": "unreachable", "why": "No route to host"}], "loads": []}  # fmt: skip
    write("strix128-e810-fresh", "synthetic: Fedora 43 as installed on the guide's machines; defects as published "
          "reports tell them (iWARP mode, old firmware, BIOS carve-out, memlock 8 MiB)", nodes, VLLM_RDMA, bad)  # fmt: skip


def make_old_kernel():
    f = card(strix(kernel="6.14.0-29-generic"), "192.168.100.1", "192.168.1.11")
    f["os"] |= {"id": "ubuntu", "id_like": "debian", "version_id": "24.04", "pretty_name": "Ubuntu 24.04.3 LTS"}
    f["boot"] |= {"kind": "grub", "next": ""}
    f["os"]["cmdline"] = "BOOT_IMAGE=/boot/vmlinuz-6.14.0-29-generic root=UUID=0 ro quiet splash amd_iommu=off " \
                         "pci=noaer amdgpu.gttsize=110000 ttm.pages_limit=32505856"  # fmt: skip
    f["gpus"][0]["gtt_bytes"] = f["gpu_limits"]["ttm_pages_limit"] = 0
    f["gpus"][0]["gtt_bytes"] = int(15.5 * GIB)
    f["gpu_limits"]["ttm_pages_limit"] = 32505856
    write("strix128-old-kernel", "synthetic: Strix Halo on Ubuntu's 6.14 kernel, where ROCm sees 15.5 GB (reports of "
          "users); amd_iommu=off and pci=noaer are their owner's", [node("box1", "192.168.100.1", f)], VLLM_RDMA)  # fmt: skip


def make_connectx4():
    nodes = []
    for k in 1, 2:
        f = system("ubuntu", "24.04", "Ubuntu 24.04.3 LTS", "6.8.0-88-generic",
                   "BOOT_IMAGE=/vmlinuz-6.8.0-88-generic root=UUID=0 ro iommu=pt pci=realloc pcie_aspm=off")  # fmt: skip
        f["os"]["id_like"] = "debian"
        f |= {
            "cpu": {"name": "AMD Ryzen 9 7950X", "n_cpus": 32, "n_cores": 16, "n_usable": 32, "level": 4,
                    "governor": "schedutil", "scaling_driver": "acpi-cpufreq"},
            "mem": {"total_bytes": 62 * GIB, "available_bytes": 58 * GIB, "installed_bytes": 64 * GIB},
            "boot": {"kind": "grub", "config": "/etc/default/grub", "reboot_pending": False},
            "devs": [{"path": "/dev/infiniband/uverbs0", "group": "root", "mode": 0o666, "usable": True}],
        }  # fmt: skip
        card(f, f"192.168.100.{k}", f"192.168.1.{20 + k}", name="enp1s0f0np0", driver="mlx5_core", rdma="mlx5_0",
             firmware="14.32.1010 (MT_2420110034)", vendor_id="15b3", device_id="1015", rdma_provider="mlx5_ib",
             owner="netplan", owner_renderer="networkd", profile="50-cloud-init", zone="",
             module={"present": True, "kind": "SFP28", "cable": "passive copper", "vendor": "Mellanox",
                     "part": "MCP2M00-A001", "length_m": 1})  # fmt: skip
        i = f["net"]["interfaces"][1]
        i["speed_mbit"] = 25000
        i["pci"] |= {"width": 8, "max_width": 8, "gts": 8.0}
        f["nics"][0]["pci_max_gts"] = 8.0
        f["rdma"] |= {"version": "50.0", "providers": ["mlx5-rdmav34", "irdma-rdmav34", "rxe-rdmav34"]}
        f["firewall"] = {"kind": "ufw", "active": True, "rules": True}
        f["modules"] = ["mlx5_core", "mlx5_ib", "ib_uverbs"]
        routes(f, [f"192.168.100.{3 - k}"], "enp1s0f0np0")
        nodes.append(node(f"box{k}", f"192.168.100.{k}", f))
    p = proofs(2, load=(23.4, 23.5))
    p["ways"][1] |= {"port": "filtered", "why": "no answer within 2 s"}
    p["loads"] = [{"a": 0, "b": 1, "seconds": 0, "why": "no connection", "a_grown": {}, "b_grown": {}}]
    write("connectx4-ubuntu", "synthetic: two Ubuntu 24.04 machines with ConnectX-4 Lx (25 GbE), as in published "
          "RoCE v2 results; ufw is on and lets nothing in", nodes, {"engine": "native", "transport": "rdma"}, p)  # fmt: skip


def make_thunderbolt():
    nodes = []
    for k in 1, 2:
        f = strix()
        f["net"] = {"host": "host", "rdma_why": "no RDMA device", "interfaces": [
            lan(f"192.168.1.{10 + k}"),
            {"name": "thunderbolt0", "kind": "thunderbolt", "driver": "thunderbolt-net", "up": True, "carrier": True,
             "default_route": False, "mtu": 9000, "addresses": [f"192.168.2.{k}/24"]}]}  # fmt: skip
        f["nics"] = [{"name": "thunderbolt0", "mtu_min": 68, "mtu_max": 65522, "mac_local": True,
                      "owner": "networkmanager", "profile": "thunderbolt0", "method": "static", "zone": "trusted"}]
        f["firewall"] = {"kind": "firewalld", "active": True, "default_zone": "FedoraWorkstation",
                         "trusted": ["thunderbolt0"]}
        peer = {"peer": True, "vendor": "Linux", "device": "box", "authorized": True, "generation": 4,
                "rx_gbit": 20.0, "tx_gbit": 20.0, "rx_lanes": 2, "tx_lanes": 2}  # fmt: skip
        f["thunderbolt"] = {"controller": True, "module": True, "net_module": True, "security": "user", "n_peers": 2,
                            "devices": [peer | {"id": "0-1"}, peer | {"id": "1-1"}]}  # fmt: skip
        f["routes"] = {"ssh_interface": "enp191s0", "default_interface": "enp191s0",
                       "list": [{"to": f"192.168.2.{3 - k}", "name": "thunderbolt0"}]}  # fmt: skip
        f["modules"] = ["thunderbolt", "thunderbolt_net", "amdgpu"]
        f["devs"] = f["devs"][:2]
        nodes.append(node(f"box{k}", f"192.168.2.{k}", f, "thunderbolt0"))
    write("thunderbolt-two-cables", "synthetic: two Strix Halo joined by two USB4 cables; the controllers refuse jumbo "
          "frames (users' reports: MTU 9000 breaks, two cables break routing)", nodes,
          {"engine": "vllm", "transport": "tcp"}, proofs(2, mtu=1500, mtu_tried=9000, load=(11.2, 10.9)))  # fmt: skip


def make_connectx3():
    nodes = []
    for k in 1, 2:
        f = strix()
        f["net"] = {"host": "host", "interfaces": [
            lan(f"192.168.1.{10 + k}"),
            {"name": "ibp194s0", "kind": "infiniband", "driver": "mlx4_core", "up": True, "carrier": k == 1,
             "default_route": False, "mtu": 2044, "speed_mbit": 40000, "addresses": [f"192.168.100.{k}/30"],
             "pci": {"address": "0000:c2:00.0", "width": 4, "max_width": 8, "gts": 8.0},
             "rdma": {"device": "mlx4_0", "port": 1, "state": "ACTIVE" if k == 1 else "INIT", "gid_types": "IB"}}]}  # fmt: skip
        f["nics"] = [{"name": "ibp194s0", "firmware": "2.42.5000", "vendor_id": "15b3", "device_id": "1003",
                      "rdma_mode": "ib", "rdma_provider": "mlx4_ib", "rdma_mtu": 2048, "owner": "networkmanager",
                      "profile": "ib0", "method": "static", "zone": "trusted", "gids": ["0 IB fe80::1"]}]  # fmt: skip
        f["rdma"] = {"version": "57.0", "library": "/lib64/libibverbs.so.1", "providers": ["mlx4-rdmav57"]}
        f["firewall"] = {"kind": "none", "active": False}
        f["routes"] = {"default_interface": "enp191s0", "list": []}
        f["modules"] = ["mlx4_core", "mlx4_ib", "ib_uverbs", "ib_ipoib"]
        nodes.append(node(f"box{k}", f"192.168.100.{k}", f))
    write("connectx3-infiniband", "synthetic: two ConnectX-3 in native InfiniBand, as published guides use them; no "
          "subnet manager runs for one port", nodes, VLLM_RDMA)  # fmt: skip


def make_laptop():
    f = system("ubuntu", "24.04", "Ubuntu 24.04.3 LTS", "6.11.0-29-generic",
               "BOOT_IMAGE=/boot/vmlinuz-6.11.0-29-generic root=UUID=0 ro quiet splash")  # fmt: skip
    f["os"] |= {"id_like": "debian", "laptop": True}
    f |= {
        "board": {"vendor": "LENOVO", "product": "ThinkPad T14 Gen 3"},
        "cpu": {"name": "12th Gen Intel(R) Core(TM) i5-1240P", "n_cpus": 16, "n_cores": 12, "n_usable": 16, "level": 3,
                "governor": "powersave", "scaling_driver": "intel_pstate", "preference": "balance_power"},
        "mem": {"total_bytes": int(15.3 * GIB), "available_bytes": 11 * GIB, "huge_total": 0, "huge_free": 0,
                "huge_page_bytes": 2 << 20},
        "gpus": [{"pci": "0000:00:02.0", "driver": "i915", "vendor_id": "8086", "device_id": "46a6",
                  "render": "/dev/dri/renderD128"}],
        "limits": {"memlock_soft": 1 << 30, "memlock_child": 1 << 30, "nofile_soft": 1024},
        "net": {"host": "host", "rdma_why": "no RDMA device", "interfaces": [
            lan("192.168.178.34", "wlp0s20f3", "iwlwifi", "wifi"),
            {"name": "enp0s31f6", "kind": "ethernet", "driver": "e1000e", "up": True, "carrier": False, "mtu": 1500,
             "default_route": False, "pci": {"address": "0000:00:1f.6", "width": 0, "max_width": 0, "gts": 0.0},
             "addresses": []}]},
        "firewall": {"kind": "ufw", "active": False},
        "thunderbolt": {"controller": True, "module": True, "net_module": False, "n_peers": 0},
        "routes": {"default_interface": "wlp0s20f3", "list": []},
        "boot": {"kind": "grub", "config": "/etc/default/grub", "reboot_pending": False},
        "session": {"linger": False, "inhibitors": True, "can_suspend": True, "on_battery": True},
        "ssh": {"server": False, "client": True, "agent_only": True},
        "modules": ["thunderbolt"], "running": ["NetworkManager"],
    }  # fmt: skip
    for d in f["disks"]:
        d["free_bytes"] = 80 * GIB
    write("laptop-wifi", "synthetic: an ordinary laptop on Wi-Fi", [{"name": "laptop", "ssh": "local", "facts": f}],
          {"engine": "auto", "transport": "auto"})  # fmt: skip


def make_wrong_gid():
    nodes = good_pair()
    f = nodes[1]["facts"]
    f["nics"][0]["gids"] = ["0 IB/RoCE v1 fe80::1", "2 IB/RoCE v1 192.168.100.2"]
    f["net"]["interfaces"][1]["rdma"]["gid_types"] = "IB/RoCE v1"
    f["net"]["interfaces"][1]["mtu"] = 1500
    f["nics"][0]["rdma_mtu"] = 1024
    f["nics"][0]["fec"] = "off"
    p = proofs(2)
    for w in p["ways"]:
        w["mtu"] = 1500
    p["loads"][0]["b_grown"] = {"rx_crc": 37, "fec_corrected": 900, "tcp_retransmits": 3}
    write("wrong-gid", "synthetic: one port without RoCE v2 (reports: GID filled on one node, zero on the other), "
          "another MTU, a bad cable end", nodes, VLLM_RDMA, p)  # fmt: skip


def make_mismatch():
    nodes = good_pair()
    f = nodes[1]["facts"]
    f["twinax"] |= {"version": "0.2.0", "arithmetic": 2}
    f["model"]["id"] = MODEL_ID[::-1]
    f["container"]["boxes"][0] |= {"ray": "2.44.1", "image_digest": "sha256:77aa01"}
    f["left"] = [{"kind": "process", "of": "vllm", "what": "VLLM::Worker_TP1", "pid": 4711, "uid": 1000,
                  "bytes": 61 * GIB, "age_s": 90000},
                 {"kind": "shm", "of": "ray", "what": "/dev/shm/plasma-x", "bytes": 2 * GIB}]  # fmt: skip
    f["security"] |= {"denials": ["avc: denied { read write } for comm=twinax path=/dev/infiniband/uverbs0"]}
    write("mismatch", "synthetic: other versions and another model on the second node (reports: Ray 2.43.0 against "
          "2.44.1, diverging ranks, orphaned workers)", nodes, VLLM_RDMA | {"model": "/srv/user1/models/big"},
          proofs(2))  # fmt: skip


def make_eight():
    nodes = []
    for k in range(1, 9):
        f = copy.deepcopy(good_pair()[0]["facts"])
        f["net"]["interfaces"][0]["addresses"] = [f"192.168.1.{10 + k}/24"]
        f["net"]["interfaces"][1]["addresses"] = [f"192.168.100.{k}/28"]
        f["nics"][0]["gids"] = [f"3 RoCE v2 192.168.100.{k}"]
        routes(f, [f"192.168.100.{j}" for j in range(1, 9) if j != k], "enp194s0np0")
        dead = k == 6
        nodes.append(node(f"box{k}", f"192.168.100.{k}", None if dead else f, "enp194s0np0",
                          "box6: no route to host: is it on, and is its name right?" if dead else ""))  # fmt: skip
    write("eight-one-dead", GUIDE + ", eight of them on a switch, one switched off", nodes, VLLM_RDMA,
          proofs(8, dead={5}))  # fmt: skip


if __name__ == "__main__":
    for make in (make_good, make_fresh, make_old_kernel, make_connectx4, make_thunderbolt, make_connectx3, make_laptop,
                 make_wrong_gid, make_mismatch, make_eight):  # fmt: skip
        make()

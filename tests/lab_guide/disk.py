# SPDX-License-Identifier: Apache-2.0
"""The disk that the guide's machines boot from: a whole Debian 12 with systemd, sshd, NetworkManager,
firewalld and grub, made once and kept in the user's cache.

mmdebstrap makes the tree (apt checks what it fetches against the distribution's signed index); its
ext4 file system is written into a disk image by mkfs; and the system itself, booted once with its
kernel given directly, installs grub. No loop device, nothing mounted. Root, or else user namespaces.
"""

import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))
import image  # noqa: E402
import machines  # noqa: E402

CACHE = image.CACHE.parent / "lab-guide"
GUEST = HERE / "guest"
SUITE = "bookworm"
DISK_MIB = 3072
TREE_S, SETTLE_S = 1500, 1200  # limits, ten times what a free machine needs
TOOLS = ["mmdebstrap", "qemu-utils"]

# What a minimal Debian has, and what of twinax's libraries is in the distribution.
PACKAGES = """
systemd-sysv dbus dbus-user-session libpam-systemd udev linux-image-amd64 initramfs-tools kmod grub-pc
openssh-server network-manager firewalld netbase iproute2 iputils-ping ethtool procps sudo less curl
python3-minimal util-linux libjansson4 libpcre2-8-0 libutf8proc2 libmicrohttpd12 libssl3 libinih1
""".split()
# What setup is to install: there as packages (no network in the machines), but not installed.
OFFERED = """
rdma-core ibverbs-providers ibverbs-utils libibverbs1 librdmacm1 libibumad3 perftest iperf3
""".split()


class Tools(image.Apt):
    """QEMU's and mmdebstrap's packages, unpacked into a folder; the host's are not asked for."""

    def unpack_into(self, folder):
        install = ["--reinstall", "install", *TOOLS]
        plan = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", self.get("-s", *install), re.MULTILINE)
        try:
            self.get("--download-only", *install)
        except image.Broken as why:
            raise image.Unavailable(f"packages cannot be downloaded: {str(why)[-300:]}") from why
        folder.mkdir()
        for record in self.records(*(f"{name}={version}" for name, version in plan)):
            image.unpack(self.check(record)[0], folder)


def check_host():
    image.check_host()
    for tool in ("mkfs.ext4", "ssh", "ssh-keygen", "perl", "tar"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            raise image.Unavailable(f"{tool} is missing")
    if os.geteuid() != 0 and shutil.which("newuidmap") is None:
        raise image.Unavailable("neither root nor user namespaces (newuidmap, package uidmap)")


def mirror():
    """The mirror that the host's own apt uses for the suite; mmdebstrap's default else."""
    argv = ["apt-get", "indextargets", "Created-By: Packages", "Origin: Debian", f"Codename: {SUITE}"]
    uris = image.call([*argv, "--format", "$(REPO_URI)"], "apt-get indextargets").split()
    return [uris[0]] if uris else []


def watch(process, seconds, say, what):
    """Waits for a child, says every 20 s that it is still at it, ends it at its limit."""
    t0, told = time.monotonic(), 0
    while process.poll() is None:
        spent = time.monotonic() - t0
        if spent > seconds:
            process.terminate()
            process.wait(30)
            raise image.Broken(f"{what}: not done after {seconds} s")
        if spent - told >= 20:
            told = spent
            say(f"  {what}: {spent:.0f} s ...")
        time.sleep(0.2)
    return process.returncode


def make_tree(making, tools, say):
    """making/disk.raw with one bootable ext4 partition, making/vmlinuz, making/initrd."""
    env = {**os.environ, "PATH": f"{tools}/usr/bin:{os.environ['PATH']}:/usr/sbin:/sbin"}
    env |= {"OFFERED": " ".join(OFFERED), "GUEST": str(GUEST), "MAKING": str(making)}
    env |= {"DISK_MIB": str(DISK_MIB), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    argv = ["nice", "perl", str(tools / "usr/bin/mmdebstrap"), "--variant=minbase"]
    argv += [f"--mode={'root' if os.geteuid() == 0 else 'unshare'}", "--skip=output/dev"]
    argv += [f"--include={','.join(PACKAGES)}", "--aptopt=APT::Install-Recommends 0"]
    argv += [f'--essential-hook=sh {GUEST}/before.sh "$1"', f'--customize-hook=sh {GUEST}/tree.sh "$1"']
    argv += [SUITE, "/dev/null", *mirror()]  # the hook makes the disk: no archive is wanted
    log = making / "tree.log"
    with log.open("w") as out:
        child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        if watch(child, TREE_S, say, "Debian tree") != 0:
            text = log.read_text(errors="replace")[-3000:]
            no_network = re.search(r"Could not (resolve|connect)|Unable to connect|Temporary failure", text)
            raise (image.Unavailable if no_network else image.Broken)(f"mmdebstrap failed:\n{text}")


def write_partition_table(disk):
    """One bootable Linux partition from the second MiB to the end."""
    chs = b"\xfe\xff\xff"  # beyond what that notation can say
    entry = b"\x80" + chs + b"\x83" + chs + struct.pack("<II", 2048, (DISK_MIB - 1) * 2048)
    with disk.open("r+b") as f:
        f.seek(446)
        f.write(entry + bytes(48) + b"\x55\xaa")


def qemu_env(lab, tools):
    libs = [root / "usr/lib/x86_64-linux-gnu" for root in (lab / "root", tools)]
    return {"LD_LIBRARY_PATH": ":".join(map(str, libs)), "PATH": os.environ["PATH"]}


def qemu_argv(lab, accel, serial, mib=1536):
    """What every machine of this lab has."""
    share = lab / "root/usr/share"
    argv = ["setpriv", "--pdeathsig", "KILL", "--", str(lab / "root/usr/bin/qemu-system-x86_64")]
    argv += ["-L", str(share / "qemu"), "-L", str(share / "seabios")]
    argv += ["-accel", "kvm" if accel == "kvm" else "tcg,thread=multi,tb-size=512", "-cpu", "max"]
    argv += ["-machine", "q35,usb=off,vmport=off", "-smp", "2", "-m", str(mib), "-nodefaults"]
    argv += ["-no-user-config", "-vga", "none", "-display", "none", "-serial", f"file:{serial}"]
    return [*argv, "-object", "rng-random,id=r,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r"]


def settle(making, lab, tools, say):
    """Boots the disk once, its kernel given directly: it installs grub and makes its own grub.cfg."""
    accel, serial = machines.accelerator(lab), making / "settle.console"
    kernel = "root=/dev/vda1 rw console=ttyS0 net.ifnames=0 mitigations=off nokaslr audit=0 no5lvl "
    kernel += "no_timer_check systemd.unit=lab-settle.target"
    argv = qemu_argv(lab, accel, serial) + ["-no-reboot", "-kernel", str(making / "vmlinuz")]
    argv += ["-initrd", str(making / "initrd"), "-append", kernel]
    argv += ["-drive", f"file={making}/disk.raw,format=raw,if=virtio,cache=unsafe"]
    with (making / "settle.qemu").open("w") as out:
        child = subprocess.Popen(argv, env=qemu_env(lab, tools), stdin=subprocess.DEVNULL,
                                 stdout=out, stderr=out)
        watch(child, SETTLE_S, say, "first boot, grub")
    text = serial.read_text(errors="replace")
    if "lab-settle: done" not in text:
        raise image.Broken(f"the first boot did not install grub:\n{text[-3000:]}")


def build(making, say):
    lab = image.get(say)
    tools = making / "tools"
    say("fetching mmdebstrap and qemu-img ...")
    apt = Tools(CACHE / "apt")
    apt.update()
    apt.unpack_into(tools)
    say("making a Debian 12 tree and its disk (about 350 MB to fetch, 2 to 10 minutes) ...")
    image.call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(making / "key")],
               "ssh-keygen")
    make_tree(making, tools, say)
    say("booting it once ...")
    write_partition_table(making / "disk.raw")
    settle(making, lab, tools, say)
    (making / "done").write_text("")


def key():
    """Changes with the recipe, with the small lab's (QEMU is from there) and the host's release."""
    h = hashlib.sha256(image.key().encode())
    for part in [HERE / "disk.py", *sorted(p for p in GUEST.rglob("*") if p.is_file())]:
        h.update(f"{part.relative_to(HERE)}\0".encode() + part.read_bytes())
    return h.hexdigest()[:16]


def get(say=print):
    """The folder with disk.raw, key and tools; made when it is not there."""
    check_host()
    folder = CACHE / key()
    if (folder / "done").exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            forget(keep=1)
            making = folder.with_suffix(".making")
            shutil.rmtree(folder, ignore_errors=True)
            making.mkdir()
            t0 = time.monotonic()
            build(making, say)
            making.rename(folder)
            say(f"made in {time.monotonic() - t0:.0f} s")
    return folder


def forget(keep=0):
    """Drops what was made before, but the newest; what a cut-off build left always."""
    made = sorted(CACHE.glob("?" * 16), key=lambda p: p.stat().st_mtime)
    for path in [*CACHE.glob("*.making"), *made[: len(made) - keep]]:
        shutil.rmtree(path, ignore_errors=True)

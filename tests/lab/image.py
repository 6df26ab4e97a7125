# SPDX-License-Identifier: Apache-2.0
"""What the lab's machines boot from, made once and kept in the user's cache: the distribution's
kernel with rdma_rxe, an initramfs, and a folder with QEMU and the RDMA tools.

The packages are fetched by apt into a folder of our own, with lists of our own: nothing is
installed, no root is wanted. apt checks what it fetches against the distribution's signed index;
every file is checked against that index again before it is unpacked.
"""

import fcntl
import gzip
import hashlib
import json
import lzma
import os
import pathlib
import platform
import re
import shutil
import stat
import struct
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "twinax" / "lab"
KERNELS = {"debian": "linux-image-amd64"}  # distributions with rdma_rxe in the kernel's package
PACKAGES = ["qemu-system-x86", "busybox-static", "iproute2", "perftest"]
PACKAGES += ["ibverbs-utils", "ibverbs-providers"]
MODULES = ["virtio_pci", "virtio_net", "9pnet_virtio", "9p", "overlay", "rdma_rxe", "ib_uverbs"]
MODULES += ["rdma_ucm", "sch_netem", "crc32_generic", "crc32_pclmul"]
NEWER_KERNELS_LACK = {"crc32_generic", "crc32_pclmul"}


class Unavailable(Exception):
    """This machine cannot have the lab: tests skip with this text."""


class Broken(Exception):
    """The lab cannot be made, and should be."""


def call(argv, what, **more):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, **more)
    if done.returncode != 0:
        raise Broken(f"{what}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


# ---- packages ------------------------------------------------------------------------------------


def os_release():
    text = pathlib.Path("/etc/os-release").read_text()
    return dict(re.findall(r'^(\w+)="?(.*?)"?$', text, re.MULTILINE))


def check_host():
    here, machine = os_release().get("ID", "?"), platform.machine()
    if machine != "x86_64" or here not in KERNELS:
        raise Unavailable(f"the lab runs on {', '.join(KERNELS)} x86_64, this is {here} {machine}")
    for tool in ("apt-get", "dpkg-deb", "setpriv"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is missing")


class Apt:
    """apt with state and cache of our own; the host's package database is only read."""

    def __init__(self, folder):
        self.archives = folder / "cache" / "archives"
        self.lists = folder / "state" / "lists"
        for p in (self.archives / "partial", self.lists / "partial"):
            p.mkdir(parents=True, exist_ok=True)
        own = {
            "Dir::State": folder / "state",
            "Dir::State::status": "/var/lib/dpkg/status",
            "Dir::Cache": folder / "cache",
            "Debug::NoLocking": "1",
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "0",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "20",
        }
        self.options = [x for key, value in own.items() for x in ("-o", f"{key}={value}")]

    def get(self, *argv):
        return call(["apt-get", "-qq", "-y", *self.options, *argv], f"apt-get {' '.join(argv[:2])}",
                    cwd=self.archives)

    def show(self, *argv):
        return call(["apt-cache", *self.options, *argv], f"apt-cache {argv[0]}")

    def update(self):
        """New lists; without a network the old ones will do, where there are any."""
        try:
            self.get("-o", "APT::Update::Error-Mode=any", "update")
        except Broken as why:
            if not list(self.lists.glob("*Packages*")):
                raise Unavailable(f"no network for the first download: {str(why)[-300:]}") from why

    def fetch(self, kernel_meta):
        """Files that hold PACKAGES, what they need and the host lacks, and the kernel; each with its
        SHA-256."""
        install = ["--reinstall", "install", *PACKAGES]  # also what the host has
        kernel = re.search(r"Depends: (linux-image-\S+)", self.show("depends", kernel_meta)).group(1)
        plan = re.findall(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", self.get("-s", *install), re.MULTILINE)
        plan.append((kernel, self.records(kernel)[0]["Version"]))
        try:
            self.get("--download-only", *install)
            self.get("download", kernel)
        except Broken as why:
            raise Unavailable(f"packages cannot be downloaded: {str(why)[-300:]}") from why
        records = self.records(*(f"{name}={version}" for name, version in plan))
        return [self.check(record) for record in records]

    def records(self, *packages):
        """The index's entries, without their long descriptions."""
        text = self.show("--no-all-versions", "show", *packages)
        return [dict(re.findall(r"^(\S+): (.*)$", r, re.MULTILINE)) for r in text.strip().split("\n\n")]

    def check(self, record):
        version = record["Version"].replace(":", "%3a")
        path = self.archives / f"{record['Package']}_{version}_{record['Architecture']}.deb"
        with path.open("rb") as f:
            if hashlib.file_digest(f, "sha256").hexdigest() != record["SHA256"]:
                path.unlink()
                raise Broken(f"{path.name}: its SHA-256 is not the index's; deleted, try again")
        return path, record["SHA256"]


# ---- kernel and initramfs ------------------------------------------------------------------------


def unpacked(data):
    """Bytes of one compressed piece (module or kernel), by its magic; padding may follow."""
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        # Padding behind the frame makes zstd fail after it has written everything.
        return subprocess.run(["zstd", "-dcq"], input=data, capture_output=True).stdout
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    return data


def kernel_elf(bzimage):
    """The ELF inside a bzImage (Linux boot protocol 2.08 and later): emulation spares the guest
    its own unpacking, which takes longer than the rest of the boot."""
    n_sectors = bzimage[0x1F1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (n_sectors + 1) * 512 + offset
    elf = unpacked(bzimage[start : start + length])
    return elf if elf[:4] == b"\x7fELF" else None


def modinfo(ko, key):
    found = re.search(rb"\0" + key + rb"=([^\0]*)\0", ko)
    return found.group(1).decode() if found else ""


class Modules:
    """Kernel modules in the order in which they can be loaded."""

    def __init__(self, folder):
        self.files = {p.name.split(".ko")[0].replace("-", "_"): p for p in folder.rglob("*.ko*")}
        builtin = (folder / "modules.builtin").read_text().split()
        self.builtin = {pathlib.Path(p).name.split(".ko")[0].replace("-", "_") for p in builtin}
        self.order = {}  # name: bytes

    def add(self, name):
        name = name.replace("-", "_")
        if name in self.order or name in self.builtin:
            return
        if name not in self.files:
            if name in NEWER_KERNELS_LACK:
                return
            raise Broken(f"the kernel's package has no module {name}")
        ko = unpacked(self.files[name].read_bytes())
        for need in modinfo(ko, b"depends").split(","):
            if need:
                self.add(need)
        self.order[name] = ko


def cpio(entries):
    """An archive in the kernel's initramfs format; entries: (path, mode, bytes)."""
    out = bytearray()
    for i, (path, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        name = path.encode() + b"\0"
        fields = [i, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        out += b"070701" + b"".join(b"%08X" % v for v in fields) + name
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def initramfs(modules, busybox):
    """All but the init, which with_init() adds: the kernel takes archives one behind the other."""
    folders = ["bin", "proc", "sys", "dev", "m", "mods"]
    entries = [(d, stat.S_IFDIR | 0o755, b"") for d in folders]
    entries += [("bin/busybox", stat.S_IFREG | 0o755, busybox)]
    entries += [("bin/sh", stat.S_IFLNK | 0o777, b"busybox")]
    for i, (name, ko) in enumerate(modules.items()):
        entries.append((f"mods/{i:03d}-{name}.ko", stat.S_IFREG | 0o644, ko))
    return cpio(entries)


def with_init(folder, init):
    """The initramfs of folder with this script as its first process."""
    return (folder / "initramfs").read_bytes() + cpio([("init", stat.S_IFREG | 0o755, init)])


# ---- the whole -----------------------------------------------------------------------------------


def unpack(deb, root):
    """Into root, with /bin, /sbin, /lib merged into /usr as on the host: what lies over the host's
    tree must not hide its links."""
    part = root.with_name("part")
    part.mkdir()
    call(["dpkg-deb", "-x", str(deb), str(part)], deb.name)
    for name in ("bin", "sbin", "lib"):
        if (part / name).is_dir():
            shutil.copytree(part / name, part / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(part / name)
    shutil.copytree(part, root, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(part)


def build(folder, say):
    """Fills folder."""
    apt = Apt(CACHE / "apt")
    say("fetching Debian's kernel, QEMU and RDMA tools (about 90 MB) ...")
    apt.update()
    debs = apt.fetch(KERNELS[os_release()["ID"]])
    say("unpacking, making kernel and initramfs ...")
    root, boot = folder / "root", folder / "boot"
    root.mkdir()
    for deb, _ in debs:
        unpack(deb, boot if deb.name.startswith("linux-image") else root)
    vmlinuz = next(boot.glob("boot/vmlinuz-*"))
    bz = vmlinuz.read_bytes()
    (folder / "kernel").write_bytes(kernel_elf(bz) or bz)
    modules = Modules(next(boot.glob("usr/lib/modules/*")))
    for name in MODULES:
        modules.add(name)
    busybox = (root / "usr/bin/busybox").read_bytes()
    (folder / "initramfs").write_bytes(initramfs(modules.order, busybox))
    shutil.rmtree(boot)
    manifest = {"kernel": vmlinuz.name, "debs": {deb.name: digest for deb, digest in debs}}
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def key():
    """Changes with the recipe (this file) and with the host's own libraries."""
    h = hashlib.sha256()
    for part in (HERE / "image.py", pathlib.Path("/etc/os-release")):
        h.update(part.read_bytes())
    return h.hexdigest()[:16]


def get(say=print):
    """The folder with kernel, initramfs and root; made when it is not there."""
    check_host()
    folder = CACHE / key()
    if (folder / "manifest.json").exists():
        return folder
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "manifest.json").exists():
            forget_old()
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
            making.mkdir()
            build(making, say)
            making.rename(folder)
    return folder


def built():
    return sorted(CACHE.glob("?" * 16), key=lambda p: p.stat().st_mtime)


def forget_old(keep=2):
    for path in [*CACHE.glob("*.making"), *built()[:-keep]]:
        shutil.rmtree(path, ignore_errors=True)


def clean(downloads=False):
    for path in [CACHE] if downloads else [*CACHE.glob("*.making"), *built()]:
        shutil.rmtree(path, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
"""Lab machines: QEMU processes with one Soft-RoCE device each, two of them joined by a wire.

A machine runs commands (root's shell, the host's tree read-only at the same paths, $JOB to write
into, $ME and $PEER the addresses, $ROLE A or B), given and answered by files in the job folder. The
wire is a pair of open sockets: no port, no socket file. A machine dies with this process whatever becomes of it, and by its pid.
"""

import collections
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import image

Result = collections.namedtuple("Result", "status out err")
UP_S = 120  # a boot takes some 8 s on a free core without KVM
KVM_UP_S = 15  # one that takes longer is no better than emulation
INIT = image.HERE / "guest_init.sh"
ADDRESS = {"A": "10.77.0.1", "B": "10.77.0.2"}


class LabError(Exception):
    """The lab itself failed: a machine did not come up, died, or did not answer."""


def accelerator(folder):
    """kvm where a machine really comes up with it (a device node proves nothing), else tcg."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    note = folder / f"accelerator-{boot}"
    if note.exists():
        return note.read_text()
    accel = "kvm"
    try:
        with tempfile.TemporaryDirectory(prefix="twinax-lab-") as job:
            m = Machine(folder, "A", job, accel="kvm")
            try:
                m.wait_up(KVM_UP_S)
            finally:
                m.power_off()
    except LabError:
        accel = "tcg"
    note.write_text(accel)
    return accel


class Machine:
    def __init__(self, folder, role, job, wire=None, accel="tcg", mtu=4500, mib=640, capture=False):
        self.role, self.address, self.job = role, ADDRESS[role], pathlib.Path(job)
        self.console = self.job / f"{role}.console"
        self.pcap = self.job / f"{role}.pcap" if capture else None
        self.n, self.boot_s, self.t0 = 0, None, time.monotonic()
        self.initrd = self.job / f"{role}.initrd"
        self.initrd.write_bytes(image.with_init(folder, INIT.read_bytes()))
        self.qemu_log = (self.job / f"{role}.qemu").open("w+")
        self.process = subprocess.Popen(
            self.command(folder, wire, accel, mtu, mib),
            stdin=subprocess.DEVNULL,
            stdout=self.qemu_log,
            stderr=self.qemu_log,
            pass_fds=[wire.fileno()] if wire else [],
            env={"LD_LIBRARY_PATH": str(folder / "root/usr/lib/x86_64-linux-gnu")},
        )

    def command(self, folder, wire, accel, mtu, mib):
        share, peer = folder / "root/usr/share", ADDRESS["B" if self.role == "A" else "A"]
        kernel = "console=ttyS0 loglevel=5 panic=-1 mitigations=off nokaslr net.ifnames=0 audit=0 "
        kernel += "tsc=reliable no_timer_check cryptomgr.notests random.trust_cpu=on "
        kernel += f"lab.ROLE={self.role} lab.ME={self.address} lab.PEER={peer} lab.MTU={mtu}"
        argv = ["setpriv", "--pdeathsig", "KILL", "--"]
        argv += [str(folder / "root/usr/bin/qemu-system-x86_64")]
        argv += ["-L", str(share / "qemu"), "-L", str(share / "seabios")]
        argv += ["-accel", "kvm" if accel == "kvm" else "tcg,thread=multi", "-cpu", "max"]
        argv += ["-machine", "q35,usb=off,vmport=off,hpet=off", "-m", str(mib)]
        # One core, but not told so: for a single one the emulator of QEMU before 8.1 leaves memory
        # barriers out, and sooner or later a queue shared with its I/O thread stands still.
        argv += ["-smp", "1,maxcpus=2"]
        argv += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
        argv += ["-kernel", str(folder / "kernel"), "-initrd", str(self.initrd)]
        argv += ["-append", kernel, "-serial", f"file:{self.console}"]
        argv += ["-netdev", f"socket,id=n0,fd={wire.fileno()}" if wire else "hubport,id=n0,hubid=0"]
        mac = f"52:54:00:77:00:0{self.address[-1]}"
        argv += ["-device", f"virtio-net-pci,netdev=n0,mac={mac},romfile="]
        for tag, path, mode in (
            ("host", "/", ",readonly=on"),
            ("packages", folder / "root", ",readonly=on"),
            ("job", self.job, ""),
        ):
            argv += ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{mode}"]
            argv += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
        if self.pcap:
            argv += ["-object", f"filter-dump,id=dump,netdev=n0,file={self.pcap},maxlen=65535"]
        return argv

    def fail(self, what):
        self.qemu_log.seek(0)
        logs = self.qemu_log.read()[-1000:]
        if self.console.exists():
            logs += self.console.read_text(errors="replace")[-2000:]
        self.power_off()
        raise LabError(f"machine {self.role}: {what}\n{logs}")

    def await_file(self, name, deadline, what):
        """The text of a file that the machine's init writes into the job folder."""
        path = self.job / f"{self.role}.{name}"
        while not path.exists():
            is_on = self.process.poll() is None  # asked first: its last word may just have come
            if path.exists():
                break
            if not is_on or time.monotonic() > deadline:
                self.fail(f"{what}: {'no answer in time' if is_on else 'it died'}")
            time.sleep(0.01)
        return path.read_text(errors="replace")

    def wait_up(self, seconds=UP_S):
        self.await_file("up", time.monotonic() + seconds, "boot")
        self.boot_s = time.monotonic() - self.t0

    def start(self, command, seconds=60):
        """Runs a shell command there, ended after so many seconds; wait() has its result. One at a
        time."""
        self.n += 1
        stem = self.job / f"{self.role}.{self.n}"
        pathlib.Path(f"{stem}.seconds").write_text(f"{seconds}\n")
        part = pathlib.Path(f"{stem}.part")
        part.write_text(f"{command}\n")
        self.until = time.monotonic() + seconds + 30
        part.rename(f"{stem}.cmd")

    def wait(self):
        status = int(self.await_file(f"{self.n}.rc", self.until, f"command {self.n}"))
        out, err = (self.await_file(f"{self.n}.{x}", self.until, "output") for x in ("out", "err"))
        return Result(status, out, err)

    def run(self, command, seconds=60):
        self.start(command, seconds)
        return self.wait()

    def power_off(self):
        """As if the plug were pulled."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.qemu_log.close()

    def is_on(self):
        return self.process.poll() is None


def wires(n=1):
    """n cables, as pairs of open sockets. Datagrams: a frame is sent or dropped, as on a cable. A stream
    that ends in the middle of a frame would leave the other machine's adapter stuck."""
    return [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(n)]


class Job:
    """Machines and the folder that they share; a context manager. keep: a folder that stays."""

    def __init__(self, keep, prefix):
        self.keep = keep is not None
        self.job = pathlib.Path(keep or tempfile.mkdtemp(prefix=prefix)).resolve()
        self.job.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.machines = []

    def close(self):
        for m in self.machines:
            m.power_off()
        if not self.keep:
            shutil.rmtree(self.job, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Lab(Job):
    """One or two machines."""

    def __init__(self, roles="AB", folder=None, keep=None, **machine):
        folder = folder or image.get()  # before there is anything to clean up
        super().__init__(keep, "twinax-lab-")
        accel = machine.pop("accel", None) or accelerator(folder)
        ends = wires()[0] if len(roles) == 2 else [None]
        try:
            for role, wire in zip(roles, ends):
                m = Machine(folder, role, self.job, wire, accel, **machine)
                self.machines.append(m)
            for m in self.machines:
                m.wait_up()
        except BaseException:
            self.close()
            raise
        finally:
            for wire in filter(None, ends):
                wire.close()
        self.a, self.b = (self.machines * 2)[:2]

    def both(self, command_a, command_b=None, seconds=60):
        """Runs a command on each at the same time. Silence of 1.5 s is a rank's death by contract,
        and a busy host can starve an emulated machine so long: then once or twice more."""
        for last in (False, False, True):
            self.a.start(command_a, seconds)
            self.b.start(command_b or command_a, seconds)
            results = self.a.wait(), self.b.wait()
            if last or not any("was silent for" in r.err for r in results):
                return results

    def is_on(self):
        return all(m.is_on() for m in self.machines)

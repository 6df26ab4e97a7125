# SPDX-License-Identifier: Apache-2.0
"""Two machines from the guide's disk, as they stand on a table: eth0 is the house's LAN (whose router
is off), eth1 the cable between them, eth2 the chair before them. LAN and cable are pairs of open
sockets; eth2 is a loopback port for each machine's sshd, chosen by the kernel. What the machines write
goes into overlays that are thrown away. They die with this process, and by their pids.
"""

import collections
import json
import os
import pathlib
import re
import select
import shlex
import socket
import subprocess
import time

import disk
import image
import machines

Result = collections.namedtuple("Result", "status out err seconds")
UP_S = 600  # a boot takes 60 to 75 s on two free cores
SILENT_S = 150  # a command at a terminal says that it still works
USER = "ann"


class LabError(machines.LabError):
    pass


class Qmp:
    """A machine's monitor: says what ports it has, pulls its cables."""

    def __init__(self, path, seconds=60):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        json.dump({"execute": command, "arguments": arguments}, self.file)
        self.file.flush()
        while True:
            line = self.file.readline()
            if not line:
                raise LabError(f"the monitor closed at {command}")
            answer = json.loads(line)
            if "error" in answer:
                raise LabError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def close(self):
        self.file.close()
        self.socket.close()


class Box:
    """One machine, spoken to by ssh as an ordinary user with sudo."""

    def __init__(self, n, job, folder):
        self.n, self.name, self.job = n, f"box{n}", pathlib.Path(job)
        self.folder, self.process, self.port = pathlib.Path(folder), None, None
        self.console = self.job / f"{self.name}.console"
        self.monitor = self.job / f"{self.name}.qmp"

    def power_on(self, lab, accel, wires):
        tools, overlay = self.folder / "tools", self.job / f"{self.name}.qcow2"
        env = disk.qemu_env(lab, tools)
        image.call([str(tools / "usr/bin/qemu-img"), "create", "-q", "-f", "qcow2", "-F", "raw",
                    "-b", str(self.folder / "disk.raw"), str(overlay)], "qemu-img", env=env)
        argv = ["nice", "-n", os.environ.get("TW_LAB_NICE", "0")]
        argv += disk.qemu_argv(lab, accel, self.console)
        argv += ["-drive", f"file={overlay},format=qcow2,if=virtio,cache=unsafe"]
        argv += ["-qmp", f"unix:{self.monitor},server=on,wait=off"]
        way_in = "net=10.0.3.0/24,hostfwd=tcp:127.0.0.1:0-10.0.3.15:22"
        argv += ["-netdev", f"socket,id=lan,fd={wires['lan'].fileno()}"]
        argv += ["-netdev", f"socket,id=cable,fd={wires['cable'].fileno()}"]
        argv += ["-netdev", f"user,id=chair,restrict=on,{way_in}"]
        for i, name in enumerate(("lan", "cable", "chair"), 1):
            mac = f"52:54:00:00:0{i}:0{self.n}"
            argv += ["-device", f"virtio-net-pci,netdev={name},mac={mac},romfile=,id=eth{i - 1}"]
        log = (self.job / f"{self.name}.qemu").open("w")
        self.process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        pass_fds=[w.fileno() for w in wires.values()])
        log.close()

    def power_off(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)

    def is_on(self):
        return self.process is None or self.process.poll() is None

    def qmp(self):
        return Qmp(self.monitor)

    def find_port(self):
        deadline = time.monotonic() + 60
        while not self.monitor.exists():
            if not self.is_on() or time.monotonic() > deadline:
                raise LabError(f"QEMU did not start\n{self.words()}")
            time.sleep(0.05)
        qmp = self.qmp()
        table = qmp.ask("human-monitor-command", **{"command-line": "info usernet"})
        qmp.close()
        self.port = int(re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)", table).group(1))

    def plug(self, wire, is_in):
        """Puts lan, cable or chair in, or pulls it: the machine sees the link go."""
        qmp = self.qmp()
        qmp.ask("set_link", name=wire, up=is_in)
        qmp.close()

    # ---- ssh -----------------------------------------------------------------------------------

    def ssh_options(self):
        key, hosts = self.folder / "key", self.job / "known_hosts"
        options = {"IdentityFile": key, "IdentitiesOnly": "yes", "UserKnownHostsFile": hosts,
                   "StrictHostKeyChecking": "accept-new", "HostKeyAlias": self.name, "BatchMode": "yes",
                   "ConnectTimeout": "60", "ServerAliveInterval": "30", "LogLevel": "ERROR",
                   "PreferredAuthentications": "publickey", "GSSAPIAuthentication": "no"}
        argv = ["-F", "none"]
        for name, value in options.items():
            argv += ["-o", f"{name}={value}"]
        return argv

    def ssh_argv(self, command, user=USER, tty=False):
        argv = ["ssh", *self.ssh_options(), "-p", str(self.port), *(["-tt"] if tty else [])]
        return [*argv, f"{user}@127.0.0.1", command]

    def start(self, command, user=USER, tty=False, **more):
        """A command there as a child of ours, in the user's own login shell."""
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
               "text": True, "errors": "replace"}
        return subprocess.Popen(self.ssh_argv(command, user, tty), **(how | more))

    def run(self, command, seconds=120, user=USER, text=None):
        t0 = time.monotonic()
        argv = self.ssh_argv(command, user)
        try:
            done = subprocess.run(argv, input=text or "", capture_output=True, text=True,
                                  errors="replace", timeout=seconds)
        except subprocess.TimeoutExpired as why:
            said = [(x or b"").decode(errors="replace")[-1500:] for x in (why.stdout, why.stderr)]
            raise LabError(f"{self.name}: not done after {seconds} s: {command}\n{said[0]}{said[1]}") \
                from why
        return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - t0)

    def talk(self, command, answers, seconds=300, user=USER):
        """A command at a terminal: what it asks for (a text that ends its output) is typed."""
        t0, said, seen = time.monotonic(), "", 0
        child = self.start(command, user, tty=True, stdin=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=False, errors=None)
        try:
            while True:
                left = min(t0 + seconds - time.monotonic(), SILENT_S)
                if left < 0 or not select.select([child.stdout], [], [], left)[0]:
                    raise LabError(f"{self.name}: nothing more after "
                                   f"{time.monotonic() - t0:.0f} s: {command}\n{said[-1500:]}")
                data = os.read(child.stdout.fileno(), 65536)
                if not data:
                    break
                said += data.decode(errors="replace")
                (self.job / f"{self.name}.talk").write_text(said)  # for whoever waits
                for question, answer in answers:
                    if said[seen:].rstrip().endswith(question):
                        seen = len(said)
                        child.stdin.write(f"{answer}\n".encode())
                        child.stdin.flush()
            child.wait(30)
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()
        return Result(child.returncode, said.replace("\r\n", "\n"), "", time.monotonic() - t0)

    def must(self, command, seconds=120, user=USER, text=None):
        r = self.run(command, seconds, user, text)
        if r.status != 0:
            raise LabError(f"{self.name}: exit {r.status}: {command}\n{r.out[-1500:]}{r.err[-1500:]}")
        return r.out

    def put(self, source, target, seconds=300):
        """A file or folder of the host as that path in the machine, its owner root."""
        source = pathlib.Path(source)
        pack = ["tar", "-C", str(source), "-c", "."] if source.is_dir() else \
            ["tar", "-C", str(source.parent), "-c", source.name]
        tar = subprocess.run(pack, stdout=subprocess.PIPE, check=True).stdout
        unpack = f"mkdir -p {shlex.quote(target)} && tar -C {shlex.quote(target)} --no-same-owner -x"
        done = subprocess.run(self.ssh_argv(unpack, "root"), input=tar, capture_output=True,
                              timeout=seconds)
        if done.returncode != 0:
            raise LabError(f"{self.name}: {target}: {done.stderr.decode()[-1000:]}")

    def boot_id(self, seconds=20):
        try:
            r = self.run("cat /proc/sys/kernel/random/boot_id", seconds)
        except LabError:
            return ""
        return r.out.strip() if r.status == 0 else ""

    def wait_up(self, seconds=UP_S, not_boot=""):
        """Until ssh answers, from another boot than not_boot. Returns the seconds that took."""
        t0 = time.monotonic()
        while not self.boot_id().replace(not_boot or "?", ""):
            if not self.is_on():
                raise LabError(f"{self.name}: QEMU ended\n{self.words()}")
            if time.monotonic() - t0 > seconds:
                raise LabError(f"{self.name}: no ssh after {seconds} s\n{self.words()}")
            time.sleep(1)
        return time.monotonic() - t0

    def words(self):
        text = "".join(p.read_text(errors="replace")[-2500:]
                       for p in (self.job / f"{self.name}.qemu", self.console) if p.exists())
        return text

    def reboot(self, command="systemctl reboot", user="root"):
        """Through grub; returns the seconds until ssh answers again."""
        was, t0 = self.boot_id(), time.monotonic()
        self.run(command, 120, user)
        self.wait_up(UP_S, not_boot=was)
        return time.monotonic() - t0


class Pair(machines.Job):
    """Both machines; with hold() they outlive one walk, for whoever works on a step of it."""

    def __init__(self, say=print, job=None):
        self.folder, self.lab = disk.get(say), image.get(say)
        super().__init__(job, "twinax-guide-")
        self.boxes = self.machines = [Box(n, self.job, self.folder) for n in (1, 2)]
        self.boot_s = None

    def power_on(self, say=print):
        accel, t0 = machines.accelerator(self.lab), time.monotonic()
        say(f"two machines, {accel} ...")
        pairs = dict(zip(("lan", "cable"), machines.wires(2)))
        try:
            for i, box in enumerate(self.boxes):
                box.power_on(self.lab, accel, {w: pair[i] for w, pair in pairs.items()})
            for box in self.boxes:
                box.find_port()
            for box in self.boxes:
                box.wait_up()
        except BaseException:
            self.close()
            raise
        finally:
            for pair in pairs.values():
                for end in pair:
                    end.close()
        self.boot_s = time.monotonic() - t0
        return self

    def hold(self):
        """Writes down how to reach the machines, for attach()."""
        ports = {box.name: box.port for box in self.boxes}
        (self.job / "ports").write_text(json.dumps(ports))

    def attach(self):
        ports = json.loads((self.job / "ports").read_text())
        for box in self.boxes:
            box.port = ports[box.name]
        return self

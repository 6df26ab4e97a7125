# SPDX-License-Identifier: Apache-2.0
"""The steps of the guide on a pair of machines, each a function here, and their log."""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time

import boxes

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = []  # in the order of the guide
CABLE = {"box1": "192.168.100.1", "box2": "192.168.100.2"}
NODES = ",".join(f"{name}={ip}" for name, ip in CABLE.items())
SCALE = float(os.environ.get("TW_TIME_SCALE", "4"))  # emulation is slow
CONF = ".config/twinax/twinax.conf"
SUDO = [("(not stored):", "guide"), ("(yes):", "yes")]
PROMPT = "What is the capital of France?"


class Wrong(Exception):
    """A step did not show what it must."""


def step(function):
    STEPS.append(function)
    return function


def names():
    return [f.__name__ for f in STEPS]


def need(condition, what):
    if not condition:
        raise Wrong(what)


def wait(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        need(time.monotonic() < end, f"{what} within {seconds:.0f} s")
        time.sleep(0.5)


class Log:
    """What a reader of the whole sees: commands, what they said, how long they took. Names of this
    host's folders are left out."""

    def __init__(self, hidden):
        self.t0, self.lines, self.hidden = time.monotonic(), [], hidden

    def say(self, text):
        for path, name in self.hidden.items():
            text = text.replace(path, name)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
        for line in text.splitlines() or [""]:
            if re.search(r"\(Reading database \.\.\. ?\d*%?$", line):
                continue  # dpkg counts to a hundred
            self.lines.append(line.rstrip())
            print(line, flush=True)

    def head(self, text):
        self.say("")
        self.say(f"== {time.monotonic() - self.t0:6.0f} s  {text}")


class Walk:
    """What the steps share: the machines, the log, what was there before."""

    def __init__(self, pair, build, log):
        self.pair, self.build, self.log = pair, build, log
        self.head, self.worker = pair.boxes
        self.boxes = pair.boxes

    def nodes(self):
        """Options that name the machines: none where twinax.conf does."""
        told = self.head.run("test -e ~/.config/twinax/twinax.conf").status == 0
        return "" if told else f"--nodes {NODES}"

    def show(self, command, seconds=300, box=None, good=0, text=None, answers=None):
        """Runs a command as the user would, on the head if nothing else is said, and logs it; at a
        terminal where there is something to answer."""
        box = box or self.head
        self.log.say(f"{box.name}$ {command}")
        if answers is None:
            r = box.run(command, seconds, text=text)
        else:
            r = box.talk(command, answers, seconds)
        for part in (r.out, r.err):
            if part:
                self.log.say(part.rstrip("\n"))
        self.log.say(f"   [{r.seconds:.1f} s, exit {r.status}]")
        need(good is None or r.status == good, f"exit {r.status}, wanted {good}: {command}")
        return r


# ---- what a host's files are ---------------------------------------------------------------------

# What setup may touch, and where it could leave something: all of it but caches and logs.
PLACES = "/etc /boot /root /home /usr/local /usr/lib/systemd /var/lib/systemd/linger /opt"
LIST = rf"""cd / && find {PLACES} -xdev \( -type f -o -type l -o -type d \) -printf '%M %u:%g %p %l\n' | sort -k3
find {PLACES} -xdev -type f -print0 | sort -z | xargs -0 sha256sum
dpkg-query -W -f '${{Package}} ${{Status}}\n'
nmcli -t -f NAME,UUID,TYPE,DEVICE connection show | grep -v :loopback: | sort
firewall-cmd --permanent --list-all-zones; firewall-cmd --get-active-zones
ip -br address show dev eth0 scope global; ip -o link show dev eth1 | sed 's/.*\(mtu [0-9]*\).*/eth1 \1/'
cat /proc/cmdline; id {boxes.USER}; ls /var/lib/systemd/linger /run/user 2>/dev/null
find /dev/shm /tmp /run/twinax /var/tmp -mindepth 1 -not -name 'systemd-private*' -not -path '*/tmp' -not -name '.*-unix' 2>/dev/null | sort"""


def together(function, boxes_):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(function, boxes_))


def state(box):
    """Everything of a machine that must be as before, a line each."""
    text = box.must(LIST, 300, user="root")
    return [line for line in text.splitlines() if line]


# ---- the steps -----------------------------------------------------------------------------------


@step
def install(w):
    """Program, model and an ssh key: what the guide takes for granted."""
    with tempfile.TemporaryDirectory(prefix="twinax-guide-") as folder:
        argv = ["meson", "install", "-C", str(w.build), "--no-rebuild", "--quiet", "--strip", "--destdir", folder]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        tree = pathlib.Path(folder) / "usr" / "local"
        need((tree / "bin" / "twinax").exists(), f"no {tree}/bin/twinax: is the prefix /usr/local?")
        together(lambda box: box.put(tree, "/usr/local"), w.boxes)
        together(lambda box: box.put(ROOT / "models/demo", "/srv/models/demo"), w.boxes)
        together(lambda box: box.must("ldconfig", user="root"), w.boxes)
    w.head.must("test -e .ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519")
    public = w.head.must("cat .ssh/id_ed25519.pub")
    w.worker.must("read -r key; grep -qxF \"$key\" .ssh/authorized_keys || echo \"$key\" >>.ssh/authorized_keys",
                  text=public)
    w.head.must("ssh -o StrictHostKeyChecking=accept-new box2 true")
    w.show("twinax version")
    w.show("ssh -o BatchMode=yes box2 twinax version")


@step
def init(w):
    """twinax.conf, from flags."""
    w.show("twinax setup --init --head box1 --worker box2 --transport rdma --interface eth1 --yes "
           f"-o {CONF}", 200)
    w.show(f"grep -v '^;' {CONF}")


@step
def before(w):
    """The state that setup --undo must bring back."""
    for box, lines in zip(w.boxes, together(state, w.boxes)):
        (w.pair.job / f"{box.name}.before").write_text("\n".join(lines))
        w.log.say(f"{box.name}: {len(lines)} lines of files, packages, connections, zones")


@step
def doctor_red(w):
    """What is wrong is said, each with its mend."""
    r = w.show("twinax doctor", 300, good=1)
    for what in ("MTU", "memlock", "rdma-core", "twinax setup"):
        need(what in r.out, f"no word of {what}")


@step
def revert(w):
    """A network step during which the head is lost takes itself back."""
    seen = "nmcli -t -f NAME connection show | grep -qx twinax-eth1"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        doing = pool.submit(w.show, "twinax setup --only network --yes", 400, answers=SUDO, good=None)
        try:
            wait(lambda: w.worker.run(seen, user="root").status == 0, 120, "no profile came on box2")
            w.head.plug("lan", False)
            t0 = time.monotonic()
            wait(lambda: w.worker.run(seen, user="root").status != 0, 60 + 30 * SCALE, "no revert")
            w.log.say(f"box2: the profile is gone {time.monotonic() - t0:.0f} s after the LAN was cut")
        finally:
            w.head.plug("lan", True)
            need(doing.result().status != 0, "setup took it for done")
    for box in w.boxes:
        wait(lambda box=box: box.run(seen, user="root").status != 0, 60 + 30 * SCALE,
             f"{box.name}: no revert")


@step
def setup(w):
    """Plan, consent, sudo's password once a node; all is done, recorded and read again."""
    w.show("twinax setup", 900, answers=SUDO, good=None)  # 1: this login has the old limits
    again = w.show("twinax setup --only network,firewall,packages --yes", 300, answers=SUDO)
    need("nothing is to be changed" in again.out, "a second run would change something")


@step
def reboot(w):
    """The kernel's parameters, then setup's own reboots through grub: the worker, awaited, then the head."""
    was = [box.boot_id() for box in w.boxes]
    w.show("twinax setup --only kernel --yes --reboot", 900, answers=SUDO, good=None)  # it ends with the head
    w.head.wait_up(boxes.UP_S, not_boot=was[0])
    need(w.worker.boot_id() != was[1], "box2 was not rebooted")
    for box in w.boxes:
        need("iommu=pt" in w.show("cat /proc/cmdline", box=box).out, f"{box.name}: not in force after the boot")
    again = w.show("twinax setup --only kernel --yes", 300, answers=SUDO)
    need("nothing is to be changed" in again.out, "a second run would change something")


@step
def doctor_green(w):
    """The same doctor, exit 0."""
    w.show("twinax doctor", 300)
    w.head.must("twinax doctor --record /tmp/record.json", 300)
    (w.pair.job / "record.json").write_text(w.head.must("cat /tmp/record.json; rm /tmp/record.json"))


@step
def compare(w):
    w.show(f"twinax compare -i --node box2", 400)


@step
def run(w):
    """TP=2 over RDMA gives the text of TP=1, and says what carried it."""
    say = f"twinax run /srv/models/demo -p '{PROMPT}' -n 24 --temp 0"
    one = w.show(f"{say} --tp 1 --local", 300)
    two = w.show(f"{say} {w.nodes()} --transport rdma", 300)
    need(one.out == two.out and one.out.strip(), "TP=2 gave other text than TP=1")
    need("rxe0" in two.err, "no word of the RDMA device")


@step
def pulled(w):
    """The cable is pulled in the middle of an answer: no rank outlives it, on either machine."""
    run_it = f"twinax run /srv/models/demo -p Hello -n 1900 --ignore-eos --temp 0 {w.nodes()}"
    gone = "until pgrep -x twinax >/dev/null; do sleep 0.05; done; echo there; " \
        "while pgrep -x twinax >/dev/null; do sleep 0.05; done; echo gone"
    watchers = [box.start(gone) for box in w.boxes]
    runner = w.head.start(run_it)
    try:
        for box, child in zip(w.boxes, watchers):
            need(child.stdout.readline().strip() == "there", f"no rank on {box.name}")
        runner.stdout.read(200)  # it speaks
        t0 = time.monotonic()
        w.head.plug("cable", False)
        for box, child in zip(w.boxes, watchers):
            need(child.stdout.readline().strip() == "gone", f"{box.name} did not answer")
            w.log.say(f"{box.name}: no rank any more {time.monotonic() - t0:.1f} s after the pull")
        seconds = time.monotonic() - t0
        w.log.say(runner.communicate(timeout=60)[1].strip())
        need(runner.returncode == 1, f"run ended with {runner.returncode}")
        need(seconds < 2 * SCALE, f"ranks lived on for {seconds:.1f} s, wanted 2 x {SCALE:g}")
    finally:
        w.head.plug("cable", True)
        for child in [*watchers, runner]:
            child.kill()
            child.communicate()


@step
def up(w):
    """In the background; the model's address answers."""
    w.show("twinax up /srv/models/demo", 400)
    r = w.show("twinax status", 60)
    need("rxe0" in r.out and "box2" in r.out, "status names neither box2 nor the RDMA device")


@step
def chat(w):
    """An answer by the API, as any client asks for it."""
    body = json.dumps({"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 32,
                       "temperature": 0})
    r = w.show("curl -sS -H 'Content-Type: application/json' -d @- "
               "http://127.0.0.1:8000/v1/chat/completions", 200, text=body)
    answer = json.loads(r.out)["choices"][0]["message"]["content"]
    need("twinax" in answer, f"an odd answer: {answer}")
    w.show("twinax status", 60)
    w.show("twinax logs | tail -n 20", 60)


@step
def down(w):
    """Nothing of ours is left on either machine."""
    w.show("twinax down", 60)
    w.show("twinax status", 60, good=1)
    for box in w.boxes:
        left = box.run("pgrep -a twinax; ls /dev/shm | grep -i twinax; ss -ltnH | grep -v ':22 '").out
        need(not left.strip(), f"left on {box.name}: {left}")


@step
def installed(w):
    """As a user unit it is back after a reboot of both, with nobody logged in; down takes all of it away."""
    unit, lingers = "~/.config/systemd/user/twinax.service", "ls /var/lib/systemd/linger 2>/dev/null"
    before = w.head.run(lingers, user="root").out
    w.show("twinax up /srv/models/demo --install", 600)
    w.show(f"systemd-analyze --user verify {unit}; cat {unit}", 120)
    for box in (w.worker, w.head):
        w.log.say(f"{box.name}: up again after {box.reboot():.0f} s")
    asks = "curl -sf http://127.0.0.1:8000/health"
    t0 = time.monotonic()
    wait(lambda: w.head.run(asks, user="root").status == 0, 120 * SCALE, "nobody served after the reboot")
    w.log.say(f"served {time.monotonic() - t0:.0f} s later; {boxes.USER} is "
              + w.head.must(f"loginctl show-user {boxes.USER} -p State", user="root").strip())
    need("(unit)" in w.show("twinax status", 60).out, "it is no unit")
    chat(w)
    w.show("twinax down", 120)
    need(w.head.run(f"test -e {unit}").status != 0, "the unit's file is left")
    need(w.head.run(lingers, user="root").out == before, "linger is not as it was")
    for box in w.boxes:
        left = box.run("pgrep -a twinax").out
        need(not left.strip(), f"left on {box.name}: {left}")


# What may differ after all is undone: a line each, and why.
ALLOWED = [
    (r"/etc/ld\.so\.cache$", "a cache of what lies in the library folders"),
    (r"/etc/g(roup|shadow)-?$", "groupadd and groupdel leave copies; a group that a device has still is left, and said"),
    (r"/home/ann/\.(local|cache)(/|\s|$)", "logs of services, measurements: the user's, kept"),
    (r"/home/ann/\.sudo_as_admin_successful", "sudo's own mark of a first use"),
]


@step
def undo(w):
    """All that setup did is taken back, after which the hosts are as before."""
    w.show("twinax setup --undo", 900, answers=SUDO)
    together(boxes.Box.reboot, w.boxes)
    for box, now in zip(w.boxes, together(state, w.boxes)):
        was = (w.pair.job / f"{box.name}.before").read_text().splitlines()
        changed = [f"- {line}" for line in was if line not in set(now)]
        changed += [f"+ {line}" for line in now if line not in set(was)]
        wrong = []
        for line in changed:
            why = next((why for rule, why in ALLOWED if re.search(rule, line)), None)
            w.log.say(f"{box.name}: {line}   {f'[may be: {why}]' if why else '[WRONG]'}")
            wrong += [line] if why is None else []
        w.log.say(f"{box.name}: {len(was)} lines before, {len(now)} after, {len(wrong)} wrong")
        need(not wrong, f"{box.name} is not as before")


def walk(pair, args):
    log = Log({str(pair.job): "$JOB", str(ROOT): "$TWINAX", os.path.expanduser("~"): "~"})
    log.say(f"twinax lab-guide: {subprocess.run(['git', '-C', str(ROOT), 'describe', '--always'], capture_output=True, text=True).stdout.strip()}")
    if pair.boot_s:
        log.say(f"both machines up after {pair.boot_s:.0f} s")
    w = Walk(pair, args.build, log)
    for f in STEPS:
        if args.steps and f.__name__ not in args.steps:
            continue
        log.head(f"{f.__name__}: {(f.__doc__ or '').splitlines()[0] if f.__doc__ else ''}")
        t0 = time.monotonic()
        try:
            f(w)
        except (Wrong, boxes.LabError, subprocess.CalledProcessError) as why:
            log.say(f"== FAILED {f.__name__} after {time.monotonic() - t0:.0f} s: {why}")
            return 1
        log.say(f"== passed {f.__name__} in {time.monotonic() - t0:.0f} s")
    log.say(f"all passed in {time.monotonic() - log.t0:.0f} s")
    if args.log:
        args.log.write_text("\n".join(log.lines) + "\n")
    return 0

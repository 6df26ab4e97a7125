# SPDX-License-Identifier: Apache-2.0
"""More sshd on the second machine of two_hosts, each with its own idea of a shell."""

import subprocess
import time

import two_hosts
from two_hosts import B, LAN

SHELL = 'exec sh -c "$SSH_ORIGINAL_COMMAND"\n'


def start(h, name, port, shell, settings, prepare="true"):
    """An sshd on machine B that runs `shell` for whoever comes; prepare: sh, in its own mounts, first."""
    run = f"{prepare} && {two_hosts.OWN_RUN}"
    script = h.folder / f"shell_{name}"
    script.write_text("#!/bin/sh\n" + shell)
    script.chmod(0o755)
    text = (h.folder / f"sshd_{B}").read_text().replace(f"{LAN[B]}:22", f"{LAN[B]}:{port}")
    for k, v in settings.items():
        text = "".join(line + "\n" for line in text.splitlines() if not line.startswith(k))
        text += f"{k} {v.format(h=h)}\n"
    config = h.folder / f"sshd_{name}"
    config.write_text(text + f"ForceCommand {script}\n")
    with open(h.folder / f"{config.name}.log", "wb") as log:
        h.sshd.append(
            subprocess.Popen(h.ns(B, "sh", "-c", run, two_hosts.find("sshd"), "-D", "-e", "-f", config),
                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=h.env)  # fmt: skip
        )
    until = time.monotonic() + two_hosts.STEP_S
    while port not in h.listeners(B):
        assert time.monotonic() < until, (h.folder / f"{config.name}.log").read_text()
        time.sleep(0.02)
    add_client(h, name, Port=port)


def add_client(h, name, **options):
    f = h.folder
    both = {
        "HostName": LAN[B], "HostKeyAlias": LAN[B], "User": "root",
        "UserKnownHostsFile": f / "known", "GlobalKnownHostsFile": "/dev/null", "IdentityFile": f / "user",
        "IdentitiesOnly": "yes", "IdentityAgent": "none",
    } | options  # fmt: skip
    with open(f / "ssh_config", "a") as config:
        config.write(f"Host {name}\n" + "".join(f"  {k} {v}\n" for k, v in both.items()))

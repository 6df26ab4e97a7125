# SPDX-License-Identifier: Apache-2.0
"""Every TCP socket that listens on a machine of two_hosts.py, and whose it is."""

import collections
import ipaddress
import os
import pathlib

Listener = collections.namedtuple("Listener", "ip port pid words")


def address(text):
    """The kernel's own hexadecimal, words of four bytes in its order."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    ip = ipaddress.ip_address(raw)
    return ip.ipv4_mapped or ip if ip.version == 6 else ip


def sockets(pid):
    """Inode numbers of what it has open."""
    found = set()
    try:
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            to = os.readlink(fd)
            if to.startswith("socket:["):
                found.add(int(to[8:-1]))
    except OSError:
        pass
    return found


def listeners(h, host):
    processes = h.processes(host)
    owner = {inode: pid for pid in processes for inode in sockets(pid)}
    found = []
    for name in "tcp", "tcp6":
        for line in h.do(host, "cat", f"/proc/net/{name}").stdout.splitlines()[1:]:
            field = line.split()
            ip, port = field[1].split(":")
            pid = owner.get(int(field[9]))
            if field[3] == "0A" and pid:
                found.append(Listener(address(ip), int(port, 16), pid, processes[pid]))
    return sorted(found, key=lambda x: (str(x.ip), x.port))


def is_open(listener):
    """To every network of its machine."""
    return listener.ip.is_unspecified

# SPDX-License-Identifier: Apache-2.0
"""Reads what QEMU's filter-dump wrote: classic pcap, Ethernet frames, IPv4."""

import collections
import struct

ROCE_V2_PORT = 4791
# What of a RoCE v2 packet is not payload: BTH 12, invariant CRC 4, and per operation code (reliable
# connection) what stands between them: RETH 16, immediate 4, AETH 4. Padding counts as payload.
EXTENDED = {0x06: 16, 0x07: 0, 0x08: 0, 0x09: 4, 0x0A: 16, 0x0B: 20, 0x11: 4}
ACKNOWLEDGE = 0x11

Packet = collections.namedtuple("Packet", "src dst protocol sport dport payload")


def frames(data):
    """The frames of a file; a last one that is still being written is left out."""
    if len(data) < 24:
        return
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    at = 24
    while at + 16 <= len(data):
        _, _, kept, _ = struct.unpack_from(order + "IIII", data, at)
        if at + 16 + kept > len(data):
            return
        yield data[at + 16 : at + 16 + kept]
        at += 16 + kept


def packet(frame):
    """TCP or UDP over IPv4, else None."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00" or frame[23] not in (6, 17):
        return None
    head = (frame[14] & 15) * 4
    ip = frame[14 : 14 + struct.unpack_from(">H", frame, 16)[0]]  # without Ethernet's padding
    body = ip[head:]
    sport, dport = struct.unpack_from(">HH", body)
    skip = (body[12] >> 4) * 4 if ip[9] == 6 else 8
    src, dst = (".".join(map(str, ip[i : i + 4])) for i in (12, 16))
    return Packet(src, dst, "tcp" if ip[9] == 6 else "udp", sport, dport, body[skip:])


def roce_opcode(p):
    """The operation code of a RoCE v2 packet, else None."""
    is_roce = p.protocol == "udp" and p.dport == ROCE_V2_PORT and len(p.payload) >= 16
    return p.payload[0] if is_roce else None


def roce_bytes(p):
    """Bytes of user data in a RoCE v2 packet."""
    return max(0, len(p.payload) - 12 - 4 - EXTENDED.get(p.payload[0], 0))


class Tally:
    """Sums over a capture from a position on."""

    def __init__(self, path, start=0):
        data = path.read_bytes()
        self.end = len(data)
        found = [packet(f) for f in frames(data[:24] + data[max(24, start) :])]
        found = [p for p in found if p]
        roce = [p for p in found if roce_opcode(p) is not None]
        self.opcodes = collections.Counter(p.payload[0] for p in roce)
        self.roce = collections.Counter()  # source: bytes
        for p in roce:
            self.roce[p.src] += roce_bytes(p)
        self.tcp = collections.Counter()
        for p in found:
            if p.protocol == "tcp":
                self.tcp[p.src] += len(p.payload)
        self.other_udp = sum(p.protocol == "udp" and p.dport != ROCE_V2_PORT for p in found)
        self.largest = max((len(p.payload) for p in roce), default=0)

# SPDX-License-Identifier: Apache-2.0
"""The lab's own parts, without a machine; and that it leaves nothing and skips where it must."""

import lzma
import os
import pathlib
import signal
import stat
import struct
import subprocess
import sys
import time

import pytest

import image
import pcap

LAB = pathlib.Path(__file__).parent / "lab.py"


def ethernet(protocol, sport, dport, payload):
    if protocol == 6:
        body = struct.pack(">HHIIBBHHH", sport, dport, 0, 0, 5 << 4, 0, 0, 0, 0) + payload
    else:
        body = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0,
                     bytes([10, 77, 0, 1]), bytes([10, 77, 0, 2]))
    return (bytes(12) + b"\x08\x00" + ip + body).ljust(60, b"\0")


def capture(frames):
    out = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for f in frames:
        out += struct.pack("<IIII", 0, 0, len(f), len(f)) + f
    return out


def test_a_capture_is_summed_by_transport(tmp_path):
    write = bytes([0x0B]) + bytes(11) + bytes(20) + b"x" * 100 + bytes(4)  # WRITE ONLY, immediate
    ack = bytes([0x11]) + bytes(11) + bytes(4) + bytes(4)
    frames = [ethernet(17, 50000, 4791, write), ethernet(17, 50000, 4791, ack),
              ethernet(6, 40000, 18621, b"hello"), ethernet(17, 1, 53, b"q"), b"\0" * 60]
    path = tmp_path / "x.pcap"
    path.write_bytes(capture(frames) + b"half a record")
    t = pcap.Tally(path)
    assert t.roce == {"10.77.0.1": 100} and t.opcodes == {0x0B: 1, 0x11: 1}
    assert t.tcp == {"10.77.0.1": 5} and t.other_udp == 1
    first = len(capture(frames[:1]))
    assert pcap.Tally(path, first).opcodes == {0x11: 1}


def test_modules_come_after_what_they_need(tmp_path):
    for name, needs in (("top", "mid,base"), ("mid", "base-x"), ("base", ""), ("base-x", "inside")):
        text = b"\x7fELF\0license=GPL\0depends=" + needs.encode() + b"\0name=x\0"
        (tmp_path / f"{name}.ko.xz").write_bytes(lzma.compress(text, lzma.FORMAT_XZ))
    (tmp_path / "modules.builtin").write_text("kernel/inside.ko\n")
    m = image.Modules(tmp_path)
    m.add("top")
    m.add("crc32_generic")  # newer kernels lack it
    assert list(m.order) == ["base_x", "mid", "base", "top"]
    with pytest.raises(image.Broken, match="no module other"):
        m.add("other")


def test_a_kernel_is_taken_out_of_its_bzimage():
    elf = b"\x7fELF" + bytes(range(256)) * 8
    packed = lzma.compress(elf, lzma.FORMAT_XZ) + b"\1\2\3\4"  # its size follows the stream
    image_ = bytearray(2 * 512 + 100)
    image_[0x1F1] = 1
    struct.pack_into("<II", image_, 0x248, 100, len(packed))
    assert image.kernel_elf(bytes(image_) + packed) == elf
    assert image.kernel_elf(bytes(image_) + b"\0" * len(packed)) is None


def test_initramfs_entries_are_aligned_and_closed():
    data = image.cpio([("bin", stat.S_IFDIR | 0o755, b""), ("f", stat.S_IFREG | 0o644, b"12345")])
    at, found = 0, []
    while at < len(data):
        assert data[at : at + 6] == b"070701" and at % 4 == 0
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        start = (at + 110 + fields[11] + 3) // 4 * 4
        found.append((name, data[start : start + fields[6]]))
        at = (start + fields[6] + 3) // 4 * 4
    assert found == [("bin", b""), ("f", b"12345"), ("TRAILER!!!", b"")]


def test_without_a_network_the_lab_says_so(tmp_path, lab_image):
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "http_proxy": "http://127.0.0.1:9",
                        "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, LAB, "setup"], env=env, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 125 and "no network for the first download" in done.stderr, done.stderr


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_machine_outlives_its_driver(tmp_path, lab_image, how):
    argv = [sys.executable, LAB, "solo", "sleep 100", "--keep", tmp_path]
    p = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "A.1.cmd").exists() and time.monotonic() < until:
            time.sleep(0.05)
        machines = children(p.pid)
        assert len(machines) == 1
        p.send_signal(how)
        p.wait(20)
        until = time.monotonic() + 10
        while any(map(is_alive, machines)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(is_alive, machines))
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()

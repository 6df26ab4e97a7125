#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One big file by `twinax pull`, by curl and by curl and sha256sum after it, in turns, from the same
TLS server on this machine (nginx, one worker a core) into the same folder. JSON lines: each round's
seconds, then the medians and the median of each round's ratio to curl's. curl alone hashes nothing
and waits for no disk; `curl+sync` does the latter, as twinax does before a file gets its name."""

import argparse
import getpass
import hashlib
import json
import os
import pathlib
import platform
import random
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
COMMIT = "c" * 40
CHUNK = 1 << 20
CONFIG = """
{user}
daemon off; master_process on; worker_processes auto; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port} ssl; ssl_certificate {folder}/both.pem; ssl_certificate_key {folder}/both.pem;
    ssl_protocols TLSv1.3;
    root {folder}/www;
    location ~ ^/api/ {{ try_files /api.json =404; }}
    location ~ ^/org/name/resolve/[^/]+/(.*)$ {{ return 302 https://localhost:{port}/store/$1; }}
    location /store/ {{ alias {folder}/www/; }}
  }}
}}
"""


def make_file(path, size):
    """Random bytes, of which one MiB is drawn and then changed in each copy; (SHA-256)."""
    block, sha = bytearray(random.Random(1).randbytes(CHUNK)), hashlib.sha256()
    with open(path, "wb") as f:
        for i in range(0, size, CHUNK):
            block[:8] = i.to_bytes(8, "little")
            part = memoryview(block)[: min(CHUNK, size - i)]
            f.write(part)
            sha.update(part)
    return sha.hexdigest()


def start_server(folder, args):
    sys.path.insert(0, str(ROOT / "tests" / "cli"))
    import fake_hub

    ca, _ = fake_hub.make_certificates(folder)
    (folder / "www").mkdir()
    size = args.mib << 20
    sha = make_file(folder / "www" / "model.safetensors", size)
    listing = {"id": "org/name", "sha": COMMIT, "siblings": [
        {"rfilename": "model.safetensors", "size": size, "blobId": "a" * 40,
         "lfs": {"sha256": sha, "size": size}}]}
    (folder / "www" / "api.json").write_text(json.dumps(listing))
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, port=port, user=f"user {getpass.getuser()};"))
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    server = subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    url = f"https://localhost:{port}"
    until = time.monotonic() + 20
    while True:
        try:
            context = ssl.create_default_context(cafile=str(ca))
            urllib.request.urlopen(url + "/api/x", context=context, timeout=5).read()
            return server, url, ca, sha
        except OSError:
            if time.monotonic() > until or server.poll() is not None:
                server.kill()
                raise
            time.sleep(0.05)


def timed(*argv, env=None):
    t0 = time.monotonic()
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=900, env=env, check=False)
    if done.returncode != 0:
        sys.exit(f"{argv[0]}: exit {done.returncode}: {done.stderr}")
    return time.monotonic() - t0


class Peers:
    def __init__(self, args, url, ca, target):
        self.args, self.url, self.ca, self.target = args, url, ca, target

    def twinax(self):
        env = os.environ | {"HF_HOME": str(self.target / "hf"), "XDG_CACHE_HOME": str(self.target / "xdg"),
                            "HF_ENDPOINT": self.url, "REQUESTS_CA_BUNDLE": str(self.ca), "HF_TOKEN": "",
                            "NO_PROXY": "*"}
        return timed(self.args.twinax, "pull", "org/name", *self.args.option, env=env)

    def curl(self):
        return timed("curl", "-sS", "-L", "--cacert", self.ca, "-o", self.target / "curl",
                     self.url + "/org/name/resolve/main/model.safetensors")

    def curl_sync(self):
        return self.curl() + timed("sync", "-d", self.target / "curl")

    def curl_sha(self):
        return self.curl() + timed("sha256sum", self.target / "curl")

    def clean(self):
        for name in ("hf", "xdg"):
            shutil.rmtree(self.target / name, ignore_errors=True)
        (self.target / "curl").unlink(missing_ok=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--twinax", default=ROOT / "build" / "twinax")
    p.add_argument("--mib", type=int, default=1024)
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--target", default=None, help="folder that is written to; default a temporary one")
    p.add_argument("--option", action="append", default=[], help="of twinax pull, e.g. --option=--connections=1")
    p.add_argument("--peers", default="curl,curl_sync,curl_sha")
    args = p.parse_args()
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    names = ["twinax", *args.peers.split(",")]
    with tempfile.TemporaryDirectory(prefix="bench-pull-") as tmp, \
            tempfile.TemporaryDirectory(prefix="bench-pull-", dir=args.target) as target:
        server, url, ca, _ = start_server(pathlib.Path(tmp), args)
        try:
            peers, rounds = Peers(args, url, ca, pathlib.Path(target)), []
            for i in range(args.rounds + 1):
                one = {}
                for name in names if i % 2 else reversed(names):
                    peers.clean()
                    one[name] = getattr(peers, name)()
                if i > 0:  # the first one warms the caches
                    rounds.append(one)
                    print(json.dumps({"round": i} | {k: round(v, 4) for k, v in one.items()}), flush=True)
        finally:
            server.terminate()
            server.wait()
    out = {"test": "pull", "mib": args.mib, "rounds": len(rounds), "git": git.stdout.strip(),
           "cpu": platform.processor(), "kernel": platform.release(), "cores": os.cpu_count(),
           "options": args.option}
    for name in names:
        s = statistics.median(r[name] for r in rounds)
        out[name] = {"s": round(s, 4), "mb_s": round(args.mib * 1.048576 / s, 1)}
        if name != "twinax":
            ratios = sorted(r[name] / r["twinax"] for r in rounds)
            out[name] |= {"ratio": round(statistics.median(ratios), 3), "ratio_min": round(ratios[0], 3),
                          "ratio_max": round(ratios[-1], 3)}
    print(json.dumps(out))


if __name__ == "__main__":
    main()

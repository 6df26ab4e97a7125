# SPDX-License-Identifier: Apache-2.0
"""A hub and its store on loopback, over TLS with a CA of their own. The hub answers the API and sends
whoever wants a large file to the store, which is another host and must never see a token."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import pathlib
import re
import ssl
import subprocess
import threading
import time
import urllib.parse

LARGE = 4096  # from this size on a file is in the store, named by its SHA-256
CHUNK = 16 * 1024


@functools.lru_cache(maxsize=256)
def git_hash(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@functools.lru_cache(maxsize=256)
def etag_of(data):
    return hashlib.sha256(data).hexdigest() if len(data) >= LARGE else git_hash(data)


class Repo:
    def __init__(self, files, gated=False, private=False):
        self.refs, self.commits = {}, {}
        self.gated, self.private = gated, private
        self.members = set()  # tokens that may read it
        self.push(files)

    def push(self, files, ref="main"):
        tree = "".join(f"{p}{etag_of(d)}" for p, d in sorted(files.items()))
        commit = hashlib.sha1(tree.encode()).hexdigest()
        self.commits[commit] = dict(files)
        self.refs[ref] = commit
        return commit


def make_certificates(folder, ips=("127.0.0.1",)):
    """A CA and a certificate of it for loopback and ips: (ca, certificate with its key)."""
    ca, key = folder / "ca.pem", folder / "ca.key"
    leaf, leaf_key, both = folder / "leaf.pem", folder / "leaf.key", folder / "both.pem"
    (folder / "san").write_text("subjectAltName=DNS:localhost," + ",".join(f"IP:{ip}" for ip in ips) + "\n")

    def openssl(*argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True, timeout=60)

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *new_key, "-keyout", key, "-out", ca, "-days", "3650", "-subj", "/CN=twinax test CA",
            "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", *new_key, "-keyout", leaf_key, "-out", folder / "leaf.csr", "-subj", "/CN=localhost")
    openssl("x509", "-req", "-in", folder / "leaf.csr", "-CA", ca, "-CAkey", key, "-CAcreateserial",
            "-days", "3650", "-extfile", folder / "san", "-out", leaf)
    both.write_text(leaf.read_text() + leaf_key.read_text())
    return ca, both


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub = None  # set in a subclass
    is_store = False

    def log_message(self, *_):
        pass

    def token(self):
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for k, v in dict(headers).items():
            self.send_header(k, v)
        if "Content-Length" not in dict(headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code, text):
        self.answer(status, {"X-Error-Code": code, "X-Error-Message": text}, b"<html>no</html>")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.route()

    def route(self):
        hub, url = self.hub, urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        hub.note(self.is_store, self.command, path, self.headers)
        trouble = hub.next_trouble(self.is_store, path)
        if trouble:
            return self.answer(trouble[0], trouble[1], b"trouble")
        if self.is_store:
            return self.send_stored(path)
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path)
        if found:
            return self.send_listing(*found.groups())
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path)
        if found:
            return self.send_tree(*found.groups())
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        if found:
            return self.send_file(*found.groups())
        found = re.fullmatch(r"/api/resolve-cache/models/([^/]+/[^/]+)/([^/]+)/(.+)", path)
        if found:
            return self.send_file(*found.groups(), is_final=True)
        return self.answer(404, body=b"{}")

    def find(self, name, revision, for_file):
        """(repo, commit), or None when the answer is given already: as the hub does it."""
        repo, token = self.hub.repos.get(name), self.token()
        if token and token not in self.hub.tokens:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        hidden = repo is None or (repo.private and token not in repo.members)
        if hidden and not token:
            return self.refuse(401, "RepoNotFound", "Repository not found")
        if hidden:
            return self.refuse(404, "RepoNotFound", "Repository not found")
        if for_file and repo.gated and token not in repo.members:
            return self.refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is restricted")
        commit = repo.refs.get(revision)
        begun = [c for c in repo.commits if len(revision) >= 7 and c.startswith(revision)]
        if commit is None and len(begun) == 1:
            commit = begun[0]
        if commit is None:
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repo, commit

    def send_listing(self, name, revision):
        found = self.find(name, revision, False)
        if found is None:
            return
        repo, commit = found
        siblings = []
        for path, data in sorted(repo.commits[commit].items()):
            one = {"rfilename": path, "size": len(data), "blobId": git_hash(data)}
            if len(data) >= LARGE:
                one["lfs"] = {"sha256": etag_of(data), "size": len(data), "pointerSize": 134}
            siblings.append(one)
        body = json.dumps({"id": name, "modelId": name, "sha": commit, "gated": repo.gated,
                           "private": repo.private, "tags": [], "downloads": 0, "siblings": siblings})
        self.answer(200, {"Content-Type": "application/json"}, body.encode())

    def send_tree(self, name, revision):
        """What huggingface_hub lists a snapshot with."""
        found = self.find(name, revision, False)
        if found is None:
            return
        repo, commit = found
        entries = []
        for path, data in sorted(repo.commits[commit].items()):
            one = {"type": "file", "oid": git_hash(data), "size": len(data), "path": path}
            if len(data) >= LARGE:
                one["lfs"] = {"oid": etag_of(data), "size": len(data), "pointerSize": 134}
            entries.append(one)
        self.answer(200, {"Content-Type": "application/json"}, json.dumps(entries).encode())

    def send_file(self, name, revision, path, is_final=False):
        """Small files from a path of the hub's own, large ones from the store, as the real one does."""
        found = self.find(name, revision, True)
        if found is None:
            return
        repo, commit = found
        data = repo.commits[commit].get(path)
        if data is None:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        etag = etag_of(data)
        headers = {"X-Repo-Commit": commit, "Accept-Ranges": "bytes", "ETag": f'"{etag}"'}
        if len(data) < LARGE and is_final:
            return self.send_bytes(path, data, headers)
        if len(data) < LARGE:
            where = urllib.parse.quote(f"/api/resolve-cache/models/{name}/{commit}/{path}")
            return self.answer(307, headers | {"Location": f"{where}?etag=%22{etag}%22"})
        del headers["ETag"]
        linked = self.hub.linked_etags.get(etag, etag)
        headers |= {"X-Linked-Etag": f'"{linked}"', "X-Linked-Size": str(len(data)), "X-Xet-Hash": etag[::-1],
                    "Link": f'<{self.hub.url}/api/models/{name}/xet-read-token/{commit}>; rel="xet-auth"',
                    "Location": f"{self.hub.store_url}/{etag}?X-Xet-Cas-Uid=public&sign={self.hub.signature}"}
        self.answer(302, headers)

    def send_stored(self, path):
        data = self.hub.stored(path.lstrip("/"))
        if data is None:
            return self.answer(404)
        if urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("sign") != [self.hub.signature]:
            return self.answer(403, body=b"<Error>expired</Error>")
        self.send_bytes(path.lstrip("/"), data, {"ETag": '"of-the-store"', "Accept-Ranges": "bytes"})

    def send_bytes(self, what, data, headers):
        hub, status, first, last = self.hub, 200, 0, len(data) - 1
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted and not hub.no_ranges:
            first, last = int(wanted[1]), min(last, int(wanted[2] or last))
            status = 206
            headers = headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
        if hub.is_wrong(what):
            data = bytes([data[0] ^ 1]) + data[1:]
        part = data[first : last + 1]
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = hub.next_cut(len(part))
        for at in range(0, cut, CHUNK):
            piece = part[at : min(at + CHUNK, cut)]
            self.wfile.write(piece)
            hub.sent(what, first + at, len(piece))
            if hub.bytes_s:
                time.sleep(len(piece) / hub.bytes_s)
        if cut < len(part):
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, handler, certificate, ip):
        super().__init__((ip, 0), handler)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)

    def finish_request(self, request, address):
        """In the connection's own thread, where a slow handshake holds up nobody."""
        request.settimeout(60)
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as tls:
            super().finish_request(tls, address)

    def handle_error(self, request, address):
        pass


class FakeHub:
    def __init__(self, folder, ips=("127.0.0.1", "127.0.0.1")):
        """ips: the hub's and its store's. Where the sockets are made is where they stay: a network
        namespace that this thread is in just now."""
        self.ca, both = make_certificates(pathlib.Path(folder), ips)
        self.repos, self.tokens = {}, set()
        self.no_ranges, self.bytes_s, self.signature = False, 0, "first"
        self.linked_etags = {}  # SHA-256: what is said instead of it
        self.wrong = {}  # what: how many times it is sent with a flipped bit
        self.cuts = []  # shares of an answer after which the next ones break off
        self.troubles = []  # (store?, part of the path, status, headers), each once
        self.requests = []  # (store?, method, path, headers)
        self.counts = {}  # what: {first byte: bytes sent from there}
        self.lock = threading.Lock()
        self.servers = []
        for is_store in (False, True):
            handler = type("Bound", (Handler,), {"hub": self, "is_store": is_store})
            self.servers.append(Server(handler, both, ips[is_store]))
        store = "localhost" if ips[1] == "127.0.0.1" else ips[1]
        self.url = f"https://{ips[0]}:{self.servers[0].server_port}"
        self.store_url = f"https://{store}:{self.servers[1].server_port}"
        self.threads = [threading.Thread(target=s.serve_forever, args=(0.05,)) for s in self.servers]
        for t in self.threads:
            t.start()

    def close(self):
        for s in self.servers:
            s.shutdown()
            s.server_close()
        for t in self.threads:
            t.join()

    def env(self, home, token=None, **more):
        """What a client's environment needs; nothing of the machine's own."""
        env = {"HF_HOME": str(home), "HF_ENDPOINT": self.url, "CURL_CA_BUNDLE": str(self.ca),
               "SSL_CERT_FILE": str(self.ca), "REQUESTS_CA_BUNDLE": "", "SSL_CERT_DIR": "",
               "XDG_CACHE_HOME": f"{home}/xdg", "HF_TOKEN": token or "", "HF_HUB_OFFLINE": "",
               "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
               "NO_PROXY": "*", "no_proxy": "*"}
        return env | more

    def stored(self, sha256):
        for repo in self.repos.values():
            for files in repo.commits.values():
                for data in files.values():
                    if etag_of(data) == sha256:
                        return data
        return None

    def note(self, is_store, method, path, headers):
        with self.lock:
            self.requests.append((is_store, method, path, dict(headers)))

    def sent(self, what, first, n):
        with self.lock:
            self.counts.setdefault(what, []).append((first, n))

    def sent_bytes(self, what=None):
        with self.lock:
            return sum(n for k, v in self.counts.items() if what in (None, k) for _, n in v)

    def next_trouble(self, is_store, path):
        with self.lock:
            for i, (store, part, status, headers) in enumerate(self.troubles):
                if store == is_store and part in path:
                    del self.troubles[i]
                    return status, headers
        return None

    def next_cut(self, n):
        with self.lock:
            return int(n * self.cuts.pop(0)) if self.cuts else n

    def is_wrong(self, what):
        with self.lock:
            left = self.wrong.get(what, 0)
            self.wrong[what] = left - 1
            return left > 0


@contextlib.contextmanager
def serving(folder, make=FakeHub):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN_PATH"):
        os.environ.pop(name, None)  # else they would go before the test's HF_HOME
    hub = make(folder)
    try:
        yield hub
    finally:
        hub.close()


def folder_files(folder):
    """A model's folder as what a repository holds."""
    return {p.name: p.read_bytes() for p in sorted(pathlib.Path(folder).iterdir()) if p.is_file()}

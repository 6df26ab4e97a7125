# SPDX-License-Identifier: Apache-2.0
"""An HTTP proxy on loopback that knows CONNECT alone, and says who asked for what."""

import contextlib
import socket
import threading


class Proxy:
    def __init__(self):
        self.asked = []  # ("host:port", header lines)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                part = client.recv(4096)
                if not part:
                    return
                head += part
            first, *lines = head.decode("latin-1").split("\r\n")
            verb, target, _ = first.split(" ")
            self.asked.append((target, lines))
            if verb != "CONNECT":
                client.sendall(b"HTTP/1.1 405 no\r\nContent-Length: 0\r\n\r\n")
                return
            host, port = target.rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=20) as server:
                client.sendall(b"HTTP/1.1 200 ok\r\n\r\n")
                back = threading.Thread(target=self.relay, args=(server, client), daemon=True)
                back.start()
                self.relay(client, server)
                back.join(20)

    @staticmethod
    def relay(a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
            b.shutdown(socket.SHUT_WR)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@contextlib.contextmanager
def running():
    proxy = Proxy()
    try:
        yield proxy
    finally:
        proxy.close()

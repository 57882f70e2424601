"""A relay before the server, which counts connections, cuts them, speaks TLS, or is a proxy of HTTP."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
from typing import TYPE_CHECKING

from typing_extensions import Self

if TYPE_CHECKING:
    import ssl

HEAD_BYTES_MAX = 65536


class Relay:
    """Passes bytes on to a server, in both directions. `connections` counts those that were made."""

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None, is_proxy: bool = False) -> None:
        parts = urllib.parse.urlsplit(url)
        self.target = (str(parts.hostname), int(parts.port or 80))
        self.tls = tls
        self.is_proxy = is_proxy
        self.connections = 0
        self.heads: list[bytes] = []
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            beginning = self._take_head(client) if self.is_proxy else b""
            if self.tls is not None:
                client = self.tls.wrap_socket(client, server_side=True)
            self._relay(client, beginning)

    def _take_head(self, client: socket.socket) -> bytes:
        """Take the head of a CONNECT, or of a request with the whole URL, whose target is always our server."""
        head = b""
        while b"\r\n\r\n" not in head and len(head) < HEAD_BYTES_MAX:
            head += client.recv(4096)
        self.heads.append(head)
        if head.startswith(b"CONNECT "):
            client.sendall(b"HTTP/1.1 200 here you are\r\n\r\n")
            return b""
        return head

    def _relay(self, client: socket.socket, beginning: bytes) -> None:
        upstream = socket.create_connection(self.target)
        with self._lock:
            self._open += [client, upstream]
        if beginning:
            upstream.sendall(beginning)
        back = threading.Thread(target=_copy, args=(upstream, client), daemon=True)
        back.start()
        _copy(client, upstream)
        back.join()
        client.close()
        upstream.close()

    def cut(self) -> None:
        """Break every connection that is open now."""
        with self._lock:
            ends, self._open = self._open, []
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while some := source.recv(65536):
            sink.sendall(some)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

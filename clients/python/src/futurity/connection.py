"""One connection to a server: where it leads, and how long each step may take.

`http.client` bounds single steps, not a whole answer, and a socket has one time-out for both directions. So its
socket is a `Channel` here, which never blocks in the kernel and waits by a clock of its own for each direction.
"""

from __future__ import annotations

import base64
import http.client
import io
import select
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

# The server closes a connection that was idle for 75 s. One that is younger may be used without fear.
IDLE_SECONDS = 60.0
FOREVER = float("inf")


class Address(NamedTuple):
    """Where a server is: the parts of its URL."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a URL apart.

        Raises:
            ValueError: It is no URL of a server.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a server, as http://127.0.0.1:8080 is")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("a server's URL has no user, no query and no fragment; give the key apart")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """What stands in `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return host if self.port == usual else f"{host}:{self.port}"

    @property
    def is_this_machine(self) -> bool:
        """Whether it is a loopback address."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def __str__(self) -> str:
        """Write the URL as people know it."""
        return f"{self.scheme}://{self.authority}{self.prefix}"


class Proxy(NamedTuple):
    """A proxy of the environment."""

    host: str
    port: int
    headers: dict[str, str]

    @classmethod
    def of_environment(cls, address: Address) -> Proxy | None:
        """Find the proxy for a server, as `urllib` does. This machine itself is never reached by one.

        Raises:
            ValueError: The variable is no URL.
        """
        if address.is_this_machine:
            return None
        url = urllib.request.getproxies().get(address.scheme)
        if not url or urllib.request.proxy_bypass(address.host):
            return None
        parts = urllib.parse.urlsplit(url if "//" in url else f"http://{url}")
        if not parts.hostname:
            raise ValueError(f"{address.scheme}_proxy of the environment is no URL of a proxy")
        headers: dict[str, str] = {}
        if parts.username is not None:
            user = urllib.parse.unquote(f"{parts.username}:{parts.password or ''}")
            headers["Proxy-Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
        return cls(parts.hostname, parts.port or 8080, headers)


class Clock:
    """When one direction gives up: at a deadline, or after so long a silence, whatever is first."""

    def __init__(self) -> None:
        """Give up never, until told otherwise."""
        self.deadline = FOREVER
        self.silence = FOREVER

    def left(self) -> float | None:
        """Say how long the next step may take, in seconds; None is without end.

        Raises:
            TimeoutError: The deadline has passed.
        """
        left = min(self.deadline - time.monotonic(), self.silence)
        if left <= 0:
            raise TimeoutError("the time is over")
        return None if left == FOREVER else left


class Channel:
    """A socket that one thread may read while another writes, TLS or not. It has what `http.client` uses."""

    def __init__(self, sock: socket.socket, reading: Clock, writing: Clock) -> None:
        """Take a connected socket over."""
        sock.settimeout(0)
        self.sock = sock
        self._reading = reading
        self._writing = writing
        # OpenSSL lets one thread at a time into a connection.
        self._lock = threading.Lock()

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give the receiving side as a file."""
        return io.BufferedReader(_Receiving(self), 65536)

    def recv_into(self, buffer: Buffer) -> int:
        """Receive something, or 0 bytes at the end.

        Raises:
            TimeoutError: Nothing came by the clock.
        """
        return self._step(lambda: self.sock.recv_into(buffer), self._reading, select_for_reading=True)

    def sendall(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            TimeoutError: The peer did not take it by the clock.
        """
        rest = memoryview(data)
        while rest:
            part = rest
            sent = self._step(lambda: self.sock.send(part), self._writing, select_for_reading=False)  # noqa: B023
            rest = rest[sent:]

    def _step(self, operation: Callable[[], int], clock: Clock, *, select_for_reading: bool) -> int:
        while True:
            try:
                with self._lock:
                    return operation()
            except ssl.SSLWantReadError:
                wanted = True
            except ssl.SSLWantWriteError:
                wanted = False
            except BlockingIOError:
                wanted = select_for_reading
            if not ready(self.sock, clock.left(), reading=wanted):
                raise TimeoutError("the time is over")

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class _Receiving(io.RawIOBase):
    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        return self._channel.recv_into(buffer)


def ready(sock: socket.socket, seconds: float | None, *, reading: bool) -> bool:
    """Wait until a socket can be read from, or written to; False if it cannot within the time."""
    if not hasattr(select, "poll"):  # Windows, whose select knows no limit of 1,024 descriptors
        wanted = [sock]
        return any(select.select(wanted if reading else [], [] if reading else wanted, [], seconds))
    poll = select.poll()
    poll.register(sock, select.POLLIN if reading else select.POLLOUT)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


class Connection(http.client.HTTPConnection):
    """A connection, direct or by a proxy."""

    # A thread that still sends when another has closed it must not connect anew.
    auto_open = 0

    def __init__(self, address: Address, proxy: Proxy | None, context: ssl.SSLContext | None) -> None:
        """Remember where it is to lead."""
        self.reading = Clock()
        self.writing = Clock()
        self.is_new = True
        self.idle_since = 0.0
        self.channel: Channel | None = None
        self._context = context
        self._server = address.host
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        super().__init__(host, port)
        if proxy and address.scheme == "https":
            self.set_tunnel(address.host, address.port, proxy.headers)

    def connect(self) -> None:
        """Connect, and speak TLS if asked to."""
        self.timeout = self.reading.left()
        super().connect()
        sock: socket.socket = self.sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            sock.settimeout(self.reading.left())
            sock = self._context.wrap_socket(sock, server_hostname=self._server)
        self.channel = Channel(sock, self.reading, self.writing)
        self.sock: Any = self.channel

    def give_up_at(self, deadline: float) -> None:
        """End the request at a moment of the monotonic clock, wherever it is."""
        for clock in (self.reading, self.writing):
            clock.deadline, clock.silence = deadline, FOREVER

    def is_usable(self) -> bool:
        """Whether it can take another request. What has come since the last answer can only be the end."""
        if self.channel is None or time.monotonic() - self.idle_since > IDLE_SECONDS:
            return False
        return not ready(self.channel.sock, 0, reading=True)

    def cut(self) -> None:
        """End it from any thread: whoever reads or writes wakes with an error."""
        if self.channel is not None:
            try:
                self.channel.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself

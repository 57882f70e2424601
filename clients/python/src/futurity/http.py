"""Requests to one server, by the standard library: connections that are kept, deadlines, refusals as exceptions.

Any thread may use a `Transport`; a request takes an idle connection or makes one. After a fork the child begins with
none, so no byte of its goes to a connection of the parent's.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
import time
import urllib.parse
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from futurity.connection import FOREVER, Address, Connection, Proxy
from futurity.errors import FuturityError, Problem, ServerLost, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Self

VERSION = "0.1.0"
# Longer than any answer of a server can be: 1,000 jobs of 80 KiB, or one result of 64 MiB.
ANSWER_BYTES_MAX = 256 * 1024 * 1024
# A stream is never silent for longer than 15 s; three times that is a peer that is gone.
SILENCE_SECONDS = 45.0
BROKEN = (OSError, http.client.HTTPException)
FIRST_REDIRECT = 300


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        repeatable: Whether the same request twice does no more than once. Then it is sent again if a kept
            connection breaks.
        wait: Seconds for which the server was asked to hold the answer back.
        patience: Seconds that the answer may take beside that; the transport's if left out.
    """

    method: str
    path: str
    query: Mapping[str, Any] | None = None
    body: bytes | None = None
    headers: Mapping[str, str] | None = None
    wait: float = 0
    repeatable: bool = True
    patience: float | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers in lower case, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body.

        Raises:
            FuturityError: It is no JSON: something else than Futurity has answered.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            beginning = self.body[:100].decode("utf-8", "replace")
            raise FuturityError(f"the answer is no JSON; is this a Futurity server? {beginning}") from None


class Transport:
    """All connections to one server."""

    def __init__(self, url: str, *, key: str | None, timeout: float, ssl_context: ssl.SSLContext | None = None) -> None:
        """Remember where the server is; nothing is sent yet.

        Args:
            url: The server's, as `http://127.0.0.1:8080`, with the path that stands before the routes, if there is one.
            key: The API key.
            timeout: Seconds that an answer may take, beside the wait that was asked for.
            ssl_context: For `https`; that of the system if left out.
        """
        self.address = Address.of(url)
        self.timeout = timeout
        self._context = None
        if self.address.scheme == "https":
            self._context = ssl_context or ssl.create_default_context()
        self._proxy = Proxy.of_environment(self.address)
        self._headers = {"Host": self.address.authority, "User-Agent": f"futurity-python/{VERSION}"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        if self._proxy and self.address.scheme == "http":
            self._headers |= self._proxy.headers
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        # A client that is dropped leaves no open connection behind, and no warning of one.
        weakref.finalize(self, _close_all, self._idle)
        _transports.add(self)

    def begin_anew(self) -> None:
        """Forget all connections: those of a parent are not the child's."""
        self._lock = threading.Lock()
        self._idle.clear()

    def request(self, request: Request) -> Answer:
        """Send a request and read the whole answer.

        Raises:
            ServerLost: There is no connection to be had, or no answer in time.
            Problem: The server refused.
        """
        patience = self.timeout if request.patience is None else request.patience
        deadline = time.monotonic() + patience + max(request.wait, 0)
        while True:
            connection = self._connection()
            connection.give_up_at(deadline)
            try:
                answer = self._exchange(connection, request)
            except BROKEN as error:
                connection.close()
                # The server may have closed a kept connection the moment it was used. A new one tells the truth.
                again = request.repeatable and not connection.is_new and not isinstance(error, TimeoutError)
                if not again:
                    raise self.lost(error) from error
            else:
                return without_problem(answer)

    def _exchange(self, connection: Connection, request: Request) -> Answer:
        body = request.body
        length = {"Content-Length": str(len(body or b""))} if request.method in ("POST", "PUT") else {}
        self._send_head(connection, request, length)
        if body:
            connection.send(body)
        response = connection.getresponse()
        content = response.read(ANSWER_BYTES_MAX + 1)
        if len(content) > ANSWER_BYTES_MAX:
            connection.close()
            raise FuturityError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
        if response.will_close:
            connection.close()
        else:
            self._keep(connection)
        return Answer(response.status, lower(response), content)

    def stream(self, request: Request, upload: Iterable[bytes] | None = None) -> Stream:
        """Send a request on a connection of its own and hand the answer over as it comes.

        Args:
            request: What is asked.
            upload: A body that is sent meanwhile, by a thread of its own, which takes from here.

        Raises:
            ServerLost: As `request`; and for whoever reads, when nothing came for `SILENCE_SECONDS`.
            Problem: The server refused.
        """
        connection = Connection(self.address, self._proxy, self._context)
        connection.give_up_at(time.monotonic() + self.timeout)
        sender: Upload | None = None
        try:
            if upload is None:
                length = {"Content-Length": str(len(request.body))} if request.body else {}
                self._send_head(connection, request, length)
                if request.body:
                    connection.send(request.body)
            else:
                self._send_head(connection, request, {"Transfer-Encoding": "chunked"})
                # The server takes input as results are read: it may hold the sender back for as long as it likes.
                connection.writing.deadline = FOREVER
                sender = Upload(connection, upload)
            response = connection.getresponse()
            if response.status >= FIRST_REDIRECT:
                without_problem(Answer(response.status, lower(response), response.read(ANSWER_BYTES_MAX)))
        except Problem:  # before the next: an AccessDenied is an OSError too
            connection.close()
            raise
        except BROKEN as error:
            connection.close()
            raise (sender and sender.error) or self.lost(error) from error
        connection.give_up_at(FOREVER)
        connection.reading.silence = SILENCE_SECONDS
        return Stream(self, connection, response, sender)

    def _send_head(self, connection: Connection, request: Request, framing: Mapping[str, str]) -> None:
        target = self.address.prefix + request.path
        given = {name: value for name, value in (request.query or {}).items() if value is not None}
        if given:
            target += "?" + urllib.parse.urlencode(given)
        if self._proxy and self.address.scheme == "http":
            target = f"http://{self.address.authority}{target}"
        if connection.channel is None:
            connection.connect()
        connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in {**self._headers, **(request.headers or {}), **framing}.items():
            connection.putheader(name, value)
        connection.endheaders()

    def _connection(self) -> Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return Connection(self.address, self._proxy, self._context)
            if connection.is_usable():
                return connection
            connection.close()

    def _keep(self, connection: Connection) -> None:
        connection.is_new = False
        connection.idle_since = time.monotonic()
        with self._lock:
            self._idle.append(connection)

    def lost(self, error: BaseException) -> ServerLost:
        """Say that the server cannot be reached, and why."""
        if isinstance(error, TimeoutError):
            return ServerLost(f"no answer from {self.address} in time")
        reason = str(error) or type(error).__name__
        return ServerLost(f"no answer from {self.address} ({reason}); is a server running there?")

    def close(self) -> None:
        """Close the idle connections. The transport can still be used."""
        with self._lock:
            _close_all(self._idle)


def _close_all(connections: list[Connection]) -> None:
    while connections:
        connections.pop().close()


_transports: weakref.WeakSet[Transport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_transports):
        transport.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Upload:
    """A body that is sent while the answer is read."""

    def __init__(self, connection: Connection, chunks: Iterable[bytes]) -> None:
        """Begin to send, in a thread."""
        self.error: BaseException | None = None
        self._connection = connection
        self._chunks = chunks
        self._thread = threading.Thread(target=self._run, name="futurity-upload", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                self._connection.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self._connection.send(b"0\r\n\r\n")
        except BaseException as error:  # noqa: BLE001 - what the iterable raises is for whoever reads
            self.error = None if isinstance(error, BROKEN) else error
            self._connection.cut()


class Stream:
    """An answer that comes bit by bit. `close` may be called by any thread."""

    def __init__(
        self,
        transport: Transport,
        connection: Connection,
        response: http.client.HTTPResponse,
        upload: Upload | None,
    ) -> None:
        """Take over a connection whose headers have been read."""
        self.headers = lower(response)
        self._transport = transport
        self._connection = connection
        self._response = response
        self._upload = upload

    def read_some(self) -> bytes:
        """Wait for bytes and give them; none is the end.

        Raises:
            ServerLost: The connection broke, or was silent for too long.
        """
        try:
            return self._response.read1(262_144)
        except (*BROKEN, ValueError) as error:  # ValueError: another thread has closed it
            raise (self._upload and self._upload.error) or self._transport.lost(error) from error

    def pieces(self) -> Iterator[list[bytes]]:
        """Give the lines that have come, all that are whole at once, without their ends. Nothing but a beat gives none.

        Raises:
            ServerLost: As `read_some`.
        """
        rest = b""
        while some := self.read_some():
            *whole, rest = (rest + some).split(b"\n")
            lines = [line for line in whole if line and not line.isspace()]
            if lines or not rest.strip():
                yield lines

    def lines(self) -> Iterator[bytes]:
        """Give the lines, without their ends.

        Raises:
            ServerLost: As `read_some`; and if the stream ends within a line.
        """
        parts: list[bytes] = []
        length = 0
        while some := self.read_some():
            first, *others = some.split(b"\n")
            parts.append(first)
            length += len(first)
            if length > ANSWER_BYTES_MAX:
                raise FuturityError(f"a line is longer than {ANSWER_BYTES_MAX} bytes")
            if others:
                yield b"".join(parts)
                yield from others[:-1]
                parts, length = [others[-1]], len(others[-1])
        if b"".join(parts).strip():
            raise ServerLost(f"the answer of {self._transport.address} broke off")

    def close(self) -> None:
        """Hang up. Whoever reads wakes with `ServerLost`."""
        self._connection.cut()
        self._connection.close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self.close()


def lower(response: http.client.HTTPResponse) -> dict[str, str]:
    """Give the headers of an answer, their names in lower case."""
    return {name.lower(): value for name, value in response.getheaders()}


def without_problem(answer: Answer) -> Answer:
    """Give an answer back, unless it is a refusal.

    Raises:
        Problem: It is one.
    """
    if answer.status < FIRST_REDIRECT:
        return answer
    try:
        body: Any = json.loads(answer.body)
        body = cast("dict[str, Any]", body) if isinstance(body, dict) else None
    except ValueError:
        body = None
    if body is None:
        text = answer.body[:200].decode("utf-8", "replace")
        body = {"detail": f"HTTP {answer.status} from something that is no Futurity server: {text}"}
    raise problem_of(answer.status, body, _seconds(answer.headers.get("retry-after")))


def _seconds(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None  # a date: no Futurity server sends one

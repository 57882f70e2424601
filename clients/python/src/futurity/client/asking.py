"""What all requests of a client have in common: where the server is, options, pages, streams that are resumed."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import urllib.parse
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar, cast

from futurity.errors import FuturityError, ServerLost
from futurity.http import Answer, Request, Stream, Transport
from futurity.models import Model, Retry, read

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from typing_extensions import Self

T = TypeVar("T")
M = TypeVar("M", bound=Model)

DEFAULT_URL = "http://127.0.0.1:8080"
# What a server allows for one wait unless it is told otherwise. A longer one is asked for in portions.
WAIT_SECONDS_MAX = 60.0
# So often in a row a stream may break without having brought a line.
BREAKS_MAX = 5
JSON_BODY = {"Content-Type": "application/json"}
LINES_BODY = {"Content-Type": "application/x-ndjson"}


class Options(TypedDict, total=False):
    """The options of a job; `openapi.yaml` has them under `Submission`. Durations are seconds."""

    queue: str | None
    priority: int
    tags: Sequence[str]
    metadata: Mapping[str, str]
    retry: Retry | None
    callbacks: Sequence[Mapping[str, Any]]
    run_at: datetime | None
    delay_seconds: float | None
    start_timeout_seconds: float | None
    run_timeout_seconds: float | None
    total_timeout_seconds: float | None
    retention_seconds: float | None
    on_interrupt: Literal["rerun", "fail"]


def given(**members: Any) -> dict[str, Any]:
    """Keep what was given: None is left out."""
    return {name: value for name, value in members.items() if value is not None}


def encoded(value: Any) -> bytes:
    """Write JSON.

    Raises:
        TypeError, ValueError: It is none: an object of a class, NaN, an infinity.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_as_json).encode()


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a moment needs its time zone: datetime.now(timezone.utc)")
        return value.isoformat()
    if isinstance(value, Retry):
        return dataclasses.asdict(value)
    raise TypeError(f"a {type(value).__name__} is no JSON; functions of the server take JSON")


def segment(text: str) -> str:
    """Write a name or id as one part of a path."""
    return urllib.parse.quote(text, safe="")


class Asking:
    """A server, and how it is asked."""

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        timeout: float = 30,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Remember where the server is; nothing is sent yet.

        Args:
            url: The server's; else `FUTURITY_URL`, else `http://127.0.0.1:8080`.
            key: The API key; else `FUTURITY_KEY`.
            timeout: Seconds that an answer may take, beside a wait that was asked for.
            ssl_context: For `https`, if the authorities of the system are not the right ones.
        """
        url = url or os.environ.get("FUTURITY_URL") or DEFAULT_URL
        key = key or os.environ.get("FUTURITY_KEY")
        self._transport = Transport(url, key=key, timeout=timeout, ssl_context=ssl_context)

    @property
    def url(self) -> str:
        """Where the server is."""
        return str(self._transport.address)

    def close(self) -> None:
        """Close the connections that are kept. The client can still be used."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def __repr__(self) -> str:
        """Tell the server, and never the key."""
        return f"<{type(self).__name__} {self.url}>"

    @property
    def transport(self) -> Transport:
        """The connections, for what has needs of its own."""
        return self._transport

    def _ask(self, method: str, path: str, **parts: Any) -> Answer:
        return self._transport.request(Request(method, path, **parts))

    def _send(self, method: str, path: str, body: Any, **parts: Any) -> Answer:
        headers = {**JSON_BODY, **parts.pop("headers", {})}
        return self._ask(method, path, body=encoded(body), headers=headers, **parts)

    def _pages(self, model: type[M], path: str, member: str, query: Mapping[str, Any]) -> Iterator[M]:
        """Give what a list has, page by page, as it is read."""
        asked = dict(query)
        while True:
            page = self._ask("GET", path, query=asked).json()
            for one in page[member]:
                yield read(model, one)
            if not page.get("next_page_token"):
                return
            asked["page_token"] = page["next_page_token"]

    def _resumed(
        self,
        open_behind: Callable[[Any], Stream],
        events: Callable[[Stream], Iterator[tuple[Any, T | None]]],
        place: Any,
    ) -> Iterator[T]:
        """Give what a stream brings, and go on behind the last place when it breaks. None is a place and nothing else.

        Raises:
            ServerLost: It broke several times in a row without having brought anything.
        """
        breaks = 0
        was_open = False
        while True:
            try:
                with open_behind(place) as stream:
                    was_open = True
                    for seen, event in events(stream):
                        breaks = 0
                        place = seen if seen is not None else place
                        if event is not None:
                            yield event
                return
            except ServerLost:
                breaks += 1
                # A server that is not there at the first look is said at once.
                if not was_open or breaks > BREAKS_MAX:
                    raise
                _pause(0.1 * 2**breaks)


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def lines(stream: Stream) -> Iterator[dict[str, Any]]:
    """Give the objects of a stream of lines. A beat is a space before the next line, or alone.

    Raises:
        ServerLost: It ended without its last line, which says `end`.
        FuturityError: A line is no object.
    """
    for line in stream.lines():
        if not line.strip():
            continue
        try:
            found: Any = json.loads(line)
        except ValueError:
            raise FuturityError(f"a line of the server is no JSON: {line[:100]!r}") from None
        yield cast("dict[str, Any]", found)
        if "end" in found:
            return
    raise ServerLost("the stream of the server broke off")

"""The thread that reads: one open stream of what becomes of all jobs with a tag."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from futurity.errors import AccessDenied, FuturityError, Problem, ServerLost
from futurity.http import Request, Stream

if TYPE_CHECKING:
    from futurity.engine import Engine

log = logging.getLogger("futurity")

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 5.0
LATER = (429, 503)


class Reader:
    """Settles futures as their jobs end; goes on behind the last event when the stream breaks.

    Attributes:
        is_open: Set as soon as the first stream is open: what is submitted after that is not missed.
    """

    def __init__(self, engine: Engine, tag: str) -> None:
        """Begin."""
        self.is_open = threading.Event()
        self._engine = engine
        self._tag = tag
        self._seen: str | None = None
        self._stream: Stream | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="futurity-reader", daemon=True)
        self._thread.start()

    def is_this_thread(self) -> bool:
        """Whether this is the thread."""
        return threading.current_thread() is self._thread

    def hang_up(self) -> None:
        """Let it end: nothing more can come."""
        self._over.set()
        self.is_open.set()
        stream = self._stream
        if stream is not None and not self.is_this_thread():
            stream.close()

    def join(self) -> None:
        """Wait for its end."""
        if not self.is_this_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._read_all()
        except BaseException as error:
            log.exception("the thread that reads results has ended")
            self._give_up(FuturityError(f"the thread that reads results has ended: {error!r}"))

    def _read_all(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        denied = False
        while not self._over.is_set():
            try:
                with self._open() as self._stream:
                    self._engine.has_answered()
                    self._engine.catch_up()
                    self.is_open.set()
                    denied, pause = False, FIRST_PAUSE_SECONDS
                    self._read(self._stream)
            except ServerLost as error:
                if self._over.is_set():
                    return
                self._engine.has_not_answered(error)
            except AccessDenied as error:  # a key that was replaced may be let in the next time
                if denied:
                    self._give_up(error)
                denied = True
            except Problem as error:
                if error.status not in LATER:
                    self._give_up(error)
                self._engine.has_not_answered(error)
            self._stream = None
            self._over.wait(pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)

    def _give_up(self, error: FuturityError) -> None:
        with self._engine.lock:
            ids = list(self._engine.futures)
        self._engine.fail(ids, error)

    def _open(self) -> Stream:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self._seen} if self._seen else {})
        request = Request("GET", "/v1/events", query={"tag": self._tag}, headers=headers)
        return self._engine.client.transport.stream(request)

    def _read(self, stream: Stream) -> None:
        """Read server-sent events. Whole pieces are split at once: there may be thousands a second."""
        kind, place = b"", self._seen
        for line in stream.lines():
            if line.startswith(b"data:"):
                self._take(kind, json.loads(line[5:]))
                self._seen = place  # not before: a stream may break within an event
            elif line.startswith(b"event:"):
                kind = line[6:].strip()
            elif line.startswith(b"id:"):
                place = line[3:].strip().decode()
            if self._over.is_set():
                return
        raise ServerLost("the stream has ended")

    def _take(self, kind: bytes, told: dict[str, Any]) -> None:
        if kind == b"state":
            if told["done"]:
                self._engine.settle_as_told(told)
        elif kind == b"reset":
            self._engine.catch_up()

"""The thread that reads: one open stream of the ends of all jobs with a tag."""

from __future__ import annotations

import json
import logging
import random
import threading
from typing import TYPE_CHECKING, Any

from futurity.client.asking import JSON_BODY, encoded, given
from futurity.errors import AccessDenied, FuturityError, Problem, ServerLost
from futurity.http import Request, Stream

if TYPE_CHECKING:
    from futurity.engine import Engine

log = logging.getLogger("futurity")

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 5.0
LATER = (429, 503)
# A larger result is fetched by itself, so that it holds up no small one (P25).
RESULT_BYTES_MAX = 65536


class Reader:
    """Settles futures as their jobs end; goes on behind the last line when the stream breaks.

    Attributes:
        is_open: Set as soon as the first stream is open: what is submitted after that is not missed.
    """

    def __init__(self, engine: Engine, tag: str) -> None:
        """Begin."""
        self.is_open = threading.Event()
        self._engine = engine
        self._tag = tag
        self._seen: int | None = None
        self._pause = FIRST_PAUSE_SECONDS
        self._was_denied = False
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
        while not self._over.is_set():
            try:
                with self._open() as self._stream:
                    self._engine.has_answered()
                    self._read(self._stream)
            except ServerLost as error:
                if self._over.is_set():
                    return
                self._engine.has_not_answered(error)
            except Problem as error:
                if self._is_final(error):
                    self._give_up(error)
            self._stream = None
            self._over.wait(self._pause * random.uniform(0.75, 1.25))  # noqa: S311 - so that clients do not come back as one
            self._pause = min(self._pause * 2, LAST_PAUSE_SECONDS)

    def _is_final(self, error: Problem) -> bool:
        """Whether it would be the same the next time."""
        if any(pointer == "/after" for pointer, _ in error.errors):
            self._seen = None  # a place of another database: what became of the jobs is asked for
            return False
        if isinstance(error, AccessDenied):
            was_denied, self._was_denied = self._was_denied, True
            return was_denied  # a key that was replaced may be let in the next time
        if error.status in LATER:
            self._engine.has_not_answered(error)
            return False
        return True

    def _give_up(self, error: FuturityError) -> None:
        with self._engine.lock:
            ids = list(self._engine.futures)
        self._engine.fail(ids, error)

    def _open(self) -> Stream:
        asked = given(open=True, tag=self._tag, after=self._seen, max_result_bytes=RESULT_BYTES_MAX)
        request = Request("POST", "/v1/jobs/as-completed", body=encoded(asked), headers=JSON_BODY)
        return self._engine.client.transport.stream(request)

    def _read(self, stream: Stream) -> None:
        """Settle what the lines tell. Whole pieces are read at once: there may be tens of thousands of lines a second."""
        for lines in stream.pieces():
            if not lines:  # 15 s without an end: ask whether that is so, so that no lost line is a hang (P23)
                self._engine.catch_up()
            for told in json.loads(b"[" + b",".join(lines) + b"]"):
                self._take(told)
                if self._over.is_set():  # by what was settled here, perhaps: then nobody cuts the stream
                    return
        raise ServerLost("the stream has ended")

    def _take(self, told: dict[str, Any]) -> None:
        if "begin" in told:
            self._begun(told["begin"]["seq"])
        elif "end" in told:
            raise ServerLost("the server is stopping")
        else:
            self._engine.settle_as_told(told)
            self._seen = told["seq"]  # not before: what was not settled is to come once more

    def _begun(self, place: int) -> None:
        """From here on nothing is missed; what ended before is asked for."""
        self._seen = place
        self._engine.catch_up()
        self.is_open.set()
        self._was_denied, self._pause = False, FIRST_PAUSE_SECONDS

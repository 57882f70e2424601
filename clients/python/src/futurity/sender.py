"""The thread that sends: whatever waits goes in one request, and meanwhile more comes. Group commit, in the client."""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

from futurity.errors import AccessDenied, FuturityError, Problem, ServerLost, ValueTooLarge, problem_of
from futurity.http import VERSION, Request
from futurity.outcome import refusal

if TYPE_CHECKING:
    from futurity.engine import Engine

log = logging.getLogger("futurity")

LINES_MAX = 2000
BYTES_MAX = 4 * 1024 * 1024
PATIENCE_SECONDS = 60.0
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 5.0
HEADERS = {"Content-Type": "application/x-ndjson", "Prefer": "return=minimal"}
# Refused for now: the same again later.
LATER = (429, 503)
# After so long without a job an executor's own queue goes; the next submission makes it again.
QUEUE_SECONDS = 600


class Sender:
    """Sends calls, one request at a time, so that they keep their order; the same lines again until they are answered."""

    def __init__(self, engine: Engine) -> None:
        """Begin."""
        self._engine = engine
        self._line_bytes_max = 0
        self._has_queue = engine.own_queue is None
        self._thread = threading.Thread(target=self._run, name="futurity-sender", daemon=True)
        self._thread.start()

    def is_this_thread(self) -> bool:
        """Whether this is the thread."""
        return threading.current_thread() is self._thread

    def join(self) -> None:
        """Wait for its end."""
        if not self.is_this_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            while group := self._next():
                self._engine.wait_for_reader()
                self._send(group)
        except BaseException as error:
            log.exception("the thread that submits has ended")
            engine = self._engine
            with engine.lock:
                ids = [*engine.in_flight, *engine.unsent]
            engine.fail(ids, FuturityError(f"the thread that submits has ended: {error!r}"))
        self._engine.run_endings()

    def _next(self) -> dict[str, bytes]:
        engine = self._engine
        with engine.lock:
            while not engine.unsent:
                if engine.is_over():
                    return {}
                engine.work.wait()
            group: dict[str, bytes] = {}
            size = 0
            for id, line in engine.unsent.items():
                if group and (len(group) == LINES_MAX or size + len(line) > BYTES_MAX):
                    break
                group[id] = line
                size += len(line)
            for id, line in group.items():
                del engine.unsent[id]
                engine.in_flight[id] = line
            return group

    def _send(self, group: dict[str, bytes]) -> None:
        pause = FIRST_PAUSE_SECONDS
        group = self._without_too_large(group)
        while group:
            later, seconds = self._attempt(group)
            with self._engine.lock:
                # What was settled meanwhile has arrived, or has been given up.
                group = {id: line for id, line in later.items() if id in self._engine.futures}
                if group:
                    self._engine.work.wait(seconds or pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)

    def _without_too_large(self, group: dict[str, bytes]) -> dict[str, bytes]:
        """Let what cannot fit fail here, with both numbers (P25)."""
        limit = self._limit()
        for id in [id for id, line in group.items() if len(line) > limit]:
            size = len(group.pop(id))
            error = ValueTooLarge(
                f"the call comes to {size} bytes, and this server takes {limit} (limits.submission_bytes): "
                "pass a path, or let the operator raise the limit"
            )
            self._engine.fail([id], error)
        return group

    def _limit(self) -> int:
        if not self._line_bytes_max:
            try:
                server = self._engine.client.server()
                self._line_bytes_max = int(server.limits["submission_bytes"])
                _compare_versions(self._engine.client.url, server.version)
            except ServerLost:
                return 64 * 1024 * 1024  # the most that any server takes
            except FuturityError:
                self._line_bytes_max = 1024 * 1024
        return self._line_bytes_max

    def _attempt(self, group: dict[str, bytes]) -> tuple[dict[str, bytes], float]:
        """Send lines once; give those to be sent again, and after how many seconds."""
        engine = self._engine
        request = Request("POST", "/v1/jobs", body=b"".join(group.values()), headers=HEADERS, patience=PATIENCE_SECONDS)
        try:
            self._make_queue()
            answer = engine.client.transport.request(request)
        except ServerLost as error:
            engine.has_not_answered(error)
            return group, 0
        except Problem as problem:
            if problem.status in LATER:
                engine.has_not_answered(problem)
                return group, problem.retry_after or 0
            if not isinstance(problem, AccessDenied):
                engine.has_answered()
            engine.fail(group, problem)
            return {}, 0
        engine.has_answered()
        return self._answered(group, answer.body)

    def _make_queue(self) -> None:
        """Make the executor's own queue, unless it is there. It goes when it was empty for a while (N4)."""
        own = self._engine.own_queue
        if own is not None and not self._has_queue:
            self._engine.client.set_queue(own.name, max_workers=own.max_workers, expires_seconds=QUEUE_SECONDS)
            self._has_queue = True

    def _has_lost_its_queue(self, problem: Problem) -> bool:
        own = self._engine.own_queue
        return own is not None and any(place == "/queue" and own.name in detail for place, detail in problem.errors)

    def _answered(self, group: dict[str, bytes], body: bytes) -> tuple[dict[str, bytes], float]:
        ids = list(group)
        later: dict[str, bytes] = {}
        seconds = 0.0
        refused: set[str] = set()
        for line in body.splitlines():
            told: dict[str, Any] = json.loads(line) if line.strip() else {}
            if "problem" not in told:
                continue
            id = ids[int(told["index"])]
            refused.add(id)
            problem = problem_of(told["problem"].get("status", 0), told["problem"])
            if self._has_lost_its_queue(problem):
                self._has_queue = False
                later[id] = group[id]
            elif problem.status in LATER:
                later[id] = group[id]
                seconds = 1.0
                self._engine.has_not_answered(problem)
            else:
                future = self._engine.futures.get(id)
                kind = future.kind if future else "call"
                self._engine.fail([id], refusal(kind, problem, len(group[id])))
        self._engine.accept(id for id in ids if id not in refused)
        return later, seconds


def _compare_versions(url: str, version: str) -> None:
    """Say which of the two is too old: what is said and understood is that of one version X.Y."""
    here, there = ([int(part) for part in one.split(".")[:2]] for one in (VERSION, version))
    if here != there:
        old = f"this futurity ({VERSION})" if here < there else f"the server at {url} ({version})"
        log.warning(
            "%s is too old for the other side, which is %s: they go together by X.Y",
            old,
            version if here < there else VERSION,
        )

"""The worker's side of the protocol: JSON-RPC 2.0, one object a line, one call at a time.

Nothing watches the input during a call but the kernel: it sends SIGIO to the main thread when a line comes, which is a
`cancel`. So a call of nothing costs no second thread, and a sleeping function is woken.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import select
import signal
import struct
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from futurity.worker.calls import PARAMETER, Failed, PickledCalls
from futurity.worker.job import CurrentJob, enter, interruption, leave
from futurity.worker.output import take_over
from futurity.worker.run import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from futurity.worker.registry import Registry
    from futurity.worker.sources import Sources

# <fcntl.h> of Linux; Python does not name them.
F_SETOWN_EX, F_OWNER_TID = 15, 0
INTERNAL_ERROR, METHOD_NOT_FOUND = -32000, -32601
READ_BYTES = 262_144
LOOK_MILLISECONDS = 200


class Loop:
    """Reads what the server says, runs calls, and answers."""

    def __init__(self, registry: Registry, pickled: PickledCalls | None, sources: Sources | None = None) -> None:
        """Take the protocol's descriptors away from everybody else.

        What prints, in C or in a process that is started too, writes to the job's log: descriptor 1 is 2.

        Args:
            registry: The functions that are announced.
            pickled: Runs pickled calls, where they are allowed.
            sources: The files of the modules: when they change, this process makes way for one with the new code.
        """
        self._functions = registry.functions
        self._pickled = pickled
        self._sources = sources
        self._own: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {}
        if pickled is not None:
            self._own = {"python.call": pickled.call, "python.map": pickled.map}
        self._in, self._out = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
        self._printed = take_over()
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        self._writing = threading.Lock()
        self._buffer = bytearray()
        self._lines: deque[bytes] = deque()
        self._job: CurrentJob | None = None
        self._stop = False
        self._is_looking = self._has_more = False
        self._watch()

    def _watch(self) -> None:
        self._quiet = fcntl.fcntl(self._in, fcntl.F_GETFL)
        signal.signal(signal.SIGIO, self._on_input)
        # To the main thread, where the function is: another one that is woken would wake no sleep there.
        if sys.platform == "linux":
            owner = struct.pack("ii", F_OWNER_TID, threading.get_native_id())
            fcntl.fcntl(self._in, F_SETOWN_EX, owner)
        else:
            fcntl.fcntl(self._in, fcntl.F_SETOWN, os.getpid())

    def run(self) -> None:
        """Serve until the server closes the input."""
        while (line := self._next_line()) is not None:
            message = json.loads(line)
            method, params = message["method"], message.get("params", {})
            if method == "initialize":
                self._say(id=message["id"], result={"functions": self._announcements()})
            elif method == "call":
                self._call(message["id"], params)
            elif "id" in message:
                self._say(
                    id=message["id"],
                    error={"code": METHOD_NOT_FOUND, "message": f"this worker has no method {method!r}"},
                )

    def _announcements(self) -> list[dict[str, Any]]:
        said = [one.announcement() for one in self._functions.values()]
        words = {"python.call": "A pickled call.", "python.map": "A chunk of pickled calls."}
        return said + [{"name": name, "description": words[name], "parameters": [PARAMETER]} for name in self._own]

    def _next_line(self) -> bytes | None:
        while not self._lines:
            self._watch_sources()
            read = os.read(self._in, READ_BYTES)
            if not read:
                return None
            self._take(read)
        return self._lines.popleft()

    def _watch_sources(self) -> None:
        """Look at the modules' files until the server says something; once they have changed, make way."""
        if self._sources is None:
            return
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        while not poll.poll(LOOK_MILLISECONDS):
            if self._sources.have_changed():
                self._sources = None
                self._say(method="retire")
                return

    def _take(self, read: bytes) -> None:
        self._buffer += read
        if b"\n" in read:
            *whole, rest = self._buffer.split(b"\n")
            self._lines.extend(bytes(line) for line in whole)
            self._buffer = rest

    def _on_input(self, _number: int, _frame: object) -> None:
        """Take what comes during a call. Runs in the main thread, between two of the function's steps."""
        if self._job is not None:
            self._look()
        if self._stop and interruption.interrupt is not None:
            interruption.interrupt()

    def _look(self) -> None:
        """Take what has come. The signal may come in the middle of this: then all is looked at once more, by whoever is here."""
        if self._is_looking:
            self._has_more = True
            return
        while True:
            self._is_looking, self._has_more = True, False
            self._take_what_has_come()
            self._is_looking = False
            if not self._has_more:
                return

    def _take_what_has_come(self) -> None:
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        while poll.poll(0):
            read = os.read(self._in, READ_BYTES)
            if not read:
                os._exit(0)  # the server is gone, and nobody hears what the function would return
            self._take(read)
        kept: deque[bytes] = deque()
        for line in self._lines:
            message = json.loads(line)
            if message.get("method") == "cancel" and self._job and message["params"]["job"] == self._job.id:
                self._stop = True
            elif message.get("method") != "cancel":
                kept.append(line)
        self._lines = kept

    def _is_stopped(self) -> bool:
        if not self._stop:
            self._look()
        if self._stop and interruption.interrupt is not None:
            interruption.interrupt()
        return self._stop

    def _call(self, id: int, params: dict[str, Any]) -> None:
        of = {"job": params["job"], "attempt": params["attempt"]}

        def notify(method: str, told: dict[str, object]) -> None:
            self._say(method=method, params={**of, **told})

        job = CurrentJob(params["job"], params["attempt"], params["idempotency_key"], notify, self._is_stopped)
        self._stop = False
        self._job = job
        enter(job)
        fcntl.fcntl(self._in, fcntl.F_SETFL, self._quiet | os.O_ASYNC)
        try:
            answer = self._answer(id, params)
        finally:
            fcntl.fcntl(self._in, fcntl.F_SETFL, self._quiet)
            for stream in self._printed:
                stream.end()
            self._job = None
            leave()
        # Before the answer: with it the call is over, and the next may be here already.
        if (self._pickled and self._pickled.is_worn) or (self._sources and self._sources.have_changed()):
            self._sources = None
            self._say(method="retire")
        self._write(answer)

    def _answer(self, id: int, params: dict[str, Any]) -> bytes:
        name = params["function"]
        try:
            if name in self._own:
                (members,) = params["args"] or params["kwargs"].values()
                result: Any = self._own[name](params["job"], members)
            elif name in self._functions:
                result = run(self._functions[name], params["args"], params["kwargs"])
            else:
                raise Failed("LookupError", f"this worker has no function {name!r}")
            return _line(id=id, result=result)
        except Failed as failed:
            return _line(id=id, error={"code": INTERNAL_ERROR, "message": failed.message, "data": failed.data})

    def _say(self, **message: Any) -> None:
        self._write(_line(**message))

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        with self._writing:
            while rest:
                rest = rest[os.write(self._out, rest) :]


def _line(**message: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}, allow_nan=False, separators=(",", ":")).encode() + b"\n"

"""What an executor and its futures share: which jobs are on their way, and the two threads that see to them.

A call is registered here before it is sent, and leaves when it is settled. The sender takes whatever waits; the reader settles. A
job is settled once: whoever takes its future out of `futures` does it.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from futurity.cancels import Cancels
from futurity.ending import has_begun, remember
from futurity.errors import FuturityError, InitializerFailed, Problem, ServerLost
from futurity.http import Request
from futurity.outcome import Outcomes, expired
from futurity.reader import Reader
from futurity.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from futurity.client import Client
    from futurity.future import RemoteFuture

log = logging.getLogger("futurity")

# Calls that are submitted and not on the server's disk are kept here; then whoever submits waits.
KEPT_BYTES_MAX = 256 * 1024 * 1024
WARN_SECONDS = 5.0
SLOW_CALLBACK_SECONDS = 1.0
ASIDES = 4
LOOKED_AT_ONCE = 1_000
NOT_FOUND, GONE = 404, 410


class OwnQueue(NamedTuple):
    """A queue that an executor makes for itself, so that no more of its calls run at once."""

    name: str
    max_workers: int


class Engine:
    """The jobs of an executor.

    Attributes:
        futures: Those that are not settled, by the job's id.
        unsent: Lines that wait for the sender, in order.
        in_flight: Lines whose answer has not come.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        secret: bytes | None,
        server_timeout_seconds: float,
        own_queue: OwnQueue | None = None,
    ) -> None:
        """Begin with nothing; threads start with the first call."""
        self.own_queue = own_queue
        self.client = client
        self.name = name
        self.outcomes = Outcomes(secret)
        self.secret = secret
        self.cancels = Cancels(self)
        self.server_timeout_seconds = server_timeout_seconds
        self._begin()
        remember(self)

    def _begin(self) -> None:
        self.session = f"pys:{secrets.token_hex(8)}"
        self.lock = threading.RLock()
        self.work = threading.Condition(self.lock)  # for the sender
        self.changed = threading.Condition(self.lock)  # for everybody else
        self.futures: dict[str, RemoteFuture[Any]] = {}
        self.unsent: dict[str, bytes] = {}
        self.in_flight: dict[str, bytes] = {}
        self.settling = 0
        self.kept_bytes = 0
        self.is_shut = False
        self.is_released = False
        self.is_detached = False
        self.broken: BrokenExecutor | None = None
        self.last_answer = time.monotonic()
        self._warned_at = float("-inf")
        self._readers: dict[str, Reader] = {}
        self._sender: Sender | None = None
        self._aside: ThreadPoolExecutor | None = None
        self._endings: list[Callable[[], None]] = []

    def at_end(self, ending: Callable[[], None]) -> None:
        """Do something when nothing more can come."""
        self._endings.append(ending)

    def run_endings(self) -> None:
        """Do it; the sender does, when it ends."""
        while self._endings:
            self._endings.pop()()
        self.client.close()

    def submit(self, calls: list[tuple[RemoteFuture[Any], bytes]]) -> None:
        """Register calls and leave them to the sender.

        Raises:
            BrokenExecutor: The initializer has failed.
            RuntimeError: It was shut down, or the interpreter ends.
        """
        size = sum(len(line) for _, line in calls)
        with self.lock:
            self.refuse_if_over()
            # The threads of this engine make room themselves, so they never wait for it.
            while not self.has_room(size) and not self.is_own_thread():
                self.changed.wait()
                self.refuse_if_over()
            if not self.futures:
                self.last_answer = time.monotonic()
            for future, line in calls:
                self.futures[future.id] = future
                self.unsent[future.id] = line
            self.kept_bytes += size
            self.read(self.session)
            if self._sender is None:
                self._sender = Sender(self)
            self.work.notify()

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more can be kept until they are on the server's disk; whatever it is, if there is nothing yet."""
        return not self.kept_bytes or self.kept_bytes + size <= KEPT_BYTES_MAX

    def refuse_if_over(self) -> None:
        """Say that nothing more is taken, if so, in the order of the standard library."""
        if self.broken is not None:
            raise type(self.broken)(*self.broken.args)
        if self.is_shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if has_begun():
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def attach(self, futures: Iterable[RemoteFuture[Any]]) -> None:
        """Let futures of jobs that are on the server settle, whoever submitted them.

        The stream tells of what ends from now on; of what has ended, the server is asked.
        """
        with self.lock:
            fresh = {future.id: future for future in futures if future.id not in self.futures}
            for future in fresh.values():
                future.is_accepted = True
            self.futures |= fresh
            self.read(f"py:{self.name}")
        self.look_at(list(fresh))

    def read(self, tag: str) -> None:
        """Read the ends of the jobs with a tag, from now on."""
        if tag not in self._readers:
            self._readers[tag] = Reader(self, tag)

    def wait_for_reader(self) -> None:
        """Wait until the stream is open: what ends before that would be missed."""
        self._readers[self.session].is_open.wait()

    def is_over(self) -> bool:
        """Whether nothing more can come: nobody can submit, and all is settled."""
        return (self.is_shut or self.is_released) and not self.futures and not self.settling

    def is_reader(self) -> bool:
        """Whether this is a thread that reads results."""
        return any(reader.is_this_thread() for reader in self._readers.values())

    def is_own_thread(self) -> bool:
        """Whether this is a thread of the engine."""
        return self.is_reader() or (self._sender is not None and self._sender.is_this_thread())

    def take(self, id: str) -> RemoteFuture[Any] | None:
        """Take a future out to settle it; None if another has. `settled` must follow."""
        with self.lock:
            future = self.futures.pop(id, None)
            if future is not None:
                line = self.unsent.pop(id, None) or self.in_flight.pop(id, None)
                self.kept_bytes -= len(line or b"")
                self.settling += 1
            return future

    def settled(self) -> None:
        """Say that a future that was taken out is settled, and its callbacks have run."""
        with self.lock:
            self.settling -= 1
            self.changed.notify_all()
            self.end_if_over()

    def end_if_over(self) -> None:
        """Let the threads end if nothing more can come."""
        if self.is_over():
            self.work.notify_all()
            for reader in self._readers.values():
                reader.hang_up()
            if self._aside is not None:
                self._aside.shutdown(wait=False)
            if self._sender is None:
                self.run_endings()

    def accept(self, ids: Iterable[str]) -> None:
        """Note that these are on the server's disk."""
        with self.lock:
            for id in ids:
                self.kept_bytes -= len(self.in_flight.pop(id, b""))
                future = self.futures.get(id)
                if future is not None:
                    future.is_accepted = True
            self.changed.notify_all()

    def settle_as_told(self, told: dict[str, Any]) -> None:
        """Settle a job by what the server says of it; what it left out is fetched beside the stream (P25)."""
        id = told["id"]
        if id not in self.futures:
            return
        if told.get("gone"):
            self._settle_gone(id, told["state"])
        elif told.get("result_omitted") or told.get("error_omitted"):
            self.aside(self._fetch, id)
        else:
            self.settle(id, lambda future: self._become(future, told))

    def _settle_gone(self, id: str, state: str) -> None:
        if state == "cancelled":
            self.settle(id, lambda future: future.become_cancelled())
        else:
            self.fail([id], expired(id, state))

    def _fetch(self, id: str) -> None:
        try:
            job = self.client.transport.request(Request("GET", f"/v1/jobs/{id}")).json()
        except Problem as problem:
            if problem.status == NOT_FOUND:
                lost = f"{self.client.url} does not know the job; was it started with another data directory?"
                self.fail([id], ServerLost(lost))
            else:
                self.fail([id], expired(id) if problem.status == GONE else problem)
        except FuturityError as error:
            self.fail([id], error)
        else:
            self.settle(id, lambda future: self._become(future, job))

    def _become(self, future: RemoteFuture[Any], told: dict[str, Any]) -> None:
        error = self.outcomes.become(future, told)
        if isinstance(error, InitializerFailed):
            self.broken = error

    def settle(self, id: str, settle: Callable[[RemoteFuture[Any]], None]) -> None:
        """Settle a job, unless it is settled; what a callback or a pickle raises ends no thread of ours."""
        future = self.take(id)
        if future is None:
            return
        names = future.callback_names()
        began = time.monotonic()
        try:
            settle(future)
        except BaseException:
            log.exception("job %s could not be settled", id)
        finally:
            self.settled()
        took = time.monotonic() - began
        if names and took > SLOW_CALLBACK_SECONDS:
            log.warning(
                "callbacks of job %s took %.1f s, and other results wait meanwhile: %s", id, took, ", ".join(names)
            )

    def fail(self, ids: Iterable[str], error: BaseException) -> None:
        """Let these fail of one and the same."""
        if isinstance(error, InitializerFailed):
            self.broken = error
        for id in list(ids):
            self.settle(id, lambda future: future.become_exception(error))

    def aside(self, work: Callable[..., object], *args: Any) -> None:
        """Do something that waits for the server beside reader and sender; four at once."""
        with self.lock:
            if self._aside is None:
                self._aside = ThreadPoolExecutor(ASIDES, thread_name_prefix="futurity-aside")
            self._aside.submit(work, *args)

    def look(self, future: RemoteFuture[Any]) -> str:
        """Ask for the state of a job; what was last known if there is no answer (P7)."""
        if future.is_accepted:
            try:
                future.seen = self.client.state(future.id).state
            except FuturityError as error:
                log.debug("no state of job %s: %s", future.id, error)
        return future.seen

    def wait_until(self, condition: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait for something that changes with the jobs."""
        with self.lock:
            return self.changed.wait_for(condition, timeout)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to be sent, or to be answered for."""
        return self.wait_until(lambda: not self.unsent and not self.in_flight, timeout)

    def shut(self, *, wait: bool, cancel: bool) -> None:
        """Take nothing more; see `Executor.shutdown`."""
        with self.lock:
            self.is_shut = True
            self.end_if_over()
        if cancel:
            self.cancels.all()
        if wait and not self.is_own_thread():
            self.wait_for_end()

    def release(self) -> None:
        """Nobody can submit any more: the executor is gone."""
        with self.lock:
            self.is_released = True
            self.end_if_over()

    def forget(self) -> None:
        """Leave all jobs to the server; their futures stay as they are."""
        with self.lock:
            self.is_shut = self.is_detached = True
            self.futures.clear()
            self.changed.notify_all()
            self.end_if_over()

    def wait_for_end(self) -> None:
        """Wait until all is settled, or somebody has detached, and the threads have ended."""
        self.wait_until(lambda: self.is_detached or self.is_over())
        self.join()

    def join(self) -> None:
        """Wait for the threads, which end when nothing more can come."""
        threads: list[Reader | Sender] = [*self._readers.values(), *([self._sender] if self._sender else [])]
        for thread in threads:
            thread.join()
        if self.is_over():
            self._readers, self._sender = {}, None

    def has_answered(self) -> None:
        """The server is there."""
        self.last_answer = time.monotonic()
        if self._warned_at > float("-inf"):
            self._warned_at = float("-inf")
            log.warning("%s answers again", self.client.url)

    def has_not_answered(self, error: FuturityError) -> None:
        """Say that the server is away, in time; and give its jobs up when its time is over (P23)."""
        now = time.monotonic()
        away = now - self.last_answer
        if away > self.server_timeout_seconds:
            with self.lock:
                ids = list(self.futures)
            self.fail(
                ids,
                ServerLost(
                    f"{self.client.url} did not answer for {away:.0f} s ({error}); what it had accepted is on its disk: "
                    f"Executor(name={self.name!r}).futures()"
                ),
            )
        elif away > WARN_SECONDS and now - self._warned_at > 60:  # noqa: PLR2004 - once a minute
            self._warned_at = now
            log.warning("%s does not answer, and %d jobs wait for it: %s", self.client.url, len(self.futures), error)

    def catch_up(self) -> None:
        """Settle what ended while no stream was open; and what the server does not know any more, was lost to it."""
        with self.lock:
            ids = [id for id, future in self.futures.items() if future.is_accepted or id in self.in_flight]
        self.look_at(ids)

    def look_at(self, ids: list[str]) -> None:
        """Ask what became of these jobs, and settle those that are done."""
        for start in range(0, len(ids), LOOKED_AT_ONCE):
            group = ids[start : start + LOOKED_AT_ONCE]
            while group:
                body = json.dumps({"ids": group, "timeout_seconds": 0}).encode()
                request = Request("POST", "/v1/jobs/wait", body=body, headers={"Content-Type": "application/json"})
                try:
                    told = self.client.transport.request(request).json()
                except Problem as problem:
                    group = self._without_unknown(group, problem)
                    continue
                for job in told["done"]:
                    self.settle_as_told(job)
                for job in told.get("gone", []):
                    self._settle_gone(job["id"], job["state"])
                break

    def _without_unknown(self, group: list[str], problem: Problem) -> list[str]:
        """Ask for each that the server has accepted and does not know any more; what is on its way may just not have come.

        Raises:
            Problem: It is about something else.
        """
        places = [pointer.rpartition("/")[2] for pointer, _ in problem.errors if pointer.startswith("/ids/")]
        unknown = {group[int(place)] for place in places}
        if problem.code != "not_found" or not unknown:
            raise problem
        for future in [self.futures.get(id) for id in unknown]:
            if future is not None and future.is_accepted:
                self.aside(self._fetch, future.id)
        return [id for id in group if id not in unknown]

    def begin_in_child(self) -> None:
        """After a fork: the threads and connections are the parent's, and so are the futures."""
        inherited = list(self.futures.values())
        for future in inherited:
            future.__dict__["_condition"] = threading.Condition()
            future.__dict__["_waiters"] = []
            future.__dict__["_done_callbacks"] = []
        was_shut = self.is_shut
        self._begin()
        self.is_shut = was_shut
        for future in inherited:
            future.become_exception(BrokenExecutor("made before fork: the parent has its result"))

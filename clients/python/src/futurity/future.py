"""`RemoteFuture`: a `concurrent.futures.Future` whose job is on a server."""

from __future__ import annotations

import warnings
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from futurity.errors import FuturityError, NestedWaitWarning

if TYPE_CHECKING:
    from collections.abc import Callable

    from futurity.client import Client
    from futurity.engine import Engine
    from futurity.models import Job, LogLine, Progress

T = TypeVar("T")
# What its job is: a pickled call, a chunk of pickled calls, a call of a function of the server.
Kind = Literal["call", "map", "json"]


class RemoteFuture(Future[T]):
    """A future that the server keeps.

    Its base state is `PENDING` until the job is done, so that whatever looks at it (`wait`, `as_completed`, asyncio) finds what
    the standard library would have put there. Made without arguments it is a plain future.

    Attributes:
        id: The job's id, the same on the server.
    """

    def __init__(self, engine: Engine | None = None, id: str = "", kind: Kind = "call", label: str = "") -> None:
        """Stand for a job; made by an executor."""
        super().__init__()
        self.id = id
        self.kind: Kind = kind
        self.label = label
        self.is_accepted = engine is None
        self.seen = "pending"
        self._engine = engine

    def cancel(self) -> bool:
        """Cancel the call if it has not started; True only when the server has said so (P6)."""
        if self._engine is None:
            return super().cancel()
        if self.done():
            return self.cancelled()
        return self._engine.cancels.one(self)

    def running(self) -> bool:
        """Whether the call runs at this moment. While the future is pending this asks the server (P7)."""
        if self._engine is None or self.done():
            return super().running()
        return self._engine.look(self) == "running"

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, and give it or raise what the call raised."""
        self._about_to_wait()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end, and give what the call raised, or None."""
        self._about_to_wait()
        return super().exception(timeout)

    def _about_to_wait(self) -> None:
        if self._engine is None or self.done():
            return
        if self._engine.is_reader():
            raise RuntimeError(
                "this callback runs in the thread that reads results, so it would wait for ever: ask for the result of a "
                "future that is not done in a thread of your own"
            )
        _warn_of_nesting()

    def accepted(self, timeout: float | None = None) -> bool:
        """Wait until the job is on the server's disk; False if it is not after `timeout` seconds.

        Raises:
            Exception: The submission was refused, or could not be made: what `result` raises too.
        """
        if self._engine is None:
            return True
        accepted = self._engine.wait_until(lambda: self.is_accepted or self.done(), timeout)
        if accepted and not self.is_accepted and not self.cancelled():
            error = super().exception(0)
            if error is not None:
                raise error
        return accepted

    def terminate(self, grace_seconds: float = 5) -> bool:
        """Stop the call also while it runs: ask it, and kill its process after the grace. True if it is cancelled then."""
        engine = self._needs_engine()
        if self.done():
            return self.cancelled()
        return engine.cancels.one(self, grace_seconds=grace_seconds)

    def progress(self) -> Progress | None:
        """Ask how far the call says that it is."""
        return self._on_disk().progress(self.id)

    def log(self) -> list[LogLine]:
        """Read what the call has written so far."""
        return self._on_disk().log(self.id)

    def job(self) -> Job:
        """Ask for the job as the server has it."""
        return self._on_disk().get(self.id)

    def _on_disk(self) -> Client:
        engine = self._needs_engine()
        self.accepted()
        return engine.client

    def _needs_engine(self) -> Engine:
        if self._engine is None:
            raise FuturityError("this future was made by hand, and has no job")
        return self._engine

    def become_result(self, value: T) -> None:
        """Take the result; waiters wake, callbacks run here."""
        if self.set_running_or_notify_cancel():
            self.seen = "succeeded"
            self.set_result(value)

    def become_exception(self, error: BaseException) -> None:
        """Take what the call came to."""
        if self.set_running_or_notify_cancel():
            self.seen = "failed"
            self.set_exception(error)

    def become_cancelled(self) -> None:
        """Be cancelled, for `wait` and `as_completed` too, which look at futures that were notified only."""
        self.seen = "cancelled"
        if super().cancel():
            self.set_running_or_notify_cancel()

    def callback_names(self) -> list[str]:
        """Name the callbacks that are to run."""
        callbacks: list[Callable[..., Any]] = getattr(self, "_done_callbacks", [])
        return [getattr(one, "__qualname__", repr(one)) for one in callbacks]

    def __repr__(self) -> str:
        """Tell what is known; nobody is asked."""
        if self._engine is None:
            return super().__repr__()
        return f"<RemoteFuture {self.id} state={self.seen} {self.label}>"

    def _repr_html_(self) -> str | None:
        """Show it in a notebook: state, progress, run time, with one request of a second at most."""
        if self._engine is None:
            return None
        from futurity.display import future_html  # noqa: PLC0415 - only notebooks need it

        return future_html(self._engine, self)

    def __reduce__(self) -> Any:
        """A future that is pickled finds its job again where it is loaded."""
        engine = self._needs_engine()
        return _attach, (engine.client.url, engine.name, self.id)


def _attach(url: str, name: str, id: str) -> RemoteFuture[Any]:
    from futurity.executor import Executor  # noqa: PLC0415 - that module needs this one

    return Executor(url, name=name).future(id)


_warned: list[bool] = []


def _warn_of_nesting() -> None:
    """Say once that a job waits for a job: if all processes do, nobody runs what they wait for (P26)."""
    from futurity.worker.job import current_job  # noqa: PLC0415 - most clients run in no worker

    if current_job() is not None and not _warned:
        _warned.append(True)
        warnings.warn(
            "a job waits for another job; if every process of their worker does, none is left to run it: "
            "give inner jobs a worker of their own",
            NestedWaitWarning,
            stacklevel=4,
        )

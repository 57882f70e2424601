"""The job that this process has now: what a function may ask of it and tell."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

LINE_CHARACTERS_MAX = 16384


class CancelRequested(BaseException):
    """Somebody has cancelled the job, or its time is over. A `BaseException`, so that no `except Exception` keeps it."""


@dataclass
class CurrentJob:
    """A job while it runs here.

    Attributes:
        id: The job's id.
        attempt: The number of this execution, from 1.
        idempotency_key: The same in each attempt: hand it on to what must not happen twice.
    """

    id: str
    attempt: int
    idempotency_key: str
    _notify: Callable[[str, dict[str, object]], None] = field(repr=False)
    _cancelled: Callable[[], bool] = field(repr=False)

    def cancelled(self) -> bool:
        """Whether it was asked to stop. After a grace the process is ended."""
        return self._cancelled()

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell how far it is: a fraction from 0 to 1, a message, or both. Seen at once, and not kept on disk."""
        self._notify("progress", {"fraction": fraction, "message": message})

    def log(self, line: str) -> None:
        """Write a line to the job's log. What is printed goes there too."""
        for one in str(line).splitlines() or [""]:
            self._notify("log", {"line": one[:LINE_CHARACTERS_MAX]})


_current: list[CurrentJob] = []


def current_job() -> CurrentJob | None:
    """Give the job that runs in this process, or None outside one."""
    return _current[-1] if _current else None


def enter(job: CurrentJob) -> None:
    """Begin a job."""
    _current.append(job)


def leave() -> None:
    """End it."""
    _current.clear()


class Interruption:
    """How a cancel reaches what runs now: an exception in the main thread, the cancel of a task, or nothing."""

    def __init__(self) -> None:
        """Nothing runs."""
        self.interrupt: Callable[[], None] | None = None


interruption = Interruption()


def _raise_cancel() -> None:
    interruption.interrupt = None  # once is enough: what cleans up afterwards is left alone
    raise CancelRequested("the job was cancelled, or its time is over")


@contextlib.contextmanager
def interruptible(interrupt: Callable[[], None] = _raise_cancel) -> Generator[None]:
    """Let a cancel interrupt what runs within."""
    job = current_job()
    if job is not None and job.cancelled():
        interrupt()
    interruption.interrupt = interrupt
    try:
        yield
    finally:
        interruption.interrupt = None

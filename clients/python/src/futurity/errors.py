"""What can go wrong, each with words that say what to do.

A job's failure is data on the server, the same in every language; `from_job_error` makes an exception
of it. Failures that a `ProcessPoolExecutor` would tell by breaking are `BrokenProcessPool` here too, so that
code which catches that goes on working.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from futurity.models import JobError


class FuturityError(Exception):
    """Anything that this package raises itself is one of these."""


class Problem(FuturityError):
    """The server refused a request (RFC 9457).

    Attributes:
        code: What it is, in one word (`queue_full`); `/problems/{code}` of the server explains it.
        status: The HTTP status.
        detail: What is wrong this time and what to do.
        errors: Pairs of a JSON pointer into the request and what is wrong there.
        request_id: Names the request in the server's log.
        retry_after: Seconds until it is worth asking again, or None.
        body: All that the server said.
    """

    def __init__(self, status: int, body: Mapping[str, Any], retry_after: float | None = None) -> None:
        """Read what the server said; what is missing has a plain stand-in."""
        self.status = status
        self.code = str(body.get("code") or f"http_{status}")
        self.detail = str(body.get("detail") or f"the answer is HTTP {status}")
        found: list[dict[str, Any]] = body.get("errors") or []
        self.errors = tuple((str(one.get("pointer")), str(one.get("detail"))) for one in found)
        self.request_id = str(body.get("request_id") or "")
        self.retry_after = retry_after
        self.body = dict(body)
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        places = "; ".join(f"{pointer}: {detail}" for pointer, detail in self.errors[:3])
        return f"{self.code}: {self.detail}" + (f" ({places})" if places else "")

    def __reduce__(self) -> tuple[type[Problem], tuple[int, dict[str, Any], float | None]]:
        """A problem survives pickling whole."""
        return type(self), (self.status, self.body, self.retry_after)


class AccessDenied(Problem, PermissionError):
    """The key is missing, unknown, revoked, or lacks the scope that `detail` names."""


def problem_of(status: int, body: Mapping[str, Any], retry_after: float | None = None) -> Problem:
    """Make the exception of a refusal."""
    kind = AccessDenied if status in (401, 403) else Problem
    return kind(status, body, retry_after)


class RemoteError(FuturityError):
    """What a function raised whose class cannot be had here.

    Attributes:
        type: The exception's name where it was raised, as `ValueError`.
        message: Its words.
        traceback: The text of its traceback there, or None.
        details: Any JSON that came with it, or None.
    """

    def __init__(
        self,
        type: str,
        message: str,
        traceback: str | None = None,
        details: Any = None,
    ) -> None:
        """Keep the parts; the text is `type: message`."""
        super().__init__(type, message, traceback, details)
        self.type = type
        self.message = message
        self.traceback = traceback
        self.details = details

    def __str__(self) -> str:
        """Read like the last line of a traceback."""
        return f"{self.type}: {self.message}" if self.message else self.type


class ServerLost(FuturityError, BrokenProcessPool):
    """The server cannot be reached, or does not know the job. What it had accepted is on its disk."""


class WorkerLost(FuturityError, BrokenProcessPool):
    """The process that ran the call has died; the message says by which exit code or signal."""


class CallNotLoaded(FuturityError, BrokenProcessPool):
    """The worker cannot load the call: it has no such module, or another version of it, or another Python."""


class ResultNotLoaded(FuturityError, BrokenProcessPool):
    """The result, or the exception, has come and cannot be loaded here."""


class InitializerFailed(FuturityError, BrokenProcessPool):
    """The executor's initializer raised in the worker. Later submissions are refused."""


class NestedWaitWarning(RuntimeWarning):
    """A job waits for another job, which may need the process that waits."""


class Interrupted(FuturityError):
    """The server ended while the call ran, and the job was to run once at most."""


class RunTimeout(FuturityError, TimeoutError):
    """The call ran longer than its `run_timeout_seconds`."""


class StartTimeout(FuturityError, TimeoutError):
    """The call did not start within its `start_timeout_seconds`."""


class TotalTimeout(FuturityError, TimeoutError):
    """The job was not done within its `total_timeout_seconds`."""


class ValueTooLarge(FuturityError, ValueError):
    """A value does not fit; the message has its size, the limit, and the setting of the limit."""


# Types of errors that the server itself gives, in snake_case, so that no function's own can be taken for one.
_OF_THE_SERVER: dict[str, type[FuturityError]] = {
    "run_timeout": RunTimeout,
    "start_timeout": StartTimeout,
    "total_timeout": TotalTimeout,
    "worker_lost": WorkerLost,
    "out_of_memory": WorkerLost,
    "process_limit": WorkerLost,
    "crash_loop": WorkerLost,
    "interrupted": Interrupted,
    "result_too_large": ValueTooLarge,
}


def from_job_error(error: JobError) -> FuturityError:
    """Make the exception of a failed job; one of `RemoteError` unless the server itself gave it up."""
    known = _OF_THE_SERVER.get(error.type)
    if known is None:
        return RemoteError(error.type, error.message, error.traceback, error.details)
    traceback = f"\n{error.traceback}" if error.traceback else ""
    return known(f"{error.message} ({error.type}){traceback}")

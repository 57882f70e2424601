"""What became of a job, as a value or an exception."""

from __future__ import annotations

import concurrent.futures.process
import pickle
from typing import TYPE_CHECKING, Any, cast

from futurity.errors import (
    CallNotLoaded,
    FuturityError,
    InitializerFailed,
    Problem,
    RemoteError,
    ResultNotLoaded,
    ValueTooLarge,
    from_job_error,
)
from futurity.models import JobError, read
from futurity.pickling import THIS_PYTHON, Unsealed, check_seal, decode

if TYPE_CHECKING:
    from futurity.future import Kind, RemoteFuture


class RemoteTraceback(Exception):
    """The text of a traceback in another process, as the cause of what was raised there."""

    def __init__(self, text: str) -> None:
        """Keep the text."""
        super().__init__(text)
        self.tb = text


# Private, and known: code that prints tracebacks looks for it.
TRACEBACK: Any = getattr(concurrent.futures.process, "_RemoteTraceback", RemoteTraceback)
# What the worker itself says of a call that never came to the function. A function's own exceptions come with a pickle.
OF_THE_WORKER: dict[str, type[Exception]] = {
    "CallNotLoaded": CallNotLoaded,
    "InitializerFailed": InitializerFailed,
    "PicklingError": pickle.PicklingError,
    "Unsealed": Unsealed,
}
TOO_LARGE, UNPROCESSABLE = 413, 422


class Chunk:
    """The values of a chunk of calls, and the failure that ended it, if one did."""

    def __init__(self, values: list[Any], failure: BaseException | None) -> None:
        """Keep both."""
        self.values = values
        self.failure = failure


class Outcomes:
    """Reads what jobs came to; loads only what is sealed with the secret, if there is one."""

    def __init__(self, secret: bytes | None) -> None:
        """Trust what is sealed with the secret; whatever the server says, if there is none."""
        self._secret = secret

    def value(self, kind: Kind, job: str, result: Any) -> Any:
        """Read a result.

        Raises:
            ResultNotLoaded: It cannot be loaded here.
        """
        if kind == "json":
            return result
        value = self._load(job, result)
        if kind == "call":
            return value
        values, failure = value
        return Chunk(values, failure and self.exception("call", job, failure))

    def become(self, future: RemoteFuture[Any], told: dict[str, Any]) -> BaseException | None:
        """Let a future be what its job came to; gives the exception, if it is one."""
        future.is_accepted = True
        if told["state"] == "cancelled":
            future.become_cancelled()
            return None
        try:
            if told["state"] == "succeeded":
                future.become_result(self.value(future.kind, future.id, told.get("result")))
                return None
            error = self.exception(future.kind, future.id, told.get("error") or {})
        except BaseException as raised:  # noqa: BLE001 - a pickle may raise whatever it likes
            error = raised
        future.become_exception(error)
        return error

    def _load(self, job: str, members: Any) -> Any:
        try:
            check_seal(self._secret, "result", job, members)
            return pickle.loads(decode(members))
        except Unsealed:
            raise
        except BaseException as error:
            raise ResultNotLoaded(
                f"the result of job {job} has come and cannot be loaded here: {type(error).__name__}: {error}"
            ) from error

    def exception(self, kind: Kind, job: str, error: dict[str, Any]) -> BaseException:
        """Read what a job has failed of: the very exception, if it came along."""
        told = read(JobError, {"retryable": False, "attempt": 0, **error})
        details: Any = told.details
        if kind != "json" and isinstance(details, dict) and "pickle" in details:
            raised = self._raised(job, cast("dict[str, Any]", details), told)
        elif kind != "json" and told.type in OF_THE_WORKER:
            raised = OF_THE_WORKER[told.type](told.message)
        else:
            raised = from_job_error(told)
        inner = raised.failure if isinstance(raised, Partial) else raised
        if told.traceback and inner.__cause__ is None:
            inner.__cause__ = TRACEBACK(f'\n"""\n{told.traceback}"""')
        return raised

    def _raised(self, job: str, details: dict[str, Any], told: JobError) -> BaseException:
        try:
            before = details.pop("before", None)
            loaded = self._load(job, details)
        except FuturityError:
            return RemoteError(told.type, told.message, told.traceback)
        if not isinstance(loaded, BaseException):
            return RemoteError(told.type, told.message, told.traceback)
        if before is not None:
            values, _ = self._load(job, before)
            return Partial(values, loaded)
        return loaded


class Partial(Exception):
    """A chunk that failed, with what came before; never seen outside."""

    def __init__(self, values: list[Any], failure: BaseException) -> None:
        """Keep both."""
        super().__init__()
        self.values = values
        self.failure = failure


def refusal(kind: Kind, problem: Problem, size: int) -> BaseException:
    """Make the exception of a call whose submission was refused."""
    places = " ".join(pointer for pointer, _ in problem.errors)
    if kind != "json" and problem.status == UNPROCESSABLE and "/python" in places:
        return CallNotLoaded(
            f"the call was sent by value from {THIS_PYTHON}, and the worker is another Python ({problem.errors[0][1]}); "
            "use the same one, or put the function into a module that the worker can import"
        )
    if problem.code == "unknown_function" and kind != "json":
        return FuturityError(
            "no worker of this server takes pickled calls; the operator's file needs one: [workers.python] "
            'argv = ["python3", "-m", "futurity.worker", "--allow-pickle"]'
        )
    if problem.status == TOO_LARGE:
        return ValueTooLarge(f"the call is {size} bytes of JSON; {problem.detail}")
    if problem.code == "invalid_arguments":
        return TypeError(problem.detail)
    return problem


def expired(id: str, state: str = "done") -> FuturityError:
    """Make the exception of a result that was forgotten before it was fetched."""
    return FuturityError(
        f"the result of job {id} is gone (HTTP 410): it was {state}, and was kept for its retention_seconds; ask for more by "
        "Executor(retention_seconds=…) or options(retention_seconds=…)"
    )

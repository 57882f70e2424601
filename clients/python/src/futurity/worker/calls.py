"""`python.call` and `python.map`: pickled calls, only where the operator's file allows them."""

from __future__ import annotations

import pickle
import traceback
from typing import TYPE_CHECKING, Any

from futurity.errors import FuturityError
from futurity.pickling import (
    ANY_PYTHON,
    FORMAT,
    THIS_PYTHON,
    check_seal,
    decode,
    dump,
    encode,
    sealed,
)
from futurity.worker.job import interruptible

if TYPE_CHECKING:
    from types import TracebackType

# What the server keeps of an error's details is 16 KiB of JSON, base64 of which 11 KiB are.
DETAILS_BYTES_MAX = 11_000
PARAMETER = {
    "name": "call",
    "schema": {
        "type": "object",
        "required": ["format", "python", "encoding", "pickle"],
        "properties": {
            "format": {"const": FORMAT},
            "python": {"enum": [ANY_PYTHON, THIS_PYTHON]},
            "encoding": {"enum": ["none", "zlib"]},
            "pickle": {"type": "string"},
        },
    },
}


class Failed(Exception):
    """A call has failed: what is told of it, as the protocol has it."""

    def __init__(self, type: str, message: str, traceback: str | None = None, details: Any = None) -> None:
        """Keep the parts of the error."""
        super().__init__(message)
        given = {"type": type, "traceback": traceback, "details": details}
        self.message = message
        self.data: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def but_not_again(self) -> Failed:
        """Say that another attempt would fail likewise."""
        self.data["retryable"] = False
        return self


class PickledCalls:
    """Runs pickled calls in this process.

    Attributes:
        is_worn: Whether it has run as many as one of them allows (P21): then it is to make way.
    """

    def __init__(self, secret: bytes | None) -> None:
        """Take calls that are sealed with the secret; any, if there is none."""
        self._secret = secret
        self._initialized: set[str] = set()
        self._calls = 0
        self.is_worn = False

    def call(self, job: str, members: dict[str, Any]) -> dict[str, Any]:
        """Run `fn(*args, **kwargs)`.

        Raises:
            Failed: It raised, or could not be loaded, or its result cannot be sent.
        """
        fn, args, kwargs = self._loaded(job, members)
        try:
            with interruptible():
                value = fn(*args, **kwargs)
        except BaseException as error:
            raise self._raised(job, error) from error
        return self._result(job, value)

    def map(self, job: str, members: dict[str, Any]) -> dict[str, Any]:
        """Run `fn(*args)` for each of a chunk; the result is the list of values.

        What comes before a call that raises is not lost: it travels in the error's details under `before` if it has room there,
        else the job succeeds with the failure as the second part of its result.

        Raises:
            Failed: As `call`.
        """
        fn, calls = self._loaded(job, members)
        values: list[Any] = []
        for args in calls:
            try:
                with interruptible():
                    values.append(fn(*args))
            except BaseException as error:
                failed = self._raised(job, error)
                if not values:
                    raise failed from error
                return self._with_what_came_before(job, values, failed)
        return self._result(job, (values, None))

    def _with_what_came_before(self, job: str, values: list[Any], failed: Failed) -> dict[str, Any]:
        before = self._result(job, (values, None))
        details = failed.data.get("details")
        room = DETAILS_BYTES_MAX * 4 // 3
        if details is not None and len(before["pickle"]) + len(details["pickle"]) <= room:
            failed.data["details"] = {**details, "before": before}
            raise failed
        return self._result(job, (values, {"message": failed.message, **failed.data}))

    def _loaded(self, job: str, members: dict[str, Any]) -> Any:
        try:
            check_seal(self._secret, "call", job, members)
            data = decode(members)
        except FuturityError as error:
            raise Failed(type(error).__name__, str(error)).but_not_again() from error
        self._calls += 1
        self.is_worn = self._calls >= members.get("calls_max", self._calls + 1)
        self._initialize(members.get("init"))
        try:
            return pickle.loads(data)
        except BaseException as error:
            raise _not_loaded(error) from error

    def _initialize(self, init: dict[str, Any] | None) -> None:
        if init is None or init["id"] in self._initialized:
            return
        try:
            initializer, initargs = pickle.loads(decode({"format": FORMAT, "encoding": "none", **init}))
            initializer(*initargs)
        except BaseException as error:
            text = text_of(error)
            raise Failed("InitializerFailed", f"the initializer raised {error!r}", text).but_not_again() from error
        self._initialized.add(init["id"])

    def _result(self, job: str, value: Any) -> dict[str, Any]:
        try:
            data = dump(value).data
        except (
            SystemExit,
            KeyboardInterrupt,
        ) as error:  # as in a standard pool, whoever exits while being pickled has exited
            raise self._raised(job, error) from error
        except BaseException as error:
            message = f"the result, a {type(value).__qualname__}, cannot be sent: {error}"
            raise Failed("PicklingError", message, text_of(error)).but_not_again() from error
        return sealed(self._secret, "result", job, encode(data))

    def _raised(self, job: str, error: BaseException) -> Failed:
        failed = Failed(type(error).__name__, words_of(error), text_of(error))
        try:
            data = dump(error).data
            pickle.loads(data)  # one that cannot be loaded here cannot be loaded there either
        except BaseException:  # noqa: BLE001 - then its type, message and traceback have to do
            return failed
        if len(data) <= DETAILS_BYTES_MAX:
            failed.data["details"] = sealed(self._secret, "result", job, encode(data))
        return failed


def _not_loaded(error: BaseException) -> Failed:
    message = f"the call cannot be loaded in the worker: {type(error).__name__}: {error}"
    if isinstance(error, (ModuleNotFoundError, AttributeError)):
        message += (
            "; install the module where the worker runs, or send it by value: "
            "cloudpickle.register_pickle_by_value(module)"
        )
    return Failed("CallNotLoaded", message, text_of(error)).but_not_again()


def words_of(error: BaseException) -> str:
    """Give what an exception says of itself."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a __str__ of its own may do anything
        return f"<a {type(error).__name__} whose words cannot be had>"


def text_of(error: BaseException) -> str:
    """Write the traceback from the caller's function on; what is ours says nothing to anybody."""
    inner: TracebackType | None = error.__traceback__
    while inner is not None and inner.tb_frame.f_code.co_filename == __file__:
        inner = inner.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, inner))
    except Exception:  # noqa: BLE001 - its __str__ again
        return f"{type(error).__name__}\n"


def secret_of(text: str) -> bytes:
    """Read a secret: its characters without white space around them.

    Raises:
        ValueError: It is too short to keep anybody out.
    """
    secret = text.strip().encode()
    if len(secret) < 16:  # noqa: PLR2004 - 16 characters of hex are 64 bits
        raise ValueError("a pickle secret has 16 characters at least; make one with: openssl rand -hex 32")
    return secret

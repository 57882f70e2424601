"""Functions that are sent, and a gate that holds them until the test says so."""

from __future__ import annotations

import os
import select
import socket
import tempfile
from pathlib import Path
from typing import Any


class Gate:
    """Holds calls of `hold`. It can be pickled: the file system is the worker's too."""

    def __init__(self, directory: Path) -> None:
        # The path of a socket has 108 bytes at most.
        short = directory if len(str(directory)) < 60 else None
        self.path = str(Path(tempfile.mkdtemp(prefix="gate-", dir=short)) / "s")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen(100)
        self._listener.settimeout(60)

    def __reduce__(self) -> Any:
        return _Held, (self.path,)

    def hold(self, value: Any = None) -> Any:
        raise NotImplementedError("in a worker it is a _Held")

    def let_through(self) -> None:
        """Let one call through that holds; waits until one does."""
        while True:
            held, _ = self._listener.accept()
            with held:
                gone, _, _ = select.select([held], [], [], 0)
                if not gone:
                    held.sendall(b"!")
                    return

    def close(self) -> None:
        self._listener.close()


class _Held:
    def __init__(self, path: str) -> None:
        self.path = path

    def hold(self, value: Any = None) -> Any:
        """Wait until the gate lets one through, and return the value."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.path)
            if connection.recv(1) != b"!":
                raise ConnectionError("the gate is gone")
            return value


class OwnError(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.code = code
        self.reason = reason


class Odd(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


class NotLoaded:
    """Can be pickled; whoever loads it sees an exception."""

    def __reduce__(self) -> Any:
        return _fail_to_load, ("here",)


def _fail_to_load(text: str) -> None:
    raise SystemExit(text)


class Sayer:
    def __init__(self, word: str) -> None:
        self.word = word

    def say(self, times: int) -> str:
        return self.word * times

    def __call__(self, times: int) -> str:
        return self.say(times)


def add(one: int, two: int = 0) -> int:
    return one + two


def keywords(**kwargs: Any) -> dict[str, Any]:
    return kwargs


def raise_it(error: BaseException) -> None:
    raise error


def raise_odd() -> None:
    raise Odd(1, 2)


def end(code: int) -> None:
    os._exit(code)


def pid(_: Any = None) -> int:
    return os.getpid()


def fail_at(limit: int, number: int) -> int:
    if number == limit:
        raise OwnError(number, reason="limit")
    return number


INITIALIZED: list[Any] = []


def initialize(word: str) -> None:
    INITIALIZED.append(word)


def initialized() -> list[Any]:
    return list(INITIALIZED)


def initialize_badly() -> None:
    raise LookupError("no such thing")


CALLS: list[None] = []


def count_here() -> int:
    """Say how many of these this process has run. Process ids tell nothing: each has a room of its own."""
    CALLS.append(None)
    return len(CALLS)


def waits_for_another(url: str) -> tuple[list[int], list[str]]:
    import warnings  # noqa: PLC0415

    from futurity import Executor, NestedWaitWarning  # noqa: PLC0415

    with warnings.catch_warnings(record=True) as seen, Executor(url) as executor:
        warnings.simplefilter("always")
        values = [executor.submit(pow, 2, n).result(60) for n in (2, 3)]
    return values, [str(one.message) for one in seen if one.category is NestedWaitWarning]

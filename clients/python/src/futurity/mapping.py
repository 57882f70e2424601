"""`Executor.map`: results in the order of the calls, submitted at once or as far as a buffer allows."""

from __future__ import annotations

import itertools
import time
from collections import deque
from concurrent.futures import TimeoutError as WaitTimeout
from typing import TYPE_CHECKING, Any

from futurity.outcome import Chunk, Partial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from futurity.engine import Engine
    from futurity.future import RemoteFuture

Calls = list[tuple[Any, ...]]


class Mapped:
    """What a map has submitted and not given."""

    def __init__(self, engine: Engine, submit: Callable[[Calls], RemoteFuture[Any]], timeout: float | None) -> None:
        """Begin; the time counts from here."""
        self.engine = engine
        self.submit = submit
        self.futures: deque[RemoteFuture[Any]] = deque()
        self._end = None if timeout is None else time.monotonic() + timeout

    def next(self) -> Iterator[Any]:
        """Wait for the next future, and give its values; a chunk that failed gives what came before first."""
        # A future that is not referenced while its result is given does not keep it (P2).
        future = self.futures.popleft()
        left = None if self._end is None else self._end - time.monotonic()
        try:
            value: Any = future.result(left)
        except Partial as partial:
            value = Chunk(partial.values, partial.failure)
        except WaitTimeout:
            if future.done():
                raise  # the function's own, on versions where both have one name
            self.futures.appendleft(future)
            raise
        del future
        values, failure = values_of(value)
        del value
        while values:
            yield values.pop()
        if failure is not None:
            raise failure

    def leave(self) -> None:
        """Nobody wants the rest: cancel it in one request."""
        rest, self.futures = self.futures, deque()
        self.engine.cancels.many(future for future in rest if not future.done())


def map_calls(
    executor: object, mapped: Mapped, calls: Iterable[tuple[Any, ...]], chunksize: int, buffersize: int | None
) -> Iterator[Any]:
    """Submit now, as much as may be, and give an iterator over the results.

    Raises:
        TypeError, ValueError: Sizes are no numbers above 0.
    """
    chunks, at_once = chunks_of(calls, chunksize, buffersize)
    for chunk in itertools.islice(chunks, at_once):
        mapped.futures.append(mapped.submit(chunk))
    return _results(executor, mapped, chunks)


def values_of(value: Any) -> tuple[list[Any], BaseException | None]:
    """Give what a job of a map came to, the first value last; and what ended it."""
    if isinstance(value, Chunk):
        return value.values[::-1], value.failure
    return [value], None


def chunks_of(
    calls: Iterable[tuple[Any, ...]], chunksize: int, buffersize: int | None
) -> tuple[Iterator[Calls], int | None]:
    """Make chunks of calls, and say how many of them may be submitted at once.

    Raises:
        TypeError, ValueError: Sizes are no numbers above 0.
    """
    if chunksize < 1:
        raise ValueError("chunksize must be >= 1.")
    if buffersize is not None and not isinstance(buffersize, int):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError("buffersize must be an integer or None")
    if buffersize is not None and buffersize < 1:
        raise ValueError("buffersize must be None or > 0")
    at_once = None if buffersize is None else max(buffersize // chunksize, 1)
    return _chunks(iter(calls), chunksize), at_once


def _chunks(calls: Iterator[tuple[Any, ...]], chunksize: int) -> Iterator[Calls]:
    while chunk := list(itertools.islice(calls, chunksize)):
        yield chunk


def _results(executor: object, mapped: Mapped, chunks: Iterator[Calls]) -> Iterator[Any]:
    """Give the results. Holds the executor as long as calls are to be submitted by it."""
    try:
        while mapped.futures:
            yield from mapped.next()
            # Only now: what was given is given, so there is room for as many.
            for chunk in itertools.islice(chunks, 1):
                mapped.futures.append(mapped.submit(chunk))
    finally:
        mapped.leave()
        del executor

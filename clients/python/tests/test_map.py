"""P13: `map`, as 3.14's, on every version."""

from __future__ import annotations

import concurrent.futures
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests import gate as functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from futurity import Executor
    from tests.gate import Gate

WAIT = 60.0


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_p13_results_come_in_order_and_the_shortest_counts(executor: Executor, chunksize: int) -> None:
    assert list(executor.map(pow, range(10), [2] * 7, chunksize=chunksize)) == [n**2 for n in range(7)]
    assert list(executor.map(lambda n: n + 1, range(10), chunksize=chunksize)) == list(range(1, 11))
    assert list(executor.map(pow, [], [], chunksize=chunksize)) == []


@pytest.mark.parametrize("chunksize", [1, 4, 10])
@pytest.mark.parametrize("limit", [0, 2, 5])
def test_p13_what_comes_before_a_failure_is_given(executor: Executor, chunksize: int, limit: int) -> None:
    given: list[int] = []
    with pytest.raises(ZeroDivisionError, match="at the limit") as raised:
        given.extend(executor.map(partial(_fail_at, limit), range(10), chunksize=chunksize))
    assert given == list(range(limit))
    assert "in _fail_at" in str(raised.value.__cause__)


def _fail_at(limit: int, n: int) -> int:
    if n == limit:
        raise ZeroDivisionError("at the limit")
    return n


def test_p13_what_comes_before_a_failure_is_given_also_if_it_is_large(executor: Executor) -> None:
    results = executor.map(_large_then_fails, range(4), chunksize=4)
    assert [len(next(results)) for _ in range(3)] == [50_000] * 3
    with pytest.raises(ZeroDivisionError, match="after much"):
        next(results)


def _large_then_fails(n: int) -> str:
    if n == 3:
        raise ZeroDivisionError("after much")
    return "".join(map(chr, range(33, 83))) * 1000


def test_p13_all_is_submitted_at_the_call_and_the_rest_cancelled_when_it_is_left(
    executor: Executor, gate: Gate
) -> None:
    tagged = executor.options(tags=["left"])
    results = tagged.map(gate.hold, range(6))
    executor.flush(WAIT)
    assert len(list(executor.client.jobs(tag="left"))) == 6
    gate.let_through()
    gate.let_through()
    assert next(results) == 0
    del results
    while sum(job.state == "cancelled" for job in executor.client.jobs(tag="left")) < 2:
        pass
    executor.client.cancel_many(tag="left")  # what runs holds the processes
    ends = [executor.client.get(job.id, wait=WAIT).state for job in executor.client.jobs(tag="left")]
    assert sorted(set(ends)) == ["cancelled", "succeeded"]
    assert ends.count("succeeded") == 2


def test_p13_the_time_counts_from_the_call(executor: Executor, gate: Gate) -> None:
    results = executor.options(tags=["late"]).map(gate.hold, range(1), timeout=0.05)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    executor.client.cancel_many(tag="late")  # it may have started before it was left, or not


def test_p13_a_buffer_is_never_exceeded(executor: Executor) -> None:
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        for n in itertools.count():
            taken += 1
            yield n

    results = executor.map(functions.add, numbers(), buffersize=3)
    assert taken == 3
    for n in range(10):
        assert next(results) == n
        assert taken - (n + 1) <= 3
    results.close()  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("kwargs", "kind", "words"),
    [
        ({"chunksize": 0}, ValueError, "chunksize must be >= 1"),
        ({"chunksize": -1}, ValueError, "chunksize must be >= 1"),
        ({"buffersize": 0}, ValueError, "buffersize must be None or > 0"),
        ({"buffersize": "1"}, TypeError, "buffersize must be an integer or None"),
    ],
)
def test_p13_sizes_are_numbers_above_0(
    executor: Executor, kwargs: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        executor.map(pow, [1], [1], **kwargs)


def test_p13_a_function_that_cannot_be_sent_is_said_at_the_first_result(executor: Executor) -> None:
    import threading  # noqa: PLC0415

    lock = threading.Lock()
    results = executor.map(lambda n: (lock, n), [1])
    with pytest.raises(Exception, match="cannot be sent"):
        next(results)

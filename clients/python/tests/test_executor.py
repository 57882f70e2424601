"""The rules of the executor, each by its number: what is sent, what comes back, what a cancel does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import logging
import math
import operator
import pickle
import threading
import weakref
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]
import pytest

import futurity
import futurity.testing
from futurity import (
    CallNotLoaded,
    Executor,
    FuturityError,
    InitializerFailed,
    RemoteError,
    RemoteFuture,
    ResultNotLoaded,
    Retry,
    RunTimeout,
    StartTimeout,
    ValueTooLarge,
    WorkerLost,
)
from tests import gate as functions
from tests.gate import Gate, OwnError, Sayer

if TYPE_CHECKING:
    from pathlib import Path

    from futurity.local import LocalExecutor

WAIT = 60.0


def test_p1_whatever_can_be_called_can_be_sent(executor: Executor) -> None:
    local_word = "closure"

    def closure(word: str) -> str:
        return word + local_word

    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = [
        (pow, (2, 5), {}, 32),
        (math.hypot, (3, 4), {}, 5.0),
        (operator.itemgetter(1), ([1, 2],), {}, 2),
        (Sayer("a").say, (3,), {}, "aaa"),
        (Sayer("b"), (2,), {}, "bb"),
        (functools.partial(functions.add, two=2), (1,), {}, 3),
        (lambda x: x * 2, (21,), {}, 42),
        (closure, ("a ",), {}, "a closure"),
        (
            functions.keywords,
            (),
            {"self": 1, "fn": 2, "args": 3, "timeout": 4},
            {"self": 1, "fn": 2, "args": 3, "timeout": 4},
        ),
        (dict, (), {"id": 1}, {"id": 1}),
    ]
    futures = [executor.submit(fn, *args, **kwargs) for fn, args, kwargs, _ in calls]
    assert [future.result(WAIT) for future in futures] == [expected for *_, expected in calls]
    made = executor.submit(Sayer, "x").result(WAIT)
    assert isinstance(made, Sayer)


def test_p2_arguments_are_taken_at_the_call_and_nothing_is_kept(executor: Executor, gate: Gate) -> None:
    class Argument:
        pass

    held = [executor.submit(gate.hold) for _ in range(2)]
    argument, values = Argument(), [1]
    seen = weakref.ref(argument)
    future = executor.submit(lambda *args: args[1], argument, values)
    values.append(2)
    del argument
    gc.collect()
    assert seen() is None
    for _ in held:
        gate.let_through()
    assert future.result(WAIT) == [1]
    result = executor.submit(set, [1]).result(WAIT)
    gone = weakref.ref(result)
    del result
    gc.collect()
    assert gone() is None


def test_p2_what_cannot_be_pickled_is_the_futures_exception_and_hurts_no_other(executor: Executor) -> None:
    bad = executor.submit(len, threading.Lock())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    good = executor.submit(len, "abc")
    with pytest.raises(pickle.PicklingError, match="cannot be sent"):
        bad.result(WAIT)
    assert bad.done()
    assert good.result(WAIT) == 3


def test_p3_a_shut_down_executor_takes_nothing(executor: LocalExecutor) -> None:
    other = Executor(executor.client.url)
    other.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        other.submit(pow, 1, 1)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        other.map(pow, [1], [1])


def test_p4_submit_returns_before_and_accepted_and_flush_after_the_job_is_on_disk(executor: Executor) -> None:
    future = executor.submit(pow, 2, 2)
    assert future.accepted(WAIT)
    assert future.job().id == future.id
    futures = [executor.submit(pow, 2, n) for n in range(100)]
    executor.flush(WAIT)
    assert all(one.is_accepted for one in futures)
    assert [one.result(WAIT) for one in futures] == [2**n for n in range(100)]


def test_p5_calls_run_in_the_order_of_their_submission(executor: Executor, tmp_path: Path) -> None:
    with futurity.local(1) as one:
        written = tmp_path / "order"

        def write(n: int) -> None:
            with written.open("a") as file:
                file.write(f"{n}\n")

        for future in [one.submit(write, n) for n in range(50)]:
            future.result(WAIT)
        assert written.read_text().split() == [str(n) for n in range(50)]


def test_p6_a_cancel_is_true_only_when_the_server_has_said_so(executor: Executor, gate: Gate) -> None:
    held = [executor.submit(gate.hold, n) for n in range(2)]
    waiting = executor.submit(pow, 2, 2)
    assert waiting.accepted(WAIT)
    assert waiting.cancel()
    assert waiting.cancelled()
    assert waiting.cancel(), "again"
    assert waiting.job().state == "cancelled"
    done, _ = concurrent.futures.wait([waiting], WAIT)
    assert done == {waiting}
    assert list(concurrent.futures.as_completed([waiting], WAIT)) == [waiting]
    with pytest.raises(CancelledError):
        waiting.result(WAIT)
    for future in held:
        while not future.running():
            pass
        assert not future.cancel(), "it runs"
    for _ in held:
        gate.let_through()
    assert [future.result(WAIT) for future in held] == [0, 1]
    assert not held[0].cancel(), "it is done"


def test_p6_in_an_event_loop_a_cancel_does_not_block(executor: Executor, gate: Gate) -> None:
    held = [executor.submit(gate.hold) for _ in range(2)]
    waiting = executor.submit(pow, 2, 2)

    async def main() -> bool:
        assert await asyncio.to_thread(waiting.accepted, WAIT)
        return waiting.cancel()

    assert asyncio.run(main()) is False
    with pytest.raises(CancelledError):
        waiting.result(WAIT)
    for _ in held:
        gate.let_through()


def test_p7_running_is_exact(executor: Executor, gate: Gate) -> None:
    futures = [executor.submit(gate.hold) for _ in range(3)]
    executor.flush(WAIT)
    while [future.running() for future in futures] != [True, True, False]:
        pass
    assert "state=running" in repr(futures[0])
    for _ in futures:
        gate.let_through()
    assert [future.result(WAIT) for future in futures] == [None] * 3
    assert not any(future.running() for future in futures)
    label = "tests.gate.Gate.hold"
    assert repr(futures[0]) == f"<RemoteFuture {futures[0].id} state=succeeded {label}>"


def test_p8_an_exception_keeps_its_class_and_its_traceback(executor: Executor) -> None:
    future = executor.submit(functions.raise_it, ValueError("no", 17))
    with pytest.raises(ValueError, match="no") as raised:
        future.result(WAIT)
    assert raised.value.args == ("no", 17)
    assert type(raised.value.__cause__).__name__ == "_RemoteTraceback"
    assert "in raise_it" in str(raised.value.__cause__)
    assert "worker/calls.py" not in str(raised.value.__cause__)
    assert isinstance(executor.submit(functions.raise_it, SystemExit(3)).exception(WAIT), SystemExit)
    assert isinstance(executor.submit(functions.raise_it, KeyboardInterrupt()).exception(WAIT), KeyboardInterrupt)


def test_p8_an_exception_that_does_not_survive_arrives_by_its_words(executor: Executor) -> None:
    error = executor.submit(functions.raise_odd).exception(WAIT)
    assert isinstance(error, RemoteError)
    assert (error.type, error.message) == ("Odd", "1 and 2")
    assert "raise_odd" in str(error.traceback)


def test_p9_a_functions_own_timeout_is_never_that_of_a_wait(executor: Executor, gate: Gate) -> None:
    own = executor.submit(functions.raise_it, TimeoutError("its own"))
    with pytest.raises(TimeoutError, match="its own"):
        own.result(WAIT)
    assert own.done()
    late = executor.options(run_timeout_seconds=0.2).submit(gate.hold)
    with pytest.raises(RunTimeout):
        late.result(WAIT)
    held = [executor.submit(gate.hold) for _ in range(2)]
    with pytest.raises(StartTimeout):
        executor.options(start_timeout_seconds=0.05).submit(pow, 1, 1).result(WAIT)
    with pytest.raises(concurrent.futures.TimeoutError):
        held[0].result(0.01)
    for _ in held:
        gate.let_through()


def test_p10_a_result_that_cannot_be_sent_or_loaded_is_that_futures_alone(executor: Executor) -> None:
    unsent = executor.submit(threading.Lock)
    not_loaded = executor.submit(functions.NotLoaded)
    after = executor.submit(pow, 2, 3)
    with pytest.raises(pickle.PicklingError, match="cannot be sent"):
        unsent.result(WAIT)
    with pytest.raises(ResultNotLoaded, match="SystemExit: here"):
        not_loaded.result(WAIT)
    assert after.result(WAIT) == 8


def test_p11_a_process_that_dies_costs_its_call_alone(executor: Executor, gate: Gate) -> None:
    lost = executor.submit(functions.end, 7)
    others = [executor.submit(pow, 2, n) for n in range(5)]
    with pytest.raises(WorkerLost, match="exit code 7") as raised:
        lost.result(WAIT)
    assert isinstance(raised.value, BrokenProcessPool)
    assert [one.result(WAIT) for one in others] == [2**n for n in range(5)]
    assert lost.job().attempt == 1
    again = executor.options(retry=Retry(max_attempts=2, initial_seconds=0)).submit(functions.end, 7)
    assert isinstance(again.exception(WAIT), WorkerLost)
    assert again.job().attempt == 2


def test_p12_callbacks_run_here_once_each_in_order_and_cannot_wait_for_others(
    executor: Executor, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    held = executor.submit(gate.hold, 1)
    unfinished = executor.submit(gate.hold, 2)
    seen: list[Any] = []
    last = threading.Event()

    def waits(_: Future[Any]) -> None:
        try:
            unfinished.result(WAIT)
        except RuntimeError as error:
            seen.append(str(error))

    def fails(_: Future[Any]) -> None:
        raise LookupError("in a callback")

    held.add_done_callback(lambda future: seen.append(future.result()))
    held.add_done_callback(fails)
    held.add_done_callback(waits)
    held.add_done_callback(lambda _: last.set())
    with caplog.at_level(logging.ERROR):
        gate.let_through()
        gate.let_through()
        assert last.wait(WAIT)
    assert seen[0] == 1
    assert "would wait for ever" in seen[1]
    assert "in a callback" in caplog.text
    assert unfinished.result(WAIT) == 2


def test_p17_the_standard_librarys_functions_take_its_futures(executor: Executor) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        mixed: list[Future[int]] = [executor.submit(pow, 2, 2), threads.submit(pow, 3, 2)]
        assert {future.result() for future in concurrent.futures.as_completed(mixed, WAIT)} == {4, 9}
        assert concurrent.futures.wait(mixed, WAIT).not_done == set()

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        wrapped = asyncio.wrap_future(executor.submit(pow, 2, 3))
        return await wrapped, await loop.run_in_executor(executor, pow, 2, 4)

    assert asyncio.run(main()) == (8, 16)


def test_p20_the_initializer_runs_once_in_each_process_before_its_calls(executor: LocalExecutor) -> None:
    with futurity.local(1, initializer=functions.initialize, initargs=("word",)) as one:
        assert [one.submit(functions.initialized).result(WAIT) for _ in range(3)] == [["word"]] * 3


def test_p20_an_initializer_that_fails_fails_the_future_and_then_submit() -> None:
    with futurity.local(1, initializer=functions.initialize_badly) as one:
        with pytest.raises(InitializerFailed, match="no such thing"):
            one.submit(pow, 1, 1).result(WAIT)
        with pytest.raises(BrokenProcessPool, match="no such thing"):
            one.submit(pow, 1, 1)


def test_p21_a_process_makes_way_after_its_calls() -> None:
    with futurity.local(1, max_tasks_per_child=2) as one:
        counts = [one.submit(functions.count_here).result(WAIT) for _ in range(6)]
    assert counts == [1, 2, 1, 2, 1, 2]


def test_p25_a_value_that_does_not_fit_is_said_with_both_numbers_before_it_is_sent() -> None:
    config = futurity.testing.worker_config()
    with futurity.testing.Server(config=config) as server, Executor(server.url) as small:
        with pytest.raises(ValueTooLarge, match=r"takes 1048576 \(limits.submission_bytes\)"):
            small.submit(len, bytes(functools.reduce(operator.mul, [1024] * 2)) + RANDOM).result(WAIT)
        assert small.submit(pow, 2, 2).result(WAIT) == 4


RANDOM = bytes(hash((n, "x")) & 255 for n in range(2 * 1024 * 1024))


def test_p25_large_results_hold_up_no_small_one(executor: Executor) -> None:
    large = executor.submit(bytes, 5_000_000)
    other = executor.submit(RANDOM.__getitem__, slice(0, 1_000_000))
    assert executor.submit(pow, 2, 2).result(WAIT) == 4
    assert large.result(WAIT) == bytes(5_000_000)
    assert other.result(WAIT) == RANDOM[:1_000_000]


def test_p27_others_find_how_many_workers_there_are(executor: Executor) -> None:
    assert executor._max_workers == 2


def test_functions_of_the_server_are_called_by_their_name(executor: Executor) -> None:
    assert executor.submit("math.factorial", 5).result(WAIT) == 120  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    factorial: Any = executor.function("math.factorial")
    assert executor.submit(factorial, n=6).result(WAIT) == 720
    assert list(executor.map(factorial, [1, 2, 3])) == [1, 2, 6]
    with pytest.raises(TypeError, match="missing 1 required argument: 'n'"):
        executor.submit(factorial).result(WAIT)
    raised = executor.submit("raise", "ValueError", "no").exception(WAIT)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert isinstance(raised, RemoteError)


def test_options_hold_for_what_is_submitted_by_them(executor: Executor) -> None:
    other = executor.options(priority=5, tags=["a"], retention_seconds=60)
    job = other.submit(pow, 2, 2).job()
    assert (job.priority, job.tags[0]) == (5, "a")
    assert job.metadata == {"call": "builtins.pow"}
    assert executor.submit(pow, 2, 2).job().priority == 0


def test_many_are_submitted_in_one_go(executor: Executor) -> None:
    futures = executor.submit_many(lambda one, two: one * two, [(n, n) for n in range(200)])
    assert [future.result(WAIT) for future in futures] == [n * n for n in range(200)]


def test_what_runs_can_be_terminated(executor: Executor, gate: Gate) -> None:
    future = executor.submit(gate.hold)
    while not future.running():
        pass
    assert future.terminate()
    assert future.cancelled()
    assert future.job().state == "cancelled"


def test_a_module_that_the_worker_does_not_have_is_said(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def there():\n    return 'here'\n")
    monkeypatch.syspath_prepend(tmp_path)
    module: Any = __import__("only_here")
    with pytest.raises(CallNotLoaded, match=r"only_here.*register_pickle_by_value"):
        executor.submit(module.there).result(WAIT)
    cloudpickle.register_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]
    try:
        assert executor.submit(module.there).result(WAIT) == "here"
    finally:
        cloudpickle.unregister_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]


def test_a_future_made_by_hand_is_a_plain_one() -> None:
    future: RemoteFuture[int] = RemoteFuture()
    assert not future.running()
    future.set_result(1)
    assert future.result() == 1
    cancelled: RemoteFuture[int] = RemoteFuture()
    assert cancelled.cancel()
    with pytest.raises(FuturityError, match="made by hand"):
        future.job()


def test_an_exception_with_keywords_of_its_own_arrives_by_its_words(executor: Executor) -> None:
    error = executor.submit(functions.fail_at, 1, 1).exception(WAIT)
    assert isinstance(error, (RemoteError, OwnError))
    assert "limit (1)" in str(error)

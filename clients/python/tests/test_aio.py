"""The executor for asyncio, over a real server."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

import futurity
from futurity import AsyncExecutor, Executor
from futurity import engine as engines
from tests import gate as functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from futurity.testing import Server
    from tests.gate import Gate

WAIT = 60.0


def test_calls_are_awaited_and_settle_in_the_loops_thread(remote: Server) -> None:
    async def main() -> None:
        async with AsyncExecutor(remote.url, name="aio") as executor:
            assert await executor.submit(pow, 2, 5) == 32
            named: Any = executor.function("math.factorial")
            assert await executor.submit(named, 5) == 120
            assert await asyncio.gather(*(executor.submit(pow, n, 2) for n in range(200))) == [
                n * n for n in range(200)
            ]
            with pytest.raises(ValueError, match="no") as raised:
                await executor.submit(functions.raise_it, ValueError("no", 1))
            assert raised.value.args == ("no", 1)
            with pytest.raises(RuntimeError, match="the call raised StopIteration: 7"):
                await executor.submit(functions.raise_it, StopIteration(7))
            with pytest.raises(pickle.PicklingError):
                await executor.submit(len, threading.Lock())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            future = executor.submit(pow, 2, 2)
            await executor.flush(WAIT)
            where: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            future.add_done_callback(lambda _: where.set_result(threading.current_thread()))
            assert await asyncio.wait_for(future, WAIT) == 4
            assert await where is threading.main_thread()
            assert (await executor.future(future.id)).id == future.id
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(pow, 1, 1)

    asyncio.run(main())


def test_many_settle_with_few_wake_ups_of_the_loop(remote: Server) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        wakes, call = 0, loop.call_soon_threadsafe

        def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal wakes
            wakes += 1
            return call(*args, **kwargs)

        async with AsyncExecutor(remote.url) as executor:
            loop.call_soon_threadsafe = counted  # type: ignore[assignment, method-assign]
            futures = [executor.submit(pow, 2, 2) for _ in range(1000)]
            while not all(future.remote.done() for future in futures):
                pass  # the loop does nothing meanwhile
            seen = wakes
            loop.call_soon_threadsafe = call  # type: ignore[method-assign]
            assert await asyncio.gather(*futures) == [4] * 1000
        return seen

    assert asyncio.run(main()) == 1


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_p13_an_async_map_gives_results_in_order(remote: Server, chunksize: int) -> None:
    async def main() -> None:
        async with AsyncExecutor(remote.url) as executor:
            assert [r async for r in executor.map(pow, range(10), [2] * 7, chunksize=chunksize)] == [
                n**2 for n in range(7)
            ]
            failing = executor.map(fails_at_5, range(10), chunksize=chunksize)
            assert [await anext(failing) for _ in range(5)] == list(range(5))
            with pytest.raises(ZeroDivisionError, match="at 5"):
                await anext(failing)
            taken: list[int] = []
            results = executor.map(functions.add, noted(taken), buffersize=3)
            assert len(taken) == 3
            async for number in results:
                assert len(taken) - number <= 3
            with pytest.raises(ValueError, match="chunksize must be >= 1"):
                executor.map(pow, [1], chunksize=0)

    asyncio.run(main())


def noted(taken: list[int]) -> Iterator[int]:
    for n in range(15):
        taken.append(n)
        yield n


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass


def fails_at_5(n: int) -> int:
    if n == 5:
        raise ZeroDivisionError("at 5")
    return n


def test_p13_a_map_that_is_left_cancels_the_rest_and_its_time_counts_from_the_call(remote: Server, gate: Gate) -> None:
    async def main() -> None:
        async with AsyncExecutor(remote.url) as executor:
            held = [executor.submit(gate.hold) for _ in range(2)]
            tagged = AsyncExecutor.of(executor.executor.options(tags=["left by aio"]))
            results = tagged.map(pow, range(5), [2] * 5, timeout=0.05)
            with pytest.raises(asyncio.TimeoutError):
                await anext(results)
            client = executor.executor.client
            await asyncio.to_thread(
                until, lambda: {job.state for job in client.jobs(tag="left by aio")} == {"cancelled"}
            )
            for _ in held:
                await asyncio.to_thread(gate.let_through)

    asyncio.run(main())


def test_p6_a_task_that_is_cancelled_cancels_the_job_that_waits(remote: Server, gate: Gate) -> None:
    async def main() -> None:
        async with AsyncExecutor(remote.url) as executor:
            held = [executor.submit(gate.hold, n) for n in range(2)]
            waiting = executor.submit(pow, 2, 2)
            await executor.flush(WAIT)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(waiting, 0.01)
            assert waiting.cancelled()
            client = executor.executor.client
            await asyncio.to_thread(until, lambda: client.state(waiting.id).state == "cancelled")
            for _ in held:
                await asyncio.to_thread(gate.let_through)
            assert await asyncio.gather(*held) == [0, 1]

    asyncio.run(main())


def test_p4_what_finds_no_room_waits_without_blocking_the_loop(remote: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "KEPT_BYTES_MAX", 3000)

    async def main() -> None:
        async with AsyncExecutor(remote.url) as executor:
            futures = [executor.submit(len, bytes(1000)) for _ in range(50)]
            assert executor._waiting, "more than fits"
            assert await asyncio.gather(*futures) == [1000] * 50
            assert not executor._waiting

    asyncio.run(main())


def test_an_executor_of_threads_has_an_asyncio_side_and_detaches(remote: Server, gate: Gate) -> None:
    async def main() -> str:
        with futurity.local(1) as local:
            assert await AsyncExecutor.of(local).submit(pow, 2, 3) == 8
        executor = AsyncExecutor(remote.url)
        executor.submit(gate.hold, "later")
        return await executor.detach()

    name = asyncio.run(main())
    gc.collect()
    gate.let_through()

    async def again() -> Any:
        async with AsyncExecutor(remote.url, name=name) as executor:
            (future,) = await executor.futures()
            return await future

    assert asyncio.run(again()) == "later"


def test_p16_a_task_that_is_cancelled_leaves_at_once_and_says_where_the_jobs_are(
    remote: Server, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with AsyncExecutor(remote.url, name="left") as executor:
            future = executor.submit(gate.hold, "went on")
            await executor.flush(WAIT)
            await asyncio.to_thread(until, future.remote.running)
            inside.set()
            await asyncio.Event().wait()

    async def cancelled() -> None:
        task = asyncio.create_task(main())
        await inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    inside = asyncio.Event()
    asyncio.run(cancelled())
    assert "1 jobs go on: futurity.Executor(name='left').futures()" in capsys.readouterr().err
    gate.let_through()
    (future,) = Executor(remote.url, name="left").futures()
    assert future.result(WAIT) == "went on"

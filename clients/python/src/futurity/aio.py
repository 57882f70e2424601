"""`AsyncExecutor`: the executor for asyncio, over the same engine."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

from futurity.executor import Executor
from futurity.mapping import chunks_of, values_of
from futurity.outcome import Partial

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable
    from concurrent.futures import Future

    from typing_extensions import ParamSpec, Self, Unpack

    from futurity.executor import OnInterrupt, ServerFunction
    from futurity.future import RemoteFuture
    from futurity.models import State

    P = ParamSpec("P")
T = TypeVar("T")
Submission = tuple["RemoteFuture[Any]", bytes]


class ExecutorOptions(TypedDict, total=False):
    """What `Executor` takes beside the URL."""

    name: str | None
    key: str | None
    queue: str | None
    max_workers: int | None
    initializer: Callable[..., object] | None
    initargs: tuple[Any, ...]
    max_tasks_per_child: int | None
    pickle_secret: str | None
    retention_seconds: float
    on_interrupt: OnInterrupt
    server_timeout_seconds: float
    ssl_context: ssl.SSLContext | None


class AsyncRemoteFuture(asyncio.Future[T], Generic[T]):
    """An asyncio future whose job is on a server. To cancel it cancels the job, if that has not started.

    Attributes:
        remote: The same job as a future of `concurrent.futures`: its id, its progress, its log.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, remote: RemoteFuture[T]) -> None:
        """Stand for a job."""
        super().__init__(loop=loop)
        self.remote = remote

    @property
    def id(self) -> str:
        """The job's id."""
        return self.remote.id


class Deliveries:
    """Hands what was settled to an event loop: one wake-up for all that came meanwhile, not one for each job."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver to this loop."""
        self.loop = loop
        self._settled: deque[AsyncRemoteFuture[Any]] = deque()
        self._is_called = False
        self._lock = threading.Lock()

    def add(self, target: AsyncRemoteFuture[Any]) -> None:
        """Deliver a future; called by the thread that reads results."""
        with self._lock:
            self._settled.append(target)
            is_called, self._is_called = self._is_called, True
        if not is_called:
            try:
                self.loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                return  # the loop is closed, and nobody waits

    def _deliver(self) -> None:
        with self._lock:
            settled, self._settled = self._settled, deque()
            self._is_called = False
        for target in settled:
            _settle(target)


def _settle(target: AsyncRemoteFuture[Any]) -> None:
    remote: Future[Any] = target.remote
    if target.done():
        return
    if remote.cancelled():
        target.cancel()
        return
    error = remote.exception()
    if isinstance(error, StopIteration):
        # An await would take it for its own end (PEP 479).
        error, cause = RuntimeError(f"the call raised StopIteration: {error}"), error
        error.__cause__ = cause
    if error is not None:
        target.set_exception(error)
    else:
        target.set_result(remote.result())


class AsyncExecutor:
    """Submits calls to a server from asyncio. Nothing here blocks the loop.

    Its futures are awaited: `await executor.submit(f, x)`. A task that is cancelled while it waits cancels the job, unless that
    runs already.
    """

    def __init__(self, url: str | None = None, **options: Unpack[ExecutorOptions]) -> None:
        """Take what `Executor` takes; the server is asked with the first call."""
        self._begin(Executor(url, **options))

    def _begin(self, executor: Executor) -> None:
        self._executor = executor
        self._deliveries: Deliveries | None = None
        self._waiting: deque[list[Submission]] = deque()
        self._submitter: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, executor: Executor) -> Self:
        """Give the asyncio side of an executor, as `AsyncExecutor.of(futurity.local())`; one with other options too."""
        made = object.__new__(cls)
        made._begin(executor)
        return made

    @property
    def executor(self) -> Executor:
        """The same executor for threads."""
        return self._executor

    @property
    def name(self) -> str:
        """What its jobs are found by."""
        return self._executor.name

    def function(self, name: str) -> ServerFunction:
        """Name a function of the server, to be submitted with arguments of JSON."""
        return self._executor.function(name)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> AsyncRemoteFuture[T]:
        """Submit a call and give its future, which is awaited. As `Executor.submit`; call it in the loop's thread."""
        self._executor.refuse_if_over()
        future, line = self._executor.made(fn, args, kwargs)
        return self._sent(future, line)

    def _sent(self, future: RemoteFuture[Any], line: bytes | None) -> AsyncRemoteFuture[Any]:
        loop = asyncio.get_running_loop()
        if self._deliveries is None or self._deliveries.loop is not loop:
            self._deliveries = Deliveries(loop)
        target, deliver = AsyncRemoteFuture(loop, future), self._deliveries.add
        future.add_done_callback(lambda _: deliver(target))
        target.add_done_callback(_cancel_with)
        if line is not None:
            self._send([(future, line)])
        return target

    def _send(self, calls: list[Submission]) -> None:
        """Hand calls to the sender; those for which there is no room wait here, in their order (P4)."""
        engine = self._executor.engine
        if self._submitter is None and engine.has_room(sum(len(line) for _, line in calls)):
            engine.submit(calls)
            return
        self._waiting.append(calls)
        if self._submitter is None:
            self._submitter = asyncio.ensure_future(self._send_waiting())

    async def _send_waiting(self) -> None:
        while self._waiting:
            calls = self._waiting.popleft()
            try:
                await asyncio.to_thread(self._executor.engine.submit, calls)
            except Exception as error:  # noqa: BLE001 - it was shut down meanwhile, or is broken
                for future, _ in calls:
                    future.become_exception(error)
        self._submitter = None

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> AsyncIterator[T]:
        """Give the results of `fn` over the iterables, in their order: `async for result in executor.map(f, xs)`.

        As `Executor.map`. What is left is cancelled when the iteration is.

        Raises:
            TimeoutError: While iterating: not all was done `timeout` seconds after the call.
        """
        self._executor.refuse_if_over()
        chunks, at_once = chunks_of(zip(*iterables, strict=False), chunksize, buffersize)
        submission = self._executor.chunk_maker(fn, chunksize)
        pending: deque[AsyncRemoteFuture[Any]] = deque()

        def submit(most: int | None) -> None:
            for number, chunk in enumerate(chunks, 1):
                pending.append(self._sent(*submission(chunk)))
                if number == most:
                    return

        submit(at_once)
        end = None if timeout is None else time.monotonic() + timeout
        return self._results(pending, submit, end)

    async def _results(
        self, pending: deque[AsyncRemoteFuture[Any]], submit: Callable[[int], None], end: float | None
    ) -> AsyncIterator[Any]:
        try:
            while pending:
                left = None if end is None else max(end - time.monotonic(), 0)
                done, _ = await asyncio.wait([pending[0]], timeout=left)
                if not done:
                    raise asyncio.TimeoutError
                values, failure = _values(pending.popleft())
                done.clear()
                while values:
                    yield values.pop()
                if failure is not None:
                    raise failure
                submit(1)
        finally:
            self._executor.engine.cancels.many(future.remote for future in pending if not future.remote.done())

    async def flush(self, timeout: float | None = None) -> None:
        """Return when all that was submitted is on the server's disk. As `Executor.flush`."""
        if self._submitter is not None:
            await asyncio.shield(self._submitter)
        await asyncio.to_thread(self._executor.flush, timeout)

    async def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Python's
        """Take no more calls; wait for those that are there. As `Executor.shutdown`."""
        if self._submitter is not None:
            await asyncio.shield(self._submitter)
        await asyncio.to_thread(self._executor.shutdown, wait, cancel_futures=cancel_futures)

    async def detach(self) -> str:
        """Flush, and leave the jobs to the server. As `Executor.detach`."""
        await self.flush()
        return await asyncio.to_thread(self._executor.detach)

    async def futures(self, *, state: State | None = None, tag: str | None = None) -> list[AsyncRemoteFuture[Any]]:
        """Give the jobs of this name as futures, those of a client that died too, newest last."""
        found = await asyncio.to_thread(self._executor.futures, state=state, tag=tag)
        return [self._sent(future, None) for future in found]

    async def future(self, id: str) -> AsyncRemoteFuture[Any]:
        """Give one job of this name as a future."""
        return self._sent(await asyncio.to_thread(self._executor.future, id), None)

    async def __aenter__(self) -> Self:
        """Give itself."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Shut down, and wait; a task that is cancelled, as by Ctrl-C, leaves at once (P16)."""
        if kind is not None and issubclass(kind, (KeyboardInterrupt, asyncio.CancelledError)):
            await asyncio.to_thread(self._executor.leave)
        else:
            await self.shutdown()

    def __repr__(self) -> str:
        """Tell the server and the name; nobody is asked."""
        return f"<{type(self).__name__} {self._executor.client.url} name={self.name}>"


def _cancel_with(target: asyncio.Future[Any]) -> None:
    """Cancel the job of a future that was cancelled; in the loop's thread this does not block (P6)."""
    if isinstance(target, AsyncRemoteFuture) and target.cancelled() and not target.remote.done():
        target.remote.cancel()


def _values(target: AsyncRemoteFuture[Any]) -> tuple[list[Any], BaseException | None]:
    """Give what a chunk came to, the first value last; and what ended it."""
    try:
        value: Any = target.result()
    except Partial as partial:
        return partial.values[::-1], partial.failure
    return values_of(value)

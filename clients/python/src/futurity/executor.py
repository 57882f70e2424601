"""`Executor`: `concurrent.futures.Executor` whose jobs are kept by a Futurity server."""

from __future__ import annotations

import concurrent.futures
import os
import secrets
import sys
import weakref
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from futurity.client import Client
from futurity.engine import Engine, OwnQueue
from futurity.errors import FuturityError
from futurity.future import RemoteFuture
from futurity.ids import new_id
from futurity.lines import Packed, initializer_of, label_of, line, pickled_line
from futurity.mapping import Mapped, map_calls
from futurity.pickling import dump

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from typing_extensions import ParamSpec, Self

    from futurity.models import Job, Retry, State

    P = ParamSpec("P")
T = TypeVar("T")
OnInterrupt = Literal["rerun", "fail"]
TAG_CHARACTERS_MAX = 60
# Queues of such names may be made by whoever may submit.
OWN_QUEUES = "executor-"


class ServerFunction(NamedTuple):
    """A function of the server, by its name; its arguments are JSON."""

    name: str


class _Handle:
    """What an executor and those with other options have in common; when the last is gone, nobody can submit."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        weakref.finalize(self, engine.release).atexit = False


class Executor(concurrent.futures.Executor):
    """Submits calls to a server. A call is on its disk before `flush` returns, and outlives both processes.

    Its futures are those of `concurrent.futures`, so `wait`, `as_completed` and asyncio take them.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str | None = None,
        key: str | None = None,
        queue: str | None = None,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        max_tasks_per_child: int | None = None,
        pickle_secret: str | None = None,
        retention_seconds: float = 86400,
        on_interrupt: OnInterrupt = "rerun",
        server_timeout_seconds: float = 600,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Remember where the server is; it is asked with the first call.

        Args:
            url: The server's; else `FUTURITY_URL`, else `http://127.0.0.1:8080`.
            name: Marks the jobs, so that another process finds them: `Executor(name=…).futures()`. A random one if left out.
            key: The API key; else `FUTURITY_KEY`.
            queue: Where the jobs wait; that of the function if left out.
            max_workers: How many of its calls run at once: they wait in a queue of its own, which goes when it is empty.
            initializer: Called in each process before the first call of this executor there, with `initargs`.
            initargs: Its arguments.
            max_tasks_per_child: After so many calls the process that has run one of this executor makes way for another.
            pickle_secret: Seals calls and results; else `FUTURITY_PICKLE_SECRET`. The worker needs the same.
            retention_seconds: How long a job is kept once it is done.
            on_interrupt: What becomes of a running call when the server dies: `rerun`, or `fail` for at most once.
            server_timeout_seconds: How long the server may be away before the futures fail as `ServerLost`.
            ssl_context: For `https`.

        Raises:
            ValueError: A number is not above 0; or there are both `queue` and `max_workers`, or the name is too long.
        """
        if max_workers is not None and queue is not None:
            raise ValueError("max_workers makes a queue of its own; give either that or queue")
        _above_0("max_workers", max_workers)
        _above_0("max_tasks_per_child", max_tasks_per_child)
        secret = pickle_secret or os.environ.get("FUTURITY_PICKLE_SECRET")
        name = name or secrets.token_hex(8)
        if len(name) > TAG_CHARACTERS_MAX:
            raise ValueError(f"the name of an executor has {TAG_CHARACTERS_MAX} characters at most")
        client = Client(url, key=key, ssl_context=ssl_context)
        own = OwnQueue(f"{OWN_QUEUES}{secrets.token_hex(8)}", max_workers) if max_workers else None
        engine = Engine(client, name, secret.strip().encode() if secret else None, server_timeout_seconds, own)
        self._init = initializer_of(initializer, initargs)
        self._handle = _Handle(engine)
        self._options: dict[str, Any] = {
            "queue": own.name if own else queue,
            "retention_seconds": retention_seconds,
            "on_interrupt": on_interrupt,
        }
        self._workers = max_workers
        self._calls_max = max_tasks_per_child

    @property
    def engine(self) -> Engine:
        """What it shares with its futures, and with those that have other options."""
        return self._handle.engine

    @property
    def _broken(self) -> bool:
        """Whether the initializer has failed; some look here."""
        return self.engine.broken is not None

    @property
    def name(self) -> str:
        """What its jobs are found by."""
        return self.engine.name

    @property
    def client(self) -> Client:
        """A client of the same server, with the same key."""
        return self.engine.client

    def set_workers(self, number: int) -> None:
        """Say how many calls can run at once, where that is known."""
        self._workers = number

    @property
    def _max_workers(self) -> int:
        """How many calls can run at once; Dask and others look here (P27)."""
        if self._workers is None:
            try:
                worker = self.client.function("python.call").worker
                self._workers = worker.processes if worker else None
            except FuturityError:
                self._workers = None
        return self._workers or os.cpu_count() or 1

    def refuse_if_over(self) -> None:
        """Say that nothing more is taken, if so (P3).

        Raises:
            BrokenExecutor: The initializer has failed.
            RuntimeError: It was shut down, or the interpreter ends.
        """
        self.engine.refuse_if_over()

    def function(self, name: str) -> ServerFunction:
        """Name a function of the server, to be submitted with arguments of JSON."""
        return ServerFunction(name)

    def options(
        self,
        *,
        priority: int | None = None,
        queue: str | None = None,
        tags: Sequence[str] = (),
        retry: Retry | None = None,
        delay_seconds: float | None = None,
        run_timeout_seconds: float | None = None,
        start_timeout_seconds: float | None = None,
        total_timeout_seconds: float | None = None,
        on_interrupt: OnInterrupt | None = None,
        retention_seconds: float | None = None,
        callbacks: Sequence[Mapping[str, Any]] | None = None,
    ) -> Executor:
        """Give the same executor with other options for the calls that are submitted by it."""
        chosen = {
            "priority": priority,
            "queue": queue,
            "tags": [*self._options.get("tags", ()), *tags] or None,
            "retry": retry,
            "delay_seconds": delay_seconds,
            "run_timeout_seconds": run_timeout_seconds,
            "start_timeout_seconds": start_timeout_seconds,
            "total_timeout_seconds": total_timeout_seconds,
            "on_interrupt": on_interrupt,
            "retention_seconds": retention_seconds,
            "callbacks": callbacks,
        }
        other = object.__new__(type(self))
        other.__dict__ |= self.__dict__
        other._options = self._options | {name: value for name, value in chosen.items() if value is not None}
        return other

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> RemoteFuture[T]:
        """Submit a call, and return before it is on disk; see `flush` and `RemoteFuture.accepted`.

        `fn` is anything that can be called, or a function of the server: its name, or `executor.function(name)`. What cannot be
        sent is the future's exception.
        """
        self.refuse_if_over()
        future, submission = self.made(fn, args, kwargs)
        if submission is not None:
            self.engine.submit([(future, submission)])
        return future

    def submit_many(self, fn: Callable[..., T], calls: Iterable[Sequence[Any]]) -> list[RemoteFuture[T]]:
        """Submit a call for each tuple of arguments; the function is pickled once."""
        self.refuse_if_over()
        packed = _packed(fn)
        made = [self.made(packed, tuple(args), {}) for args in calls]
        self.engine.submit([(future, submission) for future, submission in made if submission is not None])
        return [future for future, _ in made]

    def made(self, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[RemoteFuture[Any], bytes | None]:
        """Make a future and its line; without a line, if the call cannot be sent."""
        id = new_id()
        named = fn if isinstance(fn, str) else fn.name if isinstance(fn, ServerFunction) else None
        if named is not None:
            future = RemoteFuture[Any](self.engine, id, "json", named)
            return future, self._written(future, lambda: line(id, named, list(args), kwargs, self._tagged()))
        label = fn.label if isinstance(fn, Packed) else label_of(fn)
        future = RemoteFuture[Any](self.engine, id, "call", label)

        def write() -> bytes:
            call = fn.with_arguments(args, kwargs) if isinstance(fn, Packed) else dump((fn, args, kwargs))
            return self._pickled(id, "python.call", call, label)

        return future, self._written(future, write)

    def _chunk(self, packed: Any, calls: list[tuple[Any, ...]]) -> tuple[RemoteFuture[Any], bytes | None]:
        """Make the future of a chunk of calls."""
        id = new_id()
        label = packed.label if isinstance(packed, Packed) else label_of(packed)
        future = RemoteFuture[Any](self.engine, id, "map", label)

        def write() -> bytes:
            call = packed.with_arguments(calls) if isinstance(packed, Packed) else dump((packed, calls))
            return self._pickled(id, "python.map", call, label)

        return future, self._written(future, write)

    def _pickled(self, id: str, function: str, call: Any, label: str) -> bytes:
        beside = {"init": self._init, "calls_max": self._calls_max}
        return pickled_line(id, function, call, label, beside=beside, secret=self.engine.secret, options=self._tagged())

    def _tagged(self) -> dict[str, Any]:
        tags = [*self._options.get("tags", ()), f"py:{self.name}", self.engine.session]
        return {**self._options, "tags": tags}

    def _written(self, future: RemoteFuture[Any], write: Callable[[], bytes]) -> bytes | None:
        try:
            return write()
        except Exception as error:  # noqa: BLE001 - whatever a pickle raises is the future's (P2)
            future.become_exception(error)
            return None

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Give the results of `fn` over the iterables, in their order: as 3.14's, on every version.

        Args:
            fn: What is called.
            iterables: One for each argument; the shortest counts.
            timeout: Seconds from now until the last result.
            chunksize: How many calls make a job.
            buffersize: How many calls may be submitted and not yet given; all are submitted at once without it.

        Raises:
            concurrent.futures.TimeoutError: While iterating: the time is over.
        """
        self.refuse_if_over()
        calls = zip(*iterables, strict=False)
        mapped = Mapped(self.engine, self._submitter(fn, chunksize), timeout)
        return map_calls(self, mapped, calls, chunksize, buffersize)

    def chunk_maker(
        self, fn: Callable[..., Any], chunksize: int
    ) -> Callable[[list[tuple[Any, ...]]], tuple[RemoteFuture[Any], bytes | None]]:
        """Give what makes a future and its line of a chunk of calls; the function is pickled once."""
        packed = _packed(fn)
        single = chunksize == 1 or isinstance(packed, (str, ServerFunction))
        return lambda calls: self.made(packed, calls[0], {}) if single else self._chunk(packed, calls)

    def _submitter(self, fn: Callable[..., T], chunksize: int) -> Callable[[list[tuple[Any, ...]]], RemoteFuture[Any]]:
        make = self.chunk_maker(fn, chunksize)

        def submit(calls: list[tuple[Any, ...]]) -> RemoteFuture[Any]:
            future, submission = make(calls)
            if submission is not None:
                self.engine.submit([(future, submission)])
            return future

        return submit

    def flush(self, timeout: float | None = None) -> None:
        """Return when all that was submitted is on the server's disk.

        Raises:
            concurrent.futures.TimeoutError: It is not, after `timeout` seconds.
        """
        if not self.engine.flush(timeout):
            raise concurrent.futures.TimeoutError(f"not everything is on the server's disk after {timeout} s")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Python's
        """Take no more calls; wait for those that are there.

        Args:
            wait: Whether to wait for what was submitted. Results arrive in any case.
            cancel_futures: Cancel what has not started.
        """
        self.engine.shut(wait=wait, cancel=cancel_futures)

    def detach(self) -> str:
        """Flush, and leave the jobs to the server: nobody waits for them any more. Gives the name to find them by."""
        self.flush()
        self.engine.forget()
        return self.name

    def futures(self, *, state: State | None = None, tag: str | None = None) -> list[RemoteFuture[Any]]:
        """Give the jobs of this name as futures, those of a client that died too, newest last."""
        found = self.client.jobs(tag=f"py:{self.name}", state=state)
        jobs = [job for job in found if tag is None or tag in job.tags]
        return self._attached(jobs[::-1])

    def future(self, id: str) -> RemoteFuture[Any]:
        """Give one job of this name as a future."""
        (future,) = self._attached([self.client.get(id)])
        return future

    def _attached(self, jobs: list[Job]) -> list[RemoteFuture[Any]]:
        known = dict(self.engine.futures)
        futures = [known.get(job.id) or self._future_of(job) for job in jobs]
        self.engine.attach(futures)
        return futures

    def _future_of(self, job: Job) -> RemoteFuture[Any]:
        kind: Any = {"python.call": "call", "python.map": "map"}.get(job.function, "json")
        future = RemoteFuture[Any](self.engine, job.id, kind, job.metadata.get("call", job.function))
        future.seen = job.state
        return future

    def terminate_workers(self) -> None:
        """Stop what runs of this executor's calls, in 5 seconds; cancel the rest; shut down."""
        self._stop(5)

    def kill_workers(self) -> None:
        """Kill what runs of this executor's calls; cancel the rest; shut down."""
        self._stop(0)

    def _stop(self, grace_seconds: float) -> None:
        self.engine.shut(wait=False, cancel=True)
        for future in list(self.engine.futures.values()):
            self.engine.aside(self.engine.cancels.running, future, grace_seconds)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Shut down, and wait; after a Ctrl-C leave at once, and say where the jobs are (P16)."""
        if kind is KeyboardInterrupt:
            self.leave()
        else:
            self.shutdown()

    def leave(self) -> None:
        """Flush for a second, wait for nothing, and say on standard error where the jobs are (P16)."""
        self.engine.flush(1)
        left = len(self.engine.futures)
        self.engine.forget()
        if left:
            sys.stderr.write(f"{left} jobs go on: futurity.Executor(name={self.name!r}).futures()\n")

    def __reduce__(self) -> Any:
        """An executor that is pickled is one of the same server, name and queue elsewhere; the key stays here."""
        own = self.engine.own_queue
        return _again, (self.client.url, self.name, None if own else self._options["queue"], own and own.max_workers)

    def __repr__(self) -> str:
        """Tell the server and the name; nobody is asked."""
        return f"<{type(self).__name__} {self.client.url} name={self.name}>"

    def _repr_html_(self) -> str:
        """Show it in a notebook: how many of its jobs are not done."""
        from futurity.display import executor_html  # noqa: PLC0415 - only notebooks need it

        return executor_html(self.engine)


def _packed(fn: Any) -> Any:
    """Pickle a function once; if it cannot be, each call says so."""
    if isinstance(fn, (str, ServerFunction)):
        return fn
    try:
        return Packed(fn)
    except Exception:  # noqa: BLE001
        return fn


def _again(url: str, name: str, queue: str | None, max_workers: int | None) -> Executor:
    return Executor(url, name=name, queue=queue, max_workers=max_workers)


def _above_0(name: str, number: int | None) -> None:
    if number is not None and number <= 0:
        raise ValueError(f"{name} must be greater than 0")

"""What the server answers, as frozen dataclasses.

The names are those of the contract (`openapi.yaml`). Times are aware `datetime`s in UTC. A member that this version
does not know is kept in `.extra`, so that a newer server breaks nobody.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

from futurity.errors import FuturityError

State = Literal["pending", "running", "succeeded", "failed", "cancelled"]
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Model:
    """What all of them have."""

    extra: Json = field(default_factory=dict[str, Any], repr=False, compare=False)


T = TypeVar("T", bound=Model)


@dataclass(frozen=True, kw_only=True)
class Progress(Model):
    """What a running call says of itself: a fraction from 0 to 1, and a message."""

    fraction: float | None
    message: str | None


@dataclass(frozen=True, kw_only=True)
class JobError(Model):
    """What a function raised, the same in every language."""

    type: str
    message: str
    retryable: bool | None
    attempt: int
    traceback: str | None = None
    details: Any = None
    details_omitted: bool = False


@dataclass(frozen=True, kw_only=True)
class FailedAttempt(Model):
    """An attempt that failed."""

    attempt: int
    started_at: datetime
    finished_at: datetime
    error: JobError


@dataclass(frozen=True, kw_only=True)
class Job(Model):
    """A submitted call and its future, as it stood when the server answered.

    Of many jobs in one answer values above 16 KiB are left out: then `result_omitted` and its like are true, and
    `Client.get` or `Client.result` has them whole.
    """

    id: str
    function: str
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    queue: str | None
    priority: int
    tags: tuple[str, ...]
    metadata: dict[str, str]
    on_interrupt: Literal["rerun", "fail"]
    state: State
    done: bool
    version: int
    result: Any
    error: JobError | None
    attempt: int
    max_attempts: int
    attempts: tuple[FailedAttempt, ...]
    interruptions: int
    progress: Progress | None
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    queued_ms: int | None
    run_ms: int | None
    cancel_requested_at: datetime | None
    batch: str | None
    retry_of: str | None
    urls: dict[str, str]
    manual: bool = False
    args_omitted: bool = False
    kwargs_omitted: bool = False
    result_omitted: bool = False
    error_omitted: bool = False
    attempts_omitted: bool = False
    damaged: tuple[str, ...] = ()
    callbacks: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class JobState(Model):
    """The state alone, as the headers tell it."""

    state: State
    done: bool


@dataclass(frozen=True, kw_only=True)
class GoneJob(Model):
    """A job that is done and was forgotten since; no more is known of it."""

    id: str
    state: State


@dataclass(frozen=True, kw_only=True)
class Waited(Model):
    """What `Client.wait` came to."""

    done: tuple[Job, ...]
    not_done: tuple[str, ...]
    timed_out: bool
    gone: tuple[GoneJob, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cancellation(Model):
    """What came of a cancel. `cancelled` is true if and only if the job's state is `cancelled`."""

    cancelled: bool
    state: State
    job: Job


@dataclass(frozen=True, kw_only=True)
class CancelCounts(Model):
    """How many jobs a cancel of many meant, cancelled, and asked to stop."""

    matched: int
    cancelled: int
    terminating: int


@dataclass(frozen=True, kw_only=True)
class Batch(Model):
    """Jobs that were submitted together."""

    id: str
    function: str
    total: int
    counts: dict[str, int]
    done: bool
    closed: bool
    on_error: Literal["continue", "cancel"]
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    cancel_requested_at: datetime | None
    urls: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Item(Model):
    """One call of a batch or map that is over, or could not be taken (then there is a `problem`)."""

    index: int
    seq: int | None = None
    id: str | None = None
    state: State | None = None
    result: Any = None
    result_omitted: bool = False
    error: JobError | None = None
    error_omitted: bool = False
    damaged: tuple[str, ...] = ()
    problem: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class DeliveryAttempt(Model):
    """One POST to a callback's URL."""

    at: datetime
    status: int | None
    error: str | None
    body: str | None
    duration_ms: int


@dataclass(frozen=True, kw_only=True)
class Delivery(Model):
    """What is, or was, to be delivered to a callback."""

    id: str
    state: Literal["pending", "delivered", "failed"]
    next_at: datetime | None
    attempts: tuple[DeliveryAttempt, ...]
    earlier_attempts: int = 0
    server_deaths: int = 0


@dataclass(frozen=True, kw_only=True)
class Callback(Model):
    """A URL to tell when a job or batch is done, and what came of it."""

    id: str
    url: str
    state: Literal["waiting", "pending", "delivered", "failed", "disabled"]
    created_at: datetime
    deliveries: tuple[Delivery, ...]
    job: str | None = None
    batch: str | None = None
    when: Literal["all_completed", "first_completed", "first_exception"] | None = None
    url_omitted: bool = False


@dataclass(frozen=True, kw_only=True)
class Redelivered(Model):
    """How many callbacks were meant, and how many of these are due again."""

    matched: int
    redelivered: int


@dataclass(frozen=True, kw_only=True)
class Parameter(Model):
    """A parameter of a function, with the JSON Schema of its argument."""

    name: str
    required: bool
    schema: dict[str, Any] | bool
    default: Any = None


@dataclass(frozen=True, kw_only=True)
class Worker(Model):
    """The processes that have a function."""

    name: str
    processes: int
    ready: int
    busy: int
    restarts: int
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Function(Model):
    """What can be called. `parameters` is None if they are not known: then it takes what it is given."""

    name: str
    runtime: Literal["native", "command", "worker"]
    description: str
    parameters: tuple[Parameter, ...] | None
    defaults: dict[str, Any]
    worker: Worker | None = None


@dataclass(frozen=True, kw_only=True)
class Queue(Model):
    """A named lane with a number of workers: Python's executor."""

    name: str
    max_workers: int | None
    max_pending: int
    paused: bool
    shutdown: bool
    depth: dict[str, int]
    oldest_pending_ms: int | None


@dataclass(frozen=True, kw_only=True)
class QueueShutdown(Model):
    """A queue that takes no more jobs, and how many waiting ones the request cancels."""

    queue: Queue
    cancelled: int


@dataclass(frozen=True, kw_only=True)
class LogLine(Model):
    """A line that a job has written. `cut` lines are missing before it."""

    id: str
    stream: str
    line: str
    cut: int = 0


@dataclass(frozen=True, kw_only=True)
class Event(Model):
    """An event of a stream: its place, its kind, and its data."""

    id: str
    kind: str
    data: Any


@dataclass(frozen=True, kw_only=True)
class Readiness(Model):
    """Whether the server should be sent work, and what is wrong though it goes on."""

    status: str
    degraded: tuple[str, ...] = ()
    workers: tuple[Worker, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ServerInfo(Model):
    """What a server is, and how much it takes: `limits` by name, `features` beside what the first version could."""

    version: str
    limits: dict[str, float]
    features: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """What a job does after an attempt that failed: wait `initial_seconds`, times `factor` for each failure before."""

    max_attempts: int
    initial_seconds: float = 1
    factor: float = 2
    max_seconds: float = 3600
    jitter: float = 0.2


def read(model: type[T], data: Any) -> T:
    """Make a dataclass of what the server said.

    Raises:
        FuturityError: A member is missing, or it is no object: the server is another version, or none of ours.
    """
    if not isinstance(data, dict):
        raise FuturityError(f"the server's answer is no {model.__name__}; is this a Futurity server?")
    members = typing.cast("dict[str, Any]", data)
    known = _fields(model)
    values: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, value in members.items():
        convert = known.get(name)
        if convert is None:
            extra[name] = value
        else:
            values[name] = convert(value)
    try:
        return model(**values, extra=extra)
    except TypeError as missing:
        raise FuturityError(
            f"the server's answer does not fit ({missing}); client and server are of different versions"
        ) from None


_known: dict[type[Any], dict[str, Callable[[Any], Any]]] = {}


def _fields(model: type[Any]) -> dict[str, Callable[[Any], Any]]:
    if model not in _known:
        hints = typing.get_type_hints(model)
        names = [one.name for one in dataclasses.fields(model) if one.name != "extra"]
        _known[model] = {name: _converter(hints[name]) for name in names}
    return _known[model]


def _converter(hint: Any) -> Callable[[Any], Any]:
    """Find what makes a value of this type from JSON; most are what they are."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner, *others) = [one for one in arguments if one is not type(None)]
        convert = _same if others else _converter(inner)
        return lambda value: None if value is None else convert(value)
    if typing.get_origin(hint) is tuple:
        each = _converter(arguments[0])
        return lambda values: tuple(each(value) for value in values)
    if hint is datetime:
        return _moment
    if dataclasses.is_dataclass(hint):
        return functools.partial(read, typing.cast("type[Any]", hint))
    return _same


def _same(value: Any) -> Any:
    return value


def _moment(text: str) -> datetime:
    # Python 3.10 does not read the Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00"))

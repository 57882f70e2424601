"""Runs a function that was called by its name: arguments and result are JSON."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import enum
import inspect
import json
import pathlib
from typing import TYPE_CHECKING, Any

from futurity.worker.arguments import bound
from futurity.worker.calls import Failed, text_of, words_of
from futurity.worker.job import CancelRequested, current_job, interruptible

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from futurity.worker.registry import Registered


def run(registered: Registered, given: list[Any], kwargs: dict[str, Any]) -> Any:
    """Call it.

    Raises:
        Failed: It raised, or its result is no JSON.
    """
    try:
        args, kwargs = bound(registered.call, given, kwargs)
        if inspect.iscoroutinefunction(registered.call):
            value = _run_async(registered.call(*args, **kwargs))
        elif registered.interrupt:
            with interruptible():
                value = registered.call(*args, **kwargs)
        else:
            value = registered.call(*args, **kwargs)
    except BaseException as error:
        raise Failed(type(error).__name__, words_of(error), text_of(error)) from error
    try:
        return plain(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Failed("InvalidResult", str(error)).but_not_again() from error


_loop: list[asyncio.AbstractEventLoop] = []


def _run_async(awaitable: Awaitable[Any]) -> Any:
    """Run a coroutine in the loop that stays; a cancel cancels its task."""
    if not _loop:
        _loop.append(asyncio.new_event_loop())
    loop = _loop[0]

    async def whole() -> Any:
        return await awaitable

    task = loop.create_task(whole())

    def cancel() -> None:
        loop.call_soon_threadsafe(task.cancel)

    with interruptible(cancel):
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            job = current_job()
            if job is not None and job.cancelled():
                raise CancelRequested("the job was cancelled, or its time is over") from None
            raise


def plain(value: Any) -> Any:
    """Make JSON of a result: also of dataclasses, enums, moments, paths, and models of pydantic.

    Raises:
        TypeError, ValueError: It is none, and has no such form.
    """
    text = json.dumps(value, default=_as_json, allow_nan=False)
    return json.loads(text)


def _as_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, pathlib.PurePath):
        return str(value)
    model_dump: Any = getattr(value, "model_dump", None)
    if callable(model_dump):
        return model_dump(mode="json")
    raise TypeError(f"the result has a {type(value).__qualname__}, which is no JSON")

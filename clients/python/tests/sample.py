"""Functions of a worker, for the tests."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import subprocess
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypedDict

from futurity.worker import CancelRequested, current_job, function


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Options(TypedDict):
    deep: bool


@function
def resize(path: str, width: int = 200) -> dict[str, int]:
    """Makes an image smaller.

    By much.
    """
    job = current_job()
    assert job is not None
    job.log(f"job {job.id} attempt {job.attempt}\nof {path}")
    print("printed")
    print("no end of line", end="")
    return {"width": width}


@function("image.typed")
def typed(
    point: Point,
    colour: Colour,
    options: Options,
    pair: tuple[int, str],
    way: Literal["up", "down"] = "up",
    maybe: list[float] | None = None,
) -> list[str]:
    return [str(type(value).__name__) for value in (point, colour, options, pair, way, maybe)]


@function
def plain_forms() -> dict[str, Any]:
    return {
        "point": Point(1, 2),
        "colour": Colour.RED,
        "moment": datetime(2026, 1, 2, tzinfo=timezone.utc),
        "path": Path("/tmp/x"),
    }


@function
def no_json() -> object:
    return {1, 2}


@function
def sleeps(seconds: float) -> str:
    print("begun", flush=True)
    try:
        time.sleep(seconds)
    except CancelRequested:
        print("cleaned up")
        raise
    return "slept"


@function(interrupt=False)
def looks(seconds: float) -> str:
    print("begun", flush=True)
    end = time.monotonic() + seconds
    job = current_job()
    assert job is not None
    while time.monotonic() < end:
        if job.cancelled():
            return "stopped by itself"
    return "went on"


@function
async def waits(seconds: float) -> str:
    print("begun", flush=True)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        print("cleaned up")
        raise
    return "waited"


@function
def starts_a_program() -> None:
    subprocess.run(["sh", "-c", "echo begun"], check=True)
    time.sleep(600)


@function
def half_way() -> None:
    job = current_job()
    assert job is not None
    job.progress(0.5, "half way")
    time.sleep(600)


@function
def exits() -> None:
    raise SystemExit("at once")


@function
def anything(*args: Any, **kwargs: Any) -> list[Any]:
    return [list(args), kwargs]


def not_announced() -> None:
    """Without a decorator."""

"""The end of the interpreter, and forks: what becomes of executors then."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from futurity.engine import Engine

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_begun: list[bool] = []


def remember(engine: Engine) -> None:
    """See to an engine when the interpreter ends, and in a child."""
    _engines.add(engine)


def has_begun() -> bool:
    """Whether the interpreter ends."""
    return bool(_begun)


def _at_exit() -> None:
    """Flush, and wait for what was submitted, as the standard library does; a second Ctrl-C ends the waiting (P15)."""
    _begun.append(True)
    try:
        for engine in list(_engines):
            engine.release()
            engine.wait_for_end()
    except KeyboardInterrupt:
        return


def _after_fork() -> None:
    for engine in list(_engines):
        engine.begin_in_child()


# Before threads are joined, where that can be had: afterwards nothing can be submitted by a callback.
_register: Any = getattr(threading, "_register_atexit", atexit.register)
_register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

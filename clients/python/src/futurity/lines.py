"""Calls as lines of a submission."""

from __future__ import annotations

import base64
import pickle
import uuid
from typing import TYPE_CHECKING, Any

from futurity.client.asking import encoded, given
from futurity.pickling import ANY_PYTHON, Pickled, dump, encode, sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Loaded:
    """Stands for an object that was pickled already: whoever loads it gets that object."""

    def __init__(self, data: bytes) -> None:
        """Stand for what these bytes are."""
        self._data = data

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        """Load the bytes instead."""
        return pickle.loads, (self._data,)


class Packed:
    """A function that is pickled once for many calls."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        """Pickle it.

        Raises:
            pickle.PicklingError: It cannot be sent.
        """
        self.label = label_of(fn)
        found = dump(fn)
        self._python = found.python
        self._fn: Any = fn if found.python == ANY_PYTHON else Loaded(found.data)

    def with_arguments(self, *rest: Any) -> Pickled:
        """Pickle a call of it."""
        found = dump((self._fn, *rest))
        return found if self._python == ANY_PYTHON else Pickled(found.data, self._python)


def label_of(fn: Any) -> str:
    """Name a function for people."""
    fn = getattr(fn, "func", fn)  # of a partial
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    module = getattr(fn, "__module__", None)
    return f"{module}.{name}"[:512] if module else str(name)[:512]


def pickled_line(
    id: str,
    function: str,
    call: Pickled,
    label: str,
    *,
    beside: Mapping[str, Any],
    secret: bytes | None,
    options: Mapping[str, Any],
) -> bytes:
    """Write a pickled call as a line, sealed for its job, with what the worker is to know beside it."""
    members = {**encode(call.data), "python": call.python, **given(**beside)}
    argument = sealed(secret, "call", id, members)
    metadata = {**options.get("metadata", {}), "call": label}
    return line(id, function, [argument], {}, {**options, "metadata": metadata})


def line(id: str, function: str, args: list[Any], kwargs: dict[str, Any], options: Mapping[str, Any]) -> bytes:
    """Write a call as a line."""
    return encoded({"id": id, "function": function, "args": args, "kwargs": kwargs, **given(**options)}) + b"\n"


def initializer_of(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> dict[str, str] | None:
    """Pickle an initializer with its arguments, under an id: a process runs each once.

    Raises:
        TypeError: It cannot be called.
        pickle.PicklingError: It cannot be sent.
    """
    if initializer is None:
        return None
    if not callable(initializer):
        raise TypeError("initializer must be a callable")
    data = dump((initializer, initargs)).data
    return {"id": uuid.uuid4().hex, "pickle": base64.b64encode(data).decode()}

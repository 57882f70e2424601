"""What arguments are made of: dataclasses, enums and tuples of the JSON that has come, as the type hints say."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from typing import Any


def bound(call: Any, args: list[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give the arguments as the function expects them.

    Raises:
        TypeError, ValueError: They are none of this function, or of these types.
    """
    try:
        signature = inspect.signature(call)
        hints = typing.get_type_hints(call, include_extras=True)
    except (ValueError, TypeError, NameError):
        return tuple(args), kwargs
    given = signature.bind(*args, **kwargs)
    for name, value in given.arguments.items():
        kind = signature.parameters[name].kind
        if name in hints and kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            given.arguments[name] = converted(hints[name], value)
    return given.args, given.kwargs


def converted(hint: Any, value: Any) -> Any:
    """Make what the hint says of a JSON value; what is not understood stays as it is.

    Raises:
        TypeError, ValueError: It cannot be made of this.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return converted(arguments[0], value)
    if origin in (typing.Union, types.UnionType):
        others = [one for one in arguments if one is not type(None)]
        return converted(others[0], value) if value is not None and len(others) == 1 else value
    if origin is list and isinstance(value, list):
        return [converted(arguments[0], one) for one in _list(value)]
    if origin is dict and isinstance(value, dict):
        return {name: converted(arguments[1], one) for name, one in typing.cast("dict[str, Any]", value).items()}
    if (hint is tuple or origin is tuple) and isinstance(value, list):
        return _tuple(arguments, _list(value))
    return _of_class(hint, value) if isinstance(hint, type) else value  # pyright: ignore[reportUnknownArgumentType]


def _list(value: Any) -> list[Any]:
    return list(value)


def _tuple(arguments: tuple[Any, ...], values: list[Any]) -> tuple[Any, ...]:
    if arguments[-1:] == (Ellipsis,):
        return tuple(converted(arguments[0], one) for one in values)
    if len(arguments) == len(values):
        return tuple(converted(hint, one) for hint, one in zip(arguments, values, strict=True))
    return tuple(values)


def _of_class(hint: type[Any], value: Any) -> Any:
    if issubclass(hint, enum.Enum):
        return hint(value)
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint)
        members = typing.cast("dict[str, Any]", value)
        return hint(**{name: converted(hints.get(name), one) for name, one in members.items()})
    validate: Any = getattr(hint, "model_validate", None)  # a model of pydantic
    return validate(value) if callable(validate) else value

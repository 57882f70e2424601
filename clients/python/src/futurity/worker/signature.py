"""Parameters of a function as the server holds submissions against them: JSON Schema of their type hints."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from typing import Any

PLAIN: dict[Any, dict[str, Any]] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
}
BY_POSITION_AND_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD


def parameters_of(call: Any) -> list[dict[str, Any]] | None:
    """Describe the parameters; None if the server cannot bind them: `*args`, `**kwargs`, by position or by name only."""
    try:
        found = inspect.signature(call).parameters.values()
        hints = typing.get_type_hints(call, include_extras=True)
    except (ValueError, TypeError, NameError):
        return None
    if any(parameter.kind is not BY_POSITION_AND_NAME for parameter in found):
        return None
    return [_described(parameter, hints.get(parameter.name)) for parameter in found]


def _described(parameter: inspect.Parameter, hint: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"name": parameter.name}
    schema = schema_of(hint)
    if parameter.default is not inspect.Parameter.empty:
        if _is_json(parameter.default):
            said["default"] = parameter.default
        else:
            said["required"] = False  # the function's own default is no JSON: it fills it in itself
    if schema:
        said["schema"] = schema
    return said


def _is_json(value: Any) -> bool:
    return value is None or type(value) in (int, float, str, bool)


def schema_of(hint: Any) -> dict[str, Any]:
    """Give the JSON Schema of a type hint; what is not understood takes anything."""
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return schema_of(arguments[0])
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        parts = [schema_of(argument) for argument in arguments]
        return {"anyOf": parts} if all(parts) else {}
    if origin is list:
        return _array(schema_of(arguments[0]))
    if origin is tuple:
        return _tuple(arguments)
    if origin is dict:
        values = schema_of(arguments[1])
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    return _of_class(hint) if inspect.isclass(hint) else {}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", **({"items": items} if items else {})}


def _tuple(arguments: tuple[Any, ...]) -> dict[str, Any]:
    if arguments[-1:] == (Ellipsis,):
        return _array(schema_of(arguments[0]))
    parts = [schema_of(argument) for argument in arguments]
    return {"type": "array", "prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}


def _of_class(hint: type[Any]) -> dict[str, Any]:
    if issubclass(hint, enum.Enum):
        values = [member.value for member in hint]
        return {"enum": values} if all(map(_is_json, values)) else {}
    if typing.is_typeddict(hint):
        return _object(typing.get_type_hints(hint), sorted(getattr(hint, "__required_keys__", ())))
    if dataclasses.is_dataclass(hint):
        fields = [one for one in dataclasses.fields(hint) if one.init]
        needed = [
            one.name
            for one in fields
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING
        ]
        hints = typing.get_type_hints(hint)
        return _object({one.name: hints[one.name] for one in fields}, needed)
    return {}


def _object(members: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: schema_of(hint) for name, hint in members.items()},
        "required": required,
        "additionalProperties": False,
    }

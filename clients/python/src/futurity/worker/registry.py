"""Which functions a worker has, and how they are announced."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from futurity.worker.signature import parameters_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

P = ParamSpec("P")
T = TypeVar("T")

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
NAME_CHARACTERS_MAX = 128


@dataclass(frozen=True)
class Registered:
    """A function, and how it is to be treated."""

    name: str
    call: Callable[..., Any]
    interrupt: bool
    parameters: list[dict[str, Any]] | None

    def announcement(self) -> dict[str, Any]:
        """Describe it as the server asks."""
        said: dict[str, Any] = {"name": self.name}
        lines = (inspect.getdoc(self.call) or "").splitlines()
        if lines:
            said["description"] = lines[0]
        if self.parameters is not None:
            said["parameters"] = self.parameters
        return said


class Registry:
    """The functions of this process, by name."""

    def __init__(self) -> None:
        """Begin with none."""
        self.functions: dict[str, Registered] = {}

    def add(self, name: str, call: Callable[..., Any], *, interrupt: bool = True) -> None:
        """Take a function.

        Raises:
            ValueError: Its name is no name of a function, or is taken.
        """
        if not NAME.fullmatch(name) or len(name) > NAME_CHARACTERS_MAX:
            raise ValueError(
                f"{name!r} is no name of a function: small letters, digits and _, parts with dots between them; "
                'give one by @function("…")'
            )
        if name in self.functions and self.functions[name].call is not call:
            raise ValueError(f"there are two functions with the name {name!r}")
        self.functions[name] = Registered(name, call, interrupt, parameters_of(call))

    def add_all(self, module: ModuleType) -> None:
        """Take every public function of a module that has no decorator."""
        for name, found in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("_") and found.__module__ == module.__name__ and not self.has(found):
                self.add(f"{module.__name__.rpartition('.')[2].lower()}.{name.lower()}", found)

    def has(self, call: Callable[..., Any]) -> bool:
        """Whether it was taken under any name."""
        return any(one.call is call for one in self.functions.values())


registry = Registry()


@overload
def function(call: Callable[P, T], /) -> Callable[P, T]: ...
@overload
def function(name: str | None = None, /, *, interrupt: bool = True) -> Callable[[Callable[P, T]], Callable[P, T]]: ...
def function(name: Any = None, /, *, interrupt: bool = True) -> Any:
    """Make a function one that jobs can call.

    `@function` names it `module.function`, `@function("image.resize")` as it says. Its parameters and their type hints are what
    submissions are held against; the first line of its docstring is its description.

    Args:
        name: Its name for jobs.
        interrupt: Whether a cancel raises `CancelRequested` in it; else it asks `current_job().cancelled()` itself.
    """

    def take(call: Callable[..., Any]) -> Callable[..., Any]:
        own = f"{call.__module__.rpartition('.')[2].lower()}.{call.__name__.lower()}"
        registry.add(own if name is None or callable(name) else name, call, interrupt=interrupt)
        return call

    return take(name) if callable(name) else take

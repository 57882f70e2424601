"""`python -m futurity.worker MODULE…`: the program that a server's file names as a worker."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from futurity.worker.calls import PickledCalls, secret_of
from futurity.worker.loop import Loop
from futurity.worker.registry import registry
from futurity.worker.sources import Sources

if TYPE_CHECKING:
    from types import ModuleType

SECURITY = """\
Whoever may submit pickled calls to a worker can run any code as that worker's user, read what it may read, and change what other
jobs in the same process see. --allow-pickle is therefore off; only the operator's file can turn it on. A secret keeps out who has
a key but no secret, and who can write the database; it does not part users of one worker from each other: give them workers of
their own."""


def main() -> None:
    """Import what is asked for, then serve. A module that does not import is said by its name, and ends the program."""
    parser = argparse.ArgumentParser(prog="futurity-worker", description=__doc__, epilog=SECURITY)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="whose functions with @function are announced")
    parser.add_argument("--all", action="store_true", help="also public functions of the modules without a decorator")
    parser.add_argument("--initializer", metavar="MODULE:NAME", help="a function that is called once, before anything")
    parser.add_argument("--allow-pickle", action="store_true", help="run pickled calls; see below")
    parser.add_argument(
        "--reload", action="store_true", help="make way for new code when a file of the modules changes"
    )
    parser.add_argument("--pickle-secret-file", metavar="FILE", help="take only calls that are sealed with this secret")
    asked = parser.parse_args()
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    for name in asked.modules:
        module = _imported(name)
        if asked.all:
            registry.add_all(module)
    if asked.initializer:
        module_name, _, function = asked.initializer.partition(":")
        getattr(_imported(module_name), function)()
    if not asked.allow_pickle and not registry.functions:
        parser.error("there is nothing to announce: no module has a function with @function; see --all, --allow-pickle")
    pickled = PickledCalls(_secret(asked.pickle_secret_file)) if asked.allow_pickle else None
    Loop(registry, pickled, Sources() if asked.reload else None).run()


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except BaseException:
        sys.stderr.write(f"futurity-worker: the module {name!r} cannot be imported:\n")
        raise


def _secret(file: str | None) -> bytes | None:
    text = Path(file).read_text() if file else os.environ.pop("FUTURITY_PICKLE_SECRET", None)
    return None if text is None else secret_of(text)


if __name__ == "__main__":
    main()

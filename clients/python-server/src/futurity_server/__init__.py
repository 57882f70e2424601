"""The server's program: where this installation has it."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

__all__ = ["path"]

NAME = "futurity"


def path() -> str:
    """Find the program: `FUTURITY_BIN`, then this installation's scripts, beside this module, then the user's scripts.

    Raises:
        FileNotFoundError: It is in none of them.
    """
    if named := os.environ.get("FUTURITY_BIN"):
        return named
    for directory in _directories():
        found = directory / NAME
        if found.is_file() and os.access(found, os.X_OK):
            return str(found)
    places = ", ".join(map(str, _directories()))
    raise FileNotFoundError(
        f"the program `{NAME}` of futurity-server is not in {places}; install it again, or set FUTURITY_BIN"
    )


def _directories() -> list[Path]:
    here = Path(__file__).resolve().parent
    user = sysconfig.get_path("scripts", f"{os.name}_user")
    # `pip install --target` puts scripts into `bin` of the folder in which the module is.
    return [Path(sysconfig.get_path("scripts")), here.parent / "bin", Path(user)]

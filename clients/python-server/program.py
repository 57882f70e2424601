"""Puts the server's program into the wheel: `FUTURITY_BINARY`, else that of `cargo build --release`."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SYMBOL = re.compile(rb"GLIBC_2\.(\d+)")


class Program(BuildHookInterface):
    """A wheel of it is for one kind of machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Strip a copy of the program, and name the wheel after what it needs."""
        del version
        root = Path(self.root)
        built = Path(os.environ.get("FUTURITY_BINARY") or root.parents[1] / "target" / "release" / "futurity")
        if not built.is_file():
            raise FileNotFoundError(
                f"there is no program at {built}: cargo build --release --locked, or set FUTURITY_BINARY"
            )
        copy = Path(self.directory) / "program" / "futurity"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(built, copy)
        subprocess.run(["strip", str(copy)], check=True)  # noqa: S607 - of binutils, as the linker is
        copy.chmod(0o755)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_systems(copy.read_bytes())}"
        build_data["shared_scripts"] = {str(copy): "futurity"}


def _systems(program: bytes) -> str:
    """Say where it runs (PEP 600): from the C library on of which it asks the newest symbol."""
    machine = os.environ.get("FUTURITY_MACHINE") or platform.machine()
    needed = [int(minor) for minor in SYMBOL.findall(program)]
    if not needed:
        return f"manylinux_2_17_{machine}.musllinux_1_1_{machine}"  # static: it needs none
    return f"manylinux_2_{max(*needed, 17)}_{machine}"

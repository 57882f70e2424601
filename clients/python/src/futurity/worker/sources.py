"""The files of the modules that a worker has loaded, for `--reload`."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

# What was installed does not change while one works on it.
INSTALLED = tuple(
    str(Path(path)) for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


class Sources:
    """Whether a module is another one now than when it was loaded."""

    def __init__(self) -> None:
        """Remember how the files are: those of all modules that were loaded, beside the installed ones."""
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        self._seen = {file: _stamp(file) for file in files if file and not file.startswith(INSTALLED)}

    def have_changed(self) -> bool:
        """Look at each of them."""
        return any(_stamp(file) != stamp for file, stamp in self._seen.items())


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size

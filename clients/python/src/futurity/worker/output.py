"""What a function prints: a line of its job's log.

Lines go by the protocol, before the answer, so none of them is late. What does not come by Python, from C or from a program that is
started, goes by descriptor 2.
"""

from __future__ import annotations

import io
import os
import sys
import threading

from futurity.worker.job import current_job


class Printed(io.TextIOBase):
    """A text stream that makes lines of the log of what is written to it."""

    def __init__(self, descriptor: int) -> None:
        """Stand for a descriptor, which has what is written outside a job."""
        self._descriptor = descriptor
        self._rest = ""
        self._lock = threading.RLock()
        self.buffer = io.FileIO(descriptor, "w", closefd=False)

    encoding = "utf-8"
    errors = "backslashreplace"

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._descriptor

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def write(self, text: str) -> int:
        """Take text; each whole line is told at once."""
        with self._lock:
            *whole, self._rest = (self._rest + text).split("\n")
        for line in whole:
            self._tell(line)
        return len(text)

    def end(self) -> None:
        """Tell what has no end of line: the job is over."""
        with self._lock:
            rest, self._rest = self._rest, ""
        if rest:
            self._tell(rest)

    def _tell(self, line: str) -> None:
        job = current_job()
        if job is not None:
            job.log(line)
        else:
            os.write(self._descriptor, line.encode(errors="backslashreplace") + b"\n")


def take_over() -> tuple[Printed, Printed]:
    """Put such streams in the place of the standard ones."""
    sys.stdout, sys.stderr = printed = Printed(1), Printed(2)
    return printed

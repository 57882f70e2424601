"""A real server for tests: `Server`, and fixtures of pytest by `pytest_plugins = ["futurity.testing"]`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from futurity.client import Client
from futurity.executor import Executor
from futurity.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Self


class Server(ServerProcess):
    """A server in a process of its own, on a free port of this machine. A context manager.

    Attributes:
        url: Where it listens; the same after a restart.
        data_dir: What it keeps. Removed at the end, unless it was given.
    """

    def __init__(
        self,
        binary: str | None = None,
        *,
        config: str = "",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        """Start it, and return when it is ready.

        Args:
            binary: The program; else `FUTURITY_BIN`, else `futurity` in `PATH`.
            config: The text of its configuration file.
            arguments: Flags of `futurity serve`.
            environment: Variables beside those of this process.
            data_dir: A directory that is to outlive it; else one of its own.
        """
        self._home = Path(tempfile.mkdtemp(prefix="futurity-test-"))
        data = Path(data_dir) if data_dir else self._home / "data"
        if "work_dir" not in config:
            (self._home / "work").mkdir(mode=0o700)
            config = f"work_dir = {json.dumps(str(self._home / 'work'))}\n{config}"
        super().__init__(binary, self._home, config=config, data_dir=data, arguments=arguments, environment=environment)
        self.start()

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash of the machine would, and wait until it is gone."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it as an operator does, with SIGTERM, and wait."""
        self.end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it and start it again, on the same data, at the same address."""
        self.kill()
        self.start()

    def client(self, *, key: str | None = None) -> Client:
        """Make a client of it."""
        return Client(self.url, key=key)

    def close(self) -> None:
        """Kill it, and remove what is its own."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, and remove what is its own."""
        self.close()


def worker_config(processes: int = 2, *, secret: bool = False, more: str = "") -> str:
    """Write the part of a configuration that lets this Python run pickled calls.

    Args:
        processes: How many of them.
        secret: Whether calls must be sealed with `FUTURITY_PICKLE_SECRET` of the server's environment.
        more: Lines for the same worker.
    """
    argv = [sys.executable, "-m", "futurity.worker", "--allow-pickle"]
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return (
        f"[workers.python]\nargv = {json.dumps(argv)}\nprocesses = {processes}\n"
        f"directory = {json.dumps(str(Path.cwd()))}\nenv = {{ PYTHONPATH = {json.dumps(path)} }}\n"
        + ('pass_env = ["FUTURITY_PICKLE_SECRET"]\n' if secret else "")
        + more
    )


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture(scope="session")
    def futurity_server() -> Iterator[Server]:
        """One server for the whole run, with two processes of this Python for pickled calls."""
        with Server(config=worker_config(2)) as server:
            yield server

    @pytest.fixture
    def futurity_executor(futurity_server: Server) -> Iterator[Executor]:
        """An executor of that server for one test; what the test has left is stopped."""
        executor = Executor(futurity_server.url)
        yield executor
        executor.terminate_workers()
        executor.engine.forget()  # the server ends with the tests, and nobody is to wait for it

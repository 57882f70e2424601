"""A real server for tests: `Server`, and fixtures of pytest by `pytest_plugins = ["futurity.testing"]`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from futurity.client import Client
from futurity.errors import FuturityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from typing_extensions import Self

LISTENING = "futurity is listening on "
# A start that takes longer is none: kill -9 with a million jobs takes a second.
START_SECONDS = 30.0
STOP_SECONDS = 60.0


def binary_path() -> str:
    """Find the server's program: `FUTURITY_BIN`, else `futurity` in `PATH`.

    Raises:
        FuturityError: There is none.
    """
    found = os.environ.get("FUTURITY_BIN") or shutil.which("futurity")
    if not found:
        raise FuturityError("there is no program `futurity` in PATH; name it by FUTURITY_BIN")
    return found


class Server:
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
        self._binary = binary or binary_path()
        self._arguments = list(arguments)
        # What configures this process is not meant for that server.
        around = {name: value for name, value in os.environ.items() if not name.startswith("FUTURITY_")}
        self._environment = around | dict(environment or {})
        self._home = Path(tempfile.mkdtemp(prefix="futurity-test-"))
        self.data_dir = Path(data_dir) if data_dir else self._home / "data"
        self._config = self._home / "futurity.toml"
        self._config.write_text(config)
        self._log = self._home / "log"
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it, where it was before.

        Raises:
            FuturityError: It did not come up; with what it has said.
        """
        listen = self.url.removeprefix("http://") or "127.0.0.1:0"
        with self._log.open("a") as log:
            self._process = process = subprocess.Popen(
                self._command("serve", "--listen", listen, *self._arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
            )
        late = threading.Timer(START_SECONDS, process.kill)
        late.start()
        assert process.stdout is not None  # noqa: S101 - for the types: it is a pipe
        self.url = _address(process.stdout)
        late.cancel()
        if not self.url:
            process.wait()
            raise FuturityError(f"the server did not start (exit code {process.returncode}):\n{self.log}")

    def _command(self, command: str, *more: str) -> list[str]:
        return [self._binary, command, "--config", str(self._config), "--data-dir", str(self.data_dir), *more]

    @property
    def log(self) -> str:
        """All that it has written to its standard error."""
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """The process that runs.

        Raises:
            FuturityError: None does.
        """
        if self._process is None:
            raise FuturityError("the server does not run")
        return self._process.pid

    def create_key(self, *scopes: str) -> str:
        """Make an API key with these scopes; all of them if none is named."""
        named = [word for scope in scopes for word in ("--scope", scope)]
        made = subprocess.run(
            self._command("keys", "create", *named), env=self._environment, check=True, capture_output=True, text=True
        )
        return made.stdout.split()[0]

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash of the machine would, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it as an operator does, with SIGTERM, and wait."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it and start it again, on the same data, at the same address."""
        self.kill()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

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


def _address(output: IO[str]) -> str:
    for line in output:
        if LISTENING in line:
            return line.split(LISTENING, 1)[1].split()[0]
    return ""


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture(scope="session")
    def futurity_server() -> Iterator[Server]:
        """One server for the whole run."""
        with Server() as server:
            yield server

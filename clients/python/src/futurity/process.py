"""A server in a process of its own: where its program is, how it is started, that it is ready, how it ends."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING

from futurity.errors import FuturityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LISTENING = "futurity is listening on "
START_SECONDS = 30.0
STOP_SECONDS = 60.0
# Exit code 73: another server uses the data directory.
IN_USE = 73


class DataDirectoryInUse(FuturityError):
    """Another server has the data directory."""


def binary_path() -> str:
    """Find the server's program: `FUTURITY_BIN`, else the wheel `futurity-server`, else `futurity` in `PATH`.

    Raises:
        FuturityError: There is none.
    """
    found = os.environ.get("FUTURITY_BIN") or _of_the_wheel() or shutil.which("futurity")
    if not found:
        advice = 'pip install "futurity[server]", or name it by FUTURITY_BIN'
        if not sys.platform.startswith("linux"):
            advice = "it runs on Linux; connect to one there by futurity.Executor(url)"
        raise FuturityError(f"there is no server's program `futurity`: {advice}")
    return found


def _of_the_wheel() -> str | None:
    try:
        server = importlib.import_module("futurity_server")
        return str(server.path())
    except (ImportError, FileNotFoundError):
        return None


class ServerProcess:
    """A server. It ends with this process, however that ends: the system closes the pipe that is its standard input.

    Attributes:
        url: Where it listens.
        data_dir: What it keeps.
    """

    def __init__(
        self,
        binary: str | None,
        home: Path,
        *,
        config: str,
        data_dir: Path,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """Prepare it; `start` starts it.

        Args:
            binary: The program; see `binary_path`.
            home: A directory for its configuration and its log.
            config: The text of the configuration.
            data_dir: What it keeps.
            arguments: Flags of `futurity serve`.
            environment: All its variables; those of this process if left out.
            start_seconds: How long a start may take.
        """
        self._binary = binary or binary_path()
        self._config = home / "futurity.toml"
        self._log = home / "log"
        # Readable for its owner alone: variables of workers stand there.
        self._config.touch(mode=0o600)
        self._config.write_text(config)
        self.data_dir = data_dir
        self._arguments = list(arguments)
        # What configures this process is not meant for that server.
        around = {name: value for name, value in os.environ.items() if not name.startswith("FUTURITY_")}
        self._environment = around | dict(environment or {})
        self._start_seconds = start_seconds
        self._process: subprocess.Popen[str] | None = None
        self._owner = os.getpid()
        self.url = ""

    def start(self) -> None:
        """Start it, where it was before, and return when it is ready.

        Raises:
            DataDirectoryInUse: Another server has the data directory.
            FuturityError: It did not come up; with what it has said.
        """
        listen = self.url.removeprefix("http://") or "127.0.0.1:0"
        with self._log.open("a") as log:
            self._process = process = subprocess.Popen(
                self._command("serve", "--listen", listen, "--until-stdin-closes", *self._arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                text=True,
            )
        late = threading.Timer(self._start_seconds, process.kill)
        late.daemon = True
        late.start()
        url = _address(process.stdout)
        late.cancel()
        if not url:
            code = process.wait()
            self.end(signal.SIGKILL)
            kind = DataDirectoryInUse if code == IN_USE else FuturityError
            raise kind(f"the server did not start (exit code {code}):\n{self.log}")
        self.url = url

    def _command(self, command: str, *more: str) -> list[str]:
        return [self._binary, command, "--config", str(self._config), "--data-dir", str(self.data_dir), *more]

    @property
    def log(self) -> str:
        """All that it has written to its standard error."""
        return self._log.read_text()

    @property
    def pid(self) -> int:
        """The process that runs; 0 if none does."""
        return self._process.pid if self._process else 0

    def create_key(self, *scopes: str) -> str:
        """Make an API key with these scopes; all of them if none is named.

        Raises:
            FuturityError: It could not be made.
        """
        named = [word for scope in scopes for word in ("--scope", scope)]
        made = subprocess.run(
            self._command("keys", "create", *named), env=self._environment, check=False, capture_output=True, text=True
        )
        if made.returncode:
            raise FuturityError(f"no key could be made:\n{made.stderr}")
        return made.stdout.split()[0]

    def end(self, number: signal.Signals) -> None:
        """Send it a signal and wait until it is gone. A child after a fork leaves it to its parent."""
        process, self._process = self._process, None
        if process is None or os.getpid() != self._owner:
            return
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _address(output: IO[str] | None) -> str:
    for line in output or ():
        if LISTENING in line:
            return line.split(LISTENING, 1)[1].split()[0]
    return ""

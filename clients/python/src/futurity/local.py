"""`local()`: an executor with a server of its own, on this machine, for this user."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from futurity.executor import Executor
from futurity.process import START_SECONDS, DataDirectoryInUse, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

VALUE_BYTES_MAX = 64 * 1024 * 1024
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Access(NamedTuple):
    """Where the server is, and what lets one in."""

    url: str
    key: str
    secret: str


class LocalExecutor(Executor):
    """An executor whose server ends with it."""

    def __init__(self, server: ServerProcess | None, access: Access, home: Path | None, **more: Any) -> None:
        """Take a server over; None if it is that of another process."""
        super().__init__(access.url, key=access.key, pickle_secret=access.secret, **more)
        self.server = server
        if server is not None:
            self.engine.at_end(lambda: _end(server, home))

    def leave(self) -> None:
        """After a Ctrl-C: cancel everything and stop (P16)."""
        if self.server is None:
            super().leave()
            return
        self.engine.forget()
        self.engine.join()

    def __enter__(self) -> Self:
        """Give itself."""
        return self


def local(
    max_workers: int | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    max_tasks_per_child: int | None = None,
    modules: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    startup_timeout: float = START_SECONDS,
) -> LocalExecutor:
    """Start a server on a free port of this machine, with processes of this Python, and give an executor of it.

    It takes whatever can be pickled, as `ProcessPoolExecutor` does. Only this process knows its key and its secret. It ends
    when the executor has, or this process, however that ends.

    Args:
        max_workers: How many processes; as many as there are processors if left out.
        data_dir: Where jobs and results are to outlive it: the next `local(data_dir=…)` goes on with them, and another
            process at the same time joins this server. Without it all is removed at the end.
        initializer: Called in each process before the first call, with `initargs`.
        initargs: Its arguments.
        max_tasks_per_child: After so many calls a process makes way for a new one.
        modules: Modules with functions of `futurity.worker`, which can be called by their names too.
        env: Variables for the processes, beside those of this one.
        startup_timeout: Seconds that the server may take to start.

    Raises:
        ValueError: A number is not above 0.
        FuturityError: There is no server's program, or it does not start.
    """
    workers = max_workers if max_workers is not None else os.cpu_count() or 1
    if workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    if max_tasks_per_child is not None and max_tasks_per_child <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    config = _config(workers, max_tasks_per_child, modules, env or {})
    own = Path(data_dir).absolute() if data_dir else None
    server, access, home = _started(config, own, startup_timeout)
    executor = LocalExecutor(server, access, home, initializer=initializer, initargs=initargs)
    executor.set_workers(workers)
    return executor


def _started(config: str, own: Path | None, seconds: float) -> tuple[ServerProcess | None, Access, Path | None]:
    home = Path(tempfile.mkdtemp(prefix="futurity-local-"))
    known = own / "local.json" if own else None
    secret = secrets.token_hex(32)
    if known is not None and known.exists():
        secret = json.loads(known.read_text())["secret"]
    server = ServerProcess(
        None,
        home,
        config=f"work_dir = {json.dumps(str(home / 'work'))}\n{config}",
        data_dir=(own or home) / "data",
        environment={"FUTURITY_PICKLE_SECRET": secret},
        start_seconds=seconds,
    )
    try:
        (own or home).mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "work").mkdir(mode=0o700)
        key = _key(server, known, secret)
        server.start()
    except DataDirectoryInUse:
        shutil.rmtree(home, ignore_errors=True)
        if own is None or known is None:
            raise
        told = json.loads(known.read_text())
        return (
            None,
            Access(f"http://{(own / 'data' / 'address').read_text().strip()}", told["key"], told["secret"]),
            None,
        )
    except BaseException:
        shutil.rmtree(home, ignore_errors=True)
        raise
    return server, Access(server.url, key, secret), home


def _key(server: ServerProcess, known: Path | None, secret: str) -> str:
    """Make a key, once for a data directory: what stands beside it is for its owner alone."""
    if known is not None and known.exists():
        return str(json.loads(known.read_text())["key"])
    key = server.create_key()
    if known is not None:
        with os.fdopen(os.open(known, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({"key": key, "secret": secret}, file)
    return key


def _config(workers: int, calls: int | None, modules: Sequence[str], env: Mapping[str, str]) -> str:
    argv = [sys.executable, "-m", "futurity.worker", "--allow-pickle", *modules]
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    # The processes are to find what this one finds: its modules, its directory, its variables.
    passed = [name for name in os.environ if NAME.fullmatch(name) and not name.startswith("FUTURITY_")]
    given = {"PYTHONPATH": path, **env}
    lines = [
        "grace_seconds = 0",
        "[limits]",
        f"submission_bytes = {VALUE_BYTES_MAX}",
        f"result_bytes = {VALUE_BYTES_MAX}",
        "[queues.default]",
        f"max_workers = {workers}",
        "max_pending = 100000000",
        "[workers.python]",
        f"argv = {json.dumps(argv)}",
        f"processes = {workers}",
        f"directory = {json.dumps(str(Path.cwd()))}",
        f"pass_env = {json.dumps(sorted({*passed, 'FUTURITY_PICKLE_SECRET'} - set(given)))}",
        *([f"max_calls_per_process = {calls}"] if calls else []),
        "[workers.python.env]",
        *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in given.items()),
    ]
    return "\n".join(lines) + "\n"


def _end(server: ServerProcess, home: Path | None) -> None:
    server.end(signal.SIGTERM)
    if home is not None:
        shutil.rmtree(home, ignore_errors=True)

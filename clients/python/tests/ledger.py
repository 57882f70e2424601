"""P29: a ledger of thousands of calls while server and client are killed again and again: `make test-python-long`.

A program: `ledger.py CALLS KILLS_OF_THE_SERVER KILLS_OF_THE_CLIENT`. Each call writes its number and its attempt into a file.
At the end every value is right, none is missing, and no attempt of a job ran twice.
"""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import NamedTuple

from futurity import Executor
from futurity.testing import Server, worker_config

NAME = "ledger"
WAIT = 600.0


class Found(NamedTuple):
    """What a run came to."""

    calls: int
    wrong: int
    lost: int
    doubled: int
    repeated: int
    server_kills: int
    client_kills: int

    def is_clean(self) -> bool:
        return self.wrong == self.lost == self.doubled == 0


def note(directory: str, number: int) -> int:
    """Write down that a call runs, and as which attempt; the value can be checked."""
    from futurity.worker import current_job  # noqa: PLC0415

    job = current_job()
    assert job is not None
    with (Path(directory) / str(os.getpid() % 8)).open("a") as file:
        file.write(f"{number} {job.attempt}\n")
    return number * number


def submit(url: str, directory: str, first: int, last: int) -> None:
    """Submit calls, and say of each on standard output when it is on disk: then its number counts. Is killed in the middle."""
    executor = Executor(url, name=NAME, server_timeout_seconds=WAIT)
    for number in range(first, last):
        future = executor.submit(note, directory, number)
        if number % 20 == 0 or number == last - 1:
            executor.flush()
            sys.stdout.write(f"{number} {future.id}\n")
            sys.stdout.flush()
    executor.detach()


def run(calls: int, server_kills: int, client_kills: int) -> Found:
    """Submit in portions by clients that are killed, kill the server meanwhile, and count."""
    with tempfile.TemporaryDirectory(prefix="ledger-") as directory, Server(config=worker_config(2)) as server:
        killed = clients_killed = submitted = 0
        while submitted < calls:
            is_to_die = clients_killed < client_kills
            upto = calls if clients_killed >= client_kills else min(calls, submitted + calls // (client_kills + 1) + 1)
            argv = [sys.executable, __file__, "submit", server.url, directory, str(submitted), str(upto)]
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as client:
                assert client.stdout is not None
                for line in client.stdout:
                    submitted = int(line.split()[0]) + 1
                    if killed < server_kills * submitted // calls:
                        _until_one_ends(server)
                        server.restart()
                        killed += 1
                    if is_to_die and submitted >= upto - 20:
                        client.send_signal(signal.SIGKILL)
                        clients_killed += 1
                        is_to_die = False
        while killed < server_kills:
            _until_one_ends(server)
            server.restart()
            killed += 1
        return _count(server, directory, calls, killed, clients_killed)


def _until_one_ends(server: Server) -> None:
    """Wait for one of the calls that run: what runs while the server dies three times is not run again."""
    with Executor(server.url, name=NAME, server_timeout_seconds=WAIT) as executor:
        wait(executor.futures(state="running"), WAIT, FIRST_COMPLETED)
        executor.detach()


def _count(server: Server, directory: str, calls: int, killed: int, clients_killed: int) -> Found:
    """Attach to every job of the name, wait for its value, and compare with what the calls themselves have written."""
    with Executor(server.url, name=NAME, server_timeout_seconds=WAIT) as executor:
        futures = executor.futures()
        values = collections.Counter(future.result(WAIT) for future in futures)
    expected = {number * number for number in range(calls)}
    runs: collections.Counter[str] = collections.Counter()
    for file in Path(directory).iterdir():
        runs.update(file.read_text().split("\n"))
    runs.pop("", None)
    by_number = collections.Counter(line.split()[0] for line in runs)
    # A client that was killed may have sent calls that it did not note: their numbers are submitted once more, by other jobs.
    extra = sum(values.values()) - len(values)
    return Found(
        calls=calls,
        wrong=len(set(values) - expected),
        lost=len(expected - set(values)),
        doubled=max(sum(count - 1 for count in runs.values()) - extra, 0),
        repeated=sum(count - 1 for count in by_number.values()),
        server_kills=killed,
        client_kills=clients_killed,
    )


if __name__ == "__main__":
    if sys.argv[1] == "submit":
        # By the name under which the worker finds it.
        __import__("tests.ledger").ledger.submit(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        found = run(*map(int, sys.argv[1:4]))
        sys.stdout.write(f"{found}\n")
        sys.exit(0 if found.is_clean() else 1)

"""P29, P30, P32, in their short forms; `make test-python-long` has the long ones."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from futurity import Executor
from tests import gate as functions
from tests import ledger

if TYPE_CHECKING:
    import pytest

    from futurity.testing import Server

WAIT = 120.0
LONG = bool(os.environ.get("FUTURITY_LONG"))


def test_p29_a_ledger_with_kills_of_server_and_client_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    here = str(Path(__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", here)
    found = ledger.run(10_000, 100, 20) if LONG else ledger.run(300, 2, 2)
    assert found.is_clean(), found
    assert (found.server_kills, found.client_kills) == ((100, 20) if LONG else (2, 2))


class Model(RuleBasedStateMachine):
    """The same steps on an executor of the server and on threads of this process; what they show is the same."""

    server: Server
    futures = Bundle("futures")

    def __init__(self) -> None:
        super().__init__()
        self.ours = Executor(self.server.url)
        self.theirs = ThreadPoolExecutor(2)
        self.pairs: list[tuple[Future[Any], Future[Any]]] = []
        self.called: tuple[list[Any], list[Any]] = ([], [])
        self.is_shut = False

    def teardown(self) -> None:
        self.ours.shutdown()
        self.theirs.shutdown()
        for ours, theirs in self.pairs:
            assert outcome(ours) == outcome(theirs)
        assert sorted(self.called[0]) == sorted(self.called[1])

    def _submit(self, fn: Any, *args: Any) -> tuple[Future[Any], Future[Any]]:
        made: list[Any] = []
        for executor in (self.ours, self.theirs):
            try:
                made.append(executor.submit(fn, *args))
            except RuntimeError as error:
                made.append(Future[Any]())
                made[-1].set_exception(RuntimeError(str(error)))
        self.pairs.append((made[0], made[1]))
        return made[0], made[1]

    @rule(target=futures, one=st.integers(0, 9), two=st.integers(0, 9))
    def submit(self, one: int, two: int) -> tuple[Future[Any], Future[Any]]:
        return self._submit(functions.add, one, two)

    @rule(target=futures, code=st.integers(0, 9))
    def submit_what_raises(self, code: int) -> tuple[Future[Any], Future[Any]]:
        return self._submit(functions.raise_it, LookupError(code))

    @rule(target=futures)
    def submit_nonsense(self) -> tuple[Future[Any], Future[Any]]:
        return self._submit(functions.add, 1, None)

    @rule(pair=futures)
    def result(self, pair: tuple[Future[Any], Future[Any]]) -> None:
        assert outcome(pair[0]) == outcome(pair[1])

    @rule(pair=futures)
    def is_not_cancelled_once_done(self, pair: tuple[Future[Any], Future[Any]]) -> None:
        for future in pair:
            outcome(future)
        assert [future.cancel() for future in pair] == [False, False]
        assert [future.running() for future in pair] == [False, False]

    @rule(pair=futures, word=st.integers())
    def call_back(self, pair: tuple[Future[Any], Future[Any]], word: int) -> None:
        for future, called in zip(pair, self.called, strict=True):
            future.add_done_callback(lambda done, called=called: called.append((word, outcome(done))))  # type: ignore[misc]

    @rule(limit=st.integers(0, 6), chunksize=st.integers(1, 4))
    def map(self, limit: int, chunksize: int) -> None:
        if not self.is_shut:
            ours = self.ours.map(functions.add, range(limit), range(9), chunksize=chunksize)
            assert list(ours) == list(self.theirs.map(functions.add, range(limit), range(9), chunksize=chunksize))

    @rule(return_when=st.sampled_from(["ALL_COMPLETED", FIRST_COMPLETED]))
    def wait_for_all(self, return_when: str) -> None:
        for side in (0, 1):
            futures = [pair[side] for pair in self.pairs]
            told = wait(futures, WAIT, return_when)
            assert told.done | told.not_done == set(futures)
            assert not futures or told.done
            assert set(as_completed(futures, WAIT)) == set(futures)

    @rule()
    def shut(self) -> None:
        self.is_shut = True
        self.ours.shutdown()
        self.theirs.shutdown()

    @invariant()
    def after_a_shutdown_all_is_done(self) -> None:
        if self.is_shut:
            assert all(ours.done() and theirs.done() for ours, theirs in self.pairs)


def outcome(future: Future[Any]) -> tuple[str, str]:
    try:
        return "returned", repr(future.result(WAIT))
    except CancelledError:
        return "cancelled", ""
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        return type(error).__name__, str(error.args)


def test_p30_whatever_order_the_steps_come_in_threads_show_the_same(remote: Server) -> None:
    Model.server = remote
    steps = settings(
        max_examples=300 if LONG else 8,
        stateful_step_count=30 if LONG else 12,
        deadline=None,
        database=None,
        derandomize=not LONG,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(Model, settings=steps)


def test_p32_nothing_is_left_behind(remote: Server) -> None:
    calls = 100_000 if LONG else 3_000
    one_round(remote, 500)  # what is made once
    before = what_is_there()
    one_round(remote, calls)
    after = what_is_there()
    assert after[:2] == before[:2], "threads and sockets"
    assert after[2] - before[2] <= 10 * 1024, "KiB"


def one_round(server: Server, calls: int) -> None:
    with Executor(server.url) as executor:
        for _ in range(calls // 500):
            for future in [executor.submit(pow, 2, 10) for _ in range(500)]:
                assert future.result(WAIT) == 1024
    gc.collect()


def what_is_there() -> tuple[int, int, int]:
    sockets = sum("socket" in str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink())
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return threading.active_count(), sockets, pages * os.sysconf("SC_PAGE_SIZE") // 1024

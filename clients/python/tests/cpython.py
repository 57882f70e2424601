"""CPython's own tests of `concurrent.futures`, run through `futurity.local()`: `make test-python-cpython`.

A program, for an interpreter that has its `test` package. It prints a table at the end, and ends with 0 if nothing failed. What is
left out stands in `LEFT_OUT`, each with its reason; a name there that is no test any more is an error.
"""
# mypy: ignore-errors

from __future__ import annotations

import importlib
import multiprocessing
import os
import pathlib
import shutil
import sys
import tempfile
import types
import unittest
from typing import Any

import futurity


def _suite() -> Any:
    """Give their classes: of one file until 3.11, of a package since 3.12."""
    try:
        theirs = importlib.import_module("test.test_concurrent_futures")
    except ImportError:
        sys.exit("this interpreter has no test.test_concurrent_futures (Debian: libpython3.11-testsuite)")
    if not hasattr(theirs, "__path__"):
        return theirs
    parts = ("util", "executor", "init", "shutdown", "wait", "as_completed", "process_pool", "deadlock", "future")
    found = types.SimpleNamespace()
    for name in parts:
        module = name if name in ("util", "executor") else f"test_{name}"
        found.__dict__.update(vars(importlib.import_module(f"{theirs.__name__}.{module}")))
    found.of_futures = importlib.import_module(f"{theirs.__name__}.test_future")
    return found


suite: Any = _suite()
IN_ISOLATION = (
    "runs `from concurrent.futures import …` in an isolated interpreter, which has no futurity; P15 is the same test"
)
INSIDE = "counts `_processes` or `_threads` of a standard pool"
SHARED = "shares a semaphore of multiprocessing, which only children of this process can have"
MANAGER = "joins `_executor_manager_thread`"
BREAKS = "wants the whole pool to break when one process dies; here that call alone is lost (P11, E20)"
NAMED = "wants the very name `Future` in a repr; that the second set is an InvalidStateError holds"
LEFT_OUT = {
    "ExecutorShutdownTest.test_interpreter_shutdown": IN_ISOLATION,
    "ExecutorShutdownTest.test_submit_after_interpreter_shutdown": IN_ISOLATION,
    "ExecutorShutdownTest.test_hang_gh83386": IN_ISOLATION,
    "ExecutorTest.test_killed_child": BREAKS,
    "ExecutorTest.test_saturation": INSIDE,
    "ExecutorTest.test_idle_process_reuse_one": INSIDE,
    "ExecutorTest.test_idle_process_reuse_multiple": INSIDE,
    "ExecutorTest.test_max_tasks_per_child": INSIDE + "; P21 is the same test",
    "ExecutorTest.test_max_tasks_per_child_defaults_to_spawn_context": "asks for `_mp_context`",
    "ExecutorTest.test_ressources_gced_in_workers": SHARED,
    "ExecutorTest.test_max_workers_too_large": "of Windows alone",
    "FutureTest.test_multiple_set_result": NAMED,
    "FutureTest.test_multiple_set_exception": NAMED,
    "DeadlockTest.test_shutdown_deadlock_pickle": MANAGER,
}


LEFT_OUT_OF_LATER = {
    "ExecutorTest.test_broken_process_pool_traceback": BREAKS,
    "ExecutorTest.test_traceback_when_child_process_terminates_abruptly": "wants the words `terminated abruptly` in a cause; "
    "a WorkerLost says the exit code itself (P11)",
    "ExecutorTest.test_failed_worker_replacement_breaks_pool": MANAGER,
    "ExecutorTest.test_force_shutdown_during_max_tasks_worker_exit": MANAGER,
    "ExecutorTest.test_shutdown_no_wait_max_tasks_gh119592": MANAGER,
    "ExecutorTest.test_gc_during_max_tasks_worker_exit_gh152967": MANAGER,
    "ExecutorTest.test_python_finalization_error": "counts the threads that a standard pool starts",
    "ExecutorTest.test_terminate_workers": "mocks `_force_shutdown`",
    "ExecutorTest.test_kill_workers": "mocks `_force_shutdown`",
    "ExecutorTest.test_force_shutdown_workers_invalid_op": "calls `_force_shutdown`",
    "ExecutorTest.test_force_shutdown_workers": INSIDE,
    "ExecutorTest.test_force_shutdown_workers_stops_pool": INSIDE,
}


def local(max_workers: int | None = None, *, mp_context: object = None, **more: Any) -> futurity.Executor:
    """Take what `ProcessPoolExecutor` takes; how processes come to be is the server's business."""
    del mp_context
    return futurity.local(max_workers, **more)


class Event:
    """An event that processes share which are no children of this one: a pipe that is opened once somebody has set it."""

    def __init__(self, directory: str) -> None:
        self.path = f"{directory}/pipe"
        self._held: int | None = None
        os.mkfifo(self.path)

    def set(self) -> None:
        self._held = os.open(self.path, os.O_RDWR)

    def wait(self) -> None:
        os.close(os.open(self.path, os.O_RDONLY))

    def remove(self) -> None:
        self.set()
        shutil.rmtree(pathlib.Path(self.path).parent)


class OurMixin(suite.ExecutorMixin):
    """What their mixins for threads and processes are."""

    executor_type = staticmethod(local)

    def get_context(self) -> Any:
        return multiprocessing.get_context("spawn")

    def create_event(self) -> Event:
        made = Event(tempfile.mkdtemp(prefix="event-"))
        self.addCleanup(made.remove)
        return made


class InitializerTest(OurMixin, suite.InitializerMixin, suite.BaseTestCase):
    pass


class FailingInitializerTest(OurMixin, suite.FailingInitializerMixin, suite.BaseTestCase):
    def _assert_logged(self, msg: str) -> Any:
        import contextlib  # noqa: PLC0415

        return contextlib.nullcontext(msg)  # it is in the exception, not in the log of a child


class ExecutorShutdownTest(OurMixin, suite.ExecutorShutdownTest, suite.BaseTestCase):
    pass


class WaitTest(OurMixin, suite.WaitTests, suite.BaseTestCase):
    pass


class AsCompletedTest(OurMixin, suite.AsCompletedTests, suite.BaseTestCase):
    pass


class ExecutorTest(OurMixin, suite.ProcessPoolExecutorTest, suite.BaseTestCase):
    pass


class DeadlockTest(OurMixin, suite.ExecutorDeadlockTest, suite.BaseTestCase):
    pass


class FutureTest(suite.FutureTests):
    """On futures that were made by hand; theirs makes them by the name `Future`."""


GROUPS = [
    InitializerTest,
    FailingInitializerTest,
    ExecutorShutdownTest,
    WaitTest,
    AsCompletedTest,
    ExecutorTest,
    DeadlockTest,
    FutureTest,
]


def main() -> int:
    getattr(suite, "of_futures", suite).Future = futurity.RemoteFuture
    known = {f"{group.__name__}.{name}" for group in GROUPS for name in unittest.TestLoader().getTestCaseNames(group)}
    if gone := set(LEFT_OUT) - known:
        sys.exit(f"these are no tests, take them out of LEFT_OUT: {sorted(gone)}")
    for name, reason in (LEFT_OUT | LEFT_OUT_OF_LATER).items():
        if name not in known:
            continue  # it came with a later version
        group, _, test = name.partition(".")
        (found,) = [one for one in GROUPS if one.__name__ == group]
        setattr(found, test, unittest.skip(reason)(getattr(found, test)))
    failed = False
    rows: list[str] = []
    for group in [one for one in GROUPS if len(sys.argv) < 3 or one.__name__ in sys.argv]:
        tests = unittest.TestLoader().loadTestsFromTestCase(group)
        result = unittest.TextTestRunner(verbosity=2 if "-v" in sys.argv else 1).run(tests)
        bad = len(result.failures) + len(result.errors)
        failed = failed or bad > 0
        passed = result.testsRun - bad - len(result.skipped)
        rows.append(
            f"| {sys.version.split()[0]} | {group.__name__} | {result.testsRun} | {passed} | {len(result.skipped)} |"
        )
    print("| Python | group | tests | passed | left out, with a reason |", "|---|---|---|---|---|", *rows, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    # What belongs to __main__ is sent by value, and that is not how anybody runs these tests.
    import cpython

    sys.exit(cpython.main())

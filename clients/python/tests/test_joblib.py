"""joblib, scikit-learn and tqdm over a real server."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportMissingModuleSource=false

from __future__ import annotations

import math
from concurrent.futures import as_completed
from typing import TYPE_CHECKING, Any

import joblib
import pytest

import futurity.joblib
from tests import gate as functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from futurity import Executor
    from tests.gate import Gate

WAIT = 60.0
Parallel: Any = joblib.Parallel


@pytest.fixture(autouse=True)
def backend(executor: Executor) -> Iterator[None]:
    futurity.joblib.register()
    with joblib.parallel_config(backend="futurity", executor=executor, n_jobs=2):
        yield


def test_calls_come_back_in_order_or_as_they_are_done(executor: Executor) -> None:
    calls = [joblib.delayed(math.sqrt)(n * n) for n in range(50)]
    assert Parallel()(calls) == [float(n) for n in range(50)]
    unordered = Parallel(return_as="generator_unordered")(calls)
    assert sorted(unordered) == [float(n) for n in range(50)]
    assert list(Parallel(return_as="generator", batch_size=7)(calls)) == [float(n) for n in range(50)]
    assert next(job.metadata["call"] for job in executor.client.jobs()) == "joblib.parallel.BatchedCalls"
    assert Parallel()(joblib.delayed(lambda n: n + 1)(n) for n in range(3)) == [1, 2, 3]


def test_the_number_of_jobs_is_that_of_the_executors_processes() -> None:
    assert joblib.effective_n_jobs(-1) == 2
    assert joblib.effective_n_jobs(-2) == 1
    assert joblib.effective_n_jobs(5) == 5
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)([joblib.delayed(abs)(1)])


def test_a_failure_is_raised_and_what_waits_is_cancelled(executor: Executor, gate: Gate) -> None:
    held = executor.submit(gate.hold)
    while not held.running():
        pass
    tagged = executor.options(tags=["of joblib"])
    with joblib.parallel_config(backend="futurity", executor=tagged, n_jobs=2):
        calls = [joblib.delayed(functions.raise_it)(LookupError("in joblib"))]
        calls += [joblib.delayed(gate.hold)(n) for n in range(10)]
        with pytest.raises(LookupError, match="in joblib"):
            Parallel(batch_size=1, pre_dispatch="all")(calls)
    while sum(job.state == "cancelled" for job in executor.client.jobs(tag="of joblib")) < 9:
        pass
    executor.client.cancel_many(tag="of joblib")  # what runs holds a process
    gate.let_through()
    held.result(WAIT)


def test_nested_calls_run_in_threads() -> None:
    outer = Parallel()(joblib.delayed(inner)(n) for n in range(3))
    assert outer == [("ThreadingBackend", [n, n + 1]) for n in range(3)]


def inner(n: int) -> tuple[str, list[int]]:
    parallel = Parallel(n_jobs=2)
    return type(parallel._backend).__name__, parallel(joblib.delayed(int)(n + k) for k in range(2))


def test_scikit_learn_searches_and_validates() -> None:
    from sklearn.datasets import load_iris  # noqa: PLC0415 - takes a second
    from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: PLC0415
    from sklearn.tree import DecisionTreeClassifier  # noqa: PLC0415

    x, y = load_iris(return_X_y=True)
    model: Any = DecisionTreeClassifier(random_state=0)
    grid: Any = GridSearchCV(model, {"max_depth": [1, 3]}, cv=3, n_jobs=2)
    here: Any = GridSearchCV(model, {"max_depth": [1, 3]}, cv=3, n_jobs=1)
    with joblib.parallel_config(backend="sequential"):
        here.fit(x, y)
    grid.fit(x, y)
    assert list(grid.cv_results_["mean_test_score"]) == list(here.cv_results_["mean_test_score"])
    assert grid.best_params_ == here.best_params_
    assert len(cross_val_score(model, x, y, cv=3, n_jobs=2)) == 3


def test_p27_tqdm_takes_its_futures(executor: Executor, capsys: pytest.CaptureFixture[str]) -> None:
    from tqdm import tqdm  # noqa: PLC0415

    futures = [executor.submit(pow, n, 2) for n in range(20)]
    seen = sorted(future.result() for future in tqdm(as_completed(futures), total=len(futures)))
    assert seen == [n * n for n in range(20)]
    assert "20/20" in capsys.readouterr().err

"""`make bench-python`: this executor beside those of the standard library, loky and Dask, two processes each.

In each round every row is measured for every executor in turn, and a row is the median of the rounds' ratios: what else the machine
does scatters rates by the factor of two, and ratios of one round by much less. Every result is checked.

    executors.py [ROUNDS]
"""
# mypy: ignore-errors
# pyright: basic

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import futurity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROCESSES = 2


def nothing(n: int) -> int:
    return n


def takes(seconds: float) -> float:
    """Use a processor for so long: a sleep would leave room for others' bookkeeping."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def standard() -> Any:
    return concurrent.futures.ProcessPoolExecutor(PROCESSES)


@contextlib.contextmanager
def loky() -> Iterator[Any]:
    from joblib.externals.loky import ProcessPoolExecutor  # noqa: PLC0415

    with ProcessPoolExecutor(PROCESSES) as executor:
        yield executor


@contextlib.contextmanager
def dask() -> Iterator[Any]:
    from distributed import Client, LocalCluster  # noqa: PLC0415

    cluster = LocalCluster(n_workers=PROCESSES, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
    with cluster, Client(cluster) as client:
        yield client.get_executor(pure=False)


def ours() -> Any:
    return futurity.local(PROCESSES)


def calls_of(fn: Callable[[Any], Any], arguments: list[Any]) -> Callable[[Any], float]:
    def rate(executor: Any) -> float:
        began = time.perf_counter()
        futures = [executor.submit(fn, argument) for argument in arguments]
        assert [future.result() for future in futures] == arguments
        return len(arguments) / (time.perf_counter() - began)

    return rate


def chunks(executor: Any) -> float:
    numbers = list(range(50_000))
    began = time.perf_counter()
    assert list(executor.map(nothing, numbers, chunksize=100)) == numbers
    return len(numbers) / (time.perf_counter() - began)


def one_after_the_other(executor: Any) -> float:
    """Give the median, in milliseconds."""
    taken = []
    for n in range(200):
        began = time.perf_counter()
        assert executor.submit(nothing, n).result() == n
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def processor_time(executor: Any) -> float:
    """Give what this process itself spends on a call, in milliseconds."""
    began = time.process_time()
    futures = [executor.submit(nothing, n) for n in range(5_000)]
    for n, future in enumerate(futures):
        assert future.result() == n
    return (time.process_time() - began) / len(futures) * 1000


FIRST = "import concurrent.futures as c, futurity, multiprocessing as m\nif __name__ == '__main__':\n with {} as e: assert e.submit(pow, 2, 2).result() == 4\n"


def first_result(made: str) -> float:
    """Give the seconds of a whole program that makes an executor and asks it for one result, less those of one that makes none."""
    seconds = []
    for program in (FIRST.format(made), "import concurrent.futures, futurity, multiprocessing"):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        seconds.append(time.perf_counter() - began)
    return seconds[0] - seconds[1]


def memory_of_a_future() -> float:
    """Give the bytes of a future whose call is on the server's disk and waits."""
    with ours() as executor:
        held = [executor.submit(time.sleep, 600) for _ in range(PROCESSES)]
        executor.flush()
        gc.collect()
        tracemalloc.start()
        futures = [executor.submit(nothing, n) for n in range(5_000)]
        executor.flush()
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] / len(futures)
        tracemalloc.stop()
        executor.shutdown(wait=False, cancel_futures=True)
        for future in held:
            future.terminate(0)
    return size


ROWS: dict[str, tuple[Callable[[Any], float], tuple[str, ...]]] = {
    "calls of nothing, each submitted": (calls_of(nothing, list(range(5_000))), ("standard", "loky", "dask")),
    "map(chunksize=100) of nothing": (chunks, ("standard",)),
    "calls of 1 ms": (calls_of(takes, [0.001] * 1_000), ("standard",)),
    "calls of 10 ms": (calls_of(takes, [0.01] * 200), ("standard",)),
    "submit().result(), p50, ms": (one_after_the_other, ("standard",)),
    "client's processor time a call, ms": (processor_time, ("standard",)),
}
MAKERS = {"ours": ours, "standard": standard, "loky": loky, "dask": dask}


def rounds(number_of_rounds: int) -> dict[tuple[str, str], list[tuple[float, float]]]:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number in range(number_of_rounds):
        for row, (measure, others) in ROWS.items():
            told: dict[str, float] = {}
            for name in ("ours", *others):
                with contextlib.suppress(ImportError), MAKERS[name]() as executor:
                    # Processes are there, and have the function.
                    list(executor.map(nothing, range(100)))
                    told[name] = measure(executor)
            for other in others:
                if other in told:
                    found.setdefault((row, other), []).append((told["ours"], told[other]))
        spawned = f"c.ProcessPoolExecutor({PROCESSES}, m.get_context('spawn'))"
        pair = (first_result(f"futurity.local({PROCESSES})"), first_result(spawned))
        found.setdefault(("start to the first result, s", "standard, by spawn"), []).append(pair)
        sys.stderr.write(f"round {number + 1} of {number_of_rounds}\n")
    return found


def main() -> None:
    multiprocessing.set_start_method("fork")
    print(
        f"{os.uname().sysname} {os.uname().release}, {os.cpu_count()} processors, Python {sys.version.split()[0]}, load {os.getloadavg()[0]:.1f}"
    )
    print(
        "", "| row | beside | ours | theirs | ratio, median | least | most |", "|---|---|---|---|---|---|---|", sep="\n"
    )
    for (row, other), pairs in rounds(int(sys.argv[1]) if len(sys.argv) > 1 else 3).items():
        ratios = sorted(mine / theirs for mine, theirs in pairs)
        mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(
            f"| {row} | {other} | {mine:.4g} | {theirs:.4g} | {statistics.median(ratios):.2f} | {ratios[0]:.2f} | {ratios[-1]:.2f} |"
        )
    print(f"\nmemory of a pending future: {memory_of_a_future() / 1024:.1f} KiB")


if __name__ == "__main__":
    import executors  # what belongs to __main__ would be sent by value

    executors.main()

"""The rules of the executor: how it ends, what outlives whom, what becomes of a server that is away."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, CancelledError, wait
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import futurity
from futurity import AccessDenied, Executor, FuturityError, Problem, RemoteFuture, ServerLost
from futurity.testing import Server, worker_config

if TYPE_CHECKING:
    from tests.gate import Gate

WAIT = 60.0
HERE = Path(__file__).parents[1]


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    around = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": str(HERE), **environment}
    argv = [sys.executable, "-c", program]
    return subprocess.run(argv, env=around, capture_output=True, text=True, check=False, timeout=120)


def test_p14_shutdown_waits_for_its_own_jobs_and_leaves_the_queue_alone(remote: Server) -> None:
    other = Executor(remote.url)
    executor = Executor(remote.url)
    futures = [executor.submit(pow, 2, n) for n in range(20)]
    executor.shutdown()
    assert all(future.done() for future in futures)
    executor.shutdown()
    assert other.submit(pow, 2, 2).result(WAIT) == 4
    other.shutdown()


def test_p14_cancelled_futures_are_cancelled_on_return(remote: Server, gate: Gate) -> None:
    executor = Executor(remote.url)
    held = [executor.submit(gate.hold, n) for n in range(2)]
    for future in held:
        while not future.running():
            pass
    waiting = [executor.submit(pow, 2, n) for n in range(50)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    executor.shutdown(wait=False)
    assert wait(waiting, WAIT).not_done == set()
    for _ in held:
        gate.let_through()
    assert [future.result(WAIT) for future in held] == [0, 1]
    executor.shutdown()


def test_p14_results_still_arrive_after_shutdown_without_waiting_and_after_del(remote: Server, gate: Gate) -> None:
    executor = Executor(remote.url)
    first = executor.submit(gate.hold, 1)
    executor.shutdown(wait=False)
    other = Executor(remote.url)
    second = other.submit(gate.hold, 2)
    del executor, other
    gc.collect()
    gate.let_through()
    gate.let_through()
    assert (first.result(WAIT), second.result(WAIT)) == (1, 2)


def test_p18_two_threads_that_end_with_the_executor(remote: Server) -> None:
    # Those of an executor before may still be ending.
    before = set(threading.enumerate())
    executor = Executor(remote.url)
    assert set(threading.enumerate()) <= before, "none before the first call"
    futures = [executor.submit(pow, 2, n) for n in range(100)]
    made = set(threading.enumerate()) - before
    assert sorted(thread.name for thread in made) == ["futurity-reader", "futurity-sender"]
    for future in futures:
        future.result(WAIT)
    executor.shutdown()
    assert not any(thread.is_alive() for thread in made)
    before = set(threading.enumerate())
    dropped = Executor(remote.url)
    dropped.submit(pow, 1, 1).result(WAIT)
    made = set(threading.enumerate()) - before
    assert len(made) == 2
    del dropped
    gc.collect()
    for thread in made:
        thread.join(WAIT)
        assert not thread.is_alive()


def test_p18_any_thread_may_submit(remote: Server) -> None:
    with Executor(remote.url) as executor:
        results: list[int] = []

        def work(n: int) -> None:
            results.append(sum(executor.map(pow, range(n), [1] * n)))

        workers = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sorted(results) == [sum(range(n)) for n in range(16)]


AT_EXIT = """
import futurity, sys
executor = futurity.Executor()
future = executor.submit(pow, 2, 10)
future.add_done_callback(lambda done: print(done.result()))
"""


def test_p15_at_exit_what_was_submitted_is_waited_for_with_its_callbacks(remote: Server) -> None:
    ran = run(AT_EXIT, FUTURITY_URL=remote.url)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("1024\n", "", 0)


def test_p15_who_detaches_is_not_waited_for(remote: Server, gate: Gate) -> None:
    program = f"""
import futurity, pickle
executor = futurity.Executor()
gate = pickle.loads({pickle.dumps(gate)!r})
future = executor.submit(gate.hold, "later")
print(executor.detach())
"""
    ran = run(program, FUTURITY_URL=remote.url)
    assert (ran.stderr, ran.returncode) == ("", 0)
    gate.let_through()
    (future,) = Executor(remote.url, name=ran.stdout.strip()).futures()
    assert future.result(WAIT) == "later"


INTERRUPTED = """
import futurity, pickle, signal, sys, os
with {executor} as executor:
    future = executor.submit(pickle.loads({gate!r}).hold, "went on")
    executor.flush()
    while not future.running():
        pass
    print("running", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    future.result()
"""


def test_p16_after_ctrl_c_a_remote_executor_leaves_and_says_where_the_jobs_are(remote: Server, gate: Gate) -> None:
    program = INTERRUPTED.format(executor="futurity.Executor(name='interrupted')", gate=pickle.dumps(gate))
    ran = run(program, FUTURITY_URL=remote.url)
    assert "1 jobs go on: futurity.Executor(name='interrupted').futures()" in ran.stderr
    assert "KeyboardInterrupt" in ran.stderr
    gate.let_through()
    (future,) = Executor(remote.url, name="interrupted").futures()
    assert future.result(WAIT) == "went on"


def test_p16_after_ctrl_c_a_local_executor_cancels_and_stops(gate: Gate) -> None:
    ran = run(INTERRUPTED.format(executor="futurity.local(1)", gate=pickle.dumps(gate)))
    assert ran.stdout == "running\n"
    assert "KeyboardInterrupt" in ran.stderr
    assert "go on" not in ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_p19_a_child_starts_anew_and_what_it_inherited_is_broken(remote: Server, gate: Gate) -> None:
    executor = Executor(remote.url)
    held = executor.submit(gate.hold, "parent's")
    assert held.accepted(WAIT)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            held.result(5)
        except BrokenExecutor as error:
            if "made before fork" in str(error) and executor.submit(pow, 2, 3).result(WAIT) == 8:
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    gate.let_through()
    assert held.result(WAIT) == "parent's"
    executor.shutdown()


def test_p19_executors_and_futures_can_be_pickled_and_the_key_stays(remote: Server) -> None:
    with Executor(remote.url, name="pickled", key="fut_secret") as executor:
        data = pickle.dumps(executor)
        assert b"fut_secret" not in data
        again: Executor = pickle.loads(data)
        assert (again.name, again.client.url) == ("pickled", remote.url)
        future = Executor(remote.url, name="sent").submit(pow, 2, 6)
        future.result(WAIT)
        loaded: RemoteFuture[int] = pickle.loads(pickle.dumps(future))
        assert loaded.id == future.id
        assert loaded.result(WAIT) == 64


def test_p22_another_process_finds_every_accepted_job_after_a_kill(remote: Server) -> None:
    program = """
import futurity, os, signal
executor = futurity.Executor(name="killed")
futures = [executor.submit(pow, n, 2) for n in range(300)]
executor.flush()
print(*[future.id for future in futures], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = run(program, FUTURITY_URL=remote.url)
    assert ran.returncode == -signal.SIGKILL
    ids = ran.stdout.split()
    with Executor(remote.url, name="killed") as executor:
        found = executor.futures()
        assert [future.id for future in found] == ids
        assert [future.result(WAIT) for future in found] == [n**2 for n in range(300)]
        assert executor.future(ids[7]).result(WAIT) == 49


def test_p23_a_server_that_restarts_is_a_pause(tmp_path: Path, gate: Gate) -> None:
    with Server(config=worker_config(1)) as server, Executor(server.url) as executor:
        before = [executor.submit(pow, 2, n) for n in range(5)]
        held = executor.submit(gate.hold, "held")
        while not held.running():
            pass
        after = [executor.submit(pow, 3, n) for n in range(5)]
        executor.flush(WAIT)
        server.restart()
        more = executor.submit(pow, 5, 2)
        gate.let_through()
        assert held.result(WAIT) == "held"
        assert held.job().attempt == 2
        assert [one.result(WAIT) for one in [*before, *after, more]] == [
            *(2**n for n in range(5)),
            *(3**n for n in range(5)),
            25,
        ]


def test_p23_a_server_that_stays_away_fails_the_futures_with_their_name(caplog: pytest.LogCaptureFixture) -> None:
    with Server(config=worker_config(1)) as server:
        url = server.url
        executor = Executor(url, name="away", server_timeout_seconds=0.5)
        executor.submit(pow, 1, 1).result(WAIT)
        server.kill()
        future = executor.submit(pow, 2, 2)
        with pytest.raises(ServerLost, match=r"Executor\(name='away'\)"):
            future.result(WAIT)
        executor.shutdown()


def test_a_server_with_another_data_directory_is_said(tmp_path: Path, gate: Gate) -> None:
    with Server(config=worker_config(1)) as server:
        executor = Executor(server.url)
        future = executor.submit(gate.hold)
        assert future.accepted(WAIT)
        server.kill()
        server.data_dir = tmp_path / "other"
        server.start()
        with pytest.raises(ServerLost, match="another data directory"):
            future.result(WAIT)
        executor.shutdown()


def test_p24_a_full_queue_holds_submissions_back_until_there_is_room(gate: Gate) -> None:
    config = "[queues.default]\nmax_workers = 1\nmax_pending = 2\n" + worker_config(1)
    with Server(config=config) as server, Executor(server.url) as executor:
        held = executor.submit(gate.hold)
        while not held.running():
            pass
        futures = [executor.submit(pow, 2, n) for n in range(8)]
        gate.let_through()
        assert [future.result(WAIT) for future in futures] == [2**n for n in range(8)]


def test_p24_a_refusal_is_the_futures_exception(remote: Server) -> None:
    with Executor(remote.url) as executor:
        with pytest.raises(Problem, match="priority"):
            executor.options(priority=1000).submit(pow, 1, 1).result(WAIT)
        assert executor.submit(pow, 2, 2).result(WAIT) == 4


def test_a_server_without_a_worker_for_pickles_says_what_the_operator_has_to_write() -> None:
    with Server() as server, Executor(server.url) as executor, pytest.raises(FuturityError, match="--allow-pickle"):
        executor.submit(pow, 1, 1).result(WAIT)


def test_a_key_that_does_not_allow_it_is_said_on_the_futures() -> None:
    with Server(config=worker_config(1)) as server:
        server.create_key()
        executor = Executor(server.url, key="fut_of_nobody")
        with pytest.raises(AccessDenied):
            executor.submit(pow, 1, 1).result(WAIT)
        executor.shutdown()


def test_what_is_not_sealed_with_the_secret_is_not_loaded() -> None:
    secret = "s" * 32
    config = worker_config(1, secret=True)
    with Server(config=config, environment={"FUTURITY_PICKLE_SECRET": secret}) as server:
        with Executor(server.url, pickle_secret=secret) as executor:
            future = executor.submit(pow, 2, 2)
            assert future.result(WAIT) == 4
            call = executor.client.get(future.id).args
        assert call is not None
        for stranger in (Executor(server.url), Executor(server.url, pickle_secret="t" * 32)):
            with stranger, pytest.raises(FuturityError, match="not sealed"):
                stranger.submit(pow, 2, 2).result(WAIT)
        with server.client() as client:
            copied = client.submit("python.call", call, wait=30)
            assert copied.error is not None
            assert copied.error.type == "Unsealed", "a seal holds for one job"


def test_a_local_server_ends_with_its_process_however_that_ends() -> None:
    program = """
import futurity, os, signal
executor = futurity.local(1)
executor.submit(pow, 2, 2).result()
print(executor.server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = run(program)
    assert ran.returncode == -signal.SIGKILL
    server = Path(f"/proc/{ran.stdout.strip()}")
    ended = threading.Event()
    while server.exists() and "Z" not in (server / "status").read_text().split("State:")[1].split()[0]:
        ended.wait(0.01)


def test_local_with_a_data_directory_goes_on_and_is_joined(tmp_path: Path) -> None:
    with futurity.local(1, data_dir=tmp_path / "kept") as first:
        name = first.name
        future = first.submit(pow, 2, 7)
        assert future.result(WAIT) == 128
        with futurity.local(1, data_dir=tmp_path / "kept") as second:
            assert second.server is None
            assert second.client.url == first.client.url
            assert second.submit(pow, 2, 8).result(WAIT) == 256
        assert first.submit(pow, 2, 3).result(WAIT) == 8
    assert (tmp_path / "kept" / "local.json").stat().st_mode & 0o077 == 0
    with futurity.local(1, data_dir=tmp_path / "kept") as again:
        assert again.client.get(future.id).state == "succeeded"
    assert name


def test_local_refuses_numbers_that_are_none() -> None:
    for number in (0, -1):
        with pytest.raises(ValueError, match="max_workers must be greater than 0"):
            futurity.local(number)
    with pytest.raises(ValueError, match="max_tasks_per_child"):
        futurity.local(1, max_tasks_per_child=0)


def test_a_cancelled_job_of_another_client_is_cancelled_here(remote: Server, gate: Gate) -> None:
    with Executor(remote.url) as executor:
        held = [executor.submit(gate.hold) for _ in range(2)]
        waiting = executor.submit(pow, 2, 2)
        executor.flush(WAIT)
        assert executor.client.cancel(waiting.id, mode="pending").cancelled
        with pytest.raises(CancelledError):
            waiting.result(WAIT)
        for _ in held:
            gate.let_through()


def test_workers_are_terminated_for_this_executor_alone(remote: Server, gate: Gate) -> None:
    executor = Executor(remote.url)
    running = executor.submit(gate.hold)
    while not running.running():
        pass
    waiting = [executor.submit(gate.hold) for _ in range(3)]
    executor.terminate_workers()
    with pytest.raises(CancelledError):
        running.result(WAIT)
    assert all(future.cancelled() for future in wait(waiting, WAIT).done)
    with pytest.raises(RuntimeError):
        executor.submit(pow, 1, 1)
    with Executor(remote.url) as other:
        assert other.submit(pow, 2, 2).result(WAIT) == 4

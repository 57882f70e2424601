"""An executor on a server that others use too: a queue of its own, processes that make way, scopes, results that are gone."""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from futurity import AccessDenied, Client, Executor, FuturityError, Problem, RemoteFuture
from futurity import sender as sending
from futurity.testing import Server, worker_config
from tests import gate as functions

if TYPE_CHECKING:
    from tests.gate import Gate

WAIT = 60.0


def test_max_workers_makes_a_queue_of_its_own(remote: Server, gate: Gate) -> None:
    with Executor(remote.url, max_workers=1) as executor:
        assert executor._max_workers == 1
        futures = [executor.submit(gate.hold, n) for n in range(2)]
        executor.flush(WAIT)
        while not futures[0].running():
            pass
        with Executor(remote.url) as other:
            assert other.submit(pow, 2, 2).result(WAIT) == 4, "one process is free, and the second call is not for it"
        assert not futures[1].running()
        queue = executor.client.queue(str(futures[0].job().queue))
        assert queue.name.startswith("executor-")
        assert (queue.max_workers, queue.depth["pending"]) == (1, 1)
        again: Executor = pickle.loads(pickle.dumps(executor))
        assert again._max_workers == 1
        for _ in futures:
            gate.let_through()
        assert [future.result(WAIT) for future in futures] == [0, 1]


def test_a_queue_that_went_is_made_again(remote: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with Executor(remote.url, max_workers=1) as executor:
        assert executor.submit(pow, 2, 2).result(WAIT) == 4
        own = executor.engine.own_queue
        assert own is not None
        # As if ten minutes had passed: another name is a queue that is not there.
        executor.engine.own_queue = own._replace(name=own.name + "-2")
        other = executor.options(queue=own.name + "-2")
        assert [future.result(WAIT) for future in other.submit_many(pow, [(2, n) for n in range(5)])] == [
            1,
            2,
            4,
            8,
            16,
        ]
        assert executor.client.queue(own.name + "-2").max_workers == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_workers": 0}, "max_workers must be greater than 0"),
        ({"max_workers": -1}, "max_workers must be greater than 0"),
        ({"max_tasks_per_child": 0}, "max_tasks_per_child must be greater than 0"),
        ({"max_workers": 1, "queue": "default"}, "either that or queue"),
    ],
)
def test_numbers_that_are_none_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Executor(**options)


def test_p21_a_process_of_a_shared_server_makes_way_too() -> None:
    with Server(config=worker_config(1)) as server, Executor(server.url, max_tasks_per_child=2) as executor:
        counts = [executor.submit(functions.count_here).result(WAIT) for _ in range(6)]
        assert counts == [1, 2, 1, 2, 1, 2]
        worker = executor.client.function("python.call").worker
        assert worker is not None
        assert worker.restarts == 0, "it is no loss"


def test_p24_a_key_without_the_functions_own_scope_is_denied_on_the_future() -> None:
    with Server(config=worker_config(1, more='scope = "code"\n')) as server:
        server.create_key("admin")
        may, may_not = server.create_key("submit", "read", "code"), server.create_key("submit", "read")
        with Executor(server.url, key=may) as executor:
            assert executor.submit(pow, 2, 2).result(WAIT) == 4
        with Executor(server.url, key=may_not) as executor:
            with pytest.raises(AccessDenied, match="code"):
                executor.submit(pow, 2, 2).result(WAIT)
            named: Any = executor.function("math.factorial")
            assert executor.submit(named, 5).result(WAIT) == 120


def test_a_result_that_is_gone_is_said_with_the_setting(remote: Server) -> None:
    with Executor(remote.url, name="late") as executor:
        futures = [executor.options(retention_seconds=0.01).submit(pow, 2, n) for n in range(2)]
        ids = [future.id for future in futures]
        assert [future.result(WAIT) for future in futures] == [1, 2]
        for id in ids:
            while is_known(executor.client, id):
                executor.options(retention_seconds=0.01).submit(pow, 1, 1).result(WAIT)
        # As another process that knows of the jobs from before finds them.
        late = [RemoteFuture[int](executor.engine, id, "call", "builtins.pow") for id in ids]
        executor.engine.attach(late)
        for future in late:
            with pytest.raises(FuturityError, match=r"HTTP 410.*retention_seconds"):
                future.result(WAIT)


def is_known(client: Client, id: str) -> bool:
    try:
        client.get(id)
    except Problem as problem:
        return problem.status != 410
    return True


def test_a_server_of_another_version_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sending._compare_versions("http://there", "0.1.9")
        assert caplog.text == ""
        sending._compare_versions("http://there", "9.2.0")
    assert "this futurity (0.1.0) is too old" in caplog.text
    assert "9.2.0" in caplog.text
    caplog.clear()
    sending._compare_versions("http://there", "0.0.1")
    assert "the server at http://there (0.0.1) is too old" in caplog.text


def test_p26_a_job_that_waits_for_a_job_is_warned_once(remote: Server) -> None:
    with Executor(remote.url) as executor:
        value, warned = executor.submit(functions.waits_for_another, remote.url).result(WAIT)
    assert value == [4, 8]
    assert len(warned) == 1
    assert "give inner jobs a worker of their own" in warned[0]

"""`Client` has a method for each operation of the contract, and each of them asks what it should."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from futurity import Client, Problem
from futurity.client import OPERATIONS
from futurity.testing import Server

CONTRACT = Path(__file__).parents[3] / "openapi.yaml"
VERBS = ("get", "head", "post", "put", "delete")


@functools.cache
def operations() -> dict[str, tuple[str, str]]:
    """Give method and path of each operation."""
    contract: Any = yaml.safe_load(CONTRACT.read_text())
    return {
        operation["operationId"]: (verb.upper(), path)
        for path, verbs in contract["paths"].items()
        for verb, operation in verbs.items()
        if verb in VERBS
    }


def test_there_is_a_method_for_each_operation_and_none_besides() -> None:
    there, here = set(operations()), set(OPERATIONS)
    assert there - here == set(), "give these a method of Client, and a line in futurity.client.OPERATIONS"
    assert here - there == set(), "these are no operations of openapi.yaml any more"
    assert [name for name in OPERATIONS.values() if not callable(getattr(Client, name, None))] == []


def test_each_method_asks_its_operation() -> None:
    with Server(arguments=["--allow-loopback-egress", "--access-log", "--grace-seconds", "1"]) as server:
        with server.client() as client:
            ask_everything(client)
        server.stop()
        asked = set(re.findall(r'method=(\S+) path="([^"]+)"', server.log))
        missing = [name for name, (verb, path) in operations().items() if not was_asked(verb, path, asked)]
    assert missing == []


def was_asked(verb: str, path: str, asked: set[tuple[str, str]]) -> bool:
    pattern = re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + "$")
    fixed = {template for _, template in operations().values() if "{" not in template}
    return any(
        method == verb and pattern.match(target) and (target == path or target not in fixed) for method, target in asked
    )


def ask_everything(client: Client) -> None:
    url = "http://127.0.0.1:9/nobody"
    job = client.submit("math.factorial", [5], wait=10)
    assert [one.function for one in client.submit_many([{"function": "echo"}]) if not isinstance(one, Problem)] == [
        "echo"
    ]
    assert client.state(job.id).done
    assert client.result(job.id) == 120
    assert client.exception(job.id) is None
    assert [event.kind for event in client.follow(job.id)][-1] == "end"
    assert client.log(job.id) == []
    assert client.wait([job.id]).done[0].id == job.id
    assert [one.id for one in client.as_completed([job.id])] == [job.id]
    callback = client.add_callback(job.id, url)
    assert [one.id for one in client.callbacks(job.id)] == [callback.id]
    assert callback.id in [one.id for one in client.all_callbacks()]
    assert client.redeliver_many(state="failed", dry_run=True).redelivered == 0
    with pytest.raises(Problem, match="pending already"):
        client.redeliver(callback.id)
    client.remove_callback(callback.id)

    failed = client.submit("raise", ["ValueError", "no"], wait=10)
    assert client.get(client.retry(failed.id).id, wait=10).retry_of == failed.id
    assert client.get(failed.id).state == "failed"
    client.forget(failed.id)
    assert job.id in [one.id for one in client.jobs()]

    client.complete(client.submit_manual().id, {"yes": True})
    client.fail(client.submit_manual().id, "ValueError", "no")
    assert client.cancel(client.submit_manual().id).cancelled
    assert client.cancel_many([client.submit_manual().id]).cancelled == 1

    batch = client.submit_batch("echo", iterables=[[1, 2]], wait=10)
    assert client.batch(batch.id).done
    assert batch.id in [one.id for one in client.batches()]
    assert [item.result for item in client.batch_results(batch.id)] == [1, 2]
    assert client.cancel_batch(batch.id).done
    client.add_batch_callback(batch.id, url, when="first_completed")
    assert len(list(client.batch_callbacks(batch.id))) == 1
    assert [item.result for item in client.map("echo", [[1], {"kwargs": {"value": 2}}])] == [1, 2]

    assert "echo" in [function.name for function in client.functions()]
    assert client.function("echo").runtime == "native"
    assert client.set_queue("mine", max_workers=2).max_workers == 2
    assert client.pause("mine").paused
    assert not client.resume("mine").paused
    assert client.shut_down("mine").queue.shutdown
    assert client.queue("mine").name in [queue.name for queue in client.queues()]
    with pytest.raises(Problem, match="there is no worker 'nobody'"):
        client.restart_worker("nobody")
    assert next(client.events(after=0)).kind in ("state", "reset")

    assert client.server().limits["submission_bytes"] == 1024 * 1024
    assert client.is_alive()
    assert client.readiness().status == "ready"
    assert client.contract().startswith("openapi: 3.1")
    assert "raised" in client.explain("raised").lower()

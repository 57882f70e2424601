"""What `Client` gives and raises, against a real server."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as WaitTimeout
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from futurity import (
    AccessDenied,
    Client,
    FuturityError,
    Job,
    Problem,
    RemoteError,
    Retry,
    RunTimeout,
    ServerLost,
    StartTimeout,
)
from futurity.client.asking import encoded
from futurity.models import GoneJob, Model, read
from futurity.testing import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_result_is_the_value_and_a_wait_that_runs_out_cancels_nothing(client: Client) -> None:
    gate = client.submit_manual()
    with pytest.raises(WaitTimeout):
        client.result(gate.id, timeout=0.01)
    with pytest.raises(WaitTimeout):
        client.exception(gate.id, timeout=-1)
    client.complete(gate.id, {"ü": [1.5, None]})
    assert client.result(gate.id) == {"ü": [1.5, None]}
    assert client.exception(gate.id) is None


def test_what_a_function_raised_is_a_remote_error_with_its_type(client: Client) -> None:
    job = client.submit("raise", ["TimeoutError", "its own"])
    with pytest.raises(RemoteError) as raised:
        client.result(job.id, timeout=30)
    assert (raised.value.type, raised.value.message) == ("TimeoutError", "its own")
    assert str(raised.value) == "TimeoutError: its own"
    assert not isinstance(raised.value, TimeoutError), "it would be taken for a wait that ran out"
    error = client.exception(job.id)
    assert isinstance(error, RemoteError)
    assert error.type == "TimeoutError"


def test_the_time_outs_of_the_server_have_classes_of_their_own(client: Client) -> None:
    client.set_queue("timeouts", max_workers=1)
    slow = client.submit("sleep", [600], queue="timeouts", run_timeout_seconds=0.01)
    with pytest.raises(RunTimeout):
        client.result(slow.id, timeout=30)
    client.pause("timeouts")
    late = client.submit("echo", [1], queue="timeouts", start_timeout_seconds=0.01)
    with pytest.raises(StartTimeout):
        client.result(late.id, timeout=30)


def test_a_cancelled_job_raises_cancelled_error(client: Client) -> None:
    job = client.submit_manual()
    assert client.cancel(job.id, mode="pending").cancelled
    with pytest.raises(CancelledError):
        client.result(job.id)
    with pytest.raises(CancelledError):
        client.exception(job.id)


def test_a_submission_has_the_options_that_were_given(client: Client) -> None:
    moment = datetime.now(timezone.utc) + timedelta(days=1)
    job = client.submit(
        "echo",
        [1],
        priority=7,
        tags=["a", "b"],
        metadata={"order": "17"},
        retry=Retry(max_attempts=3, jitter=0),
        run_at=moment,
        retention_seconds=3600,
        on_interrupt="fail",
    )
    assert (job.priority, job.tags, job.metadata, job.max_attempts) == (7, ("a", "b"), {"order": "17"}, 3)
    assert (job.on_interrupt, job.state, job.done) == ("fail", "pending", False)
    assert job.run_at is not None
    assert abs(job.run_at - moment) < timedelta(seconds=1)
    assert [found.id for found in client.jobs(tag="a", created_after=moment - timedelta(days=2))] == [job.id]
    assert client.cancel_many(tag="a").cancelled == 1


def test_the_same_id_again_is_the_same_job_and_another_call_with_it_is_refused(client: Client) -> None:
    job = client.submit("echo", [1], wait=10)
    assert client.submit("echo", [1], id=job.id).id == job.id
    with pytest.raises(Problem) as refused:
        client.submit("echo", [2], id=job.id)
    assert (refused.value.code, refused.value.status) == ("id_conflict", 409)


def test_a_refusal_says_the_place_and_survives_pickling(client: Client) -> None:
    with pytest.raises(Problem) as refused:
        client.submit("echo", [1], priority=1000)
    problem = refused.value
    assert (problem.code, problem.status) == ("invalid_value", 422)
    assert problem.errors[0][0] == "/priority"
    assert "/priority" in str(problem)
    assert problem.request_id
    again = pickle.loads(pickle.dumps(problem))
    assert (type(again), str(again), again.body) == (Problem, str(problem), problem.body)


def test_a_full_queue_says_when_to_come_again(client: Client) -> None:
    client.set_queue("full", max_workers=1, max_pending=1)
    client.pause("full")
    client.submit("echo", [1], queue="full")
    with pytest.raises(Problem) as refused:
        client.submit("echo", [1], queue="full")
    assert refused.value.code == "queue_full"
    assert refused.value.retry_after is not None


def test_many_submissions_are_answered_in_order_each_with_a_job_or_a_problem(client: Client) -> None:
    calls = [{"function": "echo", "args": [n]} for n in range(1500)]
    calls[700] = {"function": "nothing.such"}
    answers = list(client.submit_many(calls))
    assert len(answers) == 1500
    refused = answers[700]
    assert isinstance(refused, Problem)
    assert refused.code == "unknown_function"
    jobs = [answer for answer in answers if isinstance(answer, Job)]
    assert [job.args for job in jobs] == [[n] for n in range(1500) if n != 700]


def test_as_completed_gives_each_once_and_those_that_were_forgotten_by_their_id(client: Client) -> None:
    ids = [client.submit("echo", [n], wait=10).id for n in range(3)]
    client.forget(ids[1])
    assert {job.id for job in client.as_completed(ids[::2])} == set(ids[::2])
    gate = client.submit_manual()
    given = client.as_completed([ids[0], gate.id], timeout=0.05)
    assert next(given).id == ids[0]
    with pytest.raises(WaitTimeout):
        next(given)


def test_wait_ends_with_the_first_or_by_its_time(client: Client) -> None:
    done, gate = client.submit("echo", [1], wait=10), client.submit_manual()
    waited = client.wait([done.id, gate.id], return_when="FIRST_COMPLETED")
    assert ([job.id for job in waited.done], waited.not_done, waited.timed_out) == ([done.id], (gate.id,), False)
    assert client.wait([gate.id], timeout=0.01).timed_out


def test_follow_ends_with_the_job_and_the_log_is_kept(client: Client) -> None:
    events = list(client.follow(client.submit("echo", [1]).id))
    assert [event.kind for event in events][-1] == "end"
    assert events[-1].data == {"reason": "done"}
    assert client.progress(events[0].data["id"]) is None


def test_events_resume_behind_a_place(client: Client) -> None:
    job = client.submit("echo", [1], tags=["seen"], wait=10)
    first = next(client.events(after=0, tag="seen"))
    assert first.data["id"] == job.id
    second = client.submit("echo", [2], tags=["seen"])
    seen = (event for event in client.events(after=int(first.id), tag="seen") if event.data["done"])
    assert next(seen).data["id"] == second.id


def test_a_map_takes_no_more_than_there_is_room_for_and_gives_what_its_input_raises(client: Client) -> None:
    taken = 0
    lock = threading.Lock()

    def calls() -> Iterator[list[int]]:
        nonlocal taken
        for n in range(100_000):
            with lock:
                taken += 1
            yield [n]

    results = client.map("echo", calls(), buffersize=8, on_disconnect="cancel")
    assert [next(results).result for _ in range(3)] == [0, 1, 2]
    results.close()  # type: ignore[attr-defined]
    assert taken < 100_000

    def broken() -> Iterator[list[int]]:
        yield [1]
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        list(client.map("echo", broken()))


def test_a_key_is_needed_once_there_is_one_and_its_scope_counts() -> None:
    with Server() as server:
        key = server.create_key("submit")
        with pytest.raises(AccessDenied) as refused:
            server.client().submit("echo", [1])
        assert (refused.value.status, isinstance(refused.value, PermissionError)) == (401, True)
        client = server.client(key=key)
        job = client.submit("echo", [1])
        with pytest.raises(AccessDenied, match="read"):
            client.get(job.id)
        with pytest.raises(AccessDenied):
            next(iter(client.as_completed([job.id])))
        assert key not in repr(client)


def test_url_and_key_come_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUTURITY_URL", server.url)
    monkeypatch.setenv("FUTURITY_KEY", "fut_of_nobody")
    assert Client().url == server.url
    assert Client().is_alive()


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://u:p@x", "http://x?a=b"])
def test_what_is_no_url_of_a_server_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL"):
        Client(url)


def test_a_server_that_is_not_there_is_said_with_its_url() -> None:
    with Server() as server:
        url = server.url
    client = Client(url)
    with pytest.raises(ServerLost, match=url):
        client.submit("echo", [1])
    with pytest.raises(ServerLost, match=url):
        next(iter(client.as_completed([])))
    assert not client.is_alive()


def test_what_a_newer_server_says_is_kept_and_what_is_no_futurity_is_said(client: Client) -> None:
    job = read(GoneJob, {"id": "x", "state": "failed", "new": 1})
    assert (job.id, job.extra) == ("x", {"new": 1})
    with pytest.raises(FuturityError, match="state"):
        read(GoneJob, {"id": "x"})
    with pytest.raises(FuturityError, match="Futurity"):
        read(Model, [])


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}, datetime(2026, 1, 1)])  # noqa: DTZ001
def test_what_is_no_json_is_refused_before_it_is_sent(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        encoded({"args": [value]})

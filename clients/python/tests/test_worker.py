"""The worker program: functions by name, their signatures, log, progress and cancel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from futurity import Client, Problem, RemoteError, RunTimeout
from futurity.testing import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parents[1]


def config(*arguments: str, name: str = "own", more: str = "") -> str:
    argv = json.dumps([sys.executable, "-m", "futurity.worker", *arguments])
    return f"[workers.{name}]\nargv = {argv}\ndirectory = {json.dumps(str(HERE))}\n{more}\n"


@pytest.fixture(scope="module")
def own() -> Iterator[Client]:
    with Server(config=config("tests.sample")) as server, server.client() as client:
        yield client


def begun(client: Client, function: str, *args: Any, **options: Any) -> str:
    """Submit a call, and wait until it says that it has begun."""
    job = client.submit(function, args, **options)
    for event in client.follow(job.id):
        if event.kind == "log" and event.data["line"] == "begun":
            return job.id
    raise AssertionError(client.get(job.id))


def words(client: Client, job: str) -> list[str]:
    return [line.line for line in client.log(job)]


def test_a_function_is_announced_with_its_signature(own: Client) -> None:
    function = own.function("sample.resize")
    assert function.description == "Makes an image smaller."
    assert function.parameters is not None
    path, width = function.parameters
    assert (path.name, path.required, path.schema) == ("path", True, {"type": "string"})
    assert (width.required, width.default, width.schema) == (False, 200, {"type": "integer"})
    assert own.function("sample.anything").parameters is None
    names = [one.name for one in own.functions() if one.runtime == "worker"]
    assert "sample.not_announced" not in names


@pytest.mark.parametrize(
    ("kwargs", "pointer"),
    [
        ({"point": {"x": "1"}}, "/kwargs/point/x"),
        ({"colour": "green"}, "/kwargs/colour"),
        ({"options": {}}, "/kwargs/options"),
        ({"pair": [1]}, "/kwargs/pair"),
        ({"way": "left"}, "/kwargs/way"),
        ({"maybe": ["a"]}, "/kwargs/maybe"),
    ],
)
def test_a_submission_that_does_not_fit_the_hints_is_refused_at_its_place(
    own: Client, kwargs: dict[str, Any], pointer: str
) -> None:
    fits = {"point": {"x": 1}, "colour": "red", "options": {"deep": True}, "pair": [1, "a"]}
    with pytest.raises(Problem) as refused:
        own.submit("image.typed", kwargs={**fits, **kwargs})
    assert refused.value.status == 422
    assert pointer in [place for place, _ in refused.value.errors]


def test_arguments_arrive_as_their_hints_say(own: Client) -> None:
    job = own.submit("image.typed", [{"x": 1}, "red", {"deep": True}, [1, "a"]])
    assert own.result(job.id, timeout=30) == ["Point", "Colour", "dict", "tuple", "str", "NoneType"]


def test_what_is_printed_is_the_jobs_log_in_order(own: Client) -> None:
    job = own.submit("sample.resize", ["/x"], wait=30)
    assert job.result == {"width": 200}
    assert words(own, job.id) == [f"job {job.id} attempt 1", "of /x", "printed", "no end of line"]


def test_what_a_program_writes_that_a_function_starts_is_the_jobs_log_too(own: Client) -> None:
    job = begun(own, "sample.starts_a_program")
    assert own.cancel(job, grace_seconds=60, wait=60).cancelled


def test_progress_is_seen_while_the_job_runs(own: Client) -> None:
    job = own.submit("sample.half_way")
    seen: Any = None
    for event in own.follow(job.id):
        seen = event.data if event.kind == "progress" else event.data.get("progress")
        if seen:
            break
    assert seen == {"fraction": 0.5, "message": "half way"}
    progress = own.progress(job.id)
    assert progress is not None
    assert (progress.fraction, progress.message) == (0.5, "half way")
    own.cancel(job.id, wait=60)


def test_results_that_have_a_form_in_json_take_it_and_others_are_said_by_their_type(own: Client) -> None:
    job = own.submit("sample.plain_forms")
    assert own.result(job.id, timeout=30) == {
        "point": {"x": 1, "y": 2},
        "colour": "red",
        "moment": "2026-01-02T00:00:00+00:00",
        "path": "/tmp/x",
    }
    with pytest.raises(RemoteError, match="a set, which is no JSON"):
        own.result(own.submit("sample.no_json").id, timeout=30)


@pytest.mark.parametrize("function", ["sample.sleeps", "sample.waits"])
def test_a_cancel_wakes_what_sleeps_and_lets_it_clean_up(own: Client, function: str) -> None:
    job = begun(own, function, 600)
    cancelled = own.cancel(job, grace_seconds=60, wait=60)
    assert (cancelled.cancelled, cancelled.state) == (True, "cancelled")
    assert words(own, job) == ["begun", "cleaned up"]
    assert own.result(own.submit(function, [0]).id, timeout=30) in ("slept", "waited"), "the process lives on"


def test_a_function_that_is_not_to_be_interrupted_asks_itself(own: Client) -> None:
    # Again and again: the signal comes in the middle of such a look as often as not.
    for _ in range(20):
        job = begun(own, "sample.looks", 600)
        assert own.cancel(job, grace_seconds=60, wait=60).state == "succeeded"
        assert own.get(job).result == "stopped by itself"


def test_a_time_that_is_over_interrupts_as_a_cancel_does(own: Client) -> None:
    job = own.submit("sample.sleeps", [600], run_timeout_seconds=0.3)
    with pytest.raises(RunTimeout):
        own.result(job.id, timeout=60)
    assert words(own, job.id)[-1] == "cleaned up"


def test_a_system_exit_is_the_calls_error_and_the_process_lives(own: Client) -> None:
    with pytest.raises(RemoteError, match="SystemExit: at once"):
        own.result(own.submit("sample.exits").id, timeout=30)
    assert own.function("sample.exits").worker is not None
    worker = own.function("sample.exits").worker
    assert worker is not None
    assert worker.restarts == 0


def test_a_function_that_the_server_cannot_bind_takes_what_it_is_given(own: Client) -> None:
    job = own.submit("sample.anything", [1], {"b": 2})
    assert own.result(job.id, timeout=30) == [[1], {"b": 2}]


def test_pickled_calls_are_not_there_unless_the_operator_allows_them(own: Client) -> None:
    with pytest.raises(Problem) as refused:
        own.submit("python.call", [{}])
    assert refused.value.code == "unknown_function"


def worker_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "futurity.worker", *arguments]
    return subprocess.run(argv, cwd=HERE, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_a_module_that_does_not_import_is_said_by_its_name() -> None:
    ran = worker_program("tests.nowhere")
    assert ran.returncode == 1
    assert "the module 'tests.nowhere' cannot be imported" in ran.stderr
    assert "nothing to announce" in worker_program().stderr


def test_the_help_says_what_pickled_calls_mean() -> None:
    text = " ".join(worker_program("--help").stdout.split())
    assert "Whoever may submit pickled calls to a worker can run any code as that worker's user" in text


def test_a_worker_that_reloads_makes_way_for_new_code(tmp_path: Path) -> None:
    module = tmp_path / "changing.py"
    text = "from futurity.worker import function\n@function\ndef word() -> str:\n    return {!r}\n"
    module.write_text(text.format("old"))
    argv = json.dumps([sys.executable, "-m", "futurity.worker", "changing", "--reload"])
    changing = f"[workers.own]\nargv = {argv}\ndirectory = {json.dumps(str(tmp_path))}\n"
    with Server(config=changing) as server, server.client() as client:
        assert client.submit("changing.word", wait=30).result == "old"
        module.write_text(text.format("new word"))
        while (said := client.submit("changing.word", wait=30).result) == "old":
            pass
        assert said == "new word"
        worker = client.function("changing.word").worker
        assert worker is not None
        assert worker.restarts == 0, "it is no loss"


def test_a_worker_that_reloads_looks_also_while_it_has_nothing_to_do(tmp_path: Path) -> None:
    module, imported = tmp_path / "named.py", tmp_path / "imported"
    text = (
        "import pathlib\nfrom futurity.worker import function\n"
        f"pathlib.Path({str(imported)!r}).open('a').write('here\\n')\n"
        "@function\ndef one() -> int:\n    return 1\n"
    )
    module.write_text(text)
    argv = json.dumps([sys.executable, "-m", "futurity.worker", "named", "--reload"])
    with Server(config=f"[workers.own]\nargv = {argv}\ndirectory = {json.dumps(str(tmp_path))}\n"):
        while imported.read_text().count("here") < 1:
            pass
        module.write_text(text + "# another\n")
        while imported.read_text().count("here") < 2:
            pass

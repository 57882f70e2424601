"""How futures and executors look in a notebook."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from futurity import Executor, RemoteFuture
from futurity.testing import Server, worker_config

if TYPE_CHECKING:
    from tests.gate import Gate

WAIT = 60.0


def words(page: str | None) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page or "")).strip()


def half_way(gate: Any) -> None:
    from futurity.worker import current_job  # noqa: PLC0415

    job = current_job()
    assert job is not None
    job.progress(0.5, "<half> way")
    gate.hold()


def test_a_future_shows_its_state_its_progress_and_its_end(remote: Server, gate: Gate) -> None:
    with Executor(remote.url, name="<shown>") as executor:
        future = executor.submit(half_way, gate)
        while future.progress() is None:
            pass
        page = future._repr_html_()
        assert page is not None
        assert '<progress value="0.500" max="1">' in page
        assert "&lt;half&gt; way" in page
        assert f"{remote.url}/v1/jobs/{future.id}" in page
        assert words(page).startswith("running")
        shown = words(executor._repr_html_())
        assert "not settled 1" in shown
        assert "&lt;shown&gt;" in shown
        gate.let_through()
        future.result(WAIT)
        assert re.match(r"succeeded tests.test_display.half_way .*\d\.\d s", words(future._repr_html_()))
        failed = executor.submit(int, "<script>")
        assert failed.exception(WAIT) is not None
        page = failed._repr_html_()
        assert "ValueError" in words(page)
        assert "<script>" not in str(page)


def test_without_a_server_it_shows_what_was_known() -> None:
    with Server(config=worker_config(1)) as server:
        executor = Executor(server.url)
        future = executor.submit(pow, 2, 2)
        future.result(WAIT)
        executor.shutdown()
    assert words(future._repr_html_()).startswith("succeeded builtins.pow")
    assert RemoteFuture[int]()._repr_html_() is None

"""The examples of the README, as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from futurity.testing import Server, worker_config

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```python\n((?:(?!```).)*)```\n```text\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_readme_has_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with Server(config=worker_config(2)) as server:
        yield server


@pytest.mark.parametrize(("program", "printed"), EXAMPLES)
def test_an_example_prints_what_stands_below_it(shared: Server, tmp_path: Path, program: str, printed: str) -> None:
    file = tmp_path / "example.py"
    file.write_text(program)
    ran = run(file, shared)
    assert (ran.stdout, ran.stderr, ran.returncode) == (printed, "", 0)


def run(file: Path, server: Server) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FUTURITY_URL": server.url, "PYTHONWARNINGS": "error"}
    return subprocess.run([sys.executable, file], env=environment, capture_output=True, text=True, check=False)


def test_the_function_of_ones_own_runs_as_it_stands(tmp_path: Path) -> None:
    (module,) = re.findall(r"```python\n# images.py\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "images.py").write_text(module)
    argv = json.dumps([sys.executable, "-m", "futurity.worker", "images"])
    config = f"[workers.images]\nargv = {argv}\ndirectory = {json.dumps(str(tmp_path))}\n"
    with Server(config=config) as server, server.client() as client:
        job = client.submit("images.resize", ["a.png"], wait=60)
        assert job.result == {"width": 200}
        assert [line.line for line in client.log(job.id)] == ["a.png"]


def test_the_application_of_fastapi_runs_as_it_stands(
    shared: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fastapi.testclient import TestClient  # noqa: PLC0415 - takes a second

    (module,) = re.findall(r"```python\n# app.py\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "app_of_readme.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FUTURITY_URL", shared.url)
    app = __import__("app_of_readme")
    with TestClient(app.app) as web:
        assert web.get("/factorials/100").json() == {"digits": 158}
        started = web.post("/reports", params={"n": 10})
        assert started.status_code == 202
        report = f"/reports/{started.json()['id']}"
        assert web.get(report).json() == {"result": 184756}
        assert web.get("/reports/0198f9c0-0000-7000-8000-000000000000").status_code == 404

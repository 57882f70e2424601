"""The fixtures of `futurity.testing`, as a suite of one's own has them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
pytest_plugins = ["futurity.testing"]

def test_one(futurity_server, futurity_executor):
    assert futurity_executor.submit(pow, 2, 10).result(60) == 1024
    assert futurity_executor.client.url == futurity_server.url

def test_what_a_test_leaves_is_stopped(futurity_executor):
    import time
    running = futurity_executor.submit(time.sleep, 600)
    while not running.running():
        pass

def test_another_goes_on(futurity_server, futurity_executor):
    futurity_server.restart()
    assert futurity_executor.submit(pow, 2, 3).result(60) == 8
    assert "INFO" in futurity_server.log
"""


def test_a_suite_of_ones_own_has_a_real_server_and_an_executor(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(SUITE.splitlines()[1] + "\n")
    (tmp_path / "test_own.py").write_text("\n".join(SUITE.splitlines()[2:]))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ran = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert "3 passed" in ran.stdout

"""Runs each block of docs/recipes.md, in order, against a real server, and compares what it prints with the block behind it.

    python3 tests/recipes/run.py PROGRAM PYTHON

PROGRAM is a built `futurity`, PYTHON an interpreter that has pandas, polars and DuckDB. Needs curl and jq. Ends with 0 if each block printed
what the page says, 77 if curl or jq lacks, else 1.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/recipes.md"
sys.path.insert(0, str(HERE.parent / "contract"))
from run import listening, stop  # noqa: E402

SKIPPED = 77
BLOCK_SECONDS = 120


def main():
    program, python = (os.path.abspath(it) for it in sys.argv[1:3])
    if not all(map(shutil.which, ("curl", "jq"))):
        return SKIPPED
    blocks = re.findall(r"```(sh|python)\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text(), re.S)
    failed = 0
    with tempfile.TemporaryDirectory() as directory, open(os.path.join(directory, "log"), "wb") as log:
        data = pathlib.Path(directory) / "data"
        server = subprocess.Popen([program, "--data-dir", data, "--listen", "127.0.0.1:0"], cwd=directory, env={},
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            address = listening(server, data / "address")
            for language, text, expected in blocks:
                command = ["bash", "-eu", "-c"] if language == "sh" else [python, "-c"]
                done = subprocess.run([*command, text.replace("127.0.0.1:8080", address)], cwd=directory,
                                      stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BLOCK_SECONDS)
                if done.returncode or done.stdout != expected:
                    failed += 1
                    print(f"WRONG:\n{text}\nended with {done.returncode} and printed\n{done.stdout}{done.stderr}\nnot\n{expected}")
            ended = stop(server)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
    print(f"recipes: {len(blocks) - failed} passed, {failed} failed")
    return 1 if failed or ended or len(blocks) < 6 else 0


if __name__ == "__main__":
    sys.exit(main())

"""Installs what `main_job.py` needs, pinned, from PyPI and npm.

    python3 tests/clients/install.py FOLDER (brief|all)

Ends with 0 if all of it is there, 77 if something cannot be had here.
"""

import filecmp
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77


def main():
    folder, which = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
    wanted = [HERE / f"{which}.txt", HERE / f"{which}.json"]
    if all((folder / it.name).exists() and filecmp.cmp(it, folder / it.name, shallow=False) for it in wanted):
        return 0
    print(f"generators of clients are missing: install them from PyPI and npm into {folder}")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "node").mkdir(parents=True)
    shutil.copy(wanted[1], folder / "node/package.json")
    commands = [
        [sys.executable, "-m", "venv", folder / "python"],
        [folder / "python/bin/pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", wanted[0]],
        ["npm", "install", "--prefix", folder / "node", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--silent"],
    ]
    for command in commands:
        try:
            done = subprocess.run([str(it) for it in command], stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode == 0:
                continue
            why = done.stderr.strip().splitlines()[-1:]
        except FileNotFoundError as error:
            why = error
        print(f"NOTE: {command[0]} did not install them: {why}")
        return SKIPPED
    for it in wanted:
        shutil.copy(it, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

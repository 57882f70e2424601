"""Breaks a server in every way that a machine, a person or a power company can, and says what came of it.

    python3 tests/torture PROGRAM [--debug-program PROGRAM] [--only NAME] [--scale 1.0] [--root DIRECTORY]

The table names each fault with the number of cases, and how many acknowledged jobs were lost, made twice, came out
wrongly, or were damaged without a word. With `--scale .01` it is over in a minute. Ends with 0 if nothing was found, with
1 if something was. What a machine has not the rights or the tools for is skipped aloud.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import calls
import cuts
import flips
import kills
import migrations
import space

FAULTS = {
    "kill -9": (kills.kills, 1_000),
    "SIGTERM under load": (kills.stops, 200),
    "SIGSTOP and SIGCONT": (kills.pauses, 50),
    "power cut": (cuts.cuts, 200),
    "power cut, careless": (cuts.careless, 5),
    "each system call": (calls.calls, 1_000),
    "kill -9 while migrating": (migrations.migrations, 1_000),
    "flipped bits and cuts": (flips.flips, 500),
    "full disk": (space.full, 30),
}
SHOWN_MAX = 10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--debug-program", help="a debug build: only that can be told not to sync")
    parser.add_argument("--only", action="append", choices=list(FAULTS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--root", help="where to work; on a disk, not in memory")
    options = parser.parse_args()
    rows, failed = [], False
    for name, (torture, count) in FAULTS.items():
        if options.only and name not in options.only:
            continue
        count = max(1, round(count * options.scale))
        program = pathlib.Path(options.program).resolve()
        if torture is cuts.careless:
            if not options.debug_program:
                rows.append((name, "SKIPPED: needs --debug-program"))
                continue
            program = pathlib.Path(options.debug_program).resolve()
        root, begun = tempfile.mkdtemp(prefix="futurity-torture-", dir=options.root), time.monotonic()
        cases, ledger, findings, told = torture(pathlib.Path(root) / "home", str(program), count)
        seconds = time.monotonic() - begun
        found = {} if ledger is None else {
            "lost": ledger.lost, "doubled": ledger.doubled, "wrong": ledger.wrong, "silent": getattr(ledger, "silent", [])}
        rows.append((name, cases, {key: len(value) for key, value in found.items()}, len(findings), seconds, told))
        for finding in [f"{key}: {it}" for key, value in found.items() for it in value][:SHOWN_MAX] + findings[:SHOWN_MAX]:
            print(f"{name}: {finding}", flush=True)
        failed |= bool(findings) or any(found.values())
        print(line(rows[-1]), flush=True)
        shutil.rmtree(root, ignore_errors=True)
    print("\n| fault | cases | lost | doubled | wrong | silent | other | seconds | |\n|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(line(row))
    sys.exit(1 if failed else 0)


def line(row):
    if len(row) == 2:
        return f"| {row[0]} | | | | | | | | {row[1]} |"
    name, cases, found, others, seconds, told = row
    counts = " | ".join(str(found.get(key, "")) for key in ("lost", "doubled", "wrong", "silent"))
    return f"| {name} | {'' if cases is None else cases} | {counts} | {others} | {seconds:.0f} | {told} |"


main()

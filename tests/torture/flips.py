"""A bit flips in the database or in its log, or one of them is cut: whatever comes of it is said."""

import pathlib
import random
import shutil

from ledger import Ledger, came_of
from server import Home, wait_until

REFUSALS = (65, 74, 78)


def prepared(root, program, stopped):
    """A directory with some hundred jobs, killed or stopped, and its ledger."""
    home, ledger = Home(root, program), Ledger()
    server = home.start()
    with ledger.load(server):
        assert wait_until(lambda: len(ledger.jobs) >= 300), f"only {len(ledger.jobs)} jobs were taken"
    ledger.check(server, list(ledger.jobs), wait=30)
    server.stop() if stopped else server.kill()
    return home, ledger


def flips(root, program, count):
    """Flips `count` bits in turn, each in a copy: half in the database of a stopped server, half in the log of a killed one."""
    root, chance = pathlib.Path(root), random.Random(5)
    outcomes, silent, findings = {}, [], []
    for stopped, name in ((True, "futurity.db"), (False, "futurity.db-wal")):
        home, ledger = prepared(root / name, program, stopped)
        for case in range(count // 2):
            copy = Home(root / "case", program)
            shutil.copytree(home.data, copy.data)
            file = copy.data / name
            content = bytearray(file.read_bytes())
            place = chance.randrange(len(content))
            if case % 10 == 9:
                del content[place:]
                what = f"{name} cut at {place}"
            else:
                content[place] ^= 1 << chance.randrange(8)
                what = f"{name} byte {place}"
            file.write_bytes(content)
            outcome, wrong = told(copy, ledger)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            silent += [f"{what}: {it}" for it in wrong]
            shutil.rmtree(copy.root)
    ledger = Ledger()
    ledger.silent = silent
    return count, ledger, findings, ", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items()))


def told(home, ledger):
    """What a server makes of it: refused, or what it says; and what it shows wrongly without a word."""
    server = home.start(may_fail=True)
    if server.code is not None:
        said = home.log.read_text()
        if server.code not in REFUSALS or "panicked" in said:
            return "ended badly", [f"exit code {server.code}: {said[-300:]}"]
        return "refused", []
    client, said, wrong = server.client(), 0, []
    for ident, entry in ledger.jobs.items():
        try:
            answer = client.get(f"/v1/jobs/{ident}")
        except Exception:
            said += 1
            break
        if answer.status >= 500:
            said += 1
            continue
        if answer.status != 200:
            wrong.append(f"{ident} is {answer.status}")
            continue
        job = answer.json()
        damaged = job.get("damaged", [])
        said += bool(damaged)
        if "arguments" not in damaged and job["args"] != entry.call.get("args", []):
            wrong.append(f"{ident} has other arguments")
        if "outcome" not in damaged:
            came = came_of(job, entry)
            if came != entry.expected:
                wrong.append(f"{ident}: {str(came)[:60]} instead of {str(entry.expected)[:60]}")
    server.kill()
    log = home.log.read_text()
    if "panicked" in log:
        wrong.append(f"it panicked: {log[-300:]}")
    if wrong:
        return "wrong without a word", wrong
    if said:
        return "told", []
    code, _ = home.run("fsck")
    return ("harmless to jobs, found by fsck" if code else "without effect"), []

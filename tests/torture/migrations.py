"""kill -9 at each write and sync of a start that makes a database, or brings one of the first schema up to date."""

import hashlib
import json
import pathlib
import shutil
import sqlite3
import uuid

from calls import KINDS, counted, is_traceable, spread, strace, was_killed
from ledger import Entry, Ledger
from server import Home

MIGRATIONS = pathlib.Path(__file__).parents[2] / "migrations" / "sqlite"
APPLIED = """create table _sqlx_migrations (version bigint primary key, description text not null,
    installed_on timestamp not null default current_timestamp, success boolean not null, checksum blob not null,
    execution_time bigint not null)"""
JOB = """insert into jobs (ordinal, id, function, queue, priority, on_interrupt, state, version, seq, finished_seq, attempt,
    created_at, finished_at, arguments, arguments_payload, arguments_bytes, result, result_bytes)
    values (?, ?, 'echo', 'default', 0, 'rerun', ?, 1, ?, ?, ?, 1700000000000, ?, ?, ?, ?, ?, ?)"""
WAITING, DONE = 40, 40
NOW = 1_900_000_000_000
"""Of jobs that are done: they are not too old yet."""


def first(home, ledger):
    """A database of the first schema, as a server would have left it: jobs that wait, with small and large arguments, and
    some that are done."""
    home.data.mkdir(mode=0o700)
    # Where a database is, nobody is let in without a key unless it says so.
    (home.data / "keys.json").write_text('{"keys": [], "open": true}')
    database = sqlite3.connect(home.data / "futurity.db")
    database.execute("pragma auto_vacuum = incremental")
    database.execute("pragma journal_mode = wal")
    script = sorted(MIGRATIONS.glob("0001_*.sql"))[0]
    database.executescript(script.read_text())
    database.execute(APPLIED)
    checksum = hashlib.sha384(script.read_bytes()).digest()
    name = script.stem.split("_", 1)[1].replace("_", " ")
    database.execute("insert into _sqlx_migrations values (1, ?, current_timestamp, 1, ?, 1)", (name, checksum))
    for number in range(1, WAITING + DONE + 1):
        ident, value, is_done = uuid.UUID(int=number), f"{number} " + "x" * (5_000 if number % 10 == 0 else 10), number > WAITING
        arguments = json.dumps([[value], {}], separators=(",", ":"))
        payload = number if len(arguments) > 1_024 else None
        if payload:
            database.execute("insert into chunks values (?, 0, ?)", (payload, arguments.encode()))
        end = (number, 1, NOW) if is_done else (None, 0, None)
        result = json.dumps(value[:20]) if is_done else None
        database.execute(JOB, (
            number, ident.bytes, "succeeded" if is_done else "pending", number, *end, None if payload else arguments, payload,
            len(arguments), result, len(result) if result else None))
        ledger.jobs[str(ident)] = Entry(number, {"args": [value]}, value[:20] if is_done else value, False)
    database.execute("update counters set ordinal = ?1, seq = ?1, payload = ?1", (WAITING + DONE,))
    database.commit()
    database.close()


def migrations(root, program, count):
    """`count` bounds the calls of one kind, spread evenly."""
    if not is_traceable():
        return None, None, [], "SKIPPED: strace cannot be run here"
    root, whole, findings, cases, killed, told = pathlib.Path(root), Ledger(), [], 0, 0, []
    for origin, make in (("nothing", lambda home, ledger: None), ("the first schema", first)):
        baseline = Home(root / "baseline", program)
        make(baseline, Ledger())
        totals = counted(baseline, lambda server: None)
        told.append(f"{sum(totals.values())} calls from {origin}")
        for kind in KINDS:
            for number in spread(totals[kind], count):
                cases += 1
                code, found = one(root / "case", program, make, f"inject={kind}:signal=KILL:when={number}", whole)
                killed += was_killed(code)
                findings += [f"from {origin}, {kind} {number}: {it}" for it in found]
    if killed < cases / 2:
        findings.append(f"only {killed} of {cases} starts were killed")
    return cases, whole, findings, ", ".join(told) + f"; {killed} were killed"


def one(root, program, make, injection, whole):
    """A start that is killed, then a sound one: how the first ended, and what was found."""
    home, ledger = Home(root, program), Ledger()
    make(home, ledger)
    server = home.start(wrapper=strace(home.data, "-o", "/dev/null", "-e", injection), may_fail=True)
    code = server.stop()
    server = home.start(may_fail=True)
    if server.code is not None:
        return code, [f"a sound server does not start: {home.log.read_text()[-500:]}"]
    ledger.check(server, list(ledger.jobs), wait=30)
    findings = server.end()
    whole.lost.extend(ledger.lost)
    whole.wrong.extend(ledger.wrong)
    whole.jobs.update({f"{injection} {ident}": entry for ident, entry in ledger.jobs.items()})
    shutil.rmtree(root)
    return code, findings

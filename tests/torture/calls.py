"""One system call fails, or is the last: each write, sync and truncate of the database in a fixed scenario, in turn."""

import pathlib
import re
import shutil
import subprocess

from ledger import ANY, Ledger
from server import Gone, Home

KINDS = ["pwrite64", "fdatasync", "fsync", "ftruncate", "fallocate"]
FAULTS = ["error=EIO", "error=ENOSPC", "signal=KILL"]


def scenario(server, ledger):
    """Small and large values, a batch, a cancel, a manual job, a callback: whatever is acknowledged goes into the ledger."""
    client = server.client(timeout=20)

    def submit(body, expected, path="/v1/jobs?wait=5"):
        ledger.number += 1
        body["metadata"] = {"number": str(ledger.number)}
        return ledger.note(client.post(path, body), ledger.number, body, expected)

    try:
        for size in (10, 3_000):
            submit({"function": "echo", "args": ["x" * size]}, "x" * size)
        submit({"function": "echo", "args": ["told"], "callbacks": [{"url": "http://127.0.0.1:9/"}]}, "told")
        # More than one piece: written ahead.
        manual = submit({"manual": True, "args": ["x" * 263_000]}, ANY, "/v1/jobs")
        if manual and client.ask("PUT", f"/v1/jobs/{manual['id']}/result", "put").status == 200:
            ledger.jobs[manual["id"]].expected = "put"
        client.post("/v1/batches", {"function": "echo", "calls": [{"args": [n]} for n in range(50)]})
        asleep = submit({"function": "sleep", "args": [60]}, ANY, "/v1/jobs")
        if asleep and client.post(f"/v1/jobs/{asleep['id']}/cancel").status in (200, 202):
            ledger.jobs[asleep["id"]].expected = "cancelled"
        submit({"function": "echo", "args": ["last"]}, "last")
    except Gone:
        return False
    return True


def strace(data, *more):
    """Sees the calls on the files of the database only."""
    files = [argument for name in ("", "-wal", "-shm") for argument in ("-P", str(data / f"futurity.db{name}"))]
    # With its filter in the kernel strace 6.1 is faster, and sends no signal.
    filtered = [] if any("signal=" in it for it in more) else ["--seccomp-bpf"]
    return ["strace", "-f", "-qq", *filtered, *files, *more]


def was_killed(code):
    """Whether the server that strace saw was killed: it ends as that does."""
    return code in (-9, 137)


def counted(home, work):
    """How often each kind is called at a start and by `work`, at most by one thread: the counters of strace are the threads'
    own."""
    trace = home.root / "trace"
    server = home.start(wrapper=strace(home.data, "-o", str(trace), "-e", "trace=" + ",".join(KINDS)))
    work(server)
    server.stop()
    counts = {}
    for line in trace.read_text().splitlines():
        found = re.match(r"(\d+) +(\w+)\(", line)
        if found:
            counts[found.groups()] = counts.get(found.groups(), 0) + 1
    shutil.rmtree(home.root)
    return {kind: max((n for (_, name), n in counts.items() if name == kind), default=0) for kind in KINDS}


def is_traceable():
    """Whether this machine lets strace run."""
    return shutil.which("strace") and subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True).returncode == 0


def spread(total, count):
    """The numbers from 1 to `total`, or `count` of them."""
    return range(1, total + 1, max(1, -(-total // count)))


def calls(root, program, count):
    """Every call of every kind with every fault; `count` bounds the calls of one kind, spread evenly."""
    if not is_traceable():
        return None, None, [], "SKIPPED: strace cannot be run here"
    root = pathlib.Path(root)
    totals = counted(Home(root / "baseline", program), lambda server: scenario(server, Ledger()))
    whole, codes, findings, cases = Ledger(), {}, [], 0
    for kind, total in totals.items():
        for number in spread(total, count):
            for fault in FAULTS:
                cases += 1
                code, found = one(root / "case", program, f"inject={kind}:{fault}:when={number}", whole)
                codes[code] = codes.get(code, 0) + 1
                findings += [f"{kind} {number} {fault}: {it}" for it in found]
    told = ", ".join(f"{kind} {total}" for kind, total in totals.items() if total)
    killed = sum(number for code, number in codes.items() if was_killed(code))
    if killed < cases / len(FAULTS) / 2:
        findings.append(f"only {killed} of {cases} servers were killed")
    return cases, whole, findings, f"calls of one thread: {told}; exit codes {dict(sorted(codes.items(), key=str))}"


def one(root, program, injection, whole):
    """The scenario with one fault, then a sound server on what it left."""
    home, ledger = Home(root, program), Ledger()
    kind = injection.split("=", 1)[1].split(":")[0]
    wrapper = strace(home.data, "-o", "/dev/null", "-e", f"trace={kind}", "-e", injection)
    server = home.start(wrapper=wrapper, may_fail=True)
    if server.code is None:
        scenario(server, ledger)
        server.signal(15)
    code = server.wait()
    findings = []
    if code not in (0, 74, 65) and not was_killed(code):
        findings.append(f"exit code {code}: {home.log.read_text()[-500:]}")
    server = home.start(may_fail=True)
    if server.code is not None:
        findings.append(f"a sound server does not start: {home.log.read_text()[-500:]}")
    else:
        ledger.check(server, list(ledger.jobs), wait=30)
        findings += server.end()
    for mine, all_of_them in [(ledger.lost, whole.lost), (ledger.wrong, whole.wrong), (ledger.doubled, whole.doubled)]:
        all_of_them.extend(f"{injection}: {it}" for it in mine)
    whole.jobs.update({f"{injection} {ident}": entry for ident, entry in ledger.jobs.items()})
    shutil.rmtree(root)
    return code, findings

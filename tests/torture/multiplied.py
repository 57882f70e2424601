"""What one request may become: its text times attempts, callbacks, pages and readers, and what others notice of it.

    python3 tests/torture/multiplied.py PROGRAM [--samples 400] [--only WORD] [--root DIRECTORY]

Each row has a fresh server on loopback. First small submissions are made while it has nothing else to do, then the row's
requests are sent, and submissions and lists go on until all of it has happened, and once more when it is over. Printed are the
most memory and disk above the server at rest, and the 99th of a hundred submissions at rest and beside. It ends with 1 if a row had
more than 64 MiB of memory, 32 MiB of disk, or three times the 99th of its server at rest, before or after. No name is looked up
outside: run it where there is no network, as in

    unshare -n sh -c 'ip link set lo up; python3 tests/torture/multiplied.py target/release/futurity'
"""

import argparse
import json
import pathlib
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from server import Home, wait_until

MIB = 1024 * 1024
MEMORY_MAX, DISK_MAX, TIMES_MAX = 64 * MIB, 32 * MIB, 3
TEXT = "x" * 900 * 1024
ATTEMPTS = 100
PAUSE_SECONDS = 0.005
DONE = ("succeeded", "failed", "cancelled")

WORKER = r"""
import json, sys
def say(it): sys.stdout.write(json.dumps(it) + "\n"); sys.stdout.flush()
for line in sys.stdin:
    it = json.loads(line)
    if it["method"] == "initialize":
        say({"jsonrpc": "2.0", "id": it["id"], "result": {"functions": [{"name": "error"}, {"name": "progress"}]}})
    elif it["method"] == "call":
        of = {k: it["params"][k] for k in ("job", "attempt")}
        if it["params"]["function"] == "progress":
            say({"jsonrpc": "2.0", "method": "progress", "params": {**of, "message": "p" * 4000000}})
        data = {"type": "T" * 900000, "traceback": "t" * 2400000, "details": "d" * 900000}
        say({"jsonrpc": "2.0", "id": it["id"], "error": {"code": 1, "message": "m" * 2400000, "data": data}})
"""


def call(function, *args, hosts=(), attempts=ATTEMPTS):
    retry = {"max_attempts": attempts, "initial_seconds": 0, "jitter": 0}
    return {"function": function, "args": list(args), "retry": retry, "callbacks": [{"url": url} for url in hosts]}


# Nobody listens there, so each body is kept and sent again.
DEAF = [f"http://127.0.0.{number}:9/" for number in range(1, 17)]
LABEL = "a" * 60
LONG = [f"http://n{number}.{LABEL}.{LABEL}.{LABEL}.example/{'u' * 1700}" for number in range(16)]
ROWS = {
    "an error of 0.9 MB, 100 attempts": [call("raise", "E", TEXT)],
    "the same with 16 callbacks": [call("raise", "E", TEXT, hosts=DEAF)],
    "an error of a worker of 6.6 MB, 100 attempts, 16 callbacks": [call("error", hosts=DEAF)],
    "progress of 4 MB, 100 attempts, 16 callbacks": [call("progress", hosts=DEAF)],
    "16 callbacks to long names and URLs, 61 times": [call("echo", hosts=LONG, attempts=1)] * 61,
    "an error of 0.9 MB, 100 attempts, 16 callbacks to long names": [call("raise", "E", TEXT, hosts=LONG)],
    "a callback with a URL of 0.9 MB": [call("echo", hosts=[f"http://127.0.0.1:9/{TEXT}"], attempts=1)],
    "a callback to a host of 0.9 MB": [call("echo", hosts=[f"http://{TEXT}.example/"], attempts=1)],
}


def submissions(client, enough):
    """How long small submissions take, in seconds, until there is enough of them."""
    took = []
    while not enough(took):
        begun = time.monotonic()
        status = client.post("/v1/jobs", {"function": "echo"}).status
        took.append(time.monotonic() - begun)
        assert status == 202, status
        # What they take themselves is not what is looked for.
        time.sleep(PAUSE_SECONDS)
    return took


def p99(took):
    return sorted(took)[int(len(took) * 0.99)] * 1000


def disk(home):
    total = 0
    for path in home.data.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            pass
    return total


class Watch(threading.Thread):
    """The most that a server has in memory and on the disk."""

    def __init__(self, server, home):
        super().__init__()
        self.server, self.home, self.over = server, home, threading.Event()
        self.memory = self.disk = 0

    def run(self):
        while not self.over.is_set():
            self.memory = max(self.memory, self.server.rss())
            self.disk = max(self.disk, disk(self.home))
            self.over.wait(0.02)

    def end(self):
        self.over.set()
        self.join()


def multiply(server, calls, done):
    """Sends the calls, and reads what came of them in every way, until all that is to happen has happened."""
    try:
        client = server.client()
        answers = [client.post("/v1/jobs", it) for it in calls]
        jobs = [answer.json() for answer in answers if answer.status == 202]
        refused = [answer for answer in answers if answer.status != 202]
        assert all(answer.status == 422 and len(answer.body) < 16 * 1024 for answer in refused), refused[0].body[:300]
        for job in jobs:
            assert wait_until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["state"] in DONE)
            path = f"/v1/jobs/{job['id']}/callbacks"
            tried = lambda: all(it["deliveries"] and it["deliveries"][0]["attempts"] for it in client.get(path).json()["callbacks"])
            assert wait_until(tried)
        for path in ["/v1/jobs?page_size=1000", "/v1/callbacks?page_size=1000", *(f"/v1/jobs/{job['id']}" for job in jobs)] * 5:
            assert client.get(path).status == 200
        done["accepted"], done["refused"] = len(jobs), len(refused)
    except Exception as error:
        done["failed"] = repr(error)
    finally:
        done["over"] = True


def row(options, name, calls):
    """One row; what is wrong with it, if anything is."""
    home = Home(tempfile.mkdtemp(prefix="futurity-multiplied-", dir=options.root), str(pathlib.Path(options.program).resolve()))
    (home.root / "worker.py").write_text(WORKER)
    with open(home.root / "futurity.toml", "a") as config:
        config.write(f"[workers.loud]\nargv = {json.dumps([sys.executable, str(home.root / 'worker.py')])}\nprocesses = 1\n")
    server = home.start()
    client = server.client()
    assert wait_until(lambda: client.get("/v1/functions/error").status == 200), "the worker is ready"
    enough = lambda took: len(took) >= options.samples
    before = p99(submissions(client, enough))
    memory, space = server.rss(), disk(home)
    watch, done = Watch(server, home), {}
    watch.start()
    storm = threading.Thread(target=multiply, args=(server, calls, done))
    storm.start()
    beside = submissions(client, lambda took: "over" in done and len(took) > 0)
    storm.join()
    watch.end()
    after = p99(submissions(client, enough))
    code = server.stop()
    memory, space = max(0, watch.memory - memory), max(0, watch.disk - space)
    what = f"{done.get('accepted', '?')}, {done.get('refused', '?')}"
    print(f"| {name} | {what} | {memory / MIB:.0f} | {space / MIB:.0f} | {before:.1f} | {p99(beside):.1f} of {len(beside)} | {after:.1f} |", flush=True)
    wrong = [f"{name}: {done['failed']}"] if "failed" in done else []
    wrong += [f"{name}: {memory / MIB:.0f} MiB of memory"] if memory > MEMORY_MAX else []
    wrong += [f"{name}: {space / MIB:.0f} MiB on the disk"] if space > DISK_MAX else []
    wrong += [f"{name}: submissions take {p99(beside):.1f} ms beside it"] if p99(beside) > TIMES_MAX * max(before, after) else []
    return wrong + ([f"{name}: the server stopped with {code}"] if code else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--only", default="")
    parser.add_argument("--root")
    options = parser.parse_args()
    print("| requests | taken, refused | memory, MiB | disk, MiB | p99 at rest, ms | beside it | afterwards |\n|" + "---|" * 7)
    failures = []
    for name, calls in ROWS.items():
        if options.only in name:
            failures += row(options, name, calls)
    print("\n".join(["", *failures]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

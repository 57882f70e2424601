"""Streams that are silent for an hour but for their beats: no reader, and no proxy of docs/proxies.md, cuts one.

    python3 tests/lab/silence.py PROGRAM FOLDER PROXIES [--seconds 3600]

One server on loopback has streams of each kind whose jobs do not end, all open at once. They are read by the libraries that people use, each
directly, and some through each proxy. After so many seconds the jobs end. Then each reader must have seen the result and the end of its stream,
by the one request that it began with, without an error. What is silent for 20 s anywhere is wrong as well, where a reader can tell.

PROGRAM is a built `futurity`; FOLDER is where `make lab-silence` installs the readers, PROXIES where `make lab-proxies` keeps the proxies. Ends
with 0 if nothing was cut.
"""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import proxies
from proxies import NAME, Client, Proxy, Server, stop

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = int(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 3600
# A client of lines may be silent for 300 s.
PAUSE = min(200, SECONDS / 4)
# For what comes after the hour: the sleeps that began with the readers, and their ends on a busy machine.
AFTER = 120
# Beats come after 15 s; the rest is for readers that get no turn on a busy machine. That none is missing, their number says.
MOST_SILENT = 45
PYTHON_LINES = ["httpx", "httpx, read=20", "requests", "urllib", "aiohttp", "curl"]
NODE_LINES = ["fetch", "undici"]
PYTHON_EVENTS = ["curl", "httpx-sse", "sseclient-py", "requests-sse", "aiohttp-sse-client2"]
NODE_EVENTS = ["eventsource 3", "eventsource 4", "eventsource 5", "eventsource-client"]
# These can only GET.
GET_EVENTS = ["aiosseclient", "eventsource 2", "undici EventSource"]
NODE = {*NODE_LINES, *NODE_EVENTS, "eventsource 2", "undici EventSource"}
THROUGH = {"curl", "aiohttp", "httpx", "undici", "httpx-sse", "eventsource 5", "eventsource-client"}
# It can be told to send `Expect`, which lines need through Caddy.
EXPECTING = {"aiohttp"}


def streams(it):
    """Each stream: who reads it, what is asked, and what must have been seen of it."""
    job = it.manual()
    batch = it.good("POST", "/v1/batches", {"function": "sleep", "calls": [{"args": [SECONDS]}]})["id"]
    beyond = {"ids": [job], "timeout_seconds": SECONDS + 600}
    lines, events = PYTHON_LINES + NODE_LINES, PYTHON_EVENTS + NODE_EVENTS
    # curl 7.88 reads no more of a pipe (`-T .`) after a quarter of an hour of pauses.
    senders = [reader for reader in lines if reader != "curl"]
    ended = ['"state":"succeeded"', '"end"']
    sent = [(json.dumps({"function": "echo", "args": [number]}), PAUSE) for number in range(int(SECONDS / PAUSE))]
    paced = [*sent, (json.dumps({"end": {"lines": len(sent)}}), 0)]
    paused = [(f"[{SECONDS}]", SECONDS * 0.9), ("[0]", 0)]
    return job, [
        ("as-completed", lines, "POST", "/v1/jobs/as-completed", {"body": json.dumps(beyond), "wanted": [f'"id":"{job}"', '"end"']}),
        ("as-completed, open", lines, "POST", "/v1/jobs/as-completed",
         {"body": json.dumps({"open": True, "tag": "silence"}), "wanted": ['"begin"', '"state":"succeeded"'], "ends": False}),
        ("results", lines, "GET", f"/v1/batches/{batch}/results", {"wanted": ended}),
        ("map", lines, "POST", "/v1/map?function=sleep", {"body": f"[{SECONDS}]\n", "wanted": ended}),
        ("map, a sender that pauses", senders, "POST", "/v1/map?function=sleep", {"paced": paused, "wanted": ['"index":1', '"lines":2']}),
        ("lines", senders, "POST", "/v1/jobs/lines", {"paced": paced, "wanted": [f'"lines":{len(sent)}'], "minimal": True}),
        ("as-completed, as events", events, "POST", "/v1/jobs/as-completed",
         {"body": json.dumps(beyond), "wanted": [f'"id":"{job}"', '"completed":1']}),
        ("as-completed, open, as events", events, "POST", "/v1/jobs/as-completed",
         {"body": json.dumps({"open": True, "tag": "silence"}), "wanted": ['"seq"', '"state":"succeeded"'], "ends": False}),
        ("results, as events", events + GET_EVENTS, "GET", f"/v1/batches/{batch}/results",
         {"wanted": ['"state":"succeeded"', '"completed":1']}),
        ("events of a job", events + GET_EVENTS, "GET", f"/v1/jobs/{job}/events",
         {"wanted": ['"state":"pending"', '"state":"succeeded"', '"done"']}),
        ("events of all jobs", events + GET_EVENTS, "GET", "/v1/events?tag=silence", {"wanted": ['"state":"succeeded"'], "ends": False}),
    ]


def plan(it, key, paths):
    """What each reader is asked to read, and by which way."""
    job, kinds = streams(it)
    asked = []
    for path, port in paths.items():
        for stream, readers, method, target, more in kinds:
            for reader in readers:
                if path != "direct" and (reader not in THROUGH or skipped(path, reader, more)):
                    continue
                headers = {"Host": NAME, "Authorization": f"Bearer {key}", "X-Request-Id": f"silence-{len(asked)}"}
                if "events" in stream:
                    headers["Accept"] = "text/event-stream"
                if "body" in more or "paced" in more:
                    lines = "paced" in more or target.startswith("/v1/map")
                    headers["Content-Type"] = "application/x-ndjson" if lines else "application/json"
                if more.get("minimal"):
                    headers["Prefer"] = "return=minimal"
                asked.append({"ends": True, **more, "id": headers["X-Request-Id"], "reader": reader, "stream": stream, "path": path,
                              "base": f"http://127.0.0.1:{port}", "method": method, "target": target, "headers": headers,
                              "expect": path == "Caddy"})
    return job, asked


def skipped(path, reader, more):
    """docs/proxies.md says which lines get through: Caddy's with `Expect`, Apache's when all is sent."""
    return "paced" in more and (path == "Caddy" and reader not in EXPECTING or path == "Apache" and not more.get("minimal"))


class Readers:
    """A process that reads a part of the plan, and what it has told."""

    def __init__(self, command, asked, told):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdin.write(json.dumps(asked))
        self.process.stdin.close()
        self.thread = threading.Thread(target=self.listen, args=[{it["id"]: it for it in asked}, told], daemon=True)
        self.thread.start()

    def listen(self, asked, told):
        for line in self.process.stdout:
            it = json.loads(line)
            told[it["id"]] = it
            if it["error"]:
                which = asked[it["id"]]
                print(f"{which['reader']}, {which['stream']}, {which['path']}, after {it['seconds']} s: {it['error']}", flush=True)

    def end(self, until):
        self.thread.join(max(0, until - time.monotonic()))
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def requests_of(log):
    """How many requests each id had, and their statuses."""
    found = collections.defaultdict(list)
    for line in log.read_text(errors="replace").splitlines():
        if '"silence-' in line:
            fields = json.loads(line)["fields"]
            found[fields["request.id"]].append(fields.get("status"))
    return found


def judge(asked, told, requests):
    """What stands in the table: seconds, beats that were seen, and what is wrong."""
    if told is None:
        return "NO END"
    # Apache passes on what it is answered when it has all of the body.
    late = asked["path"] == "Apache" and "paced" in asked
    # Readers of lines see each beat before the last line; of events curl alone does.
    sees = asked["reader"] == "curl" or "events" not in asked["stream"]
    beats = (SECONDS - 60) // 15 if sees and not late else 0
    wrong = {
        told["error"]: bool(told["error"]),
        "early": told["seconds"] < SECONDS - 30,
        f"requests {requests}": requests != [200],
        f"silent for {told['silent']} s": told["silent"] > MOST_SILENT and not late,
        f"{told['beats']} beats": told["beats"] < beats,
    }
    cell = f"{told['seconds']:.0f} s" + (f", {told['beats']}" if told["beats"] else "")
    found = next((what for what, holds in wrong.items() if holds), None)
    return f"CUT {cell}: {found}" if found else cell


def table(asked, told, requests, paths):
    cells, failed = {}, 0
    for it in asked:
        cell = judge(it, told.get(it["id"]), requests[it["id"]])
        failed += cell.startswith(("CUT", "NO END"))
        cells[(it["stream"], it["reader"], it["path"])] = cell
    rows = list(dict.fromkeys((it["stream"], it["reader"]) for it in asked))
    print("| stream | reader | " + " | ".join(paths) + " |\n|---|---|" + "---|" * len(paths))
    for stream, reader in rows:
        print(f"| {stream} | {reader} | " + " | ".join(cells.get((stream, reader, path), "") for path in paths) + " |")
    return failed


def main():
    program, folder, kept = (pathlib.Path(it).resolve() for it in sys.argv[1:4])
    programs, environment = proxies.find(kept)
    fronts, told = [], {}
    with tempfile.TemporaryDirectory() as directory:
        server = Server(program, pathlib.Path(directory) / "server", "--allow-loopback-egress", toml="[queues.default]\nmax_workers = 1000\n")
        try:
            paths = {"direct": server.port}
            for name, path in programs.items():
                fronts.append(Proxy(name, path, environment, server.port))
                paths[name] = fronts[-1].port
            it = Client(server.port, server.key)
            job, asked = plan(it, server.key, paths)
            print(f"{len(asked)} streams, silent for {SECONDS} s, directly and through {', '.join(programs) or 'no proxy'}", flush=True)
            begun = time.monotonic()
            readers = [
                Readers([folder / "python/bin/python", HERE / "readers/read.py"], [it for it in asked if it["reader"] not in NODE], told),
                Readers(["node", HERE / "readers/read.mjs", folder / "node"], [it for it in asked if it["reader"] in NODE], told),
            ]
            time.sleep(SECONDS)
            it.end(job)
            it.good("POST", "/v1/jobs", {"function": "echo", "args": [1], "tags": ["silence"]})
            for reader in readers:
                reader.end(begun + SECONDS + AFTER)
        finally:
            for front in fronts:
                front.end()
            ended = stop(server.process)
            if server.process.poll() is None:
                server.process.kill()
                server.process.wait()
        failed = table(asked, told, requests_of(server.log_at), paths)
        if failed:
            (folder / "silence.log").write_bytes(server.log_at.read_bytes())
    print(f"{len(asked)} streams, {failed} cut, the server ended with {ended}")
    return 1 if failed or ended else 0


if __name__ == "__main__":
    sys.exit(main())

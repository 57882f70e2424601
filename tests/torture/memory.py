"""What the server holds in memory when many connections hold the largest thing they may, and when many readers stop reading.

    python3 tests/torture/memory.py PROGRAM [--connections 2000] [--readers 1000] [--seconds 8] [--only WORD] [--root DIRECTORY]

Each row has a fresh server with the default limits, on loopback. Its clients send what the row says, end nothing and read nothing, for
so many seconds. Printed are the memory before, the most during, and the difference for each connection. It ends with 1 if a row
had more than the budget and 256 MiB above its server at rest, or if a small submission beside it was not answered.
"""

import argparse
import json
import pathlib
import resource
import selectors
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from server import Home

MIB = 1024 * 1024
BUDGET = 256 * MIB
SLACK = 256 * MIB
VALUE = "x" * (15 * 1024)


def head(method, path, kind=None, length=None):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if kind:
        lines += [f"Content-Type: {kind}", f"Content-Length: {length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def less_a_byte(path, kind, length):
    return head("POST", path, kind, length) + b" " * (length - 1)


def posted(path, kind, body):
    return head("POST", path, kind, len(body)) + body


JSON, LINES = "application/json", "application/x-ndjson"
INCOMING = {
    "half a header": head("GET", "/livez")[:-2] + b"X: " + b"x" * 62 * 1024,
    "a submission less a byte": less_a_byte("/v1/jobs", JSON, MIB),
    "a batch less a byte": less_a_byte("/v1/batches", JSON, 8 * MIB),
    "a batch that is announced": head("POST", "/v1/batches", JSON, 8 * MIB),
    "a submission as far as it is free": head("POST", "/v1/jobs", JSON, MIB) + b" " * 4096,
    "a line without its end": head("POST", "/v1/jobs", LINES, 2 * MIB) + b"x" * MIB,
    "a header of 30 KiB and a body less a byte": head("POST", "/v1/jobs", JSON, 4000)[:-2] + b"X: " + b"x" * 30_000 + b"\r\n\r\n" + b" " * 3999,
}


def fill(server):
    """A thousand jobs that are shown with 30 KiB each, a large one, and one that writes a log and does not end; their ids."""
    client = server.client()
    calls = [{"args": [VALUE]} for _ in range(250)]
    for _ in range(4):
        batch = client.post("/v1/batches?wait=60", {"function": "echo", "calls": calls}).json()
    large = client.post("/v1/jobs?wait=60", {"function": "echo", "args": ["x" * (MIB - 1000)]}).json()
    for _ in range(250):
        client.post("/v1/jobs", {"function": "echo", "callbacks": [{"url": f"https://hooks.example/{'x' * 1000}"}] * 4})
    return batch["id"], large["id"]


def outgoing(batch, large):
    named = json.dumps({"batch": batch}).encode()
    lines = b"".join(b'["%s"]\n' % VALUE.encode() for _ in range(200))
    submitted = b"".join(b'{"function":"echo","args":["%s"]}\n' % VALUE.encode() for _ in range(200))
    return {
        "a page of a thousand jobs": head("GET", "/v1/jobs?page_size=1000"),
        "a page of a thousand callbacks": head("GET", "/v1/callbacks?page_size=1000"),
        "a result": head("GET", f"/v1/jobs/{large}/result"),
        "a job": head("GET", f"/v1/jobs/{large}"),
        "the results of a batch": head("GET", f"/v1/batches/{batch}/results"),
        "as completed": posted("/v1/jobs/as-completed", JSON, named),
        "a wait for many": posted("/v1/jobs/wait", JSON, named),
        "every change": head("GET", "/v1/events?after=0"),
        "a job's events": head("GET", f"/v1/jobs/{large}/events"),
        "a map": posted("/v1/map?function=echo&buffersize=4096", LINES, lines),
        "lines of submissions": posted("/v1/jobs", LINES, submitted),
        "the contract": head("GET", "/openapi.yaml") * 20,
    }


class Crowd:
    """Connections that send all that is taken, and read nothing."""

    def __init__(self, port, count, sent):
        self.selector, self.left, self.sent = selectors.DefaultSelector(), {}, sent
        for _ in range(count):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
            self.left[connection] = memoryview(sent)
            self.selector.register(connection, selectors.EVENT_WRITE)

    def go_on(self, seconds):
        ends = time.monotonic() + seconds
        while (rest := ends - time.monotonic()) > 0:
            for key, _ in self.selector.select(min(rest, 0.05)):
                self.send(key.fileobj)
            if not self.selector.get_map():
                time.sleep(min(0.05, max(0, rest)))

    def send(self, connection):
        try:
            self.left[connection] = self.left[connection][connection.send(self.left[connection][:1 << 18]):]
        except BlockingIOError:
            return
        except OSError:
            self.left[connection] = b""
        if not self.left[connection]:
            self.selector.unregister(connection)

    def close(self):
        for connection in self.left:
            connection.close()


def highest(server, until, seen):
    while not until.is_set():
        seen.append(server.rss())
        until.wait(0.05)


def row(options, name, count, prepare):
    """One row; what is wrong with it, if anything is."""
    home = Home(tempfile.mkdtemp(prefix="futurity-memory-", dir=options.root), str(pathlib.Path(options.program).resolve()))
    server = home.start()
    sent = prepare(server)
    time.sleep(1)
    idle, seen, over = server.rss(), [], threading.Event()
    watch = threading.Thread(target=highest, args=(server, over, seen))
    watch.start()
    crowd = Crowd(server.port, count, sent)
    crowd.go_on(options.seconds)
    begun = time.monotonic()
    status = server.client(timeout=30).post("/v1/jobs", {"function": "echo"}).status
    took = time.monotonic() - begun
    over.set()
    watch.join()
    crowd.close()
    more = max(seen) - idle
    print(f"| {name} | {count} | {idle / MIB:.0f} | {max(seen) / MIB:.0f} | {more / count / 1024:.0f} | {status}, {took * 1000:.0f} ms |", flush=True)
    code = server.stop()
    wrong = [f"{name}: {more / MIB:.0f} MiB"] if more > BUDGET + SLACK else []
    wrong += [f"{name}: a submission beside it: {status}"] if status != 202 else []
    return wrong + ([f"{name}: the server stopped with {code}"] if code else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--connections", type=int, default=2_000)
    parser.add_argument("--readers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", default="")
    parser.add_argument("--root")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print("| each holds | connections | idle MiB | at most MiB | KiB each | a submission beside it |\n|" + "---|" * 6)
    failures = []
    for name, sent in INCOMING.items():
        if options.only in name:
            failures += row(options, name, options.connections, lambda server, sent=sent: sent)
    for name in outgoing("", ""):
        if options.only in name:
            prepare = lambda server, name=name: outgoing(*fill(server))[name]
            failures += row(options, name, options.readers, prepare)
    print("\n".join(["", *failures]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

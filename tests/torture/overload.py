"""Ten times the capacity, for minutes: memory stays flat, what is refused is refused in time, and a probe beside it is served.

    python3 tests/torture/overload.py PROGRAM [--seconds 180] [--root DIRECTORY]

The queue `narrow` runs 50 jobs of 50 ms at once, a thousand a second, and 20,000 may wait. Pipelined connections submit as
fast as the server takes it, ten times as much at least; others never finish their header or their body, never read
their answers, or hang up in the middle of a wait. Every ten seconds a row: memory, what was answered, and how long a probe
took, which reads a job and asks whether the server lives.
"""

import argparse
import json
import pathlib
import random
import re
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from server import Gone, Home

CAPACITY = 1_000
PIPELINED = 32
FLOODS = 16
ROW_SECONDS = 10
MEMORY_BYTES_MAX = 64 * 1024 * 1024
ANSWER = re.compile(rb"HTTP/1\.1 (\d\d\d)")


def request(method, path, body=b"", more=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


class Load:
    """What was answered, counted by status, and whether it goes on."""

    def __init__(self, port, seconds):
        self.port, self.ends = port, time.monotonic() + seconds
        self.counts, self.lock, self.threads = {}, threading.Lock(), []

    def goes_on(self):
        return time.monotonic() < self.ends

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def start(self, work, count=1):
        for number in range(count):
            self.threads.append(threading.Thread(target=self.guarded, args=(work, number)))
            self.threads[-1].start()

    def guarded(self, work, number):
        while self.goes_on():
            try:
                work(number)
            except OSError:
                self.count("cut", 1)
                time.sleep(0.05)

    def count(self, status, number):
        with self.lock:
            self.counts[status] = self.counts.get(status, 0) + number

    def take(self):
        with self.lock:
            counts, self.counts = self.counts, {}
        return counts

    def flood(self, number):
        """Many submissions at a time on one connection, then their answers."""
        body = json.dumps({"function": "sleep", "args": [0.05], "queue": "narrow"}).encode()
        batch = request("POST", "/v1/jobs", body) * PIPELINED
        with self.connect() as connection:
            while self.goes_on():
                connection.sendall(batch)
                self.answers(connection, PIPELINED)

    def answers(self, connection, wanted):
        text, seen = b"", 0
        while seen < wanted:
            piece = connection.recv(1 << 18)
            if not piece:
                raise OSError("cut")
            text += piece
            end = max(0, len(text) - 12)
            for found in ANSWER.finditer(text):
                self.count(int(found.group(1)), 1)
                seen, end = seen + 1, max(end, found.end())
            # What may be the beginning of a first line stays.
            text = text[end:]

    def drip(self, number):
        """A header, or a body, of a byte a second that never ends."""
        whole = request("POST", "/v1/jobs", b"{" + b" " * 1000)
        begun = whole[:30] if number % 2 else whole[:-900]
        with self.connect() as connection:
            connection.sendall(begun)
            for byte in whole[len(begun):]:
                if not self.goes_on():
                    return
                time.sleep(1)
                connection.sendall(bytes([byte]))

    def deaf(self, number):
        """Asks for much, and reads nothing."""
        with self.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request("GET", "/v1/jobs?page_size=1000") * 50)
            time.sleep(min(40, max(0, self.ends - time.monotonic())))

    def vanish(self, number):
        """Waits for a job, and hangs up."""
        body = json.dumps({"function": "sleep", "args": [5], "queue": "wide"}).encode()
        with self.connect() as connection:
            connection.sendall(request("POST", "/v1/jobs?wait=60", body))
            time.sleep(random.uniform(0, 0.5))


def probe(server, load, times):
    """Reads a job and asks whether the server lives, again and again."""
    client = server.client(timeout=30)
    job = client.post("/v1/jobs", {"function": "echo"}).json()["id"]
    while load.goes_on():
        begun = time.monotonic()
        try:
            answers = [client.get(f"/v1/jobs/{job}"), client.get("/livez")]
        except Gone:
            times.append((time.monotonic() - begun, 0))
            continue
        times.append((time.monotonic() - begun, max(answer.status for answer in answers)))
        time.sleep(0.01)


def pages(server):
    """Reads all jobs once."""
    client, token = server.client(), ""
    while True:
        page = client.get(f"/v1/jobs?page_size=1000{token}").json()
        if not page.get("next_page_token"):
            return
        token = f"&page_token={page['next_page_token']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--seconds", type=int, default=180)
    parser.add_argument("--root")
    options = parser.parse_args()
    root = tempfile.mkdtemp(prefix="futurity-overload-", dir=options.root)
    home = Home(root, str(pathlib.Path(options.program).resolve()))
    server = home.start()
    client = server.client()
    assert client.ask("PUT", "/v1/queues/narrow", {"max_workers": 50, "max_pending": 20_000}).status in (200, 201)
    # Idle is what a server has that has worked: its caches are filled once.
    for _ in range(20):
        client.post("/v1/batches", {"function": "echo", "calls": [{"args": [n]} for n in range(1_000)]})
    while client.get("/v1/queues/default").json()["depth"]["pending"]:
        time.sleep(0.1)
    readers = [threading.Thread(target=pages, args=(server,)) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    idle = server.rss()
    load, times = Load(server.port, options.seconds), []
    for work, count in ((load.flood, FLOODS), (load.drip, 50), (load.deaf, 20), (load.vanish, 20)):
        load.start(work, count)
    load.threads.append(threading.Thread(target=probe, args=(server, load, times)))
    load.threads[-1].start()
    print(f"idle {idle / 2**20:.0f} MiB; capacity {CAPACITY} jobs/s\n")
    print("| second | MiB | submissions/s | accepted/s | 429/s | 503/s | others | probe p50 ms | p99 ms | worst |\n|" + "---|" * 10)
    most, bad, seen, offered = idle, 0, 0, 0
    begun = time.monotonic()
    while load.goes_on():
        time.sleep(ROW_SECONDS)
        counts, rss, taken = load.take(), server.rss(), times[seen:]
        seen += len(taken)
        most = max(most, rss)
        took = sorted(seconds for seconds, _ in taken) or [0]
        bad += sum(status != 200 for _, status in taken)
        submitted = sum(number for status, number in counts.items() if status in (202, 429, 503))
        offered += submitted
        others = {status: number for status, number in counts.items() if status not in (202, 429, 503)}
        rate = lambda number: round(number / ROW_SECONDS)
        print(f"| {time.monotonic() - begun:.0f} | {rss / 2**20:.0f} | {rate(submitted)} | {rate(counts.get(202, 0))} | "
              f"{rate(counts.get(429, 0))} | {rate(counts.get(503, 0))} | {others or ''} | {took[len(took) // 2] * 1000:.0f} | "
              f"{took[len(took) * 99 // 100] * 1000:.0f} | {took[-1] * 1000:.0f} |", flush=True)
    for thread in load.threads:
        thread.join()
    failures = []
    if most - idle > MEMORY_BYTES_MAX:
        failures.append(f"memory rose by {(most - idle) / 2**20:.0f} MiB")
    if bad:
        failures.append(f"{bad} probes failed")
    if offered / options.seconds < 10 * CAPACITY:
        failures.append(f"only {offered / options.seconds / CAPACITY:.1f} times the capacity was offered")
    if server.code is not None or server.stop() != 0:
        failures.append(f"the server ended: {home.log.read_text()[-500:]}")
    print(f"\nat most {(most - idle) / 2**20:.0f} MiB above idle; offered {offered / options.seconds / CAPACITY:.1f} times the capacity")
    print("\n".join(failures) or "all holds")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()

"""What the server has acknowledged, and whether it kept its word."""

import contextlib
import hashlib
import http.server
import json
import math
import random
import threading

from server import Gone, wait_until

THREADS = 4
ANY = object()
"""Of a job whose end nobody promised yet: it must be there, and that is all."""


class Receiver:
    """Is told of ends, and notes every delivery: the id, a digest of the bytes, and the job."""

    def __init__(self):
        self.seen, self.jobs, self.unequal, self.lock = {}, {}, 0, threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.note(self.headers["webhook-id"], body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Deaf(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A server that is killed breaks its connections."""

        self.server = Deaf(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def note(self, event, body):
        digest = hashlib.sha256(body).digest()
        with self.lock:
            self.unequal += self.seen.setdefault(event, digest) != digest
            job = json.loads(body)["data"]["id"]
            self.jobs[job] = self.jobs.get(job, 0) + 1


class Entry:
    """A job that was acknowledged: its call, what must come of it, and its end once it was seen."""

    def __init__(self, number, call, expected, told):
        self.number, self.call, self.expected, self.told, self.end = number, call, expected, told, None


class Ledger:
    """All of them, and what was found wrong."""

    def __init__(self, seed=0, receiver=None, effects=None):
        self.chance, self.receiver, self.effects = random.Random(seed), receiver, effects
        self.jobs, self.fresh, self.number, self.lock = {}, [], 0, threading.Lock()
        self.lost, self.wrong, self.doubled, self.answers = [], [], [], {}
        self.crash_loops = 0

    def call(self):
        """A call of some kind: its body and what must come of it."""
        with self.lock:
            self.number += 1
            number, kind = self.number, self.chance.randrange(12)
            size = self.chance.choice([10, 10, 10, 2_000, 20_000, 300_000])
        body, expected, told = {"metadata": {"number": str(number)}}, None, False
        if kind == 0 and self.effects:
            body |= {"function": "effect"}
            expected = ""
        elif kind == 1:
            body |= {"function": "math.factorial", "args": [18]}
            expected = math.factorial(18)
        elif kind == 2:
            body |= {"function": "sleep", "args": [0.01]}
            expected = "Slept for 0.01 seconds"
        elif kind == 3:
            body |= {"function": "raise", "args": ["ValueError", f"no {number}"]}
            expected = ("ValueError", f"no {number}")
        else:
            value = f"{number} " + "x" * size
            body |= {"function": "echo", "args": [value]}
            expected = value
        if self.receiver and kind in (4, 5):
            body["callbacks"] = [{"url": self.receiver.url}]
            told = True
        return number, body, expected, told

    @contextlib.contextmanager
    def load(self, server):
        """Submits on some connections as long as the block runs, which may put an end to the server."""
        stop = threading.Event()
        threads = [threading.Thread(target=self.submit, args=(server.client(), stop)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def submit(self, client, stop):
        while not stop.is_set():
            number, body, expected, told = self.call()
            waits = number % 3 == 0
            try:
                answer = client.post("/v1/jobs" + ("?wait=5" if waits else ""), body)
            except Gone:
                return
            self.note(answer, number, body, expected, told)

    def note(self, answer, number, body, expected, told=False):
        """Enters what was acknowledged; gives the job, or none if it was refused."""
        with self.lock:
            self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
            if answer.status not in (200, 202):
                if answer.status not in (429, 500, 503):
                    self.wrong.append(f"{answer.status}: {answer.body[:200]}")
                return None
            job = answer.json()
            entry = Entry(number, body, expected, told)
            self.jobs[job["id"]] = entry
            self.fresh.append(job["id"])
            if job["done"]:
                self.hold(job, entry)
            return job

    def hold(self, job, entry):
        """Holds a job that is done against its call, and against the end that was seen before."""
        error = job["error"] or {}
        if error.get("type") == "crash_loop" and job["interruptions"] >= 2:
            self.crash_loops += entry.end is None
            entry.end = entry.end or end_of(job)
            return
        came = came_of(job, entry)
        is_left_out = job.get("result_omitted") and not isinstance(entry.expected, tuple)
        if came != entry.expected and not is_left_out:
            self.wrong.append(f"{job['id']}: {str(came)[:80]} instead of {str(entry.expected)[:80]}")
        if entry.end is not None and entry.end != end_of(job):
            self.wrong.append(f"{job['id']} has a second end")
        entry.end = end_of(job)

    def check(self, server, ids, wait=0):
        """Looks for these jobs; with `wait` until their ends."""
        client = server.client()
        for ident in ids:
            entry = self.jobs[ident]
            answer = client.get(f"/v1/jobs/{ident}" + (f"?wait={wait}" if wait else ""))
            if answer.status != 200:
                self.lost.append(f"{ident}: {answer.status} {answer.body[:200]}")
                continue
            job = answer.json()
            if job["args"] != entry.call.get("args", []):
                self.wrong.append(f"{ident}: other arguments")
            if entry.expected is ANY:
                continue
            if job["done"]:
                self.hold(job, entry)
            elif wait:
                self.wrong.append(f"{ident} does not end")

    def take_fresh(self):
        """The jobs that came since the last look."""
        with self.lock:
            fresh, self.fresh = self.fresh, []
        return fresh

    def check_whole(self, server):
        """Looks at everything: each job that was acknowledged has its one end, no submission made two, no attempt ran twice,
        and who was to be told was."""
        self.check(server, list(self.jobs), wait=60)
        client, token, numbers = server.client(), "", set()
        while True:
            page = client.get(f"/v1/jobs?page_size=1000{token}").json()
            for job in page["jobs"]:
                number = job["metadata"].get("number")
                if number is not None and number in numbers:
                    self.doubled.append(f"submission {number} made two jobs")
                numbers.add(number)
            if not page.get("next_page_token"):
                break
            token = f"&page_token={page['next_page_token']}"
        if self.effects and self.effects.exists():
            lines = self.effects.read_text().splitlines()
            twice = len(lines) - len(set(lines))
            if twice:
                self.doubled.append(f"{twice} attempts ran twice")
        if self.receiver:
            self.check_told(client)

    def check_told(self, client):
        if not wait_until(lambda: client.get("/readyz?verbose").json()["deliveries"]["pending"] == 0):
            self.wrong.append("deliveries are still pending")
        if self.receiver.unequal:
            self.wrong.append(f"{self.receiver.unequal} deliveries with other bytes than before")
        for ident, entry in self.jobs.items():
            if entry.told and entry.end and ident not in self.receiver.jobs:
                self.lost.append(f"nobody was told of {ident}")


def came_of(job, entry):
    """What came of it, in the form of what was expected."""
    if isinstance(entry.expected, tuple):
        error = job["error"] or {}
        return (error.get("type"), error.get("message"))
    return job["result"] if job["state"] == "succeeded" else job["state"]


def end_of(job):
    """What never changes again once a job is done."""
    return (job["state"], job["version"], job["attempt"], job["finished_at"])

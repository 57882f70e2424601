"""Holds each line and event that a server streams against the schema that openapi.yaml names for it, strict parts included.

    python lines.py ADDRESS DOCUMENT

DOCUMENT is what `overlay.py` printed; ADDRESS is that of a server without keys. Every kind of line is asked for: one that does not come is
a fault as well. Ends with 1 if there is any. Needs jsonschema-rs, which Schemathesis brings.
"""

import http.client
import json
import sys

import jsonschema_rs

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"


class Server:
    def __init__(self, address):
        self.address = address

    def start(self, method, path, body=None, kind="application/json", accept="*/*", more=()):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        connection.request(method, path, text, {"Accept": accept, **({} if body is None else {"Content-Type": kind}), **dict(more)})
        return connection.getresponse()

    def ask(self, method, path, body=None):
        answer = self.start(method, path, body)
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return json.loads(text)

    def lines(self, method, path, body=None, **more):
        answer = self.start(method, path, body, **more)
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.read()}")
        for line in answer:
            yield json.loads(line)

    def events(self, method, path, body=None):
        answer = self.start(method, path, body, accept=EVENTS)
        name = None
        for line in answer:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                yield name, json.loads(value)


class Held:
    """What was held against its schema, and which members each line had."""

    def __init__(self, document):
        self.document, self.seen, self.faults = document, {}, []

    def line(self, schema, value):
        found = self.seen.setdefault(schema, set())
        found.update(value)
        whole = {"$ref": f"#/components/schemas/{schema}", "components": self.document["components"]}
        for error in jsonschema_rs.validator_for(whole).iter_errors(value):
            self.faults.append(f"{schema}: {error.message} at {error.instance_path} of {json.dumps(value)[:400]}")

    def missing(self, schema, members):
        missing = set(members) - self.seen.get(schema, set())
        if missing:
            self.faults.append(f"{schema}: never seen with {sorted(missing)}")


def results(it, held):
    calls = [{"args": [1]}, {"kwargs": {"value": 2}}, {"args": ["x" * 20_000]}]
    large = it.ask("POST", "/v1/batches", {"function": "echo", "calls": calls})["urls"]["results"]
    failed = it.ask("POST", "/v1/batches", {"function": "raise", "calls": [{"args": ["ValueError", "no such thing"]}]})["urls"]["results"]
    for path in [large, f"{large}?with=arguments,run_ms&max_result_bytes=0", f"{failed}?order=completed"]:
        for line in it.lines("GET", path):
            held.line("ResultLine", line)
    for name, data in it.events("GET", large):
        held.line("ResultLine", data)
    given = '[1]\n{"kwargs": {"value": 2}}\n"no call"\n'
    for line in it.lines("POST", "/v1/map?function=echo&lines=9", given, kind=NDJSON):
        held.line("ResultLine", line)
        held.seen.setdefault("problems", set()).add(line.get("problem", {}).get("code"))
    held.missing("ResultLine", ["index", "seq", "id", "state", "attempt", "run_ms", "args", "kwargs", "args_omitted", "result",
                                "result_omitted", "error", "problem", "end"])
    held.missing("problems", ["lines_lost"])


def as_completed(it, held):
    jobs = [it.ask("POST", "/v1/jobs?wait=20", {"function": "echo", "args": [1], "tags": ["lines"]})["id"],
            it.ask("POST", "/v1/jobs?wait=20", {"function": "raise", "args": ["ValueError", "x"], "tags": ["lines"]})["id"],
            it.ask("POST", "/v1/jobs?wait=20", {"function": "echo", "args": ["x" * 20_000], "tags": ["lines"]})["id"],
            it.ask("POST", "/v1/jobs", {"manual": True, "tags": ["lines"]})["id"]]
    it.ask("POST", f"/v1/jobs/{jobs[3]}/cancel")
    for line in it.lines("POST", "/v1/jobs/as-completed", {"ids": jobs}):
        held.line("CompletedLine", line)
    for _, data in it.events("POST", "/v1/jobs/as-completed", {"ids": jobs}):
        held.line("CompletedLine", data)
    held.missing("CompletedLine", ["seq", "job", "end"])
    opened = {"open": True, "tag": "lines", "after": 0}
    for stream in [it.lines("POST", "/v1/jobs/as-completed", opened), (data for _, data in it.events("POST", "/v1/jobs/as-completed", opened))]:
        for _, line in zip(range(1 + len(jobs)), stream):
            held.line("OpenCompletedLine", line)
    held.missing("OpenCompletedLine", ["begin", "seq", "id", "state", "attempt", "result", "result_omitted", "error"])


def submitted(it, held):
    echo = {"function": "echo", "args": [1], "idempotency_key": "lines-of-the-contract"}
    given = [json.dumps(echo), json.dumps(echo), json.dumps({"function": "nothing"}), "no JSON"]
    for line in it.lines("POST", "/v1/jobs/lines?lines=5", "\n".join(given), kind=NDJSON):
        held.line("SubmittedLine", line)
    held.missing("SubmittedLine", ["index", "job", "idempotent_replayed", "problem", "end"])


def events(it, held):
    job = it.ask("POST", "/v1/jobs?wait=20", {"function": "say"})["id"]
    schemas = {"state": "Job", "log": "LogLine", "progress": "Progress", "end": "StreamEnd", "gone": "GoneId", "reset": "StreamReset"}
    for name, data in it.events("GET", f"/v1/jobs/{job}/events"):
        held.line(schemas[name], data)
    for line in it.lines("GET", f"/v1/jobs/{job}/log", accept=NDJSON):
        held.line("LogLine", line)
    if it.start("DELETE", f"/v1/jobs/{job}").status != 204:
        raise SystemExit("the job is not forgotten")
    for name, data in it.events("GET", "/v1/events?after=0"):
        if name != "alive":
            held.line(schemas[name], data)
        if name == "gone":
            break
    for schema, members in [("Job", ["urls"]), ("LogLine", ["id", "stream", "line"]), ("StreamEnd", ["reason"]), ("GoneId", ["id"])]:
        held.missing(schema, members)


def main():
    it = Server(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as file:
        held = Held(json.load(file))
    for part in (results, as_completed, submitted, events):
        part(it, held)
    for fault in held.faults:
        print(fault)
    print(f"lines and events of {len(held.seen) - 1} schemas, {len(held.faults)} faults")
    return 1 if held.faults else 0


if __name__ == "__main__":
    sys.exit(main())

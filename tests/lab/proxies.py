"""The proxies of docs/proxies.md, with the configurations that stand there, before a real server.

    python3 tests/lab/proxies.py PROGRAM FOLDER [--long]

nginx, HAProxy, Caddy and Apache are those of the machine, or else those of Debian, downloaded into FOLDER and unpacked there: nothing is
installed, and nobody starts them but this. Each goes before a server on loopback that has a name and needs a key, and passes on:
a submission with a wait, a long wait, a job's events, as-completed and the results of a batch, both as lines and as events, a map line by
line, lines, a body of 2 MiB, many requests on one connection, who asked, and addresses below a path. Apache does no map line by line, and Caddy needs the header that the
page names; that is part of it.

In brief the proxies' long time-outs are cut to seconds, and a wait beyond them must fail. With --long they stand as they are on the page,
and waits and silences take 70 s.

PROGRAM is a built `futurity`. Ends with 0 if all that were there did all of it, 77 if none was, else 1.
"""

import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/proxies.md"
sys.path.insert(0, str(HERE.parent / "contract"))
from run import listening, stop  # noqa: E402

SKIPPED = 77
NAME = "futurity.example"
PREFIX = "/futurity"
PACKAGES = ["nginx", "nginx-common", "haproxy", "caddy", "apache2-bin", "apache2", "libapr1", "libaprutil1", "liblua5.3-0",
            "libopentracing-c-wrapper0", "libopentracing1"]
PROGRAMS = {"nginx": "nginx", "HAProxy": "haproxy", "Caddy": "caddy", "Apache": "apache2"}
APACHE_MODULES = ["mpm_event", "authz_core", "proxy", "proxy_http", "reqtimeout"]
LONG = "--long" in sys.argv
# So long a wait, and so long a stream is silent.
SECONDS = 70 if LONG else 2
CUT_TO = 15


def find(folder):
    """The programs by name, and the environment that they need."""
    here = {name: shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") for name, program in PROGRAMS.items()}
    root = folder / "root"
    if None in here.values() and not root.exists():
        packages = folder / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        for package in PACKAGES:
            subprocess.run(["apt-get", "download", package], cwd=packages, capture_output=True)
        for package in packages.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, root], check=True)
    for name, program in PROGRAMS.items():
        unpacked = [it for it in (root / "usr/sbin" / program, root / "usr/bin" / program) if it.exists()]
        here[name] = here[name] or next(iter(unpacked), None)
    libraries = ":".join(str(it) for it in root.glob("usr/lib/*-linux-gnu"))
    return {name: str(path) for name, path in here.items() if path}, {"LD_LIBRARY_PATH": libraries} if libraries else {}


def blocks():
    """The configurations of the page, by their language."""
    found = re.findall(r"```(nginx|haproxy|caddy|apache)\n(.*?)```", PAGE.read_text(), re.S)
    return dict(found)


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Proxy:
    """One of the real ones before the server at a port. Its configuration is the page's, with other addresses and no privileges."""

    def __init__(self, name, program, environment, upstream, prefix="", cut=False):
        self.directory = tempfile.TemporaryDirectory(prefix="proxy-")
        self.at = pathlib.Path(self.directory.name)
        self.port = free_port()
        text = blocks()[name.lower()].replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
        if cut:
            text = text.replace("1h", f"{CUT_TO}s").replace("Timeout 3600", f"Timeout {CUT_TO}")
        command = getattr(self, name.lower())(program, text, prefix)
        self.log = open(self.at / "log", "wb")
        self.process = subprocess.Popen(command, cwd=self.at, env={**environment, "PATH": os.environ["PATH"], "HOME": str(self.at)},
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
        self.wait()

    def nginx(self, program, text, prefix):
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.port};").replace("location / {", f"location {prefix}/ {{")
        places = "".join(f"{what}_temp_path {self.at}/{what};" for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        (self.at / "nginx.conf").write_text(
            f"daemon off; pid {self.at}/pid; error_log {self.at}/error; events {{}}\nhttp {{ access_log off; {places}\n{text}}}")
        return [program, "-e", self.at / "error", "-c", self.at / "nginx.conf"]

    def haproxy(self, program, text, _prefix):
        (self.at / "haproxy.cfg").write_text(text.replace("bind :80", f"bind 127.0.0.1:{self.port}"))
        return [program, "-db", "-f", self.at / "haproxy.cfg"]

    def caddy(self, program, text, _prefix):
        text = text.replace(f"http://{NAME}", f"http://{NAME}:{self.port}")
        (self.at / "Caddyfile").write_text("{\n    admin off\n    default_bind 127.0.0.1\n}\n" + text)
        return [program, "run", "--config", self.at / "Caddyfile", "--adapter", "caddyfile"]

    def apache(self, program, text, prefix):
        text = text.replace('ProxyPass "/"', f'ProxyPass "{prefix}/"').replace('/" flush', f'{prefix}/" flush')
        modules = next(it for it in [pathlib.Path(program).parents[1] / "lib/apache2/modules", pathlib.Path("/usr/lib/apache2/modules")]
                       if it.exists())
        loaded = "".join(f"LoadModule {it}_module {modules}/mod_{it}.so\n" for it in APACHE_MODULES)
        (self.at / "apache.conf").write_text(
            f"ServerRoot {self.at}\nServerName {NAME}\nPidFile {self.at}/pid\nListen 127.0.0.1:{self.port}\nErrorLog {self.at}/error\n"
            f"DefaultRuntimeDir {self.at}\nMutex file:{self.at}\n{loaded}{text}")
        return [program, "-DFOREGROUND", "-f", self.at / "apache.conf"]

    def wait(self):
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            try:
                status = Client(self.port).ask("GET", "/readyz")[0]
                if status == 200 or status == 404:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        logs = [it.read_text(errors="replace") for it in self.at.glob("*") if it.name in ("log", "error")]
        raise Wrong(f"it did not start: {logs}")

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()
        self.directory.cleanup()


class Wrong(Exception):
    pass


def check(holds, *what):
    if not holds:
        raise Wrong(what)


class Client:
    def __init__(self, port, key=None, timeout=30 + SECONDS):
        self.port, self.timeout = port, timeout
        self.headers = {"Host": NAME, **({"Authorization": f"Bearer {key}"} if key else {})}

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)

    def start(self, method, path, body=None, connection=None, headers=()):
        connection = connection or self.connection()
        typed = {} if body is None else {"Content-Type": "application/json"}
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {**self.headers, **typed, **dict(headers)})
        return connection, connection.getresponse()

    def ask(self, method, path, body=None, connection=None, headers=()):
        mine, answer = self.start(method, path, body, connection, headers)
        text = answer.read()
        if connection is None:
            mine.close()
        try:
            return answer.status, json.loads(text), answer.headers
        except ValueError:
            return answer.status, text, answer.headers

    def good(self, method, path, body=None, **more):
        status, answer, headers = self.ask(method, path, body, **more)
        check(status < 300, method, path, status, answer)
        return answer

    def manual(self):
        return self.good("POST", "/v1/jobs", {"manual": True})["id"]

    def end(self, job):
        self.good("PUT", f"/v1/jobs/{job}/result", {"approved": True})


def submit_with_wait(it, _quirks):
    job = it.good("POST", "/v1/jobs?wait=20", {"function": "sleep", "args": [0.3]})
    check(job["state"] == "succeeded", job)


def long_wait(it, _quirks):
    job, begun = it.manual(), time.monotonic()
    status, answer, _ = it.ask("GET", f"/v1/jobs/{job}/result?wait={SECONDS}")
    check(status == 202, status, answer)
    check(time.monotonic() - begun >= SECONDS - 0.5, "answered early")
    it.end(job)


def lines_of(answer):
    """The lines of a stream as they come, without beats."""
    for line in answer:
        line = line.strip()
        if line:
            yield line


def later(it, job):
    """Ends the job when the stream has been silent for long enough."""
    timer = threading.Timer(SECONDS, it.end, [job])
    timer.start()
    return timer


def events(it, _quirks):
    job = it.manual()
    _, answer = it.start("GET", f"/v1/jobs/{job}/events")
    found = lines_of(answer)
    check(any(b'"pending"' in line for line in found), "the first event comes while the job waits")
    later(it, job)
    rest = [line for line in found]
    check(any(b'"succeeded"' in line for line in rest) and any(b'"done"' in line for line in rest), rest)


def as_completed(it, _quirks):
    jobs = [it.manual(), it.manual()]
    it.end(jobs[0])
    _, answer = it.start("POST", "/v1/jobs/as-completed", {"ids": jobs})
    found = lines_of(answer)
    check(json.loads(next(found))["job"]["id"] == jobs[0], "the first line comes while the other job waits")
    later(it, jobs[1])
    rest = [json.loads(line) for line in found]
    check(rest[0]["job"]["id"] == jobs[1] and rest[1]["end"]["completed"] == 2, rest)


def results(it, _quirks):
    batch = it.good("POST", "/v1/batches", {"function": "sleep", "calls": [{"args": [0]}, {"args": [SECONDS]}]})
    _, answer = it.start("GET", f"/v1/batches/{batch['id']}/results")
    found = [json.loads(line) for line in lines_of(answer)]
    check([line.get("state") for line in found] == ["succeeded", "succeeded", None] and found[2]["end"]["completed"] == 2, found)


def sent_events(it, method, path, body=None):
    """The events of a stream as they come: their names, ids and data."""
    _, answer = it.start(method, path, body, headers={"Accept": "text/event-stream"}.items())
    check(answer.status == 200 and answer.headers.get_content_type() == "text/event-stream", answer.status)
    fields = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], fields["id"], json.loads(fields["data"])
            fields = {}


def as_completed_as_events(it, _quirks):
    jobs = [it.manual(), it.manual()]
    it.end(jobs[0])
    found = sent_events(it, "POST", "/v1/jobs/as-completed", {"ids": jobs})
    name, place, data = next(found)
    check(name == "job" and data["job"]["id"] == jobs[0], "the first event comes while the other job waits")
    later(it, jobs[1])
    rest = list(found)
    check([name for name, _, _ in rest] == ["job", "end"] and rest[0][2]["job"]["id"] == jobs[1], rest)
    status, _, _ = it.ask("POST", "/v1/jobs/as-completed", {"ids": jobs},
                          headers={"Accept": "text/event-stream", "Last-Event-ID": rest[1][1]}.items())
    check(status == 204 and place != rest[0][1], "whoever has seen the end is told that there is no more", status)


def results_as_events(it, _quirks):
    batch = it.good("POST", "/v1/batches", {"function": "sleep", "calls": [{"args": [0]}, {"args": [SECONDS]}]})
    found = list(sent_events(it, "GET", f"/v1/batches/{batch['id']}/results"))
    check([name for name, _, _ in found] == ["result", "result", "end"] and found[2][2]["end"]["completed"] == 2, found)


class Sending:
    """A request whose body is sent line by line."""

    def __init__(self, it, path, quirks):
        self.socket = socket.create_connection(("127.0.0.1", it.port), timeout=it.timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {**it.headers, "Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked",
                   **({"Expect": "100-continue"} if "expect" in quirks else {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
        if "expect" in quirks:
            told = b""
            while b"\r\n\r\n" not in told:
                told += self.socket.recv(1)
            check(told.startswith(b"HTTP/1.1 100"), told)
        self.answer = http.client.HTTPResponse(self.socket)

    def line(self, text):
        data = text.encode() + b"\n"
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self):
        self.socket.sendall(b"0\r\n\r\n")


def map_line_by_line(it, quirks):
    if "no map" in quirks:
        sending = Sending(it, "/v1/map?function=echo", quirks)
        for number in range(100):
            sending.line(json.dumps([number]))
        sending.end()
        sending.answer.begin()
        found = [json.loads(line) for line in lines_of(sending.answer)]
        check([line.get("result") for line in found[:-1]] == list(range(100)) and found[-1]["end"]["completed"] == 100, found[-1])
        return "whole bodies only"
    sending = Sending(it, "/v1/map?function=echo", quirks)
    begun, found = time.monotonic(), None
    for number in range(50):
        sending.line(json.dumps([number]))
        if found is None:
            sending.answer.begin()
            check(sending.answer.status == 200, sending.answer.status)
            found = lines_of(sending.answer)
        check(json.loads(next(found))["result"] == number, number)
    took = (time.monotonic() - begun) / 50
    sending.end()
    check(json.loads(next(found))["end"]["completed"] == 50, "the end counts 50")
    return f"{took * 1000:.0f} ms a line"


def lines(it, quirks):
    sending = Sending(it, "/v1/jobs/lines", quirks)
    for number in range(2_000):
        sending.line(json.dumps({"function": "echo", "args": [number]}))
        if number % 500 == 499:
            time.sleep(0.05)
    sending.end()
    sending.answer.begin()
    found = [json.loads(line) for line in lines_of(sending.answer)]
    jobs = [line for line in found if "job" in line]
    check([line["job"]["args"] for line in jobs] == [[number] for number in range(2_000)], len(jobs))


def large_body(it, _quirks):
    calls = [{"args": ["x" * 1_000]} for _ in range(2_000)]
    batch = it.good("POST", "/v1/batches", {"function": "echo", "calls": calls})
    check(batch["total"] == 2_000, batch)


def kept_connection(it, _quirks):
    connection = it.connection()
    for _ in range(300):
        it.good("GET", "/v1/functions", connection=connection)
        check(connection.sock is not None, "the connection was closed")


FEATURES = [submit_with_wait, long_wait, events, as_completed, as_completed_as_events, results, results_as_events, map_line_by_line, lines,
            large_body, kept_connection]
QUIRKS = {"Caddy": {"expect"}, "Apache": {"no map"}}


class Server:
    def __init__(self, program, directory, *more, toml=""):
        self.data = directory / "data"
        directory.mkdir()
        (directory / "futurity.toml").write_text(toml)
        made = subprocess.run([program, "keys", "create", "--data-dir", self.data], capture_output=True, text=True, check=True)
        self.key = made.stdout.strip()
        self.log_at = directory / "log"
        with open(self.log_at, "wb") as log:
            self.process = subprocess.Popen(
                [program, "--config", directory / "futurity.toml", "--data-dir", self.data, "--listen", "127.0.0.1:0", "--host", NAME,
                 "--max-wait-seconds", "120", "--access-log", "--log-format", "json", *more],
                cwd=directory, env={}, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.port = int(listening(self.process, self.data / "address").rsplit(":", 1)[1])


def too_long_a_wait(proxy, key):
    """Shows that the time-outs count: beyond them the proxy gives up."""
    it = Client(proxy.port, key)
    job = it.manual()
    status, answer, _ = it.ask("GET", f"/v1/jobs/{job}/result?wait={CUT_TO + 5}")
    check(status in (502, 504), status, answer)


def under_a_path(name, program, environment, server):
    proxy = Proxy(name, program, environment, server.port, PREFIX)
    try:
        it = Client(proxy.port, server.key)
        told = [("X-Request-Id", f"path-{name}"), ("X-Forwarded-For", "203.0.113.9, 198.51.100.7")]
        status, job, headers = it.ask("POST", f"{PREFIX}/v1/jobs", {"function": "echo", "args": [1]}, headers=told)
        check(status == 202 and headers["Location"] == f"{PREFIX}/v1/jobs/{job['id']}", status, job, dict(headers))
        check(it.good("GET", f"{job['urls']['result']}?wait=20") == 1, job)
        _, problem, _ = it.ask("GET", f"{PREFIX}/v1/jobs/nobody")
        check(problem["type"] == f"{PREFIX}/problems/not_found" and problem["code"] == "not_found", problem)
        check(it.ask("GET", problem["type"])[0] == 200, problem)
        who_asked(name, server)
    finally:
        proxy.end()


def who_asked(name, server):
    """Each proxy adds the address that it was asked from, or, as Caddy, leaves what it does not trust out."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        told = [json.loads(line) for line in server.log_at.read_text(errors="replace").splitlines() if f'path-{name}' in line]
        if told:
            break
        time.sleep(0.05)
    client = told[-1]["fields"].get("client")
    check(client == ("198.51.100.7" if name != "Caddy" else "127.0.0.1"), told)


class Direct:
    """No proxy at all, to compare with."""

    def __init__(self, port):
        self.port = port

    def end(self):
        pass


def tried(name, program, environment, server, below):
    quirks, rows = QUIRKS.get(name, set()), {}
    proxy = Proxy(name, program, environment, server.port, cut=not LONG) if program else Direct(server.port)
    try:
        it = Client(proxy.port, server.key)
        for feature in FEATURES:
            begun = time.monotonic()
            try:
                said = feature(it, quirks)
                rows[feature.__name__] = f"ok, {time.monotonic() - begun:.1f} s" + (f" ({said})" if said else "")
            except (Wrong, OSError, http.client.HTTPException, StopIteration, ValueError, KeyError) as error:
                rows[feature.__name__] = f"WRONG: {error!r}"[:400]
        others = {"under_a_path": lambda: under_a_path(name, program, environment, below)} if program else {}
        if program and not LONG and name != "Caddy":
            others["too_long_a_wait"] = lambda: too_long_a_wait(proxy, server.key)
        for label, other in others.items():
            try:
                other()
                rows[label] = "ok"
            except (Wrong, OSError, http.client.HTTPException, ValueError, KeyError) as error:
                rows[label] = f"WRONG: {error!r}"[:400]
    finally:
        proxy.end()
    return rows


def main():
    program, folder = (pathlib.Path(it).resolve() for it in sys.argv[1:3])
    programs, environment = find(folder)
    for name in PROGRAMS:
        if name not in programs:
            print(f"NOTE: {name} is not here and cannot be downloaded; it is SKIPPED")
    if not programs:
        return SKIPPED
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        server = Server(program, directory / "plain")
        below = Server(program, directory / "below", toml=f'url_prefix = "{PREFIX}"\ntrusted_proxies = ["127.0.0.0/8"]\n')
        try:
            with concurrent.futures.ThreadPoolExecutor(len(programs) + 1) as pool:
                tries = {"direct": None, **programs}
                asked = {name: pool.submit(tried, name, path, environment, server, below) for name, path in tries.items()}
                for name, rows in asked.items():
                    for feature, row in rows.result().items():
                        failed += row.startswith("WRONG")
                        print(f"{name:8} {feature:22} {row}", flush=True)
            ended = [stop(it.process) for it in (server, below)]
        finally:
            for it in (server, below):
                if it.process.poll() is None:
                    it.process.kill()
                    it.process.wait()
    print(f"{len(programs)} proxies, {failed} failed, the servers ended with {ended}")
    return 1 if failed or any(ended) else 0


if __name__ == "__main__":
    sys.exit(main())

"""A server under torture: started, spoken to, killed, stopped; always on loopback, in a directory of its own."""

import http.client
import json
import os
import pathlib
import signal
import subprocess
import time

LIMIT_SECONDS = 60
"""Whatever is waited for is there within this."""

CONFIG = """
tasks = 4096
[queues.wide]
max_workers = 4096
[queues.narrow]
max_workers = 1
[webhooks]
schedule_seconds = [0, 1, 1, 1, 1, 2, 2, 5, 5, 5, 10, 10]
[functions.effect]
runtime = "command"
argv = ["/bin/sh", "-c", 'echo "$FUTURITY_JOB_ID $FUTURITY_ATTEMPT" >> "$EFFECTS"']
stdin = "none"
stdout = "text"
env = { EFFECTS = "%s" }
"""


def wait_until(look, within=LIMIT_SECONDS):
    """Looks again and again until something is so; whether it was in time."""
    deadline = time.monotonic() + within
    while not look():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Gone(Exception):
    """The server is not there, or went away in the middle: nobody knows what it did."""


class Answer:
    """A whole answer."""

    def __init__(self, status, body):
        self.status, self.body = status, body

    def json(self):
        return json.loads(self.body)


class Client:
    """One connection that is opened again when it broke."""

    def __init__(self, port, timeout=LIMIT_SECONDS):
        self.port, self.timeout, self.connection = port, timeout, None

    def ask(self, method, path, body=None, headers=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {**({"Content-Type": "application/json"} if data else {}), **(headers or {})}
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
            self.connection.request(method, path, data, headers)
            answer = self.connection.getresponse()
            return Answer(answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Gone(str(error)) from error

    def get(self, path):
        return self.ask("GET", path)

    def post(self, path, body=None, headers=None):
        return self.ask("POST", path, {} if body is None else body, headers)

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Home:
    """A data directory and what stands beside it."""

    def __init__(self, root, program):
        self.root, self.program = pathlib.Path(root), program
        self.data = self.root / "data"
        self.effects = self.root / "effects"
        self.log = self.root / "log"
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "futurity.toml").write_text(CONFIG % self.effects)

    def command(self, *arguments):
        return [self.program, *arguments, "--data-dir", str(self.data), "--log", "warn"]

    def run(self, *arguments):
        """Runs a command of the program to its end: its exit code, and all that it said."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.root, env=clean(), capture_output=True, text=True, timeout=LIMIT_SECONDS)
        return done.returncode, done.stdout + done.stderr

    def fsck(self):
        """What fsck finds, as findings."""
        code, said = self.run("fsck")
        return [] if code == 0 else [f"fsck ended with {code}: {said[:500]}"]

    def start(self, *flags, wrapper=(), environment=None, may_fail=False):
        """A server that is ready; none if it ended instead and that may be."""
        return Server(self, flags, wrapper, environment or {}, may_fail).ready()


def clean():
    """The environment of everything that is started here."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin"}


class Server:
    """A process that serves."""

    def __init__(self, home, flags, wrapper, environment, may_fail):
        self.home, self.may_fail, self.wrapped, self.port = home, may_fail, bool(wrapper), None
        (home.data / "address").unlink(missing_ok=True)
        command = home.command("--listen", "127.0.0.1:0", "--allow-loopback-egress", "--grace-seconds", "0.2", *flags)
        self.said = open(home.log, "ab")
        self.process = subprocess.Popen(
            [*wrapper, *command], cwd=home.root, env={**clean(), **environment}, stdin=subprocess.DEVNULL,
            stdout=self.said, stderr=self.said, start_new_session=True)

    def ready(self):
        address, deadline = self.home.data / "address", time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            try:
                text = address.read_text()
            except OSError:
                text = ""
            if text.endswith("\n"):
                self.port = int(text.strip().rsplit(":", 1)[1])
                return self
            if self.process.poll() is not None:
                if self.may_fail:
                    return self
                raise AssertionError(f"the server ended at its start, {self.process.returncode}: {self.home.log.read_text()[-2000:]}")
            time.sleep(0.002)
        raise AssertionError("the server did not start in time")

    @property
    def code(self):
        """The exit code, once it has ended."""
        return self.process.poll()

    def client(self, timeout=LIMIT_SECONDS):
        return Client(self.port, timeout)

    def pid(self):
        """The server's own number, also below a wrapper."""
        if not self.wrapped:
            return self.process.pid
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0]) if children else self.process.pid

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def signal(self, number):
        """Does nothing to one that has ended by itself, be it only just now."""
        try:
            if self.process.poll() is None:
                os.kill(self.pid(), number)
        except (ProcessLookupError, FileNotFoundError):
            pass

    def freeze(self):
        """Stops all of its threads where they are."""
        self.signal(signal.SIGSTOP)
        tasks = pathlib.Path(f"/proc/{self.pid()}/task")
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            states = [(task / "stat").read_text().rsplit(")", 1)[1].split()[0] for task in tasks.iterdir()]
            # One that waits for the disk stops when that has answered.
            if all(state in "TtD" for state in states):
                return
            time.sleep(0.0005)
        raise AssertionError("the server does not stop")

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.wait()

    def end(self):
        """Stops it, and gives what is wrong then."""
        code = self.stop()
        return ([f"it stopped with {code}"] if code else []) + self.home.fsck()

    def wait(self):
        code = self.process.wait(LIMIT_SECONDS)
        self.said.close()
        return code

    def rss(self):
        """What it has in memory, in bytes."""
        status = pathlib.Path(f"/proc/{self.pid()}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

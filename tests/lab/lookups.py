"""Look-ups of names in a network of its own: names that hang, however many, take no place of those that answer.

    python3 tests/lab/lookups.py PROGRAM

In a network namespace without a route out, a name server answers for `good*.test` and `new*.test` and never for `hang*.test`.
Hundreds of callbacks, and of calls of http.request, are sent to names that hang. Then a receiver that was told before, one
that nobody has heard of, and a function get what is sent to them, at the first attempt.

PROGRAM is a built `futurity`. Ends with 0 if that is so, 1 if not, 77 if such a namespace cannot be had here.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

import egress

HANG = 320
# A look-up of the system's resolver that is not answered takes so long.
GIVES_UP_AFTER = 10
# So many are given up one after the other, at most, before the last of such names has its turn.
ROUNDS = 4


def main():
    program = os.path.abspath(sys.argv[1])
    if sys.argv[2:] == ["--inside"]:
        return inside(program)
    for flags in (["--net", "--mount"], ["--net", "--mount", "--map-root-user"]):
        enter = ["unshare", *flags, "--"]
        try:
            if subprocess.run([*enter, "ip", "link"], capture_output=True).returncode == 0:
                return subprocess.run([*enter, sys.executable, os.path.abspath(__file__), program, "--inside"]).returncode
        except FileNotFoundError:
            break
    return egress.SKIPPED


class Deaf(egress.Resolver):
    """Never answers for names that hang."""

    def __init__(self):
        super().__init__({})
        self.hung = set()

    def serve(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            name, _ = egress.read_name(question, 12)
            if name.startswith("hang"):
                self.hung.add(name)
            else:
                self.names[name] = ["127.0.0.1"]
                self.socket.sendto(self.reply(question), peer)


    def asked_for(self, begin):
        return sum(name.startswith(begin) for name in self.hung.copy())

    def expect_all(self, whose, begin):
        """Whoever has to wait for a turn gets one: every name is asked for in the end."""
        egress.until(lambda: self.asked_for(begin) == HANG)
        asked = self.asked_for(begin)
        egress.expect(f"all names of {whose} that hang were asked for", (asked == HANG, f"{asked} of {HANG}"), True)
        print(f"{asked} names of {whose} that hang were asked for")


def first_attempt(server, what, url, within):
    """A delivery arrives at its first attempt."""
    begun = time.monotonic()
    outcome, detail = server.deliver(url)
    took = time.monotonic() - begun
    attempts = len(server.first()["deliveries"][0]["attempts"])
    egress.expect(what, (outcome, detail), "delivered")
    egress.expect(f"{what}: attempts", (attempts, ""), 1)
    egress.expect(f"{what}: within {within} s", (took < within, f"{took:.1f} s"), True)
    print(f"{what}: {outcome} after {took:.2f} s")


def flood(server):
    """Twenty submissions of sixteen callbacks, each to a name that hangs."""
    for number in range(HANG // 16):
        urls = [{"url": f"http://hang0-{number}-{place}.test/"} for place in range(16)]
        status, answer = server.ask("POST", "/v1/jobs", {"function": "echo", "callbacks": urls})
        assert status == 202, answer


def inside(program):
    egress.ip("link", "set", "lo", "up")
    deaf = Deaf()
    egress.start_canary()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        egress.use_resolver(directory, f"attempts:1 timeout:{GIVES_UP_AFTER}")
        wide = '[queues.wide]\nmax_workers = 500\n'
        server = egress.Futurity(program, directory, "server", "--allow-loopback-egress", more=wide)
        try:
            first_attempt(server, "a receiver, before", "http://good.test/close", GIVES_UP_AFTER)
            time.sleep(egress.KNOWN_FOR)
            flood(server)
            first_attempt(server, "a receiver that was told before", "http://good.test/close", GIVES_UP_AFTER)
            egress.expect("a function", server.request("http://good2.test/close"), 200)
            first_attempt(server, "a receiver that nobody has heard of", "http://new.test/close", ROUNDS * GIVES_UP_AFTER)
            for number in range(HANG):
                call = {"url": f"http://hang-call{number}.test/", "timeout_seconds": 60, "connect_timeout_seconds": 60}
                server.ask("POST", "/v1/jobs", {"function": "http.request", "queue": "wide", "kwargs": call})
            first_attempt(server, "a receiver while functions hang", "http://new2.test/close", ROUNDS * GIVES_UP_AFTER)
            threads = len(os.listdir(f"/proc/{server.process.pid}/task"))
            egress.expect("threads", (threads < 700, str(threads)), True)
            deaf.expect_all("callbacks", "hang0-")
            deaf.expect_all("functions", "hang-call")
        finally:
            server.stop()
    for failure in egress.FAILURES:
        print(failure, file=sys.stderr)
    return 1 if egress.FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

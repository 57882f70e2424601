"""The egress policy in a network of its own: nothing that is denied is ever connected to, however it is named.

    python3 tests/lab/egress.py PROGRAM

In a network namespace without a route out, every denied class of addresses has an address, and this machine has two that
are public. A second namespace, beside it, has two other public ones. A canary listens on all of them and notes the address
that each connection came for. A resolver that is scripted answers for names. Then webhooks and http.request are sent to
every spelling, name and redirect; in the end the canaries may have seen the public addresses of the other machine only. A
last server, which is allowed two of the others, shows that the canary would have seen them.

PROGRAM is a built `futurity`. Ends with 0 if the policy held, 1 if not, 77 if such a namespace cannot be had here.
Needs iproute2 and unshare; else nothing but Python's own library.
"""

import http.server
import json
import os
import pathlib
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

SKIPPED = 77
# Of another machine, and of this one.
PUBLIC4, PUBLIC6 = "93.184.215.14", "2606:2800:21f::14"
OWN4, OWN6 = "93.184.215.15", "2606:2800:21f::15"
# Of the wire between the two.
WIRE = [("10.255.255.1/30", "fd00:ffff::1/64"), ("10.255.255.2/30", "fd00:ffff::2/64")]
# So long an address is known, and a second more.
KNOWN_FOR = 6
# Whatever is waited for is there within this: longer than the longest wait of the server itself.
LIMIT_SECONDS = 180
# A range that is denied, and an address in it that this machine can have.
DENIED = {
    "10.0.0.0/8": "10.1.2.3",
    "100.64.0.0/10": "100.64.0.1",
    "127.0.0.0/8": "127.0.0.2",
    "169.254.0.0/16": "169.254.169.254",
    "172.16.0.0/12": "172.16.0.1",
    "192.0.0.0/24": "192.0.0.8",
    "192.0.2.0/24": "192.0.2.1",
    "192.88.99.0/24": "192.88.99.1",
    "192.168.0.0/16": "192.168.1.1",
    "198.18.0.0/15": "198.19.0.1",
    "198.51.100.0/24": "198.51.100.1",
    "203.0.113.0/24": "203.0.113.1",
    "168.63.129.16/32": "168.63.129.16",
    "::1/128": "::1",
    "fc00::/7": "fd00::1",
    "fe80::/10": "fe80::1",
    "2001::/23": "2001:2::1",
    "2001:db8::/32": "2001:db8::1",
    "2002::/16": "2002:a01:203::1",
    "3fff::/20": "3fff::1",
    "64:ff9b::/96": "64:ff9b::a01:203",
    "outside 2000::/3": "4000::1",
    "of this machine": OWN4,
    "of this machine, IPv6": OWN6,
}
# These cannot be given to a machine, or only mean it; they are asked for all the same.
OTHERS = ["0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:10.1.2.3", "::10.1.2.3"]
# Other ways to write 127.0.0.1, 10.1.2.3 and 169.254.169.254, as browsers read them.
SPELLINGS = [
    "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.0.0.1.",
    "１２７.０.０.１", "127。0。0。1", "%31%32%37.0.0.1",
    "10.66051", "167838211", "0xa010203", "0xA.0x1.0x2.0x3", "012.1.2.3",
    "169.16689662", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376",
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:a01:203]", "[::ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "localhost", "LOCALHOST", "localhost.", "a.localhost", "x.y.localhost.", "metadata.internal",
    "metadata.google.internal", "printer.local", "printer.local.",
]
UNFIT = ["http://user@93.184.215.14/", "http://user:pw@93.184.215.14/", "http://93.184.215.14:0/", "ftp://93.184.215.14/",
         "file:///etc/passwd", "gopher://93.184.215.14/", "http://"]


def main():
    program = os.path.abspath(sys.argv[1])
    if sys.argv[2:] == ["--inside"]:
        return inside(program)
    if sys.argv[2:] == ["--outside"]:
        return outside()
    for flags in (["--net", "--mount"], ["--net", "--mount", "--map-root-user"]):
        enter = ["unshare", *flags, "--"]
        try:
            again = [sys.executable, os.path.abspath(__file__), program, "--inside"]
            if subprocess.run([*enter, "ip", "link"], capture_output=True).returncode == 0:
                return subprocess.run([*enter, *again]).returncode
        except FileNotFoundError:
            return SKIPPED
    return SKIPPED


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def build_network():
    ip("link", "set", "lo", "up")
    for address in DENIED.values():
        if address in ("::1",) or address.startswith("127."):
            continue
        length = "128" if ":" in address else "32"
        more = ["nodad"] if ":" in address else []
        ip("address", "add", f"{address}/{length}", "dev", "lo", *more)
    for family in ("-4", "-6"):
        routes = subprocess.run(["ip", family, "route", "show", "default"], capture_output=True, check=True)
        assert routes.stdout == b"", "the namespace has a way out"


class Outside:
    """The other machine: a process in a namespace of its own, which is told what to do line by line."""

    def __init__(self, program):
        again = [sys.executable, os.path.abspath(__file__), program, "--outside"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(["unshare", "--net", "--", *again], **pipes)
        assert self.process.stdout.readline() == "here\n"
        ip("link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", str(self.process.pid))
        join_wire("wire0", *WIRE[0])
        self.ask("wire")
        ip("route", "add", PUBLIC4, "via", WIRE[1][0].split("/")[0])
        ip("-6", "route", "add", PUBLIC6, "via", WIRE[1][1].split("/")[0])

    def ask(self, words):
        self.process.stdin.write(words + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.stdin.close()
        self.process.wait(60)


def join_wire(device, address4, address6):
    ip("address", "add", address4, "dev", device)
    ip("address", "add", address6, "dev", device, "nodad")
    ip("link", "set", device, "up")


def outside():
    print("here", flush=True)
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        answer = None
        if word == "wire":
            ip("link", "set", "lo", "up")
            join_wire("wire1", *WIRE[1])
            ip("address", "add", f"{PUBLIC4}/32", "dev", "lo")
            ip("address", "add", f"{PUBLIC6}/128", "dev", "lo", "nodad")
            start_canary()
        elif word == "tls":
            answer = str(start_tls(pathlib.Path(rest)))
        elif word == "seen":
            answer = sorted(Canary.seen)
        print(json.dumps(answer), flush=True)
    return 0


class Canary(http.server.BaseHTTPRequestHandler):
    """Notes the address that was connected to, and answers; `/to?URL` redirects there, `/close` hangs up."""

    seen = set()
    protocol_version = "HTTP/1.1"

    def setup(self):
        address = self.request.getsockname()[0]
        self.seen.add(address.removeprefix("::ffff:"))
        super().setup()

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith("/to?"):
            self.send_response(307)
            self.send_header("location", self.path.removeprefix("/to?"))
        else:
            self.send_response(200)
        self.send_header("content-length", "0")
        if self.path == "/close":
            self.send_header("connection", "close")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Server6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


def start_canary():
    for port in (80, 8081):
        server = Server6(("::", port), Canary)
        threading.Thread(target=server.serve_forever, daemon=True).start()


def start_tls(directory):
    """A web server with a certificate for good.example, by an authority that nobody knows; gives its certificate."""
    key, certificate = directory / "key.pem", directory / "authority.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
         "-subj", "/CN=lab", "-addext", "subjectAltName=DNS:good.example", "-addext", "basicConstraints=critical,CA:FALSE"],
        check=True, capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = Server6(("::", 443), Canary)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return certificate


class Resolver:
    """Answers for names; a list of lists is answered in turn, a round of questions each."""

    def __init__(self, names):
        self.names, self.asked = names, {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.53", 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            question, peer = self.socket.recvfrom(4096)
            self.socket.sendto(self.reply(question), peer)

    def reply(self, question):
        name, end = read_name(question, 12)
        (kind,) = struct.unpack(">H", question[end : end + 2])
        records, owner = [], name
        script = self.names.get(name, [])
        if isinstance(script, str):
            records.append((owner, 5, write_name(script)))
            owner, script = script, self.names.get(script, [])
        if script and isinstance(script[0], list):
            # Both questions of a round, A and AAAA, are answered alike.
            times = self.asked.setdefault((name, kind), 0)
            self.asked[name, kind] = times + 1
            script = script[min(times, len(script) - 1)]
        for address in script:
            family, wanted = (socket.AF_INET6, 28) if ":" in address else (socket.AF_INET, 1)
            if wanted == kind:
                records.append((owner, kind, socket.inet_pton(family, address)))
        head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0)
        answers = [write_name(of) + struct.pack(">HHIH", kind, 1, 0, len(data)) + data for of, kind, data in records]
        return head + question[12 : end + 4] + b"".join(answers)


def read_name(message, at):
    labels = []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode().lower())
        at += 1 + message[at]
    return ".".join(labels), at + 1


def write_name(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def use_resolver(directory, options="attempts:1 timeout:5"):
    (directory / "resolv.conf").write_text(f"nameserver 127.0.0.53\noptions {options}\n")
    (directory / "hosts").write_text("127.0.0.1 localhost\n10.1.2.3 listed.example\n")
    subprocess.run(["mount", "--bind", directory / "resolv.conf", os.path.realpath("/etc/resolv.conf")], check=True)
    subprocess.run(["mount", "--bind", directory / "hosts", "/etc/hosts"], check=True)


def until(look, within=LIMIT_SECONDS):
    """What `look` finds, as soon as that is true; else what it found last."""
    deadline = time.monotonic() + within
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


class Futurity:
    def __init__(self, program, directory, name, *flags, more="", **environment):
        (directory / name).mkdir()
        config = directory / name / "futurity.toml"
        config.write_text("[webhooks]\nschedule_seconds = [0]\ntimeout_seconds = 5\n" + more)
        # A proxy that the environment names is not asked either: the canary would see it.
        proxies = dict.fromkeys(["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"], "http://10.1.2.3:8081")
        self.log = open(directory / name / "log", "wb")
        data = directory / name / "data"
        self.process = subprocess.Popen(
            [program, "--config", config, "--data-dir", data, "--listen", "127.0.0.1:0", *flags],
            env={**proxies, **environment}, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=directory / name,
        )
        assert until(lambda: self.is_ready(data / "address"), 60), "the server does not start"

    def is_ready(self, address):
        assert self.process.poll() is None, "the server has ended"
        try:
            self.address = address.read_text().strip()
            return self.ask("GET", "/readyz")[0] == 200
        except (FileNotFoundError, urllib.error.URLError, ConnectionError):
            return False

    def ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data, method=method)
        request.add_header("content-type", "application/json")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def request(self, url, **more):
        """What http.request comes to: a refusal at submission, an error, or a status."""
        call = {"function": "http.request", "kwargs": {"url": url, "timeout_seconds": 5, **more}}
        status, answer = self.ask("POST", "/v1/jobs?wait=30", call)
        if status == 422:
            return answer["code"], answer["detail"]
        if answer["error"]:
            return answer["error"]["type"], answer["error"]["message"]
        return answer["result"]["status"], ""

    def deliver(self, url):
        """What a webhook comes to: a refusal at submission, or its state and the error of its attempt."""
        status, job = self.ask("POST", "/v1/jobs?wait=30", {"function": "echo", "callbacks": [{"url": url}]})
        if status == 422:
            return job["code"], job["detail"]
        callback = self.ended(job["urls"]["callbacks"])
        if callback is None:
            return "pending", f"after {LIMIT_SECONDS} s"
        return callback["state"], callback["deliveries"][0]["attempts"][-1]["error"] or ""

    def ended(self, path):
        """The first of the callbacks there, once its delivery is over; none if that takes too long."""
        def look():
            first = self.first(path)
            return first if first["state"] != "pending" else None
        return until(look)

    def first(self, path="/v1/callbacks"):
        _, listed = self.ask("GET", path)
        return listed["callbacks"][0]

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


FAILURES = []
CASES = 0


def expect(what, found, wanted):
    global CASES
    CASES += 1
    outcome, detail = found
    if outcome != wanted:
        FAILURES.append(f"{what}: {outcome} ({detail}), and not {wanted}")
    # Whoever may submit a job may not learn what a name of the inner network stands for.
    # The range is told, also where it is one address.
    if "example" in what and any(address in detail for range, address in DENIED.items() if address not in range):
        FAILURES.append(f"{what}: the error tells an address: {detail}")


def literal(address):
    return f"[{address}]" if ":" in address else address


def try_all(server, names):
    for address in [*DENIED.values(), *OTHERS]:
        spelling = literal(address)
        for url in (f"http://{spelling}/", f"http://{spelling}:8081/", f"https://{spelling}/"):
            expect(f"http.request {url}", server.request(url), "egress_denied")
            expect(f"webhook {url}", server.deliver(url), "egress_denied")
    for spelling in SPELLINGS:
        url = f"http://{spelling}/"
        expect(f"http.request {url}", server.request(url), "egress_denied")
        expect(f"webhook {url}", server.deliver(url), "egress_denied")
    for url in UNFIT:
        expect(f"http.request {url}", server.request(url), "invalid_arguments")
        expect(f"webhook {url}", server.deliver(url), "invalid_value")
    own = server.address.split(":")[1]
    for host in ("127.0.0.1", "localhost", "[::1]", "0.0.0.0"):
        expect(f"itself {host}", server.request(f"http://{host}:{own}/livez"), "egress_denied")
    for name in names:
        expect(f"http.request {name}", server.request(f"http://{name}/"), "egress_denied")
        expect(f"webhook {name}", server.deliver(f"http://{name}/"), "failed")
    hosts = [literal(address) for address in [*DENIED.values(), *OTHERS]] + SPELLINGS[:8] + names
    for host in hosts:
        url = f"http://good.example/to?http://{host}/"
        expect(f"redirect to {host}", server.request(url, follow_redirects=True), "egress_denied")
        expect(f"webhook, redirect to {host}", server.deliver(url), "failed")
    for url in (f"http://{PUBLIC4}/", f"http://{literal(PUBLIC6)}/", "http://good.example/", "http://good6.example/",
                "http://both.example/", "http://good.example/to?http://good6.example/"):
        expect(f"public {url}", server.request(url, follow_redirects=True), 200)
    for url in (f"http://{PUBLIC4}/", "http://good.example/", "http://both.example/"):
        expect(f"public webhook {url}", server.deliver(url), "delivered")


def try_rebinding(server):
    """A name that is public at the first attempt and means this machine at the next one."""
    expect("rebind.example, first", server.deliver("http://rebind.example/close"), "delivered")
    expect("rebind2.example, first", server.request("http://rebind2.example/"), 200)
    time.sleep(KNOWN_FOR)
    server.ask("POST", f"/v1/callbacks/{server.first()['id']}/redeliver", {})
    callback = server.ended("/v1/callbacks")
    assert callback, "the second delivery does not end"
    attempts = callback["deliveries"][0]["attempts"]
    expect("rebind.example, again", (callback["state"], attempts[-1]["error"] or ""), "failed")
    # A connection that is kept leads to what was checked; a new one is checked again.
    expect("rebind2.example, another port", server.request("http://rebind2.example:8081/"), "egress_denied")


def try_tls(program, directory, other):
    """A certificate counts by the authorities of the system, and for its name only."""
    server = Futurity(program, directory, "trusting", SSL_CERT_FILE=other.ask(f"tls {directory}"))
    try:
        expect("https, an authority of the system", server.request("https://good.example/"), 200)
        expect("https, webhook", server.deliver("https://good.example/"), "delivered")
        expect("https, another name", server.request("https://both.example/"), "ConnectionError")
        expect("https, by redirect", server.request("http://good.example/to?https://good.example/", follow_redirects=True), 200)
    finally:
        server.stop()
    server = Futurity(program, directory, "doubting", SSL_CERT_FILE="/etc/ssl/certs/ca-certificates.crt")
    try:
        expect("https, an authority of nobody's", server.request("https://good.example/"), "ConnectionError")
    finally:
        server.stop()


def inside(program):
    build_network()
    names = {f"denied{number}.example": [address] for number, address in enumerate(DENIED.values())}
    names |= {f"odd{number}.example": [address] for number, address in enumerate(OTHERS)}
    names |= {f"mixed{number}.example": [PUBLIC4, address, PUBLIC6] for number, address in enumerate(DENIED.values())}
    names |= {"alias.example": "denied3.example", "aliasmixed.example": "mixed0.example"}
    denied = [*names, "listed.example"]
    names |= {
        "good.example": [PUBLIC4], "good6.example": [PUBLIC6], "both.example": [PUBLIC4, PUBLIC6],
        "rebind.example": [[PUBLIC4], ["127.0.0.1"]], "rebind2.example": [[PUBLIC4], ["169.254.169.254"]],
    }
    Resolver(names)
    start_canary()
    other = Outside(program)
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        use_resolver(directory)
        server = Futurity(program, directory, "strict")
        try:
            try_all(server, denied)
            try_rebinding(server)
        finally:
            server.stop()
        seen = other.ask("seen")
        if Canary.seen or set(seen) != {PUBLIC4, PUBLIC6}:
            FAILURES.append(f"the canaries have seen connections to {sorted(Canary.seen)} and {seen}")
        if shutil.which("openssl"):
            try_tls(program, directory, other)
        else:
            print("NOTE: openssl is missing; https is SKIPPED")
        # The canary can see: what an operator allows is connected to, and nothing beside it.
        allow = f'[egress]\nallow = ["{OWN4}:8081"]\n'
        server = Futurity(program, directory, "allowed", "--allow-loopback-egress", more=allow)
        try:
            expect("allowed loopback", server.request("http://127.0.0.2/"), 200)
            expect("allowed loopback by name", server.request("http://denied2.example/"), 200)
            expect("still denied", server.request("http://10.1.2.3/"), "egress_denied")
            expect("allowed address of this machine", server.request(f"http://{OWN4}:8081/"), 200)
            expect("its other ports", server.request(f"http://{OWN4}/"), "egress_denied")
        finally:
            server.stop()
        if Canary.seen != {"127.0.0.2", OWN4}:
            FAILURES.append(f"of what is allowed the canary has seen {sorted(Canary.seen)}")
        other.stop()
    for failure in FAILURES:
        print(failure, file=sys.stderr)
    print(f"{CASES} requests and webhooks; the canaries have seen {seen}, and what was allowed")
    return 1 if FAILURES else 0


if __name__ == "__main__":
    sys.exit(main())

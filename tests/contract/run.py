"""Runs Schemathesis on openapi.yaml, with its strict parts, against a server of its own, in a network namespace that has no route;
before that `lines.py` holds the lines of its streams against their schemas.

    python3 tests/contract/run.py PROGRAM SCHEMATHESIS

PROGRAM is a built `futurity`. Ends with 0 if nothing was found, 77 if such a namespace cannot be had here, else with
what failed. Nothing but Python's own library is needed, and what Schemathesis has beside it.
"""

import fcntl
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SKIPPED = 77
START_SECONDS = 60
STOP_SECONDS = 60
HERE = pathlib.Path(__file__).resolve().parent
CONTRACT = HERE.parent.parent / "openapi.yaml"
OVERLAY = HERE / "strict.overlay.yaml"


def main():
    program, schemathesis = (os.path.abspath(path) for path in sys.argv[1:3])
    if sys.argv[3:] == ["--inside"]:
        return inside(program, schemathesis)
    return outside(program, schemathesis)


def outside(program, schemathesis):
    """Enters a namespace: as root, or as somebody who may become root of a user namespace."""
    for flags in (["--net"], ["--net", "--map-root-user"]):
        enter = ["unshare", *flags, "--"]
        try:
            allowed = subprocess.run([*enter, "true"], capture_output=True).returncode == 0
        except FileNotFoundError:
            return SKIPPED
        if allowed:
            again = [sys.executable, __file__, program, schemathesis, "--inside"]
            return subprocess.run([*enter, *again]).returncode
    return SKIPPED


def inside(program, schemathesis):
    raise_loopback()
    require_no_route()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        strict = directory / "openapi.json"
        with open(strict, "wb") as file:
            python = pathlib.Path(schemathesis).parent / "python"
            subprocess.run([python, HERE / "overlay.py", CONTRACT, OVERLAY], stdout=file, check=True)
        with open(directory / "log", "wb") as log:
            server = subprocess.Popen(
                [program, "--config", HERE / "futurity.toml", "--data-dir", directory / "data",
                 "--listen", "127.0.0.1:0"],
                cwd=directory, env={}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        try:
            address = listening(server, directory / "data" / "address")
            lines = subprocess.run([python, HERE / "lines.py", address, strict]).returncode
            # What it generates, it generates the same way each time: no database of examples, no report.
            found = subprocess.run(
                [schemathesis, "--config-file", HERE / "schemathesis.toml", "run", strict,
                 "--url", f"http://{address}"],
                cwd=directory,
                env={"PATH": os.environ["PATH"], "NO_COLOR": "1", "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1",
                     "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")},
            ).returncode
            ended = stop(server)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
        if lines or found or ended:
            print((directory / "log").read_text(errors="replace"), file=sys.stderr)
            print(f"the lines ended with {lines}, schemathesis with {found}, the server with {ended}", file=sys.stderr)
        return 1 if lines or found or ended else 0


def raise_loopback():
    """What `ip link set lo up` does."""
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, get_flags, request))[1]
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh22x", b"lo", flags | up))


def require_no_route():
    """Only loopback is here, so that no packet can leave whatever the server is asked to call."""
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    routes = pathlib.Path("/proc/net/route").read_text().splitlines()[1:]
    if routes:
        raise SystemExit(f"a route leads out: {routes}, by one of {others}")


def listening(server, file):
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            address = file.read_text().strip()
        except FileNotFoundError:
            address = ""
        if address:
            return address
        time.sleep(0.02)
    raise SystemExit("the server did not start")


def stop(server):
    if server.poll() is not None:
        return f"{server.returncode}, before it was told to"
    server.send_signal(signal.SIGTERM)
    try:
        return server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return "no end"


if __name__ == "__main__":
    sys.exit(main())

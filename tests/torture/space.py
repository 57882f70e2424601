"""A disk that fills up and is freed again: nothing that was accepted is lost, and the server recovers by itself."""

import pathlib
import random
import subprocess
import time

from ledger import ANY, Entry, Ledger
from server import Home, wait_until

DISK_MEGABYTES = 256


def full(root, program, count):
    """Fills a small disk `count` times, to a different rest each time, while jobs run; then frees it."""
    place, chance = pathlib.Path(root) / "disk", random.Random(6)
    place.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "tmpfs", str(place)], capture_output=True, text=True)
    if mounted.returncode != 0:
        return None, None, [], f"SKIPPED: no file system can be mounted here: {mounted.stderr.strip()}"
    try:
        return filled(place, program, count, chance)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def filled(place, program, count, chance):
    home, ledger, findings, refused, recovered = Home(place.parent, program), Ledger(), [], 0, []
    home.data.symlink_to(place)
    server = home.start()
    client = server.client()
    for number in range(count):
        running = [submit(client, ledger, {"function": "sleep", "args": [0.3]}, "Slept for 0.3 seconds") for _ in range(20)]
        # A result that needs more than what is left: it is kept, and recorded when there is room.
        running.append(submit(client, ledger, {"function": "echo", "args": ["x" * 900_000]}, "x" * 900_000))
        filler = place / "filler"
        fill(filler, place, chance.choice([0, 0, 100_000, 1_000_000, 4_000_000, 12_000_000]))
        # The disk is looked at ten times a second.
        wait_until(lambda: is_full(client))
        answers = [client.post("/v1/jobs", {"function": "echo", "args": ["x" * chance.choice([10, 50_000])]}) for _ in range(50)]
        refused += sum(answer.status == 503 for answer in answers)
        for answer in answers:
            if answer.status == 202:
                ledger.jobs[answer.json()["id"]] = Entry(0, {"args": answer.json()["args"]}, ANY, False)
            elif answer.json().get("code") != "storage_full":
                findings.append(f"refused with {answer.body[:200]}")
        if not is_full(client):
            findings.append(f"ready with a full disk: {client.get('/readyz').body[:200]}")
        ledger.check(server, [job for job in running if job])
        filler.unlink()
        begun = time.monotonic()
        if not wait_until(lambda: server.code is not None or client.post("/v1/jobs", {"function": "echo"}).status == 202) \
                or server.code is not None:
            findings.append(f"{number}: submissions are not taken again; exit code {server.code}")
            return count, ledger, findings, home.log.read_text()[-500:]
        recovered.append(time.monotonic() - begun)
        ledger.check(server, [job for job in running if job], wait=30)
    findings += server.end()
    recovered.sort()
    return count, ledger, findings, f"{len(ledger.jobs)} jobs acknowledged, {refused} refused as storage_full, " \
        f"taken again after {recovered[len(recovered) // 2]:.2f} s, at most {recovered[-1]:.2f} s"


def is_full(client):
    ready = client.get("/readyz")
    return (ready.status, ready.json().get("code")) == (503, "storage_full")


def submit(client, ledger, body, expected):
    job = ledger.note(client.post("/v1/jobs", body), 0, body, expected)
    return job and job["id"]


def fill(filler, place, rest):
    """Leaves `rest` bytes."""
    with open(filler, "wb") as file:
        while True:
            found = subprocess.run(["df", "--output=avail", "-B1", str(place)], capture_output=True, text=True, check=True)
            free = int(found.stdout.split()[1]) - rest
            if free <= 4096:
                return
            try:
                file.write(b"\0" * min(free, 8_000_000))
                file.flush()
            except OSError:
                return

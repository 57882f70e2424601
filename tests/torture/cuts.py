"""Power cuts: a file system of its own that loses all that was not synced, at a random moment under load."""

import fcntl
import os
import pathlib
import random
import struct
import subprocess
import time

from ledger import Ledger
from server import Home

SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
"""EXT4_IOC_SHUTDOWN without writing the journal: what the disk has not is gone."""
DISK_BYTES = 512 * 1024 * 1024


class Disk:
    """A file with ext4 in it, mounted."""

    def __init__(self, root):
        self.image, self.place = pathlib.Path(root) / "disk", pathlib.Path(root) / "mount"
        self.place.mkdir(parents=True, exist_ok=True)
        with open(self.image, "wb") as image:
            image.truncate(DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", str(self.image)], check=True)

    def mount(self):
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True)

    def cut(self):
        directory = os.open(self.place, os.O_RDONLY)
        fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(directory)

    def unmount(self):
        subprocess.run(["umount", str(self.place)], check=True)


def can(root):
    """Why there can be no such disk here; none if there can."""
    try:
        disk = Disk(root)
        disk.mount()
        disk.cut()
        disk.unmount()
    except (OSError, subprocess.CalledProcessError) as error:
        return str(error)
    return None


def cuts(root, program, count, environment=None):
    """Cuts the power `count` times."""
    why = can(root)
    if why:
        return None, None, [], f"SKIPPED: no file system can be mounted and shut down here: {why}"
    disk, chance = Disk(root), random.Random(4)
    disk.mount()
    # Only the data is on that disk: what the server says is to be read afterwards.
    home = Home(pathlib.Path(root) / "home", program)
    (disk.place / "data").mkdir()
    home.data.symlink_to(disk.place / "data")
    ledger, before, refused = Ledger(), [], 0
    for _ in range(count):
        server = home.start(environment=environment, may_fail=environment is not None)
        if server.code is not None:
            refused += 1
            break
        ledger.check(server, before)
        with ledger.load(server):
            time.sleep(chance.uniform(0.02, 0.15))
            # Without power nothing runs. A server that went on for a moment would be told of syncs that this file system,
            # once it is shut down, does not make any more.
            server.freeze()
            disk.cut()
            server.kill()
        disk.unmount()
        disk.mount()
        before = ledger.take_fresh()
    server = home.start(environment=environment, may_fail=environment is not None)
    if server.code is None:
        ledger.check_whole(server)
        findings = server.end()
    else:
        findings = [f"refused to start: {server.code}"]
    disk.unmount()
    return count, ledger, findings, f"{len(ledger.jobs)} jobs acknowledged" + (f", {refused} refused starts" if refused else "")


def careless(root, program, count):
    """The same with `synchronous = normal`, which only a debug build can be told: this must be noticed."""
    cases, ledger, findings, told = cuts(root, program, count, {"FUTURITY_DEBUG_SYNCHRONOUS": "normal"})
    if cases is None:
        return cases, ledger, findings, told
    noticed = len(ledger.lost) + len(ledger.wrong) + len(findings)
    return cases, None, [] if noticed else ["nobody noticed that nothing was synced"], f"{len(ledger.lost)} lost jobs were noticed"

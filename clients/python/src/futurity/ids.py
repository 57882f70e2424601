"""Ids of jobs that the client chooses, so that a submission can be sent again."""

import os
import time
import uuid


def new_id() -> str:
    """Make a UUIDv7 (RFC 9562): 48 bits of time in milliseconds, the rest chance.

    Ids of one moment stand beside each other in the server's index.
    """
    now = time.time_ns() // 1_000_000
    value = now << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return str(uuid.UUID(int=value))

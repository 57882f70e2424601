"""Callbacks of the server at the place where they arrive: who sent them, and what they say.

The server signs as Standard Webhooks 1.0 has it, symmetric scheme `v1`, so any of its libraries verifies too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, cast

from futurity.errors import FuturityError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
VERSION = "v1"
# A header with more than these is no honest one.
SIGNATURES_MAX = 16
# A signed moment as text; more digits are none.
DIGITS_MAX = 12


class Unverified(FuturityError):
    """The request is not to be trusted; answer it with 401."""


@dataclass(frozen=True)
class Event:
    """What a callback tells.

    Attributes:
        id: The same each time the delivery is repeated: remember it, to do nothing twice.
        type: As `job.succeeded`.
        timestamp: When the job or the batch was done.
        data: The job or the batch, as its route gives it.
    """

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    tolerance_seconds: float = 300,
) -> Event:
    """Make sure that a request comes from who has the secret, and was signed just now; then read it.

    Args:
        body: The bytes as they came. JSON that was read and written again has others.
        headers: The request's; their names in any case.
        secret: `whsec_…` as `futurity webhook-secret` prints it, or the callback's own; several while one replaces another.
        tolerance_seconds: How far the moment of the signing may be from now, either way.

    Raises:
        Unverified: It is not to be trusted; the message says why.
        TypeError: The body is no bytes.
        ValueError: A secret is none.
    """
    if not isinstance(body, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError("verify needs the body's bytes as they came, before anything reads JSON from them")
    content = bytes(body)
    found = {name.lower(): value for name, value in headers.items()}
    id, signed_at, signatures = (_header(found, f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    _check_time(signed_at, tolerance_seconds)
    keys = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
    expected = [hmac.new(key, f"{id}.{signed_at}.".encode() + content, hashlib.sha256).digest() for key in keys]
    # Each with each, so that the time tells nothing.
    fits = [hmac.compare_digest(one, given) for given in _given(signatures) for one in expected]
    if not any(fits):
        raise Unverified("no signature was made with a secret that is known here")
    return _event(id, content)


def _header(found: Mapping[str, str], name: str) -> str:
    value = found.get(name)
    if not value:
        raise Unverified(f"the header {name} is missing")
    return value


def _check_time(signed_at: str, tolerance_seconds: float) -> None:
    if not (signed_at.isascii() and signed_at.isdigit() and len(signed_at) <= DIGITS_MAX):
        raise Unverified("webhook-timestamp is no number of seconds")
    away = abs(time.time() - int(signed_at))
    if away > tolerance_seconds:
        raise Unverified(f"it was signed {away:.0f} s from now, and {tolerance_seconds:.0f} are tolerated")


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a webhook secret is `whsec_` and base64; `futurity webhook-secret` prints it") from None
    if not key:
        raise ValueError("the webhook secret is empty")
    return key


def _given(signatures: str) -> list[bytes]:
    """Read the signatures of the version that is known; others are for other readers."""
    given: list[bytes] = []
    for one in signatures.split(" ")[:SIGNATURES_MAX]:
        version, _, encoded = one.partition(",")
        if version == VERSION:
            try:
                given.append(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                continue
    return given


def _event(id: str, content: bytes) -> Event:
    try:
        told: Any = json.loads(content)
        at = datetime.fromisoformat(str(told["timestamp"]).replace("Z", "+00:00"))
        return Event(id, str(told["type"]), at.astimezone(timezone.utc), cast("dict[str, Any]", told["data"]))
    except (ValueError, KeyError, TypeError) as error:
        raise FuturityError(f"it is signed, and no callback of a Futurity server: {error}") from error

"""Calls and results as pickles: what is sent, how it is sealed, and when it is loaded.

The argument of `python.call` is an object of JSON: `{"format", "python", "encoding", "pickle", "init", "seal"}`; its result
`{"format", "encoding", "pickle", "seal"}`. With a secret, both sides seal what they send (HMAC-SHA256 over the job's id and
every other field), and load nothing that is not sealed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import pickle
import sys
import zlib
from typing import Any, Literal, NamedTuple

import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

from futurity.errors import FuturityError

FORMAT = 1
PROTOCOL = 5
# Bytecode of another version crashes interpreters: what holds some is for this one alone.
THIS_PYTHON = str(sys.implementation.cache_tag)
ANY_PYTHON = "any"
ZLIB_BYTES_MIN = 65536

Kind = Literal["call", "result"]


class Pickled(NamedTuple):
    """An object as bytes, and the interpreters that can load it."""

    data: bytes
    python: str


class Unsealed(FuturityError):
    """What has come was not sealed with this secret for this job. Nothing of it was loaded."""


def dump(value: Any) -> Pickled:
    """Pickle an object: by reference where that is enough, else by value.

    Plain `pickle` is twenty times as fast, and its bytes suit any Python. What it cannot take, what belongs to `__main__`, and
    modules that were registered with `cloudpickle.register_pickle_by_value` are sent by value.

    Raises:
        pickle.PicklingError: It cannot be sent.
    """
    try:
        data = pickle.dumps(value, PROTOCOL)
    except Exception:  # noqa: BLE001 - whatever an object's own __reduce__ raises, cloudpickle may do better
        return _dump_by_value(value)
    if b"__main__" in data or _is_registered(data):
        return _dump_by_value(value)
    return Pickled(data, ANY_PYTHON)


def _is_registered(data: bytes) -> bool:
    names: set[str] = cloudpickle.list_registry_pickle_by_value()  # pyright: ignore[reportUnknownVariableType]
    return any(name.encode() in data for name in names)


def _dump_by_value(value: Any) -> Pickled:
    try:
        data: bytes = cloudpickle.dumps(value, PROTOCOL)  # pyright: ignore[reportUnknownMemberType]
        return Pickled(data, THIS_PYTHON)
    except Exception as error:
        # TypeError or ValueError would be taken for the function's own.
        raise pickle.PicklingError(f"it cannot be sent to another process: {error}") from error


def encode(data: bytes) -> dict[str, Any]:
    """Write bytes as members of JSON; compressed where that pays."""
    encoding = "none"
    if len(data) >= ZLIB_BYTES_MIN and len(zlib.compress(data[:ZLIB_BYTES_MIN], 1)) <= ZLIB_BYTES_MIN // 2:
        data, encoding = zlib.compress(data, 1), "zlib"
    return {"format": FORMAT, "encoding": encoding, "pickle": base64.b64encode(data).decode()}


def decode(members: dict[str, Any], bytes_max: int = 1 << 30) -> bytes:
    """Read what `encode` wrote.

    Raises:
        FuturityError: It is of another format, or no such thing.
    """
    if members.get("format") != FORMAT:
        raise FuturityError(
            f"a pickle of format {members.get('format')!r} has come, and this version of futurity knows {FORMAT}; "
            "client and worker are of different versions"
        )
    try:
        data = base64.b64decode(members["pickle"], validate=True)
        if members.get("encoding") == "zlib":
            unpacking = zlib.decompressobj()
            data = unpacking.decompress(data, bytes_max)
            if unpacking.unconsumed_tail:
                raise FuturityError(f"a pickle comes to more than {bytes_max} bytes")
    except (KeyError, TypeError, binascii.Error, zlib.error) as error:
        raise FuturityError(f"what has come is no pickled call or result ({error})") from error
    return data


def seal(secret: bytes, kind: Kind, job: str, members: dict[str, Any]) -> str:
    """Seal what is sent: only who has the secret can, and only for this job."""
    rest = {name: value for name, value in members.items() if name != "seal"}
    text = json.dumps([kind, job, rest], sort_keys=True, separators=(",", ":"))
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def sealed(secret: bytes | None, kind: Kind, job: str, members: dict[str, Any]) -> dict[str, Any]:
    """Add the seal, or none without a secret."""
    return {**members, "seal": seal(secret, kind, job, members) if secret else None}


def check_seal(secret: bytes | None, kind: Kind, job: str, members: dict[str, Any]) -> None:
    """Make sure that what has come is sealed, before a byte of it is loaded; without a secret all is taken.

    Raises:
        Unsealed: It is not, or not for this job.
    """
    if secret is None:
        return
    given = members.get("seal")
    if not isinstance(given, str) or not hmac.compare_digest(given, seal(secret, kind, job, members)):
        raise Unsealed(
            f"the {kind} of job {job} is not sealed with this side's pickle secret; client and worker need the same "
            "(FUTURITY_PICKLE_SECRET), and a seal holds for one job"
        )

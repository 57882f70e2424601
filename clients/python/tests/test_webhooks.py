"""Signatures of callbacks: those of a real server, those of the reference, and those that are none."""

from __future__ import annotations

import base64
import json
import queue
import threading
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks.webhooks import Webhook

from futurity import FuturityError
from futurity.webhooks import Unverified, verify

if TYPE_CHECKING:
    from futurity import Client

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes ...").decode()
OTHER = "whsec_" + base64.b64encode(b"another, of as many bytes").decode()
BODY = b'{"type": "job.succeeded", "timestamp": "2026-01-02T03:04:05.678Z", "data": {"id": "1"}}'


def signed(secret: str = SECRET, body: bytes = BODY, *, at: float | None = None, id: str = "evt_1") -> dict[str, str]:
    now = int(time.time() if at is None else at)
    signature = Webhook(secret).sign(id, datetime.fromtimestamp(now, timezone.utc), body.decode())
    return {"Webhook-Id": id, "webhook-timestamp": str(now), "WEBHOOK-SIGNATURE": signature}


def test_what_the_reference_signs_verifies_and_is_read() -> None:
    event = verify(BODY, signed(), SECRET)
    assert (event.id, event.type, event.data) == ("evt_1", "job.succeeded", {"id": "1"})
    assert event.timestamp == datetime(2026, 1, 2, 3, 4, 5, 678000, timezone.utc)
    assert verify(BODY, signed(OTHER), [SECRET, OTHER]).id == "evt_1", "while one replaces another"
    both = signed()
    both["WEBHOOK-SIGNATURE"] = f"v2,AAAA v1,%% {signed(OTHER)['WEBHOOK-SIGNATURE']} {both['WEBHOOK-SIGNATURE']}"
    assert verify(BODY, both, SECRET).id == "evt_1"


def test_what_was_changed_or_signed_by_a_stranger_does_not() -> None:
    good = signed()
    with pytest.raises(Unverified, match="no signature"):
        verify(BODY, good, OTHER)
    with pytest.raises(Unverified, match="no signature"):
        verify(BODY + b" ", good, SECRET)
    with pytest.raises(Unverified, match="no signature"):
        verify(BODY, {**good, "Webhook-Id": "evt_2"}, SECRET)
    with pytest.raises(Unverified, match="no signature"):
        verify(BODY, good, [])
    for signature in ("v1,", "v1", "x", good["WEBHOOK-SIGNATURE"].replace("v1,", "v2,")):
        with pytest.raises(Unverified, match="no signature"):
            verify(BODY, {**good, "WEBHOOK-SIGNATURE": signature}, SECRET)
    for name in good:
        with pytest.raises(Unverified, match=f"the header {name.lower()} is missing"):
            verify(BODY, {key: value for key, value in good.items() if key != name}, SECRET)


@pytest.mark.parametrize("away", [-3600, 3600])
def test_what_was_signed_long_ago_or_ahead_does_not(away: float) -> None:
    headers = signed(at=time.time() + away)
    with pytest.raises(Unverified, match="300 are tolerated"):
        verify(BODY, headers, SECRET)
    assert verify(BODY, headers, SECRET, tolerance_seconds=4000).id == "evt_1"
    for text in ("soon", "-5", "1e9", "٣", "9" * 400):
        with pytest.raises(Unverified, match="no number of seconds"):
            verify(BODY, {**headers, "webhook-timestamp": text}, SECRET)


def test_mistakes_of_the_receiver_are_said() -> None:
    with pytest.raises(TypeError, match="bytes as they came"):
        verify(BODY.decode(), signed(), SECRET)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    for secret in ("whsec_", "whsec_!"):
        with pytest.raises(ValueError, match="webhook secret"):
            verify(BODY, signed(), secret)
    for body in (b"[]", b"no JSON", b"{}"):
        with pytest.raises(FuturityError, match="no callback of a Futurity server"):
            verify(body, signed(body=body), SECRET)


def test_a_real_servers_callback_verifies(client: Client) -> None:
    arrived: queue.Queue[tuple[bytes, Any]] = queue.Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            arrived.put((body, self.headers))

        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_address[1]}/"
        job = client.submit("math.factorial", [5], callbacks=[{"url": url, "secret": SECRET}])
        body, headers = arrived.get(timeout=60)
        receiver.shutdown()
    event = verify(body, headers, [OTHER, SECRET])
    assert event.type == "job.succeeded"
    assert (event.data["id"], event.data["result"]) == (job.id, 120)
    assert json.loads(body)["type"] == event.type
    with pytest.raises(Unverified):
        verify(body, headers, OTHER)

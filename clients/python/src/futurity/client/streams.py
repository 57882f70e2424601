"""What comes bit by bit: jobs as they end, one job's life, every change. Each goes on where it was cut."""

from __future__ import annotations

import json
import time
from concurrent.futures import TimeoutError as WaitTimeout
from typing import TYPE_CHECKING, Any

from futurity.client.asking import JSON_BODY, Asking, encoded, given, lines, segment
from futurity.errors import ServerLost
from futurity.http import Request, Stream
from futurity.models import Event, GoneJob, Job, State, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Streams(Asking):
    """The operations that are streams."""

    def as_completed(
        self,
        ids: Sequence[str] | None = None,
        *,
        batch: str | None = None,
        timeout: float | None = None,
        after: int = 0,
    ) -> Iterator[Job | GoneJob]:
        """Give each of many jobs as it is done: Python's `as_completed`. Those that are done already come first.

        Args:
            ids: At most 10,000.
            batch: The jobs of this batch instead.
            timeout: Seconds from the call.
            after: The `seq` of an earlier reader, to go on behind it.

        Raises:
            concurrent.futures.TimeoutError: Not all were done within `timeout`. The jobs go on.
        """
        end = None if timeout is None else time.monotonic() + timeout

        def open_behind(place: int) -> Stream:
            left = None if end is None else max(end - time.monotonic(), 0)
            asked = given(ids=ids, batch=batch, after=place, timeout_seconds=left)
            body = encoded(asked)
            return self._transport.stream(Request("POST", "/v1/jobs/as-completed", body=body, headers=JSON_BODY))

        def events(stream: Stream) -> Iterator[tuple[int | None, Job | GoneJob]]:
            for line in lines(stream):
                if "end" in line:
                    if line["end"]["timed_out"]:
                        raise WaitTimeout(f"{line['end']['unfinished']} jobs are not done after {timeout} s")
                    return
                yield line["seq"], read(Job, line["job"]) if "job" in line else read(GoneJob, line["gone"])

        return self._resumed(open_behind, events, after)

    def follow(self, id: str, *, after: str | None = None) -> Iterator[Event]:
        """Follow a job to its end: `state`, `progress`, `log`, and at last `end` with the reason."""
        return self._follow(f"/v1/jobs/{segment(id)}/events", {}, after, last="end")

    def events(
        self,
        *,
        after: int | None = None,
        state: State | None = None,
        function: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        batch: str | None = None,
    ) -> Iterator[Event]:
        """Follow every change, without an end. `after` is the `id` of the last event that was seen; else from now on.

        An event `reset` says that changes are missing: list what you follow, then go on.
        """
        query = given(state=state, function=function, queue=queue, tag=tag, batch=batch)
        return self._follow("/v1/events", query, None if after is None else str(after), last=None)

    def _follow(self, path: str, query: dict[str, Any], after: str | None, last: str | None) -> Iterator[Event]:
        def open_behind(place: str | None) -> Stream:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": place} if place else {})
            return self._transport.stream(Request("GET", path, query=query, headers=headers))

        def events(stream: Stream) -> Iterator[tuple[str | None, Event | None]]:
            for event in server_sent(stream):
                stopped = event.kind == "end" and event.data.get("reason") in ("stopping", "too_slow")
                if stopped:
                    break
                yield event.id or None, None if event.kind == "alive" else event
                if event.kind == last:
                    return
            raise ServerLost("the stream of the server broke off")

        return self._resumed(open_behind, events, after)


def server_sent(stream: Stream) -> Iterator[Event]:
    """Read server-sent events, as the HTML standard has them."""
    place, kind, data = "", "message", list[str]()
    for raw in stream.lines():
        line = raw.decode().rstrip("\r")
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(id=place, kind=kind, data=json.loads("\n".join(data)))
            kind, data = "message", []
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id":
            place = value

"""Batches and maps: many calls of one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from futurity.client.asking import LINES_BODY, Asking, encoded, given, lines, segment
from futurity.http import Request, Stream
from futurity.ids import new_id
from futurity.models import Batch, Item, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from typing_extensions import Unpack

    from futurity.client.asking import Options

Order = Literal["input", "completed"]
Rest = Literal["continue", "cancel"]


class Batches(Asking):
    """The operations on batches."""

    def submit_batch(
        self,
        function: str,
        *,
        calls: Sequence[Mapping[str, Any]] | None = None,
        iterables: Sequence[Sequence[Any]] | None = None,
        on_error: Rest = "continue",
        wait: float = 0,
        **options: Unpack[Options],
    ) -> Batch:
        """Submit many calls, all of them or none; at most 10,000.

        Args:
            function: What to call.
            calls: Objects with `args` and `kwargs`.
            iterables: Or one sequence for each argument, of which the shortest counts, as `map` has them.
            on_error: What becomes of the rest when a job fails.
            wait: Seconds to wait until all are done.
            options: Of each job.
        """
        asked = {"function": function, **given(calls=calls, iterables=iterables, on_error=on_error, **options)}
        once = {"Idempotency-Key": new_id()}
        query = {"wait": wait} if wait > 0 else None
        return read(Batch, self._send("POST", "/v1/batches", asked, headers=once, query=query, wait=wait).json())

    def batches(self, *, page_size: int = 1000) -> Iterator[Batch]:
        """List batches, newest first; page by page, as they are taken."""
        return self._pages(Batch, "/v1/batches", "batches", {"page_size": page_size})

    def batch(self, id: str, *, wait: float = 0) -> Batch:
        """See how the jobs of a batch stand; with `wait`, once all are done or so many seconds have passed."""
        query = {"wait": wait} if wait > 0 else None
        return read(Batch, self._ask("GET", f"/v1/batches/{segment(id)}", query=query, wait=wait).json())

    def batch_results(self, id: str, *, order: Order = "input", after: int | None = None) -> Iterator[Item]:
        """Give the results of a batch, each when it is there.

        Args:
            id: The batch's.
            order: That of the calls, or of their ends.
            after: The last `index` that was seen, or the last `seq` in the order of the ends.
        """

        def open_behind(place: int | None) -> Stream:
            query = given(order=order, after=place)
            return self._transport.stream(Request("GET", f"/v1/batches/{segment(id)}/results", query=query))

        def events(stream: Stream) -> Iterator[tuple[int | None, Item]]:
            for line in lines(stream):
                if "end" not in line:
                    item = read(Item, line)
                    yield item.index if order == "input" else item.seq, item

        return self._resumed(open_behind, events, after)

    def cancel_batch(self, id: str, *, wait: float = 0) -> Batch:
        """Cancel what is not done of a batch; with `wait`, see how it stands when all has ended."""
        return read(
            Batch, self._send("POST", f"/v1/batches/{segment(id)}/cancel", {"wait_seconds": wait}, wait=wait).json()
        )

    def map(
        self,
        function: str,
        calls: Iterable[Sequence[Any] | Mapping[str, Any]],
        *,
        buffersize: int = 64,
        order: Order = "input",
        on_error: Rest = "continue",
        on_disconnect: Rest = "continue",
        queue: str | None = None,
        priority: int | None = None,
        start_timeout_seconds: float | None = None,
        run_timeout_seconds: float | None = None,
        total_timeout_seconds: float | None = None,
        retention_seconds: float | None = None,
    ) -> Iterator[Item]:
        """Map a function over calls of any number: arguments go up while results come down.

        Each call is a sequence of arguments, or an object with `args` and `kwargs`. They are taken in another thread,
        and only as there is room: at most `buffersize` are submitted and not given back. What `calls` raises is raised
        here. To stop iterating hangs up; `on_disconnect` says what becomes of the rest.
        """
        query = given(
            function=function,
            buffersize=buffersize,
            order=order,
            on_error=on_error,
            on_disconnect=on_disconnect,
            queue=queue,
            priority=priority,
            start_timeout_seconds=start_timeout_seconds,
            run_timeout_seconds=run_timeout_seconds,
            total_timeout_seconds=total_timeout_seconds,
            retention_seconds=retention_seconds,
        )
        request = Request("POST", "/v1/map", query=query, headers=LINES_BODY)
        with self._transport.stream(request, upload=(encoded(call) + b"\n" for call in calls)) as stream:
            for line in lines(stream):
                if "end" not in line:
                    yield read(Item, line)

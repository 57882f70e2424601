"""Queues, functions and workers: where jobs wait, what can be called, and the processes that have it."""

from __future__ import annotations

from futurity.client.asking import Asking, given, segment
from futurity.models import Function, Queue, QueueShutdown, Worker, read


class Queues(Asking):
    """The operations on queues, functions and workers."""

    def functions(self) -> list[Function]:
        """List what can be called."""
        return [read(Function, one) for one in self._ask("GET", "/v1/functions").json()["functions"]]

    def function(self, name: str) -> Function:
        """See how a function is called."""
        return read(Function, self._ask("GET", f"/v1/functions/{segment(name)}").json())

    def queues(self) -> list[Queue]:
        """List the queues, by name."""
        return [read(Queue, one) for one in self._ask("GET", "/v1/queues").json()["queues"]]

    def queue(self, name: str) -> Queue:
        """See a queue: how full it is, how long its oldest job waits."""
        return read(Queue, self._ask("GET", f"/v1/queues/{segment(name)}").json())

    def set_queue(
        self,
        name: str,
        *,
        max_workers: int | None = None,
        max_pending: int | None = None,
        expires_seconds: float | None = None,
    ) -> Queue:
        """Make a queue, or change it while it runs: Python's `Executor(max_workers)`. Only what is given changes.

        Args:
            name: The queue's. Who may submit may make those that begin with `executor-` and go within a day.
            max_workers: How many of its jobs run at once.
            max_pending: How many may wait.
            expires_seconds: It goes when it had no job for so long.
        """
        asked = given(max_workers=max_workers, max_pending=max_pending, expires_seconds=expires_seconds)
        return read(Queue, self._send("PUT", f"/v1/queues/{segment(name)}", asked).json())

    def pause(self, name: str) -> Queue:
        """Start nothing more from a queue. Running jobs go on, submissions wait."""
        return read(Queue, self._ask("POST", f"/v1/queues/{segment(name)}/pause").json())

    def resume(self, name: str) -> Queue:
        """Start again what waits in a paused queue."""
        return read(Queue, self._ask("POST", f"/v1/queues/{segment(name)}/resume").json())

    def shut_down(self, name: str, *, cancel_futures: bool = False, wait: float = 0) -> QueueShutdown:
        """Take no more jobs: Python's `Executor.shutdown`. `set_queue` opens the queue again.

        Args:
            name: The queue's.
            cancel_futures: Cancel what has not started.
            wait: Seconds to wait until all is done; as long as a server lets one wait.
        """
        asked = {"cancel_futures": cancel_futures, "wait_seconds": wait}
        return read(QueueShutdown, self._send("POST", f"/v1/queues/{segment(name)}/shutdown", asked, wait=wait).json())

    def restart_worker(self, name: str) -> Worker:
        """Have a worker run the code that is there now: one process after the other gives way, between two calls."""
        return read(Worker, self._ask("POST", f"/v1/workers/{segment(name)}/restart").json())

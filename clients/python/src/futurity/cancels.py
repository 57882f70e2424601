"""Cancels: of what was not sent yet, here; of what is on the server, there."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Literal

from futurity.errors import FuturityError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from futurity.engine import Engine
    from futurity.future import RemoteFuture

log = logging.getLogger("futurity")

CANCEL_SECONDS = 5.0
IDS_AT_ONCE = 10_000


class Cancels:
    """Cancels jobs of an engine. A future is cancelled only when it is certain that its call does not run (P6)."""

    def __init__(self, engine: Engine) -> None:
        """Cancel for this engine."""
        self._engine = engine

    def one(self, future: RemoteFuture[Any], *, grace_seconds: float | None = None) -> bool:
        """Cancel one job (P6): here if it was not sent, else where it is."""
        with self._engine.lock:
            was_unsent = future.id in self._engine.unsent
            taken = self._engine.take(future.id) if was_unsent else None
        if taken is not None:
            self._become_cancelled(taken)
            return True
        if _in_event_loop():
            self._engine.aside(self._cancel_there, future, grace_seconds)
            return False
        return self._cancel_there(future, grace_seconds)

    def _become_cancelled(self, taken: RemoteFuture[Any]) -> None:
        try:
            taken.become_cancelled()
        finally:
            self._engine.settled()

    def _cancel_there(self, future: RemoteFuture[Any], grace_seconds: float | None) -> bool:
        if not self._engine.wait_until(lambda: future.is_accepted or future.done(), CANCEL_SECONDS):
            return False
        mode: Literal["pending", "terminate"] = "pending" if grace_seconds is None else "terminate"
        wait = 0 if grace_seconds is None else grace_seconds + CANCEL_SECONDS
        try:
            told = self._engine.client.cancel(future.id, mode=mode, grace_seconds=grace_seconds, wait=wait)
        except FuturityError:
            return future.cancelled()
        if not told.cancelled:
            future.seen = told.state
            return False
        taken = self._engine.take(future.id)
        if taken is not None:
            self._become_cancelled(taken)
        elif not self._engine.is_reader():
            self._engine.wait_until(future.done, CANCEL_SECONDS)
        return True

    def running(self, future: RemoteFuture[Any], grace_seconds: float) -> None:
        """Stop a call that may run, without waiting for its end."""
        try:
            self._engine.client.cancel(future.id, grace_seconds=grace_seconds)
        except FuturityError as error:
            log.warning("job %s could not be stopped: %s", future.id, error)

    def many(self, futures: Iterable[RemoteFuture[Any]]) -> None:
        """Cancel what has not started of these, in one request for each ten thousand; their ends come as all ends do."""
        there: list[str] = []
        for future in futures:
            with self._engine.lock:
                taken = self._engine.take(future.id) if future.id in self._engine.unsent else None
                if future.id in self._engine.futures:
                    there.append(future.id)
            if taken is not None:
                self._become_cancelled(taken)
        if there:
            self._engine.aside(self._cancel_many_there, there)

    def _cancel_many_there(self, ids: list[str]) -> None:
        self._engine.wait_until(lambda: not any(id in self._engine.in_flight for id in ids), CANCEL_SECONDS)
        try:
            for start in range(0, len(ids), IDS_AT_ONCE):
                self._engine.client.cancel_many(ids[start : start + IDS_AT_ONCE], mode="pending")
            # The stream tells of these ends too; whoever waits for the end of all is not to depend on one message.
            self._engine.look_at(ids)
        except FuturityError as error:
            log.warning("calls that nobody waits for could not be cancelled: %s", error)

    def all(self) -> None:
        """Cancel whatever has not started, and know it on return."""
        with self._engine.lock:
            unsent = [self._engine.take(id) for id in list(self._engine.unsent)]
        for future in unsent:
            if future is not None:
                self._become_cancelled(future)
        if not self._engine.futures:
            return
        self._engine.flush(self._engine.server_timeout_seconds)
        self._engine.client.cancel_many(tag=self._engine.session, mode="pending")
        for job in self._engine.client.jobs(tag=self._engine.session, state="cancelled"):
            self._engine.settle(job.id, lambda future: future.become_cancelled())


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True

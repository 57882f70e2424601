"""Callbacks: URLs to tell, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from futurity.client.asking import Asking, given, segment
from futurity.models import Callback, Redelivered, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

When = Literal["all_completed", "first_completed", "first_exception"]
CallbackState = Literal["waiting", "pending", "delivered", "failed", "disabled"]


class Callbacks(Asking):
    """The operations on callbacks. A URL twice is told twice, so what adds or tells is never sent again by itself."""

    def add_callback(
        self, job: str, url: str, *, secret: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Callback:
        """Let a URL be told when a job is done; at once if it is. Python's `add_done_callback`, durable."""
        asked = given(url=url, secret=secret, headers=headers)
        answer = self._send("POST", f"/v1/jobs/{segment(job)}/callbacks", asked, repeatable=False)
        return read(Callback, answer.json())

    def callbacks(self, job: str) -> Iterator[Callback]:
        """List a job's callbacks, each with the attempts to deliver it."""
        return self._pages(Callback, f"/v1/jobs/{segment(job)}/callbacks", "callbacks", {"page_size": 1000})

    def add_batch_callback(
        self,
        batch: str,
        url: str,
        *,
        when: When = "all_completed",
        secret: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Callback:
        """Let a URL be told of a batch."""
        asked = given(url=url, when=when, secret=secret, headers=headers)
        answer = self._send("POST", f"/v1/batches/{segment(batch)}/callbacks", asked, repeatable=False)
        return read(Callback, answer.json())

    def batch_callbacks(self, batch: str) -> Iterator[Callback]:
        """List a batch's callbacks."""
        return self._pages(Callback, f"/v1/batches/{segment(batch)}/callbacks", "callbacks", {"page_size": 1000})

    def all_callbacks(
        self,
        *,
        state: CallbackState | None = None,
        host: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[Callback]:
        """List the callbacks of all jobs and batches, newest first; `host` is one with its port."""
        query = given(state=state, host=host, created_after=created_after, created_before=created_before)
        query |= {name: moment.isoformat() for name, moment in query.items() if name.startswith("created_")}
        return self._pages(Callback, "/v1/callbacks", "callbacks", {"page_size": 1000, **query})

    def redeliver(self, callback: str) -> Callback:
        """Tell a callback once more: the same id and bytes, the schedule anew."""
        return read(
            Callback, self._ask("POST", f"/v1/callbacks/{segment(callback)}/redeliver", repeatable=False).json()
        )

    def redeliver_many(
        self,
        *,
        state: Literal["delivered", "failed", "disabled"],
        host: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        dry_run: bool = False,
    ) -> Redelivered:
        """Tell all callbacks that match once more; with `dry_run` they are only counted."""
        asked = given(
            state=state, host=host, created_after=created_after, created_before=created_before, dry_run=dry_run
        )
        answer = self._send("POST", "/v1/callbacks/redeliver", asked, repeatable=False, wait=3600)
        return read(Redelivered, answer.json())

    def remove_callback(self, callback: str) -> None:
        """Tell a callback no more."""
        self._ask("DELETE", f"/v1/callbacks/{segment(callback)}")

"""Jobs: submit, look, wait, cancel, complete."""

from __future__ import annotations

import json
import time
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as WaitTimeout
from typing import TYPE_CHECKING, Any, Literal, cast

from futurity.client.asking import LINES_BODY, WAIT_SECONDS_MAX, Asking, encoded, given, segment
from futurity.errors import FuturityError, Problem, from_job_error, problem_of
from futurity.ids import new_id
from futurity.models import (
    CancelCounts,
    Cancellation,
    Job,
    JobError,
    JobState,
    LogLine,
    Progress,
    State,
    Waited,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from typing_extensions import Unpack

    from futurity.client.asking import Options
    from futurity.http import Answer

ReturnWhen = Literal["ALL_COMPLETED", "FIRST_COMPLETED", "FIRST_EXCEPTION"]
LINES_AT_ONCE = 1000
ACCEPTED = 202
RAISED = 424


class Jobs(Asking):
    """The operations on jobs."""

    def submit(
        self,
        function: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        wait: float = 0,
        **options: Unpack[Options],
    ) -> Job:
        """Submit a call of a function of the server: `POST /v1/jobs`.

        The id is chosen here, so a connection that breaks makes no second job.

        Args:
            function: Its name, as `math.factorial`.
            args: Positional arguments, as JSON.
            kwargs: Named arguments.
            id: The job's id, to be able to send the same call again from elsewhere; a new one if left out.
            wait: Seconds to wait for its end; the job is given as it stands then.
            options: Of the job.

        Returns:
            The job. It is on disk.
        """
        call = {"id": id or new_id(), "function": function, "args": args, "kwargs": kwargs or {}, **given(**options)}
        answer = self._send("POST", "/v1/jobs", call, query=_wait(wait), wait=wait)
        return read(Job, answer.json())

    def submit_manual(
        self,
        label: str = "manual",
        *,
        id: str | None = None,
        **options: Unpack[Options],
    ) -> Job:
        """Submit a job that nothing runs: Python's bare `Future()`. `complete` or `fail` ends it."""
        call = {"id": id or new_id(), "manual": True, "function": label, **given(**options)}
        return read(Job, self._send("POST", "/v1/jobs", call).json())

    def submit_many(self, submissions: Iterable[Mapping[str, Any]]) -> Iterator[Job | Problem]:
        """Submit many calls, a line each, in requests of a thousand: a job or a refusal for each, in order.

        Each is an object as in `Submission` of the contract; one without an `id` is given one.
        """
        group: list[bytes] = []
        for submission in submissions:
            group.append(encoded({"id": new_id(), **submission}))
            if len(group) == LINES_AT_ONCE:
                yield from self._submit_lines(group)
                group = []
        yield from self._submit_lines(group)

    def _submit_lines(self, group: list[bytes]) -> Iterator[Job | Problem]:
        if not group:
            return
        answer = self._ask("POST", "/v1/jobs/lines", body=b"\n".join(group) + b"\n", headers=LINES_BODY)
        for line in answer.body.splitlines():
            if not line.strip():
                continue
            told: dict[str, Any] = json.loads(line)
            if "job" in told:
                yield read(Job, told["job"])
            elif "problem" in told:
                yield problem_of(told["problem"].get("status", 0), told["problem"])

    def get(self, id: str, *, wait: float = 0) -> Job:
        """Get a job, whole: `GET /v1/jobs/{id}`; with `wait`, once it is done or so many seconds have passed."""
        answer = self._ask("GET", f"/v1/jobs/{segment(id)}", query=_wait(wait), wait=wait)
        return read(Job, answer.json())

    def state(self, id: str) -> JobState:
        """Ask for a job's state alone: `HEAD /v1/jobs/{id}`, without arguments and result."""
        headers = self._ask("HEAD", f"/v1/jobs/{segment(id)}").headers
        try:
            state = cast("State", headers["futurity-state"])
        except KeyError:
            raise FuturityError("the answer has no Futurity-State; is this a Futurity server?") from None
        return JobState(state=state, done=headers.get("futurity-done") == "true")

    def jobs(
        self,
        *,
        state: State | None = None,
        function: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        batch: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        page_size: int = 1000,
    ) -> Iterator[Job]:
        """List jobs, newest first, all that match; page by page, as they are taken."""
        query = given(state=state, function=function, queue=queue, tag=tag, batch=batch, page_size=page_size)
        query |= _times(created_after, created_before)
        return self._pages(Job, "/v1/jobs", "jobs", query)

    def result(self, id: str, timeout: float | None = None) -> Any:
        """Wait for a job's result: Python's `Future.result`.

        Raises:
            concurrent.futures.TimeoutError: It is not done within `timeout` seconds. The job goes on.
            concurrent.futures.CancelledError: It was cancelled.
            RemoteError: The function raised; or another `FuturityError` if the server gave the job up.
        """
        try:
            answer = self._wait_for(f"/v1/jobs/{segment(id)}/result", timeout)
        except Problem as problem:
            if problem.status == RAISED and "error" in problem.body:
                raise from_job_error(read(JobError, problem.body["error"])) from None
            raise _if_cancelled(problem, id) from None
        return answer.json()

    def exception(self, id: str, timeout: float | None = None) -> FuturityError | None:
        """Wait for what a job raised: Python's `Future.exception`; None if it returned.

        Raises:
            concurrent.futures.TimeoutError: It is not done within `timeout` seconds. The job goes on.
            concurrent.futures.CancelledError: It was cancelled.
        """
        try:
            error = self._wait_for(f"/v1/jobs/{segment(id)}/exception", timeout).json()
        except Problem as problem:
            raise _if_cancelled(problem, id) from None
        return None if error is None else from_job_error(read(JobError, error))

    def _wait_for(self, path: str, timeout: float | None) -> Answer:
        """Ask again and again, each time as long as a server lets one wait."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            wait = WAIT_SECONDS_MAX if end is None else min(end - time.monotonic(), WAIT_SECONDS_MAX)
            answer = self._ask("GET", path, query=_wait(wait), wait=wait)
            if answer.status != ACCEPTED:
                return answer
            if end is not None and time.monotonic() >= end:
                raise WaitTimeout(f"the job is not done after {timeout} s; it goes on")

    def wait(
        self,
        ids: Sequence[str] | None = None,
        *,
        batch: str | None = None,
        timeout: float | None = None,
        return_when: ReturnWhen = "ALL_COMPLETED",
    ) -> Waited:
        """Wait for many jobs: Python's `concurrent.futures.wait`. At most 10,000, by ids or by their batch.

        A wait that runs out raises nothing: `timed_out` says so. Without `timeout` it ends when the condition is met.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            wait = WAIT_SECONDS_MAX if end is None else min(end - time.monotonic(), WAIT_SECONDS_MAX)
            asked = given(ids=ids, batch=batch, return_when=return_when, timeout_seconds=wait)
            waited = read(Waited, self._send("POST", "/v1/jobs/wait", asked, wait=wait).json())
            if not waited.timed_out or (end is not None and time.monotonic() >= end):
                return waited

    def cancel(
        self,
        id: str,
        *,
        mode: Literal["terminate", "pending"] = "terminate",
        grace_seconds: float | None = None,
        wait: float = 0,
    ) -> Cancellation:
        """Cancel a job, also a running one; `mode="pending"` leaves that alone, as Python's `Future.cancel` does.

        Args:
            id: The job's.
            mode: What becomes of a call that runs.
            grace_seconds: From the asking to the killing; 5 if left out.
            wait: Seconds to wait for the end of a running one.
        """
        asked = given(mode=mode, grace_seconds=grace_seconds, wait_seconds=wait)
        return read(Cancellation, self._send("POST", f"/v1/jobs/{segment(id)}/cancel", asked, wait=wait).json())

    def cancel_many(
        self,
        ids: Sequence[str] | None = None,
        *,
        mode: Literal["terminate", "pending"] = "terminate",
        dry_run: bool = False,
        **filters: Any,
    ) -> CancelCounts:
        """Cancel many jobs, by ids or by filters as `jobs` has them; with `dry_run` they are only counted.

        The answer comes when all of them are cancelled or asked to stop, however long that takes.
        """
        asked = given(ids=ids, mode=mode, dry_run=dry_run, **filters)
        return read(CancelCounts, self._send("POST", "/v1/jobs/cancel", asked, wait=3600).json())

    def retry(self, id: str) -> Job:
        """Submit a job that failed or was cancelled again, as a new job; repeated requests make one."""
        return read(Job, self._send("POST", f"/v1/jobs/{segment(id)}/retry", {"id": new_id()}).json())

    def forget(self, id: str) -> None:
        """Forget a job that is done, before its retention is over."""
        self._ask("DELETE", f"/v1/jobs/{segment(id)}")

    def complete(self, id: str, result: Any) -> Job:
        """End a manual job with a result: Python's `Future.set_result`. The first end counts."""
        return read(Job, self._send("PUT", f"/v1/jobs/{segment(id)}/result", result).json())

    def fail(
        self,
        id: str,
        type: str,
        message: str = "",
        *,
        traceback: str | None = None,
        details: Any = None,
    ) -> Job:
        """End a manual job with an error: Python's `Future.set_exception`. The first end counts."""
        error = given(type=type, message=message, traceback=traceback, details=details)
        return read(Job, self._send("PUT", f"/v1/jobs/{segment(id)}/exception", error).json())

    def log(self, id: str, *, after: str | None = None) -> list[LogLine]:
        """Read what a job has written, also while it runs; `after` is the `id` of the last line that was seen."""
        accept = {"Accept": "application/x-ndjson"}
        answer = self._ask("GET", f"/v1/jobs/{segment(id)}/log", query=given(after=after), headers=accept)
        return [read(LogLine, json.loads(line)) for line in answer.body.splitlines() if line.strip()]

    def progress(self, id: str) -> Progress | None:
        """Ask how far a job says that it is; None if it has said nothing."""
        part = self._ask("GET", f"/v1/jobs/{segment(id)}", query={"fields": "progress"}).json()
        return None if part.get("progress") is None else read(Progress, part["progress"])


def _wait(seconds: float) -> dict[str, float]:
    return {"wait": round(seconds, 3)} if seconds > 0 else {}


def _times(after: datetime | None, before: datetime | None) -> dict[str, str]:
    moments = given(created_after=after, created_before=before)
    return {name: moment.isoformat() for name, moment in moments.items()}


def _if_cancelled(problem: Problem, id: str) -> Exception:
    return CancelledError(f"job {id} was cancelled") if problem.code == "cancelled" else problem

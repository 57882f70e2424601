"""The main job with what openapi-python-client made."""

import json
import sys
import uuid

from futurity import Client
from futurity.api.batches import submit_batch
from futurity.api.jobs import (cancel_job, get_exception, get_job, get_log, get_result, head_job, list_jobs, set_result,
                               submit_job, wait_for_jobs)
from futurity.api.queues import pause_queue, put_queue
from futurity.models import (BatchSubmission, Cancel, CancelMode, Job, NewQueue, Problem, State, Submission, SubmittedLine,
                             WaitRequest)


def check(holds, *what):
    if not holds:
        sys.exit(f"WRONG: {what}")


def problem(answer, status, code):
    check(answer.status_code == status and isinstance(answer.parsed, Problem) and answer.parsed.code == code, answer)
    return answer.parsed


def main():
    client = Client(base_url=sys.argv[1])

    def submit(wait=0.0, **fields):
        keyed = {"idempotency_key": fields.pop("key")} if "key" in fields else {}
        return submit_job.sync_detailed(client=client, wait=wait, body=Submission(**fields), **keyed)

    done = submit(wait=20, function="echo", args=[7]).parsed
    check(isinstance(done, Job) and done.done and done.state == State.SUCCEEDED and done.result == 7, done)
    check(get_result.sync(done.id, client=client) == 7)
    raised = submit(wait=20, function="raise", args=["ValueError", "no such thing"]).parsed
    told = problem(get_result.sync_detailed(raised.id, client=client), 424, "raised")
    check(told.error.type_ == "ValueError", told)
    check(get_exception.sync(raised.id, client=client).message == "no such thing")
    problem(get_result.sync_detailed(uuid.UUID(int=7), client=client), 404, "not_found")

    sleeper = submit(function="sleep", args=[60]).parsed
    check(get_result.sync_detailed(sleeper.id, client=client).status_code == 202)
    asked = Cancel(mode=CancelMode.TERMINATE, wait_seconds=10.0)
    check(cancel_job.sync(sleeper.id, client=client, body=asked).cancelled)
    check(cancel_job.sync(sleeper.id, client=client).cancelled)
    problem(get_result.sync_detailed(sleeper.id, client=client), 409, "cancelled")

    batch = submit_batch.sync(client=client, wait=20, body=BatchSubmission(function="echo", iterables=[[1, 2, 3]]))
    check(batch.done and batch.counts.succeeded == 3, batch)
    waited = wait_for_jobs.sync(client=client, body=WaitRequest(ids=[done.id, raised.id]))
    check([job.id for job in waited.done] == [done.id, raised.id] and not waited.timed_out, waited)
    page = list_jobs.sync(client=client, page_size=2)
    check(len(page.jobs) == 2 and list_jobs.sync(client=client, page_token=page.next_page_token).jobs, page)
    first = get_job.sync_detailed(done.id, client=client)
    check(first.parsed == done, first)
    check(get_job.sync_detailed(done.id, client=client, if_none_match=first.headers["ETag"]).status_code == 304)
    check(head_job.sync_detailed(done.id, client=client).headers["Futurity-State"] == "succeeded")

    manual = submit(manual=True).parsed
    check(set_result.sync(manual.id, client=client, body={"approved": True}).state == State.SUCCEEDED)
    twice = [submit(function="echo", args=[1], key="one") for _ in range(2)]
    check(twice[0].parsed.id == twice[1].parsed.id and twice[1].headers["Idempotent-Replayed"] == "true", twice)
    put_queue.sync("small", client=client, body=NewQueue(max_pending=1))
    check(pause_queue.sync("small", client=client).paused)
    submit(function="echo", args=[1], queue="small")
    full = submit(function="echo", args=[1], queue="small")
    problem(full, 429, "queue_full")
    check(int(full.headers["Retry-After"]) >= 0)
    check(get_log.sync(done.id, client=client) == "")
    # Lines it has no words for; its HTTP client does.
    lines = "".join(json.dumps({"function": "echo", "args": [n]}) + "\n" for n in range(3))
    answers = client.get_httpx_client().post("/v1/jobs/lines", content=lines, headers={"Content-Type": "application/x-ndjson"})
    *answered, last = [SubmittedLine.from_dict(json.loads(line)) for line in answers.text.splitlines()]
    check([it.index for it in answered] == [0, 1, 2] and answered[2].job.args == [2] and last.end.lines == 3, answers.text)


main()

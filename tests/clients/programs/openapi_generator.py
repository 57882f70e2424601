"""The main job with what openapi-generator made for Python."""

import json
import sys
import uuid

import openapi_client as futurity


def check(holds, *what):
    if not holds:
        sys.exit(f"WRONG: {what}")


def problem(call, status, code):
    try:
        answer = call()
    except futurity.ApiException as error:
        problem = futurity.Problem.from_json(error.body)
        check(error.status == status and problem.code == code, error)
        return error, problem
    sys.exit(f"WRONG: {answer} where {status} {code} was due")


def main():
    client = futurity.ApiClient(futurity.Configuration(host=sys.argv[1]))
    jobs, batches, queues = futurity.JobsApi(client), futurity.BatchesApi(client), futurity.QueuesApi(client)
    new = futurity.Submission

    done = jobs.submit_job(new(function="echo", args=[7]), wait=20)
    check(done.done and done.state == futurity.State.SUCCEEDED and done.result == 7, done)
    check(jobs.get_result(done.id) == 7)
    raised = jobs.submit_job(new(function="raise", args=["ValueError", "no such thing"]), wait=20)
    _, told = problem(lambda: jobs.get_result(raised.id), 424, "raised")
    check(told.error.type == "ValueError", told)
    check(jobs.get_exception(raised.id).message == "no such thing")
    problem(lambda: jobs.get_result(uuid.UUID(int=7)), 404, "not_found")

    sleeper = jobs.submit_job(new(function="sleep", args=[60]))
    check(jobs.get_result_with_http_info(sleeper.id).status_code == 202)
    asked = futurity.Cancel(mode=futurity.CancelMode.TERMINATE, wait_seconds=10)
    check(jobs.cancel_job(sleeper.id, asked).cancelled)
    check(jobs.cancel_job(sleeper.id).cancelled)
    problem(lambda: jobs.get_result(sleeper.id), 409, "cancelled")

    batch = batches.submit_batch(futurity.BatchSubmission(function="echo", iterables=[[1, 2, 3]]), wait=20)
    check(batch.done and batch.counts.succeeded == 3, batch)
    waited = jobs.wait_for_jobs(futurity.WaitRequest(ids=[done.id, raised.id]))
    check([job.id for job in waited.done] == [done.id, raised.id] and not waited.timed_out, waited)
    page = jobs.list_jobs(page_size=2)
    check(len(page.jobs) == 2 and jobs.list_jobs(page_token=page.next_page_token).jobs, page)
    first = jobs.get_job_with_http_info(done.id)
    check(first.data == done, first)
    tag = {name.lower(): value for name, value in first.headers.items()}["etag"]
    same = jobs.get_job_without_preload_content(done.id, if_none_match=tag)
    check(same.status == 304, same.status)
    check(jobs.head_job_with_http_info(done.id).headers["futurity-state"] == "succeeded")

    manual = jobs.submit_job(new(manual=True, priority=0, on_interrupt=futurity.OnInterrupt.RERUN))
    check(jobs.set_result(manual.id, {"approved": True}).state == futurity.State.SUCCEEDED)
    echo = new(function="echo", args=[1])
    twice = [jobs.submit_job_with_http_info(echo, idempotency_key="one") for _ in range(2)]
    check(twice[0].data.id == twice[1].data.id and twice[1].headers["idempotent-replayed"] == "true", twice)
    queues.put_queue("small", futurity.NewQueue(max_pending=1))
    check(queues.pause_queue("small").paused)
    held = new(function="echo", args=[1], queue="small")
    jobs.submit_job(held)
    error, _ = problem(lambda: jobs.submit_job(held), 429, "queue_full")
    check(int(error.headers["retry-after"]) >= 0)
    check(jobs.get_log(done.id) == "")
    lines = "".join(json.dumps({"function": "echo", "args": [n]}) + "\n" for n in range(3))
    sent = {"Content-Type": "application/x-ndjson"}
    answers = client.rest_client.request("POST", sys.argv[1] + "/v1/jobs/lines", headers=sent, body=lines)
    *answered, last = [futurity.SubmittedLine.from_json(line) for line in answers.read().decode().splitlines()]
    check([it.index for it in answered] == [0, 1, 2] and answered[2].job.args == [2] and last.end.lines == 3, answered, last)


main()

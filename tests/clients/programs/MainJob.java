import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.ApiResponse;
import org.openapitools.client.api.BatchesApi;
import org.openapitools.client.api.JobsApi;
import org.openapitools.client.api.QueuesApi;
import org.openapitools.client.model.*;

/** The main job with what openapi-generator made for Java. */
public class MainJob {
  interface Call {
    Object run() throws ApiException;
  }

  static void check(boolean holds, Object what) {
    if (!holds) throw new IllegalStateException("WRONG: " + what);
  }

  static ApiException problem(Call call, int status, String code) {
    try {
      throw new IllegalStateException("WRONG: " + call.run());
    } catch (ApiException error) {
      String text = error.getResponseBody();
      check(error.getCode() == status && text.contains("\"code\":\"" + code + "\""), error);
      return error;
    }
  }

  public static void main(String[] arguments) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(arguments[0]);
    JobsApi jobs = new JobsApi(client);
    QueuesApi queues = new QueuesApi(client);

    Submission echo = new Submission().function("echo").args(List.of(7));
    Job done = jobs.submitJob(echo, 20.0, null, null);
    check(done.getDone() && done.getState() == State.SUCCEEDED && done.getResult().equals(7), done);
    check(jobs.getResult(done.getId(), null, null).equals(7), done);
    Submission raising = new Submission().function("raise").args(List.of("ValueError", "no such thing"));
    Job raised = jobs.submitJob(raising, 20.0, null, null);
    problem(() -> jobs.getResult(raised.getId(), null, null), 424, "raised");
    check(jobs.getException(raised.getId(), null, null).getMessage().equals("no such thing"), raised);
    problem(() -> jobs.getResult(new UUID(0, 7), null, null), 404, "not_found");

    Job sleeper = jobs.submitJob(new Submission().function("sleep").args(List.of(60)), null, null, null);
    check(jobs.getResultWithHttpInfo(sleeper.getId(), null, null).getStatusCode() == 202, sleeper);
    Cancel asked = new Cancel().mode(CancelMode.TERMINATE).waitSeconds(10.0);
    check(jobs.cancelJob(sleeper.getId(), asked).getCancelled(), sleeper);
    check(jobs.cancelJob(sleeper.getId(), null).getCancelled(), sleeper);
    problem(() -> jobs.getResult(sleeper.getId(), null, null), 409, "cancelled");

    BatchSubmission map = new BatchSubmission().function("echo").iterables(List.of(List.of(1, 2, 3)));
    Batch batch = new BatchesApi(client).submitBatch(map, 20.0, null, null);
    check(batch.getDone() && batch.getCounts().getSucceeded() == 3, batch);
    Waited both = jobs.waitForJobs(new WaitRequest().ids(List.of(done.getId(), raised.getId())));
    check(both.getDone().size() == 2 && !both.getTimedOut(), both);
    check(jobs.waitForJobs(new WaitRequest().batch(batch.getId())).getDone().size() == 3, batch);
    JobPage page = jobs.listJobs(null, null, null, null, null, null, null, null, 2L, null);
    check(page.getJobs().size() == 2, page);
    String token = page.getNextPageToken();
    check(!jobs.listJobs(null, null, null, null, null, null, null, null, null, token).getJobs().isEmpty(), page);
    ApiResponse<Job> first = jobs.getJobWithHttpInfo(done.getId(), null, null, null, null);
    String tag = first.getHeaders().get("etag").get(0);
    int same;
    try {
      same = jobs.getJobWithHttpInfo(done.getId(), null, null, null, tag).getStatusCode();
    } catch (ApiException error) {
      same = error.getCode();
    }
    check(same == 304, same);
    ApiResponse<Void> head = jobs.headJobWithHttpInfo(done.getId(), null, null, null, null);
    check(head.getHeaders().get("futurity-state").get(0).equals("succeeded"), head);

    Job manual = jobs.submitJob(new Submission().manual(true).priority(0L).onInterrupt(OnInterrupt.RERUN), null, null, null);
    check(jobs.setResult(manual.getId(), Map.of("approved", true)).getState() == State.SUCCEEDED, manual);
    Job one = jobs.submitJob(echo, null, null, "one");
    check(jobs.submitJob(echo, null, null, "one").getId().equals(one.getId()), one);
    queues.putQueue("small", new NewQueue().maxPending(1L));
    check(queues.pauseQueue("small", null).getPaused(), "paused");
    Submission held = new Submission().function("echo").args(List.of(1)).queue("small");
    jobs.submitJob(held, null, null, null);
    ApiException full = problem(() -> jobs.submitJob(held, null, null, null), 429, "queue_full");
    check(full.getResponseHeaders().firstValue("Retry-After").isPresent(), full);
  }
}

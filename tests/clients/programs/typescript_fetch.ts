// The main job with what openapi-generator made for TypeScript and fetch.
import * as futurity from './futurity';

const configuration = new futurity.Configuration({ basePath: process.argv[2] });
const jobs = new futurity.JobsApi(configuration);
const batches = new futurity.BatchesApi(configuration);
const queues = new futurity.QueuesApi(configuration);

function check(holds: unknown, ...what: unknown[]): asserts holds {
  if (!holds) throw new Error(`WRONG: ${JSON.stringify(what)}`);
}

// What is misspelt is no request. Never called: the compiler reads it.
// @ts-expect-error
export const misspelt = () => jobs.submitJob({ submission: { _function: 'echo', argz: [1] } });

async function problem(call: Promise<unknown>, status: number, code: string) {
  const error = await call.then(() => undefined, (error) => error);
  check(error instanceof futurity.ResponseError && error.response.status === status, error);
  const told = futurity.ProblemFromJSON(await error.response.json());
  check(told.code === code, told);
  return { told, headers: error.response.headers };
}

async function main() {
  const submit = (submission: futurity.Submission, wait = 0) => jobs.submitJob({ submission, wait });
  const done = await submit({ _function: 'echo', args: [7] }, 20);
  check(done.done && done.state === 'succeeded' && done.result === 7, done);
  check((await jobs.getResult({ id: done.id })) === 7);
  const raised = await submit({ _function: 'raise', args: ['ValueError', 'no such thing'] }, 20);
  const { told } = await problem(jobs.getResult({ id: raised.id }), 424, 'raised');
  check(told.error?.type === 'ValueError', told);
  await problem(jobs.getResult({ id: '0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f' }), 404, 'not_found');

  const sleeper = await submit({ _function: 'sleep', args: [60] });
  check((await jobs.getResultRaw({ id: sleeper.id })).raw.status === 202);
  check((await jobs.cancelJob({ id: sleeper.id, cancel: { mode: 'terminate', waitSeconds: 10 } })).cancelled);
  check((await jobs.cancelJob({ id: sleeper.id })).cancelled);
  await problem(jobs.getResult({ id: sleeper.id }), 409, 'cancelled');

  const batch = await batches.submitBatch({ batchSubmission: { _function: 'echo', iterables: [[1, 2, 3]] }, wait: 20 });
  check(batch.done && batch.counts.succeeded === 3, batch);
  const waited = await jobs.waitForJobs({ waitRequest: { ids: [done.id, raised.id] } });
  check(waited.done.length === 2 && !waited.timedOut, waited);
  const page = await jobs.listJobs({ pageSize: 2 });
  check(page.jobs.length === 2 && page.nextPageToken, page);
  check((await jobs.listJobs({ pageToken: page.nextPageToken })).jobs.length);
  const first = await jobs.getJobRaw({ id: done.id });
  const ifNoneMatch = first.raw.headers.get('ETag') ?? '';
  const same = await jobs.getJobRaw({ id: done.id, ifNoneMatch }).catch((error) => ({ raw: error.response as Response }));
  check(same.raw.status === 304, same);
  check((await jobs.headJobRaw({ id: done.id })).raw.headers.get('Futurity-State') === 'succeeded');

  const manual = await submit({ manual: true });
  check((await jobs.setResult({ id: manual.id, body: { approved: true } })).state === 'succeeded');
  const keyed = () => jobs.submitJobRaw({ submission: { _function: 'echo', args: [1] }, idempotencyKey: 'one' });
  const [one, two] = [await keyed(), await keyed()];
  check((await one.value()).id === (await two.value()).id && two.raw.headers.get('Idempotent-Replayed') === 'true');
  await queues.putQueue({ name: 'small', newQueue: { maxPending: 1 } });
  check((await queues.pauseQueue({ name: 'small' })).paused);
  await submit({ _function: 'echo', args: [1], queue: 'small' });
  const full = await problem(submit({ _function: 'echo', args: [1], queue: 'small' }), 429, 'queue_full');
  check(full.headers.get('Retry-After'));
  check((await jobs.getLog({ id: done.id })) === '');
  const lines = [0, 1, 2].map((n) => JSON.stringify({ function: 'echo', args: [n] })).join('\n');
  const answers = await jobs.submitLines({ body: lines });
  const answered = answers.trim().split('\n').map((line) => futurity.SubmittedLineFromJSON(JSON.parse(line)));
  check(answered.map((it) => it.index ?? it.end?.lines).join() === '0,1,2,3', answers);
}

main().catch((error) => { console.error(error); process.exit(1); });

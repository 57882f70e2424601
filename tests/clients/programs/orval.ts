// The main job with what orval made for fetch. Its functions ask for paths: here they go to one server.
import * as futurity from './futurity';

const plain = globalThis.fetch;
globalThis.fetch = (input, init) => plain(process.argv[2] + String(input), init);

function check(holds: unknown, ...what: unknown[]): asserts holds {
  if (!holds) throw new Error(`WRONG: ${JSON.stringify(what)}`);
}

// What is misspelt is no request. Never called: the compiler reads it.
// @ts-expect-error
export const misspelt = () => futurity.submitJob({ function: 'echo', argz: [1] });

async function submit(body: futurity.Submission, wait = 0) {
  const answer = await futurity.submitJob(body, { wait });
  check(answer.status === 200 || answer.status === 202, answer);
  return answer.data;
}

async function main() {
  const done = await submit({ function: 'echo', args: [7] }, 20);
  check(done.done && done.state === 'succeeded' && done.result === 7, done);
  check((await futurity.getResult(done.id)).data === 7);
  const raised = await submit({ function: 'raise', args: ['ValueError', 'no such thing'] }, 20);
  const told = await futurity.getResult(raised.id);
  check(told.status === 424 && told.data.code === 'raised' && told.data.error?.type === 'ValueError', told);
  const nobody = await futurity.getResult('0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f');
  check(nobody.status === 404 && nobody.data.code === 'not_found', nobody);

  const sleeper = await submit({ function: 'sleep', args: [60] });
  check((await futurity.getResult(sleeper.id)).status === 202);
  const cancelled = await futurity.cancelJob(sleeper.id, { mode: 'terminate', wait_seconds: 10 });
  check(cancelled.status === 200 && cancelled.data.cancelled, cancelled);
  const again = await futurity.cancelJob(sleeper.id);
  check(again.status === 200 && again.data.cancelled, again);
  const never = await futurity.getResult(sleeper.id);
  check(never.status === 409 && never.data.code === 'cancelled', never);

  const batch = await futurity.submitBatch({ function: 'echo', iterables: [[1, 2, 3]] }, { wait: 20 });
  check(batch.status === 200 && batch.data.done && batch.data.counts.succeeded === 3, batch);
  const waited = await futurity.waitForJobs({ ids: [done.id, raised.id] });
  check(waited.status === 200 && waited.data.done.length === 2 && !waited.data.timed_out, waited);
  const page = await futurity.listJobs({ page_size: 2 });
  check(page.status === 200 && page.data.jobs.length === 2 && page.data.next_page_token, page);
  const next = await futurity.listJobs({ page_token: page.data.next_page_token });
  check(next.status === 200 && next.data.jobs.length, next);
  const first = await futurity.getJob(done.id);
  const same = await futurity.getJob(done.id, undefined, { headers: { 'If-None-Match': first.headers.get('ETag') ?? '' } });
  check(first.status === 200 && first.data.state === 'succeeded' && same.status === 304, first, same);
  check((await futurity.headJob(done.id)).headers.get('Futurity-State') === 'succeeded');

  const manual = await submit({ manual: true });
  const set = await futurity.setResult(manual.id, { approved: true });
  check(set.status === 200 && set.data.state === 'succeeded', set);
  const keyed = () => futurity.submitJob({ function: 'echo', args: [1] }, undefined, { headers: { 'Idempotency-Key': 'one' } });
  const [one, two] = [await keyed(), await keyed()];
  check(one.status === 202 && (two.status === 200 || two.status === 202) && one.data.id === two.data.id, one, two);
  check(two.headers.get('Idempotent-Replayed') === 'true', two);
  await futurity.putQueue('small', { max_pending: 1 });
  const paused = await futurity.pauseQueue('small');
  check(paused.status === 200 && paused.data.paused, paused);
  await submit({ function: 'echo', args: [1], queue: 'small' });
  const full = await futurity.submitJob({ function: 'echo', args: [1], queue: 'small' });
  check(full.status === 429 && full.data.code === 'queue_full' && full.headers.get('Retry-After'), full);
  check((await futurity.getLog(done.id)).status === 200);
}

main().catch((error) => { console.error(error); process.exit(1); });

// The main job with what @hey-api/openapi-ts made.
import * as futurity from './futurity';
import { client } from './futurity/client.gen';

client.setConfig({ baseUrl: process.argv[2] as never });

function check(holds: unknown, ...what: unknown[]): asserts holds {
  if (!holds) throw new Error(`WRONG: ${JSON.stringify(what)}`);
}
const submit = (body: futurity.Submission, wait = 0) => futurity.submitJob({ query: { wait }, body });

// What is misspelt is no request. Never called: the compiler reads it.
// @ts-expect-error
export const misspelt = () => submit({ function: 'echo', argz: [1] });

async function main() {
  const { data: done } = await submit({ function: 'echo', args: [7] }, 20);
  check(done?.done && done.state === 'succeeded' && done.result === 7, done);
  const path = { id: done.id };
  check((await futurity.getResult({ path })).data === 7);
  const { data: raised } = await submit({ function: 'raise', args: ['ValueError', 'no such thing'] }, 20);
  check(raised);
  const told = await futurity.getResult({ path: { id: raised.id } });
  check(told.response?.status === 424 && told.error?.code === 'raised' && told.error.error?.type === 'ValueError', told);
  const nobody = await futurity.getResult({ path: { id: '0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f' } });
  check(nobody.response?.status === 404 && nobody.error?.code === 'not_found', nobody);

  const { data: sleeper } = await submit({ function: 'sleep', args: [60] });
  check(sleeper);
  const of = { path: { id: sleeper.id } };
  check((await futurity.getResult(of)).response?.status === 202);
  check((await futurity.cancelJob({ ...of, body: { mode: 'terminate', wait_seconds: 10 } })).data?.cancelled);
  check((await futurity.cancelJob(of)).data?.cancelled);
  const never = await futurity.getResult(of);
  check(never.response?.status === 409 && never.error?.code === 'cancelled', never);

  const { data: batch } = await futurity.submitBatch({ query: { wait: 20 }, body: { function: 'echo', iterables: [[1, 2, 3]] } });
  check(batch?.done && batch.counts.succeeded === 3, batch);
  const { data: waited } = await futurity.waitForJobs({ body: { ids: [done.id, raised.id] } });
  check(waited?.done.length === 2 && !waited.timed_out, waited);
  const { data: page } = await futurity.listJobs({ query: { page_size: 2 } });
  check(page?.jobs.length === 2 && page.next_page_token, page);
  check((await futurity.listJobs({ query: { page_token: page.next_page_token } })).data?.jobs.length);
  const first = await futurity.getJob({ path });
  const same = await futurity.getJob({ path, headers: { 'If-None-Match': first.response?.headers.get('ETag') ?? '' } });
  check(first.data?.state === 'succeeded' && same.response?.status === 304, first, same);
  check((await futurity.headJob({ path })).response?.headers.get('Futurity-State') === 'succeeded');

  const { data: manual } = await submit({ manual: true });
  check(manual);
  check((await futurity.setResult({ path: { id: manual.id }, body: { approved: true } })).data?.state === 'succeeded');
  const keyed = () => futurity.submitJob({ headers: { 'Idempotency-Key': 'one' }, body: { function: 'echo', kwargs: { value: 1 } } });
  const [one, two] = [await keyed(), await keyed()];
  check(one.data?.id === two.data?.id && two.response?.headers.get('Idempotent-Replayed') === 'true', one, two);
  await futurity.putQueue({ path: { name: 'small' }, body: { max_pending: 1 } });
  check((await futurity.pauseQueue({ path: { name: 'small' } })).data?.paused);
  await submit({ function: 'echo', args: [1], queue: 'small' });
  const full = await submit({ function: 'echo', args: [1], queue: 'small' });
  check(full.response?.status === 429 && full.error?.code === 'queue_full' && full.response.headers.get('Retry-After'), full);
  check((await futurity.getLog({ path })).response?.status === 200);
  const lines = [0, 1, 2].map((n) => JSON.stringify({ function: 'echo', args: [n] })).join('\n');
  const answers = await futurity.submitLines({ body: lines, bodySerializer: null, parseAs: 'text' });
  const answered: futurity.SubmittedLine[] = (answers.data ?? '').trim().split('\n').map((line) => JSON.parse(line));
  check(answered.map((it) => it.index ?? it.end?.lines).join() === '0,1,2,3', answers);
  const { stream } = await futurity.followJob({ path });
  const events: unknown[] = [];
  for await (const event of stream) {
    events.push(event);
    if (JSON.stringify(event).includes('reason')) break;
  }
  check(events.length >= 2, events);
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });

// The main job with what openapi-typescript made, by openapi-fetch.
import createClient from 'openapi-fetch';
import type { components, paths } from './schema';

const client = createClient<paths>({ baseUrl: process.argv[2] });

function check(holds: unknown, ...what: unknown[]): asserts holds {
  if (!holds) throw new Error(`WRONG: ${JSON.stringify(what)}`);
}
type Submission = components['schemas']['Submission'];
const submit = (body: Submission, wait = 0) => client.POST('/v1/jobs', { params: { query: { wait } }, body });
const of = (id: string) => ({ params: { path: { id } } });

// What is misspelt is no request. Never called: the compiler reads it.
// @ts-expect-error
export const misspelt = () => submit({ function: 'echo', argz: [1] });

async function main() {
  const { data: done } = await submit({ function: 'echo', args: [7] }, 20);
  check(done?.done && done.state === 'succeeded' && done.result === 7, done);
  check((await client.GET('/v1/jobs/{id}/result', of(done.id))).data === 7);
  const { data: raised } = await submit({ function: 'raise', args: ['ValueError', 'no such thing'] }, 20);
  check(raised);
  const told = await client.GET('/v1/jobs/{id}/result', of(raised.id));
  check(told.response.status === 424 && told.error?.code === 'raised' && told.error.error?.type === 'ValueError', told);
  const exception = await client.GET('/v1/jobs/{id}/exception', of(raised.id));
  check(exception.data && 'message' in exception.data && exception.data.message === 'no such thing', exception);
  const nobody = await client.GET('/v1/jobs/{id}/result', of('0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f'));
  check(nobody.response.status === 404 && nobody.error?.code === 'not_found', nobody);

  const { data: sleeper } = await submit({ function: 'sleep', args: [60] });
  check(sleeper);
  check((await client.GET('/v1/jobs/{id}/result', of(sleeper.id))).response.status === 202);
  const cancelled = await client.POST('/v1/jobs/{id}/cancel', { ...of(sleeper.id), body: { wait_seconds: 10 } });
  check(cancelled.data?.cancelled, cancelled);
  check((await client.POST('/v1/jobs/{id}/cancel', of(sleeper.id))).data?.cancelled);
  const never = await client.GET('/v1/jobs/{id}/result', of(sleeper.id));
  check(never.response.status === 409 && never.error?.code === 'cancelled', never);

  const wait20 = { params: { query: { wait: 20 } } };
  const batch = await client.POST('/v1/batches', { ...wait20, body: { function: 'echo', iterables: [[1, 2, 3]] } });
  check(batch.data?.done && batch.data.counts.succeeded === 3, batch);
  const waited = await client.POST('/v1/jobs/wait', { body: { ids: [done.id, raised.id] } });
  check(waited.data?.done.length === 2 && !waited.data.timed_out, waited);
  const page = await client.GET('/v1/jobs', { params: { query: { page_size: 2 } } });
  check(page.data?.jobs.length === 2 && page.data.next_page_token, page);
  const next = await client.GET('/v1/jobs', { params: { query: { page_token: page.data.next_page_token } } });
  check(next.data?.jobs.length, next);
  const first = await client.GET('/v1/jobs/{id}', of(done.id));
  const tag = first.response.headers.get('ETag') ?? '';
  const same = await client.GET('/v1/jobs/{id}', { params: { path: { id: done.id }, header: { 'If-None-Match': tag } } });
  check(first.data?.version === done.version && same.response.status === 304, first, same);
  const head = await client.HEAD('/v1/jobs/{id}', of(done.id));
  check(head.response.headers.get('Futurity-State') === 'succeeded', head);

  const { data: manual } = await submit({ manual: true });
  check(manual);
  const set = await client.PUT('/v1/jobs/{id}/result', { ...of(manual.id), body: { approved: true } });
  check(set.data?.state === 'succeeded', set);
  const keyed = () => client.POST('/v1/jobs', {
    params: { header: { 'Idempotency-Key': 'one' } }, body: { function: 'echo', kwargs: { value: 1 } },
  });
  const [one, two] = [await keyed(), await keyed()];
  check(one.data && one.data.id === two.data?.id && two.response.headers.get('Idempotent-Replayed') === 'true', one, two);
  await client.PUT('/v1/queues/{name}', { params: { path: { name: 'small' } }, body: { max_pending: 1 } });
  check((await client.POST('/v1/queues/{name}/pause', { params: { path: { name: 'small' } } })).data?.paused);
  await submit({ function: 'echo', args: [1], queue: 'small' });
  const full = await submit({ function: 'echo', args: [1], queue: 'small' });
  check(full.response.status === 429 && full.error?.code === 'queue_full' && full.response.headers.get('Retry-After'), full);
  // Of an empty body openapi-fetch has no data.
  check(!(await client.GET('/v1/jobs/{id}/log', { ...of(done.id), parseAs: 'text' })).error);
  const lines = [0, 1, 2].map((n) => JSON.stringify({ function: 'echo', args: [n] })).join('\n');
  const answers = await client.POST('/v1/jobs/lines', {
    body: lines, bodySerializer: (body) => body, parseAs: 'text', headers: { 'Content-Type': 'application/x-ndjson' },
  });
  type Line = components['schemas']['SubmittedLine'];
  const answered: Line[] = (answers.data ?? '').trim().split('\n').map((line) => JSON.parse(line));
  check(answered.map((it) => it.index ?? it.end?.lines).join() === '0,1,2,3', answers);
}

main().catch((error) => { console.error(error); process.exit(1); });

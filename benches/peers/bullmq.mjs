// BullMQ: node bullmq.mjs PORT ONE MANY. ONE jobs one after the other, then MANY at once; prints milliseconds and jobs a second.
import { fork } from "node:child_process";
import { createRequire } from "node:module";

// From the directory that it was installed in, which is not that of this file.
const { Job, Queue, QueueEvents, Worker } = createRequire(process.cwd() + "/")("bullmq");
const [port, one, many] = process.argv.slice(2).map(Number);
const connection = { host: "127.0.0.1", port };
const CONCURRENCY = 64;
const PORTION = 1000;

if (process.send) {
  const worker = new Worker("bench", async (job) => job.data.value, { connection, concurrency: CONCURRENCY });
  let ended = 0;
  worker.on("completed", (job) => { if (job.name === "many" && ++ended === many) process.send("ended"); });
  await worker.waitUntilReady();
  process.send("ready");
  process.on("message", async () => { await worker.close(); process.exit(0); });
} else {
  const worker = fork(process.argv[1], process.argv.slice(2));
  const told = (word) => new Promise((heard) => worker.on("message", (said) => { if (said === word) heard(); }));
  await told("ready");
  const queue = new Queue("bench", { connection });
  const events = new QueueEvents("bench", { connection });
  await events.waitUntilReady();
  const latencies = [];
  for (let value = 0; value < one; value++) {
    const begun = performance.now();
    const job = await queue.add("one", { value });
    if ((await job.waitUntilFinished(events)) !== value) throw new Error("a wrong result");
    latencies.push(performance.now() - begun);
  }
  latencies.sort((a, b) => a - b);
  // The worker counts: the stream of events that others may follow is cut at some 10,000 of them.
  const ended = told("ended");
  const begun = performance.now();
  const jobs = [];
  for (let first = 0; first < many; first += PORTION) {
    const values = Array.from({ length: Math.min(PORTION, many - first) }, (_, nth) => first + nth);
    jobs.push(...await queue.addBulk(values.map((value) => ({ name: "many", data: { value } }))));
  }
  await ended;
  const seconds = (performance.now() - begun) / 1000;
  for (const { id, data } of jobs) {
    const job = await Job.fromId(queue, id);
    if (job.returnvalue !== data.value) throw new Error("a wrong result");
  }
  console.log(JSON.stringify({ one_ms: latencies[latencies.length >> 1], per_second: many / seconds }));
  worker.send("end");
  await Promise.all([queue.close(), events.close()]);
}

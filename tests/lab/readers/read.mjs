// Reads streams with the libraries of Node, all at once: what `read.py` does with those of Python.
//
//     node read.mjs FOLDER < PLAN
//
// FOLDER is where the libraries are installed.
import dns from 'node:dns';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(process.argv[2] + '/package.json'));
const undici = require('undici');
// `fetch` sends the name in the address as `Host`, whatever it is told: each name is this machine.
dns.lookup = (_name, options, done) => options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4);
const EVENTS = ['state', 'end', 'job', 'result', 'begin', 'gone', 'alive', 'progress', 'log', 'reset', 'message'];

class Stream {
  constructor(asked) {
    const url = asked.base.replace('127.0.0.1', asked.headers.Host) + asked.target;
    Object.assign(this, { asked, url, wanted: [...asked.wanted], beats: 0, silent: 0, last: '', begun: performance.now() });
  }

  body() {
    const { body, paced } = this.asked;
    if (!paced) return body;
    return (async function* () {
      for (const [line, pause] of paced) {
        yield new TextEncoder().encode(line + '\n');
        await new Promise(done => setTimeout(done, pause * 1000));
      }
    })();
  }

  asking() {
    const { method, headers, paced } = this.asked;
    return { method, headers, body: this.body(), ...(paced ? { duplex: 'half' } : {}) };
  }

  moved() {
    const now = performance.now();
    this.silent = Math.max(this.silent, now - (this.heard ?? now));
    this.heard = now;
  }

  saw(text, name = '') {
    this.last = text.trim() || this.last;
    this.beats += text.length - text.trimStart().length + (name === 'alive');
    while (this.wanted.length && text.includes(this.wanted[0])) this.wanted.shift();
    return !this.wanted.length && !this.asked.ends;
  }

  report(error) {
    if (!error && this.wanted.length) error = `it ended without ${this.wanted}, after ${this.last.slice(0, 200)}`;
    const seconds = value => Math.round(value / 100) / 10;
    console.log(JSON.stringify({ id: this.asked.id, seconds: seconds(performance.now() - this.begun), beats: this.beats,
      silent: seconds(this.silent), error: error ? String(error).slice(0, 300) : null }));
  }
}

const lines = fetch => async it => {
  const answer = await fetch(it.url, it.asking());
  if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of answer.body) {
    it.moved();
    const found = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = found.pop();
    for (const line of found) if (it.saw(line)) return;
  }
};

/** Reads by the interface of browsers; whoever has seen `end` leaves. */
const events = (EventSource, options) => it => new Promise((done, failed) => {
  const source = new EventSource(it.url, options(it));
  const leave = error => { source.close(); error ? failed(error) : done(); };
  for (const name of EVENTS) {
    source.addEventListener(name, event => {
      JSON.parse(event.data);
      if (it.saw(event.data, name) || name === 'end') leave();
    });
  }
  const cut = event => leave(new Error(`it was cut, and would come back: ${event.message ?? event.error ?? event.code}`));
  source.addEventListener('error', cut);
});

const byHeaders = it => ({ headers: it.asked.headers });
const withHeaders = (asked, it) => ({ ...asked, headers: { ...asked.headers, ...it.asked.headers } });
const byFetch = it => ({ fetch: (url, asked) => fetch(url, withHeaders({ ...it.asking(), ...asked, method: it.asked.method }, it)) });
const byDispatcher = it => {
  const agent = new undici.Agent().compose(dispatch => (asked, handler) => dispatch(withHeaders(asked, it), handler));
  return { dispatcher: agent, node: { dispatcher: agent } };
};

const eventsourceClient = it => new Promise((done, failed) => {
  const { createEventSource } = require('eventsource-client');
  const leave = error => { source.close(); error ? failed(error) : done(); };
  const source = createEventSource({ url: it.url, ...it.asking(),
    onMessage: ({ event, data }) => {
      JSON.parse(data);
      if (it.saw(data, event) || event === 'end') leave();
    },
    onComment: () => { it.beats += 1; },
    onDisconnect: () => leave(new Error('it was cut, and would come back')) });
});

const READERS = {
  fetch: lines(fetch),
  undici: lines(undici.fetch),
  'eventsource 2': events(require('eventsource2'), byHeaders),
  'eventsource 3': events(require('eventsource3').EventSource, byFetch),
  'eventsource 4': events(require('eventsource4').EventSource, byFetch),
  'eventsource 5': events(require('eventsource5').EventSource, byFetch),
  'undici EventSource': events(undici.EventSource, byDispatcher),
  'eventsource-client': eventsourceClient,
};

await Promise.all(JSON.parse(readFileSync(0)).map(async asked => {
  const it = new Stream(asked);
  try {
    await READERS[asked.reader](it);
    it.report();
  } catch (error) {
    it.report(error.cause ? `${error}: ${error.cause}` : error);
  }
}));
process.exit();

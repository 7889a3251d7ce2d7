// BullMQ under the load of bench/peers.sh: a producer and a worker process, both node, beside a Redis that run.py has
// started with appendfsync always. Jobs are added a hundred at a time (addBulk) up to the window; finished jobs are
// removed. The worker has a concurrency of 100: with 1,000 it fetches one job after the other for seconds before it
// begins. Prints one row as the other peers' programs do.
//
//   node bench.js --mode cycle|enqueue|deliver|sync|latency --port N --server-pid N [--window N] [--seconds S] ...
'use strict';

const { fork } = require('node:child_process');
const fs = require('node:fs');
const { Queue, Worker } = require('bullmq');

function options() {
  const found = { mode: 'cycle', name: 'BullMQ', port: 0, 'server-pid': 0, window: 1000, 'in-flight': 20000, backlog: 0,
    body: 256, rate: 1000, seconds: 3, 'warm-up': 1 };
  const words = process.argv.slice(2);
  for (let at = 0; at < words.length; at += 1) {
    const name = words[at].replace(/^--/, '');
    if (name === 'json') continue;
    const value = words[at += 1];
    found[name] = Number.isNaN(Number(value)) ? value : Number(value);
  }
  return found;
}

const now = () => Number(process.hrtime.bigint() / 1000n);  // us of the clock that all processes share
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const connectionTo = (asked) => ({ host: '127.0.0.1', port: asked.port, maxRetriesPerRequest: null });

function percentile(sorted, fraction) {
  return sorted.length === 0 ? 0 : sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))];
}

async function produce(asked) {
  const queue = new Queue('jobs', { connection: connectionTo(asked), defaultJobOptions: { removeOnComplete: true } });
  await queue.waitUntilReady();
  const count = asked.count || Infinity;
  const filler = 'x'.repeat(asked.body - 16);
  const state = { sent: 0, confirmed: 0, done: 0, measuring: false, latencies: [] };
  process.on('message', (message) => Object.assign(state, message));
  const timer = setInterval(() => process.send({ confirmed: state.confirmed }), 5);
  const begun = now();
  const bulk = asked.mode === 'sync' ? 1 : 100;
  const window = asked.mode === 'sync' ? 1 : asked.window;
  const consumed = asked.mode === 'cycle' || asked.mode === 'latency';
  const paced = asked.mode === 'latency' && !asked.count;
  process.send({ ready: true });
  const add = async (jobs) => {
    const sent = now();
    const data = { at: sent, filler };
    if (jobs === 1) await queue.add('job', data);
    else await queue.addBulk(Array.from({ length: jobs }, () => ({ name: 'job', data })));
    state.confirmed += jobs;
    if (state.measuring) for (let i = 0; i < jobs; i += 1) state.latencies.push(now() - sent);
  };
  process.on('message', (message) => {
    if (message.report) process.send({ latencies: state.latencies });
  });
  while (state.confirmed < count) {
    let jobs = Math.min(bulk, count - state.sent);
    if (paced) jobs = Math.min(jobs, Math.floor(((now() - begun) / 1e6) * asked.rate) - state.sent);
    const open = state.sent - state.confirmed;
    if (jobs <= 0 || open + jobs > window || (consumed && state.sent - state.done >= asked['in-flight'])) {
      await (paced || consumed ? sleep(1) : new Promise(setImmediate));
      continue;
    }
    state.sent += jobs;
    const adding = add(jobs);
    if (asked.mode === 'sync') await adding;
  }
  clearInterval(timer);
  process.send({ confirmed: state.confirmed, ended: true }, () => process.exit(0));
}

async function work(asked) {
  const state = { done: 0, measuring: false, latencies: [] };
  const worker = new Worker('jobs', async (job) => {
    if (state.measuring && asked.mode === 'latency') state.latencies.push(now() - job.data.at);
  }, { connection: connectionTo(asked), concurrency: 100 });
  worker.on('completed', () => { state.done += 1; });
  await worker.waitUntilReady();
  process.on('message', (message) => {
    Object.assign(state, message);
    if (message.report) process.send({ latencies: state.latencies });
  });
  setInterval(() => process.send({ done: state.done }), 5);
  process.send({ ready: true });
}

function cpuOf(pid) {
  let ns = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    ns += Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]);
  }
  return ns / 1e3;
}

function start(role, asked, extra, on) {
  const child = fork(__filename, [], { env: { ...process.env, JOBQ_BENCH: JSON.stringify({ role, ...asked, ...extra }) } });
  const ready = new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message.ready) resolve();
      on(message);
    });
    child.on('exit', (code) => {
      if (code) reject(new Error(`the ${role} ended with ${code}`));
    });
  });
  return { child, ready };
}

function latenciesOf(side) {
  return new Promise((resolve) => {
    side.child.on('message', (message) => {
      if (message.latencies) resolve(message.latencies.sort((a, b) => a - b));
    });
    side.child.send({ report: true });
  });
}

async function measure(asked) {
  const queue = new Queue('jobs', { connection: connectionTo(asked) });
  await queue.obliterate({ force: true });
  await queue.close();
  if (asked.backlog > 0) {
    await new Promise((resolve) => {
      start('producer', asked, { mode: 'enqueue', count: asked.backlog }, (message) => {
        if (!message.ended) return;
        resolve();
      });
    });
  }
  const worked = ['cycle', 'latency', 'deliver'].includes(asked.mode);
  const produced = asked.mode !== 'deliver';
  const counts = { done: 0, confirmed: 0 };
  const sides = {};
  if (worked) {
    sides.worker = start('worker', asked, {}, (message) => {
      if (message.done === undefined) return;
      counts.done = message.done;
      if (sides.producer) sides.producer.child.send({ done: message.done });
    });
    await sides.worker.ready;
  }
  if (produced) {
    sides.producer = start('producer', asked, {}, (message) => {
      if (message.confirmed !== undefined) counts.confirmed = message.confirmed;
    });
    await sides.producer.ready;
  }
  const jobs = () => (worked ? counts.done : counts.confirmed);
  await sleep(asked['warm-up'] * 1000);
  for (const side of Object.values(sides)) side.child.send({ measuring: true });
  const cpu = () => ({
    broker: cpuOf(asked['server-pid']),
    ...Object.fromEntries(Object.entries(sides).map(([name, side]) => [name, cpuOf(side.child.pid)])),
  });
  const before = { jobs: jobs(), at: now(), cpu: cpu() };
  while ((now() - before.at) / 1e6 < asked.seconds && (produced || jobs() < asked.backlog)) await sleep(5);
  const after = { jobs: jobs(), at: now(), cpu: cpu() };
  const row = { name: asked.mode, program: asked.name, seconds: (after.at - before.at) / 1e6,
    jobs: after.jobs - before.jobs };
  row.jobs_per_s = row.jobs / row.seconds;
  for (const name of Object.keys(after.cpu)) {
    row[`${name}_cpu_us`] = (after.cpu[name] - before.cpu[name]) / Math.max(row.jobs, 1);
  }
  const status = fs.readFileSync(`/proc/${asked['server-pid']}/status`, 'latin1');
  row.rss_anon_mb = Number(/RssAnon:\s+(\d+)/.exec(status)[1]) / 1024;
  row.body_bytes = asked.body;
  for (const [name, side] of [['confirm', sides.producer], ['delivery', sides.worker]]) {
    if (!side) continue;
    const latencies = await latenciesOf(side);
    if (latencies.length === 0) continue;
    row[`${name}_p50_us`] = percentile(latencies, 0.5);
    row[`${name}_p99_us`] = percentile(latencies, 0.99);
    row[`${name}_p999_us`] = percentile(latencies, 0.999);
  }
  for (const side of Object.values(sides)) side.child.kill('SIGKILL');
  process.stdout.write(`${JSON.stringify(row)}\n`, () => process.exit(0));
}

// A child ends with its parent: the channel between them closes.
if (process.env.JOBQ_BENCH) {
  const asked = JSON.parse(process.env.JOBQ_BENCH);
  process.on('disconnect', () => process.exit(1));
  (asked.role === 'producer' ? produce(asked) : work(asked)).catch((error) => {
    console.error(error);
    process.exit(1);
  });
} else {
  measure(options()).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

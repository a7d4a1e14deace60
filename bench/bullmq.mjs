// BullMQ as a contestant: node bullmq.mjs MODE PORT MILLISECONDS PAYLOAD. It prints a line when it is ready, does its measured part when it
// reads one, and prints what it did, as JSON.
import { Queue, Worker } from 'bullmq';

const [mode, port, milliseconds, payload] = process.argv.slice(2);
const length = Number(milliseconds);
const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };
const data = JSON.parse(payload);
const callers = 64, slots = 100, waiting = 5000;
const now = () => Number(process.hrtime.bigint()) / 1e3; // µs
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const queue = new Queue('bench', { connection });
await queue.waitUntilReady();

// flood calls one from many callers until the time is over.
async function flood(milliseconds, one) {
  const end = now() + milliseconds * 1e3, took = [];
  let items = 0;
  await Promise.all(Array.from({ length: callers }, async () => {
    while (now() < end) {
      const began = now();
      await one();
      if (items++ % 8 === 0) took.push(now() - began);
    }
  }));
  return { items, took };
}

async function worker(concurrency, handle) {
  const w = new Worker('bench', handle, { connection, concurrency });
  await w.waitUntilReady();
  return w;
}

const modes = {
  // add publishes.
  async add() {
    const one = () => queue.add('noop', data);
    await flood(200, one);
    return () => flood(length, one);
  },
  // actions has producers and a worker at once, in a steady state; what waits is bounded, as it is for the other contestants.
  async actions() {
    let done = 0, added = 0, took = [];
    await worker(slots, async () => { done++; return 0; });
    flood(Infinity, async () => {
      while (added - done >= waiting) await sleep(1);
      const began = now();
      added++;
      await queue.add('noop', data);
      if (added % 8 === 0) took.push(now() - began);
    });
    while (done < waiting) await sleep(1);
    return async () => {
      const before = done;
      took = [];
      await sleep(length);
      return { items: done - before, took };
    };
  },
  // latency starts one job at a time in an idle worker.
  async latency() {
    let started;
    await worker(1, async () => { started(now()); return 0; });
    const run = async (milliseconds) => {
      const end = now() + milliseconds * 1e3, took = [];
      while (now() < end) {
        await sleep(2);
        const at = new Promise((done) => { started = done; });
        const began = now();
        await queue.add('noop', data);
        took.push(await at - began);
      }
      return { items: took.length, took };
    };
    await run(200);
    return () => run(length);
  },
};

const measured = await modes[mode]();
process.stdin.once('data', async () => {
  const before = process.cpuUsage();
  const { items, took } = await measured();
  const cpu = process.cpuUsage(before);
  process.stdout.write(JSON.stringify({ items, took, cpu: cpu.user + cpu.system, memory: process.resourceUsage().maxRSS * 1024 }) + '\n');
});
console.log('ready');

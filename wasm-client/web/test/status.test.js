import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Status, withRisk } from '../src/status.js';
import { FakeClock, settle } from './fakes/clock.js';

const CORE = { state: 'in-sync', number: 3, name: 'cold store', server: 'https://up.example', lastSeq: 4, tidemark: 4, pending: 0, rejects: 0 };
const SYNC = { state: 'idle', retryAt: null, stop: null, error: null };

function board({ core = CORE, sync = SYNC, storage = { estimate: async () => ({ usage: 1, quota: 1e12 }), persisted: async () => true } } = {}) {
  const clock = new FakeClock();
  const told = [];
  const world = { core, asked: 0, clock, told, read: async () => world.core, failed: (error) => { throw error; },
    sync: () => sync, kind: 'opfs', announce: (status) => told.push(status),
    storage: { estimate: () => { world.asked += 1; return storage.estimate(); }, persisted: storage.persisted } };
  return { ...world, world, status: new Status(world) };
}

test('is told at most every 100 ms, with the last state, and only when it differs', async () => {
  const { status, told, clock, world } = board();
  status.touch();
  await settle();
  await clock.pass(100);
  const before = told.length;
  for (let n = 1; n <= 50; n += 1) {
    world.core = { ...CORE, pending: n };
    status.touch();
    await clock.pass(10);
  }
  await clock.pass(200);
  assert.ok(told.length - before <= 6 && told.length - before >= 4, `${told.length - before} times in 500 ms`);
  assert.equal(told.at(-1).pending, 50);
  const after = told.length;
  status.touch();
  await clock.pass(200);
  assert.equal(told.length, after);
});

test('a clock that was set back does not silence it', async () => {
  const { status, told, clock, world } = board();
  status.touch();
  await clock.pass(200);
  clock.time -= 3_600_000;
  world.core = { ...CORE, pending: 9 };
  status.touch();
  await clock.pass(100);
  assert.equal(told.at(-1).pending, 9);
});

test('it is safe to leave only when all is upstream, nothing is rejected, and the station has joined', async () => {
  const safe = async (core) => (await board({ core: { ...CORE, ...core } }).status.now()).safeToLeave;
  assert.equal(await safe({}), true);
  assert.equal(await safe({ pending: 1 }), false);
  assert.equal(await safe({ rejects: 1 }), false);
  assert.equal(await safe({ state: 'forked' }), false);
  assert.equal(await safe({ number: undefined }), false);
});

test('the numbers of the storage are asked for rarely', async () => {
  const { status, world, clock } = board();
  for (let n = 0; n < 20; n += 1) {
    await status.now();
    await settle();
    await clock.pass(1_000);
  }
  assert.equal(world.asked, 2);
});

test('a storage that does not answer is unknown, and nothing else', async () => {
  const { status } = board({ storage: { estimate: async () => { throw new Error('no'); }, persisted: async () => { throw new Error('no'); } } });
  await status.refreshStorage();
  const { storage } = await status.now();
  assert.deepEqual([storage.persisted, storage.usageBytes, storage.quotaBytes, storage.risk], [null, null, null, null]);
});

test('a write that found no room is a risk for a minute, whatever the browser says', async () => {
  const { status, clock } = board();
  const risk = async () => (await status.now()).storage.risk;
  assert.equal(await risk(), null);
  status.full();
  await settle();
  assert.equal(await risk(), 'nearly-full');
  await clock.pass(59_000);
  assert.equal(await risk(), 'nearly-full');
  await clock.pass(1_000);
  assert.equal(await risk(), null);
});

test('the first status waits for the storage, but not for ever', async () => {
  assert.equal((await board().status.now()).storage.persisted, true);
  const { status, clock } = board({ storage: { estimate: () => new Promise(() => {}), persisted: async () => true } });
  const first = status.now();
  await clock.pass(300);
  assert.equal((await first).storage.persisted, null);
});

test('risks are named, the worst first, with what to do', () => {
  const numbers = { kind: 'opfs', persisted: true, usageBytes: 1, quotaBytes: 1e12 };
  assert.equal(withRisk(numbers).risk, null);
  assert.equal(withRisk({ ...numbers, persisted: false }).risk, 'evictable');
  assert.equal(withRisk({ ...numbers, persisted: false, quotaBytes: 5e6 }).risk, 'nearly-full');
  assert.equal(withRisk({ ...numbers, usageBytes: 0.96e12 }).risk, 'nearly-full');
  assert.equal(withRisk({ ...numbers, kind: 'memory' }).risk, 'memory');
  assert.match(withRisk({ ...numbers, quotaBytes: 5e6 }).message, /Only 4 MB are left/);
});

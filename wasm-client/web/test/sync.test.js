import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World, now, settle } from './fakes/world.js';

const send = (id, bytes = 10) => ({ do: 'send', id, method: 'POST', url: 'https://up.example/v1/push', token: 'aa', body: new Uint8Array(bytes), timeoutMs: 30_000 });
const acked = (tidemark, changes, rejected = 0) => ({ event: 'acked', tidemark, changes, rejectedHere: 0, rejectedByServer: rejected });
const answered = (status = 200, retryAfter) => ({ reply: { status, retryAfter, body: new Uint8Array() } });
const stopped = (kind, final) => ({ do: 'stopped', kind, message: `${kind}!`, restMs: final ? null : 300_000 });
const count = (core, name) => core.made.filter((made) => made.startsWith(name)).length;
const state = async (world) => (await world.tabs.get('a').call('status')).sync;

/** A world whose station has joined, with the engine's answers. */
async function joined({ actions = [], events = [], replies = [], manual } = {}) {
  const world = new World();
  world.replies.push(...replies);
  world.tab('a');
  await world.own({ manual, prepare: (core) => Object.assign(core, { number: 7, actions, events }) });
  return world;
}

test('sends what the engine says, tells it the reply, and asks again until there is nothing', async () => {
  const world = await joined({
    actions: [send(1), send(2)], events: [acked(5, 5), acked(9, 4)], replies: [answered(200), answered(503, '7')],
  });
  assert.deepEqual(world.requests.map(({ id }) => id), [1, 2]);
  assert.equal(count(world.core, 'onReply'), 2);
  assert.equal((await state(world)).state, 'idle');
});

test('with nothing to push the engine is asked every minute: it says how the station fares', async () => {
  const world = await joined();
  const asked = count(world.core, 'next');
  await world.clock.pass(10 * 60_000);
  assert.equal(count(world.core, 'next') - asked, 10);
  const byHand = await joined({ manual: true });
  const before = count(byHand.core, 'next');
  await byHand.clock.pass(10 * 60_000);
  assert.equal(count(byHand.core, 'next'), before);
});

test('a failure is told to the engine, which is asked again when it said so', async () => {
  const world = await joined();
  world.core.actions.push(send(1), { do: 'wait', untilMs: world.clock.time + 5_000 });
  world.owner.receive({ t: 'hint', what: 'online' });
  await settle();
  assert.equal(count(world.core, 'onFailure 1 unreached no network'), 1);
  const { state: name, retryAt } = await state(world);
  assert.deepEqual([name, retryAt], ['waiting', world.clock.time + 5_000]);
  world.core.actions.push(send(2));
  await world.clock.pass(4_999);
  assert.equal(world.requests.length, 1);
  await world.clock.pass(1);
  assert.equal(world.requests.length, 2);
});

test('how a request failed is told as a fact, until one does not', async () => {
  const world = await joined();
  const failed = (message) => ({ event: 'failed', message, retryAtMs: world.clock.time + 1 });
  world.core.lastError = 'words of the engine';
  for (const [outcome, event, kind] of [
    [{ failure: { kind: 'unreached', message: 'Failed to fetch' } }, failed('no'), 'unreachable'],
    [{ failure: { kind: 'timeout', message: 'late' } }, failed('late'), 'timeout'],
    [answered(503), failed('busy'), 'answer'],
    [answered(200), acked(1, 1), null],
  ]) {
    world.core.actions.push(send(1));
    world.core.events.push(event);
    world.replies.push(outcome);
    world.owner.receive({ t: 'hint', what: 'online' });
    await settle();
    assert.equal((await state(world)).lastError.kind, kind);
  }
});

test('a commit is pushed without anybody asking, one request at a time', async () => {
  const world = await joined();
  let answer;
  world.replies.push(new Promise((resolve) => { answer = resolve; }));
  world.core.actions.push(send(1), send(2));
  const tab = world.tabs.get('a');
  await tab.call('exec', ['put x']);
  await tab.call('exec', ['put y']);
  await settle();
  assert.equal(world.requests.length, 1);
  assert.equal((await state(world)).state, 'sending');
  answer(answered());
  await settle();
  assert.equal(world.requests.length, 2);
});

for (const what of ['repair', 'requeue', 'discard']) {
  test(`after ${what} of a reject the server is asked and the new count is told, though no row of a table changed`, async () => {
    const world = await joined();
    world.core.rejectsOpen = 1;
    await world.tabs.get('a').call('exec', ['put x']);
    await world.clock.pass(1_000);
    const rejects = () => world.announced.filter(({ t }) => t === 'status').at(-1).status.rejects;
    assert.equal(rejects(), 1);
    world.core.actions.push(send(1));
    world.replies.push(answered());
    await world.tabs.get('a').call(what, [3, { what: 'y' }]);
    await world.clock.pass(1_000);
    assert.equal(rejects(), 0);
    assert.deepEqual(world.requests.map(({ id }) => id), [1]);
  });
}

test('the engine is left alone while a page\'s transaction is open, and goes on afterwards', async () => {
  const world = await joined();
  let answer;
  world.replies.push(new Promise((resolve) => { answer = resolve; }));
  world.core.actions.push(send(1));
  const tab = world.tabs.get('a');
  await tab.call('exec', ['put x']);
  await settle();
  const { tx } = await tab.call('begin');
  answer(answered());
  await settle();
  assert.equal(count(world.core, 'onReply'), 0);
  await tab.call('rollback', [], tx);
  await settle();
  assert.equal(count(world.core, 'onReply'), 1);
});

test('push resolves when what was in the log is upstream, with what came of it', async () => {
  const world = await joined();
  world.core.events.push(acked(1, 1), acked(2, 1, 1), acked(3, 1));
  world.core.actions.push(send(1), send(2), send(3));
  world.replies.push(answered(), answered(), answered());
  world.disk.rows.push('x', 'y');
  const pushed = await world.tabs.get('a').call('push');
  assert.deepEqual(pushed, { outcome: 'done', changes: 2, rejected: 1, message: null, stop: null });
});

test('push ends a wait, and says when the server cannot be reached', async () => {
  const world = await joined({ actions: [{ do: 'wait', untilMs: 9e15 }] });
  world.core.actions.push(send(1), { do: 'wait', untilMs: 9e15 });
  const pushed = await world.tabs.get('a').call('push');
  assert.deepEqual([pushed.outcome, pushed.message], ['unreachable', 'no network']);
  assert.ok(count(world.core, 'online') > 0);
});

test('a push that was asked for while a request was on its way does not fail with that one', async () => {
  const world = await joined();
  let answer;
  world.replies.push(new Promise((resolve) => { answer = resolve; }), answered());
  world.core.events.push({ event: 'failed', message: 'cut off', retryAtMs: 0 }, acked(0, 3));
  world.core.actions.push(send(1), send(2));
  world.owner.receive({ t: 'hint', what: 'online' });
  await settle();
  const pushed = world.tabs.get('a').call('push');
  assert.equal(await now(pushed), 'open');
  answer({ failure: { kind: 'broken', message: 'cut off' } });
  assert.deepEqual([(await pushed).outcome, (await pushed).changes], ['done', 3]);
});

test('a token that is refused stops it and is shown; push asks the server once more', async () => {
  const world = await joined({ actions: [stopped('revoked', true)] });
  assert.deepEqual([(await state(world)).state, (await state(world)).stop], ['stopped', { kind: 'revoked', message: 'revoked!' }]);
  await world.clock.pass(600_000);
  assert.equal((await state(world)).state, 'stopped');
  world.core.actions.push(stopped('revoked', true));
  const resumed = count(world.core, 'resume');
  const pushed = await world.tabs.get('a').call('push');
  assert.deepEqual([pushed.outcome, pushed.stop.kind], ['stopped', 'revoked']);
  assert.equal(count(world.core, 'resume'), resumed + 1);
});

test('a stop that may pass is tried again after 5 minutes, and when somebody looks', async () => {
  const world = await joined({ actions: [stopped('schema', false)] });
  const resumed = count(world.core, 'resume');
  await world.clock.pass(299_999);
  assert.equal(count(world.core, 'resume'), resumed);
  world.core.actions.push(stopped('schema', false));
  await world.clock.pass(1);
  assert.equal(count(world.core, 'resume'), resumed + 1);
  world.owner.receive({ t: 'hint', what: 'visible' });
  await settle();
  assert.equal(count(world.core, 'resume'), resumed + 2);
  assert.equal((await state(world)).state, 'idle');
});

test('a database that is full is tried again, and whoever waits for a push is told', async () => {
  const world = await joined();
  const full = () => Object.assign(new Error('no room'), { code: 'full' });
  world.core.failing.set('next', full());
  assert.equal((await now(world.tabs.get('a').call('push'))).code, 'full');
  const { state: name, lastError } = await state(world);
  assert.deepEqual([name, lastError.message, lastError.kind], ['waiting', 'no room', 'storage']);
  assert.equal(world.died, undefined);
  const asked = count(world.core, 'next');
  await world.clock.pass(5_000);
  assert.equal(count(world.core, 'next'), asked + 1);
  assert.equal((await state(world)).state, 'idle');
});

test('by hand nothing is sent but by push, and what waits is shown', async () => {
  const world = await joined({ manual: true, actions: [send(1)] });
  await world.tabs.get('a').call('exec', ['put x']);
  await world.clock.pass(100_000);
  assert.equal(world.requests.length, 0);
  assert.equal((await state(world)).state, 'off');
  world.replies.push(answered());
  world.core.events.push(acked(1, 1));
  assert.equal((await world.tabs.get('a').call('push')).outcome, 'done');
});

test('without a server it says so', async () => {
  const world = new World();
  world.tab('a');
  await world.own({ prepare: (core) => core.actions.push(stopped('not-joined', true)) });
  assert.deepEqual([(await state(world)).state, (await state(world)).stop], ['not-joined', null]);
});

test('a page has at hand what to send when it goes away: the request on its way, or the next one while the engine waits', async () => {
  const world = await joined();
  let answer;
  world.replies.push(new Promise((resolve) => { answer = resolve; }));
  world.core.actions.push(send(1, 60_000), { do: 'wait', untilMs: world.clock.time + 50_000 });
  const tab = world.tabs.get('a');
  await tab.call('exec', ['put x']);
  await settle();
  assert.equal(world.farewell.id, 1);
  answer({ failure: { kind: 'broken', message: 'cut off' } });
  await settle();
  assert.deepEqual([...world.farewell.body], [1], 'prepared by the engine');
  // A commit that comes soon after is in the next one, once.
  world.core.actions.push(...Array.from({ length: 3 }, () => ({ do: 'wait', untilMs: world.clock.time + 50_000 })));
  await tab.call('exec', ['put y']);
  await world.clock.pass(30_000);
  world.owner.receive({ t: 'hint', what: 'online' });
  await settle();
  assert.equal(world.core.farewells, 2);
  await world.clock.pass(90_000);
  assert.equal(world.farewell, null, 'nothing once all is upstream');
});

test('a page that goes away while the server is only asked, or just was, still has its changes at hand', async () => {
  const world = await joined();
  const wait = () => ({ do: 'wait', untilMs: world.clock.time + 50_000 });
  world.core.actions.push(send(1), wait());
  await world.tabs.get('a').call('exec', ['put x']);
  await settle();
  const prepared = world.farewell;
  assert.equal(prepared.id, 0, 'prepared by the engine');
  let answer;
  world.replies.push(new Promise((resolve) => { answer = resolve; }));
  world.core.actions.push({ ...send(2), method: 'GET', url: 'https://up.example/v1/station' }, wait());
  world.owner.receive({ t: 'hint', what: 'online' });
  await settle();
  assert.equal(world.requests.at(-1).method, 'GET');
  assert.equal(world.farewell, prepared, 'while it is asked');
  // The next one is prepared only when some time has gone by since the last.
  answer({ failure: { kind: 'broken', message: 'cut off' } });
  await settle();
  assert.equal(world.core.farewells, 1);
  assert.equal(world.farewell, prepared, 'when it did not answer');
});

test('a request too large for a page that goes away is left alone', async () => {
  const world = await joined({ actions: [send(1, 60_001)], replies: [new Promise(() => {})] });
  assert.equal(world.requests.length, 1);
  assert.equal(world.farewell, null);
});

test('capture is looked after, and what was repaired is told', async (t) => {
  const world = await joined();
  const warn = t.mock.method(console, 'warn', () => {});
  world.core.repaired.push('a trigger was missing');
  await world.tabs.get('a').call('exec', ['put x']);
  await settle();
  assert.deepEqual(warn.mock.calls.map(({ arguments: [words] }) => words), ['tidemark: a trigger was missing']);
});

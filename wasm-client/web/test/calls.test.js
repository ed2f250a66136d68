import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Calls } from '../src/calls.js';
import { CALLS_AT_ONCE } from '../src/protocol.js';
import { now, settle } from './fakes/world.js';

/** A page whose messages are kept. */
function page() {
  const sent = [];
  const calls = new Calls((batch, doneUpTo) => sent.push({ batch: structuredClone(batch), doneUpTo }), () => page.time);
  return { calls, sent, numbers: () => sent.flatMap(({ batch }) => batch.map(({ n }) => n)) };
}
page.time = 0;

test('calls of one task go in one message, under their numbers', async () => {
  const { calls, sent } = page();
  calls.owned();
  const [first] = [calls.call('a', [1]), calls.call('b', [])];
  await settle();
  assert.deepEqual(sent, [{ batch: [{ n: 1, what: 'a', args: [1] }, { n: 2, what: 'b', args: [] }], doneUpTo: 0 }]);
  calls.answered([{ n: 1, ok: 'x' }]);
  assert.equal(await first, 'x');
  calls.call('c', []);
  await settle();
  assert.equal(sent[1].doneUpTo, 1);
});

test('nothing is sent while nobody owns the database; the next owner gets everything unanswered, in order', async () => {
  const { calls, numbers } = page();
  const all = ['a', 'b', 'c'].map((what) => calls.call(what, []));
  await settle();
  assert.deepEqual(numbers(), []);
  calls.owned();
  assert.deepEqual(numbers(), [1, 2, 3]);
  calls.answered([{ n: 2, ok: 'b' }]);
  calls.lost();
  calls.call('d', []);
  await settle();
  calls.owned();
  assert.deepEqual(numbers(), [1, 2, 3, 1, 3, 4]);
  assert.equal(await all[1], 'b');
});

test('a part of a result that the owner before had sent is forgotten', async () => {
  const { calls } = page();
  calls.owned();
  const result = calls.call('query', []);
  await settle();
  calls.answered([{ n: 1, columns: ['x'], rows: [['old']] }]);
  calls.lost();
  calls.owned();
  calls.answered([{ n: 1, columns: ['x'], rows: [['a'], ['b']] }]);
  calls.answered([{ n: 1, ok: { columns: ['x'], rows: [['c']] } }]);
  assert.deepEqual((await result).rows, [{ x: 'a' }, { x: 'b' }, { x: 'c' }]);
});

test('only so many calls are on their way; the others follow in order, but those of a transaction do not wait', async () => {
  const { calls, numbers } = page();
  calls.owned();
  const all = Array.from({ length: CALLS_AT_ONCE + 2 }, (_, index) => calls.call('a', [index]));
  await settle();
  assert.equal(numbers().length, CALLS_AT_ONCE);
  calls.call('inside', [], 1);
  await settle();
  assert.equal(numbers().length, CALLS_AT_ONCE + 1);
  calls.answered([{ n: 1, ok: 0 }, { n: 2, ok: 1 }, { n: 3, ok: 2 }]);
  await settle();
  assert.equal(numbers().length, CALLS_AT_ONCE + 3);
  assert.equal(await all[0], 0);
});

test('calls without end are refused', async () => {
  const { calls } = page();
  const many = Array.from({ length: 100_000 + CALLS_AT_ONCE }, () => calls.call('a', []));
  assert.equal((await now(calls.call('a', []))).code, 'busy');
  many.forEach((call) => call.catch(() => {}));
  calls.failAll(Object.assign(new Error(), { code: 'closed' }));
  assert.equal(calls.open, 0);
});

test('an argument that cannot be sent is its own call\'s error only', async () => {
  const { calls, numbers } = page();
  calls.owned();
  const [good, bad] = [calls.call('a', [1]), calls.call('b', [() => 1]), calls.call('c', [2])];
  const state = await now(bad);
  assert.equal(state.code, 'argument');
  assert.match(state.message, /^b: an argument cannot be sent/);
  assert.deepEqual(numbers(), [1, 3]);
  calls.answered([{ n: 1, ok: 'fine' }]);
  assert.equal(await good, 'fine');
});

test('what nobody answers is known by its age, and can be said again', async () => {
  const { calls, numbers } = page();
  calls.owned();
  calls.call('a', []);
  await settle();
  assert.deepEqual(calls.olderThan(3_000), []);
  page.time += 3_000;
  assert.deepEqual(calls.olderThan(3_000), [1]);
  calls.again([1, 99]);
  assert.deepEqual(numbers(), [1, 1]);
  assert.deepEqual(calls.olderThan(3_000), []);
});

test('answers nobody waits for are ignored; idle tells when all are there', async () => {
  const { calls } = page();
  calls.owned();
  calls.answered([{ n: 5, ok: 1 }, { n: 6, error: { code: 'sql', message: '' } }]);
  const call = calls.call('a', []);
  const idle = calls.idle();
  assert.equal(await now(idle), 'open');
  calls.answered([{ n: 1, error: { code: 'sql', message: 'no such table' } }]);
  await idle;
  await assert.rejects(call, { name: 'TidemarkError', code: 'sql', message: 'no such table' });
});

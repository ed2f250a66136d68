import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LiveQuery } from '../src/live.js';
import { settle } from './fakes/clock.js';

/** A live query whose runs are ended by the test. */
function live(t) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const seen = { rows: [], errors: [], runs: [] };
  const query = new LiveQuery({
    run: () => new Promise((resolve, reject) => { seen.runs.push({ resolve: (rows, tables = ['thing']) => resolve({ rows, tables }), reject }); }),
    fn: (rows) => seen.rows.push(rows),
    onError: (error) => seen.errors.push(error.code),
  });
  const pass = async () => {
    t.mock.timers.tick(50);
    await settle();
  };
  return { query, seen, pass };
}

test('runs now, and after a commit that changed one of its tables', async (t) => {
  const { query, seen, pass } = live(t);
  seen.runs[0].resolve(['a']);
  await settle();
  query.changed(['other']);
  await pass();
  assert.equal(seen.runs.length, 1);
  query.changed(['other', 'thing']);
  await pass();
  seen.runs[1].resolve(['a', 'b']);
  await settle();
  assert.deepEqual(seen.rows, [['a'], ['a', 'b']]);
});

test('many commits lead to one run, and those during a run to one more', async (t) => {
  const { query, seen, pass } = live(t);
  for (let n = 0; n < 100; n += 1) query.changed(['thing']);
  await pass();
  assert.equal(seen.runs.length, 1, 'one at a time');
  seen.runs[0].resolve(['a']);
  await settle();
  await pass();
  assert.equal(seen.runs.length, 2);
  seen.runs[1].resolve(['b']);
  await settle();
  await pass();
  assert.equal(seen.runs.length, 2);
  assert.deepEqual(seen.rows, [['a'], ['b']]);
});

test('a statement that fails is told, and tried again with the next commit whatever it changed', async (t) => {
  const { query, seen, pass } = live(t);
  seen.runs[0].reject({ code: 'sql' });
  await settle();
  query.changed(['new table']);
  await pass();
  seen.runs[1].resolve(['a']);
  await settle();
  assert.deepEqual([seen.errors, seen.rows], [['sql'], [['a']]]);
});

test('nothing is told after its end', async (t) => {
  const { query, seen, pass } = live(t);
  query.end();
  seen.runs[0].resolve(['a']);
  query.changed(['thing']);
  await settle();
  await pass();
  assert.deepEqual([seen.rows, seen.runs.length], [[], 1]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shrinkageOf } from '../notebook/shrinkage.js';

const record = (initial, final, days = 7, incoming = null, outgoing = null) => ({ initial, incoming, outgoing, final, days });

test('the known records: 1.2 → 1.092 kg is 9 %, 5.0 → 4.75 kg is 5 %, over 7 days', () => {
  assert.deepEqual(shrinkageOf(record(1.2, 1.092)), {
    theoretical: 1.2, shrinkage: 0.108, rate: 0.09, perDay: 0.09 / 7, surplus: false, unusual: false,
  });
  assert.equal(shrinkageOf(record(5, 4.75)).rate, 0.05);
});

test('what came and went moves the theoretical balance, and the rate stays one of the initial mass', () => {
  const { theoretical, shrinkage, rate } = shrinkageOf(record(12.5, 10.9, 14, 3, 4.2));
  assert.deepEqual([theoretical, shrinkage, rate], [11.3, 0.4, 0.032]);
});

test('more than there should be is a surplus with a negative rate', () => {
  const { shrinkage, rate, surplus } = shrinkageOf(record(8, 8.2));
  assert.deepEqual([shrinkage, rate, surplus], [-0.2, -0.025, true]);
});

test('without a positive initial balance there is no rate, and the shrinkage is known all the same', () => {
  const { theoretical, shrinkage, rate, perDay } = shrinkageOf(record(0, 2.9, 3, 3));
  assert.deepEqual([theoretical, shrinkage, rate, perDay], [3, 0.1, null, null]);
});

test('what has not been typed yet leaves open what depends on it', () => {
  assert.equal(shrinkageOf(record(1.2, null)).theoretical, 1.2);
  assert.equal(shrinkageOf(record(1.2, null)).shrinkage, null);
  assert.equal(shrinkageOf(record(null, 1)).theoretical, null);
  assert.equal(shrinkageOf(record(1.2, 1.092, null)).rate, 0.09);
  assert.equal(shrinkageOf(record(1.2, 1.092, 0)).perDay, null);
});

test('an unusual loss is pointed out', () => {
  assert.equal(shrinkageOf(record(10, 6.9)).unusual, true);
  assert.equal(shrinkageOf(record(10, 7)).unusual, false);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layout, nearest, ticks } from '../notebook/chart.js';
import { dayStart, daysBetween, fromStored } from '../notebook/days.js';

// Not UTC, and with a summer time. Every test file has a process of its own.
process.env.TZ = 'Europe/Berlin';

test('a stored time is UTC, with or without a fraction; what is no time is null', () => {
  assert.equal(fromStored('2026-11-25 19:02:03.123456').toISOString(), '2026-11-25T19:02:03.123Z');
  assert.equal(fromStored('2026-11-25 19:02:03').toISOString(), '2026-11-25T19:02:03.000Z');
  for (const text of [null, 'yesterday', '', 5]) assert.equal(fromStored(text), null);
});

test('a local day begins at local midnight, and days are counted over a change of the clock', () => {
  assert.equal(dayStart(new Date('2026-03-29T12:00:00Z')).toISOString(), '2026-03-28T23:00:00.000Z');
  assert.equal(dayStart(new Date('2026-03-29T12:00:00Z'), 1).toISOString(), '2026-03-29T22:00:00.000Z');
  assert.equal(daysBetween(new Date('2026-03-28T22:59:00Z'), new Date('2026-03-28T23:01:00Z')), 1);
  assert.equal(daysBetween(new Date('2026-03-22T12:00:00Z'), new Date('2026-03-29T12:00:00Z')), 7);
});

test('the chart’s levels are round and cover every rate, with zero among them', () => {
  assert.deepEqual(ticks(0, 0.09), [0, 0.025, 0.05, 0.075, 0.1]);
  assert.deepEqual(ticks(0, 0.05), [0, 0.02, 0.04, 0.06]);
  assert.deepEqual(ticks(-0.025, 0.09), [-0.05, 0, 0.05, 0.1]);
  assert.deepEqual(ticks(0, 0), [0, 0.25]);
  for (const [low, high] of [[0, 0.001], [-3, 0], [0, 123], [-0.07, 0.4]]) {
    const levels = ticks(low, high);
    assert.ok(levels[0] <= low && levels.at(-1) >= high && levels.length <= 7, `${low} … ${high}: ${levels}`);
    assert.ok(levels.includes(0));
  }
});

test('points lie left to right by time and the higher the rate, the higher', () => {
  const points = [0, 7, 10].map((day, i) => ({ at: new Date(Date.UTC(2026, 10, 1 + day)), rate: [0.05, 0.09, -0.01][i] }));
  const { spots } = layout(points, { width: 360, height: 220 });
  assert.ok(spots[0].x < spots[1].x && spots[1].x < spots[2].x && spots[2].x <= 360);
  assert.ok(spots[1].y < spots[0].y && spots[0].y < spots[2].y && spots[1].y >= 0 && spots[2].y <= 220);
  assert.equal(nearest(spots, spots[1].x + 3), 1);
  const [alone] = layout([points[0]], { width: 360, height: 220 }).spots;
  assert.ok(Number.isFinite(alone.x) && Number.isFinite(alone.y));
});

// Many rows.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertSame } from './harness/upstream.mjs';
import { World } from './harness/world.mjs';

const rows = 50_000;

test('50,000 rows recorded offline reach PostgreSQL, while the page goes on writing', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  await tab.run(async (count) => {
    await db.insert('site', { name: 'пост 1' });
    const start = Date.UTC(2025, 0, 1);
    for (let from = 0; from < count; from += 5000) {
      const part = Array.from({ length: 5000 }, (_, n) => [1, new Date(start + (from + n) * 60_000), (from + n) / 7 % 50, from + n, `запись ${from + n}`, n % 2 === 0]);
      await db.execMany('INSERT INTO reading (site_id, measured_at, temperature, count, note, ok) VALUES (?, ?, ?, ?, ?, ?)', part);
    }
  }, rows);
  assert.equal((await tab.db('status')).pending, rows + 1);
  const station = await tab.db('join', await world.server.addStation('a'));
  const begin = performance.now();
  const pushing = tab.db('push');
  // Writes are not kept waiting by the push.
  for (let n = 0; n < 20; n += 1) await tab.db('insert', 'reading', { site_id: 1, measured_at: new Date(), note: `во время отправки ${n}` });
  const pushed = await pushing;
  t.diagnostic(`pushed in ${Math.round(performance.now() - begin)} ms`);
  assert.deepEqual([pushed.outcome, pushed.rejected], ['done', 0]);
  assert.ok(pushed.changes >= rows + 1);
  await tab.statusThat((status) => status.safeToLeave);
  assert.equal(await assertSame(tab, world.upstream, world.schema, station.number), rows + 21);
});

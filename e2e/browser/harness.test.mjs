// The comparison that the other tests stand on sees every kind of difference.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertSame } from './harness/upstream.mjs';
import { World } from './harness/world.mjs';

test('one differing cell, one row too many and one too few are seen', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  await tab.db('insert', 'site', { name: 'пост', height: 0.1 });
  await tab.db('insert', 'site', { name: 'другой' });
  await tab.db('insert', 'reading', {
    site_id: 1, measured_at: '2025-01-01 00:00:00.000001', temperature: 0.1, count: 9007199254740993n, note: 'ж', ok: false, extra: '{"a": 1}',
    raw: new Uint8Array([0]), tag_uid: '00000000-0000-4000-8000-000000000000', checked_at: null,
  });
  const { number } = await tab.db('join', await world.server.addStation('a'));
  await tab.statusThat((status) => status.safeToLeave);
  assert.equal(await assertSame(tab, world.upstream, world.schema, number), 3);
  const changes = [
    'UPDATE varied.reading SET site_id = site_id + 1', "UPDATE varied.reading SET measured_at = measured_at + interval '1 microsecond'",
    'UPDATE varied.reading SET temperature = 0.1 + 1e-17', 'UPDATE varied.reading SET temperature = 0.30000000000000004 - 0.2', 'UPDATE varied.reading SET count = count - 1',
    "UPDATE varied.reading SET note = 'Ж'", 'UPDATE varied.reading SET note = NULL', 'UPDATE varied.reading SET ok = NOT ok', `UPDATE varied.reading SET extra = '{"a":1}'`,
    "UPDATE varied.reading SET raw = '\\x01'", "UPDATE varied.reading SET tag_uid = '10000000-0000-4000-8000-000000000000'",
    "UPDATE varied.reading SET checked_at = '1970-01-01'", 'DELETE FROM varied.reading', "INSERT INTO varied.tag (uid, station) SELECT gen_random_uuid(), station FROM varied.reading",
  ];
  const seen = [];
  for (const change of changes) {
    await world.upstream.query('BEGIN');
    await world.upstream.query(change);
    if (await assertSame(tab, world.upstream, world.schema, number).then(() => false, () => true)) seen.push(change);
    await world.upstream.query('ROLLBACK');
  }
  // 0.1 + 1e-17 is 0.1 to the last bit: the only one that is no difference.
  assert.deepEqual(seen, changes.filter((change) => !change.includes('1e-17')));
});

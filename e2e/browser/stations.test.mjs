// Joining, and what the server thinks of a station.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { correct, dice, record } from './harness/rows.mjs';
import { assertSame } from './harness/upstream.mjs';
import { World } from './harness/world.mjs';

test('two profiles are two stations, and their equal ids do not meet', async (t) => {
  const world = await World.make(t);
  const profiles = await Promise.all([world.profile(), world.profile()]);
  const tabs = await Promise.all(profiles.map((profile) => profile.tab(world.app.origin, world.options())));
  const stations = [];
  for (const [at, tab] of tabs.entries()) {
    await record(tab, dice(10 + at));
    await correct(tab, dice(20 + at));
    stations.push(await tab.db('join', await world.server.addStation(`st-${at}`)));
  }
  const [first, second] = stations.map(({ number }) => number);
  assert.notEqual(first, second);
  const ids = await Promise.all(tabs.map((tab) => tab.db('query', 'SELECT id FROM site ORDER BY id')));
  assert.deepEqual(ids[0], ids[1]);
  for (const [at, tab] of tabs.entries()) {
    await tab.statusThat((status) => status.safeToLeave);
    await assertSame(tab, world.upstream, world.schema, stations[at].number);
  }
});

test('two databases of one origin are two stations', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tabs = [await profile.tab(world.app.origin, world.options({ name: 'a' })), await profile.tab(world.app.origin, world.options({ name: 'b' }))];
  const numbers = [];
  for (const [at, tab] of tabs.entries()) {
    await record(tab, dice(at));
    numbers.push((await tab.db('join', await world.server.addStation(`st-${at}`))).number);
  }
  assert.notEqual(numbers[0], numbers[1]);
  for (const [at, tab] of tabs.entries()) {
    await tab.statusThat((status) => status.safeToLeave);
    await assertSame(tab, world.upstream, world.schema, numbers[at]);
  }
});

test('a revoked token is shown as such, and the station goes on recording', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  await tab.db('join', await world.server.addStation('lost-tablet'));
  await tab.statusThat((status) => status.safeToLeave && status.sync.state === 'idle');
  await world.server.revokeStation('lost-tablet');
  await record(tab, dice(1));
  const status = await tab.statusThat((status) => status.sync.state === 'stopped');
  assert.equal(status.sync.stop.kind, 'revoked');
  assert.match(status.sync.stop.message, /revoked/i);
  assert.equal(status.safeToLeave, false);
  const pushed = await tab.db('push');
  assert.deepEqual([pushed.outcome, pushed.stop?.kind], ['stopped', 'revoked']);
  await record(tab, dice(2));
  assert.equal((await tab.db('status')).pending, 120);
  await tab.reload();
  assert.equal((await tab.statusThat((status) => status.sync.state === 'stopped')).pending, 120);
  assert.equal(await world.upstream.count('reading'), 0);
});

test('a join code works once, again for who has it, and every other code says what is wrong', async (t) => {
  const world = await World.make(t);
  const wire = await world.wire();
  const [profile, other] = await Promise.all([world.profile(), world.profile()]);
  const tab = await profile.tab(world.app.origin, world.options());
  await assert.rejects(tab.db('join', 'nonsense'), { code: 'join' });
  assert.equal((await tab.db('push')).stop?.kind, 'not-joined');
  assert.deepEqual((await tab.db('status')).sync.state, 'not-joined');
  const code = await world.server.addStation('a', wire.url);
  wire.cut();
  await assert.rejects(tab.db('join', code), { code: 'unreachable' });
  // The server hears, and its answer is lost.
  wire.mode = 'hold-replies';
  const joining = tab.db('join', code);
  joining.catch(() => {});
  await world.until('the code is used', async () => (await world.upstream.query('SELECT 1 FROM tidemark.station WHERE joined_at IS NOT NULL')).length > 0);
  wire.cut();
  await assert.rejects(joining, { code: 'unreachable' });
  wire.restore();
  const station = await tab.db('join', code);
  assert.deepEqual(await tab.db('join', code), station);
  assert.deepEqual((await tab.db('status')).station, station);
  const stranger = await other.tab(world.app.origin, world.options());
  await assert.rejects(stranger.db('join', code), (error) => error.code === 'join' && /used/i.test(error.message));
});

test('a row that cannot be applied is a reject that can be repaired, sent again or given up', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options({ sync: 'manual' }));
  const station = await tab.db('join', await world.server.addStation('a'));
  const good = await tab.db('insert', 'site', { name: 'пост' });
  const bad = await tab.db('insert', 'reading', { site_id: good, measured_at: new Date('2025-01-01'), temperature: 20, count: 'много' });
  // What SQLite can see, it refuses at once.
  const orphan = tab.db('insert', 'reading', { site_id: 77, measured_at: new Date('2025-01-01'), note: 'сирота' });
  await assert.rejects(orphan, (error) => error.code === 'constraint');
  await tab.db('insert', 'reading', { site_id: good, measured_at: '9998-01-01 00:00:00', note: 'часы' });
  await tab.db('insert', 'reading', { site_id: good, measured_at: '9999-01-01 00:00:00', note: 'опять часы' });
  const pushed = await tab.db('push');
  assert.deepEqual([pushed.outcome, pushed.rejected], ['done', 3]);
  const status = await tab.db('status');
  assert.deepEqual([status.pending, status.rejects, status.safeToLeave], [0, 3, false]);
  const rejects = await tab.db('rejects');
  assert.deepEqual(rejects.map(({ table, op, origin }) => [table, op, origin]),
    [['reading', 'insert', 'station'], ['reading', 'insert', 'server'], ['reading', 'insert', 'server']]);
  assert.equal(rejects[0].row.id, bad);
  assert.equal(rejects[1].row.note, 'часы');
  for (const { message } of rejects) assert.ok(message.length > 10, message);
  await tab.db('repair', rejects[0].seq, { count: 5 });
  await tab.db('repair', rejects[1].seq, { measured_at: '2025-01-03 00:00:00' });
  await tab.db('discard', rejects[2].seq);
  await tab.db('push');
  assert.deepEqual(await tab.db('rejects'), []);
  assert.equal((await tab.db('status')).safeToLeave, true);
  const notes = await world.upstream.query(`SELECT note, count FROM varied.reading WHERE station = ${station.number} ORDER BY id`);
  assert.deepEqual(notes, [{ note: null, count: '5' }, { note: 'часы', count: null }]);
});

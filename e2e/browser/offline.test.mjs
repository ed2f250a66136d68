// Recording without a network, and coming back.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { correct, dice, record } from './harness/rows.mjs';
import { assertSame } from './harness/upstream.mjs';
import { World } from './harness/world.mjs';

test('what is recorded while the server is down and the network is off outlives reload, closing and a kill of the browser, and reaches PostgreSQL', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const draw = dice(4);
  let tab = await profile.tab(world.app.origin);
  await tab.keepForOffline();
  await tab.open(world.options());
  await record(tab, draw);
  await correct(tab, draw);
  const station = await tab.db('join', await world.server.addStation('хладокомбинат'));
  assert.equal(station.name, 'хладокомбинат');
  await tab.statusThat((status) => status.safeToLeave);
  await assertSame(tab, world.upstream, world.schema, station.number);

  await world.server.kill();
  await record(tab, draw);
  const waiting = await tab.statusThat((status) => status.sync.state === 'waiting');
  assert.ok(waiting.pending >= 55 && waiting.sync.lastError && !waiting.safeToLeave);

  await profile.context.setOffline(true);
  await correct(tab, draw);
  await tab.reload();
  await record(tab, draw);
  const { pending } = await tab.db('status');
  await profile.leave();

  // Now not even the origin of the page answers.
  await world.app.close();
  await profile.come();
  tab = await profile.tab(world.app.origin, world.options({ schema: undefined }));
  assert.equal((await tab.db('status')).pending, pending);
  await correct(tab, draw);
  await record(tab, draw);
  const rows = await tab.db('query', 'SELECT count(*) AS n FROM reading');
  await profile.kill();

  await profile.come();
  await world.app.restart();
  tab = await profile.tab(world.app.origin, world.options());
  assert.deepEqual(await tab.db('query', 'SELECT count(*) AS n FROM reading'), rows);
  assert.equal((await tab.db('push')).outcome, 'unreachable');
  await world.server.restart();
  const pushed = await tab.db('push');
  assert.deepEqual([pushed.outcome, pushed.rejected, pushed.stop], ['done', 0, null]);
  const status = await tab.db('status');
  assert.deepEqual([status.safeToLeave, status.pending, status.rejects, status.tidemark], [true, 0, 0, status.lastSeq]);
  const compared = await assertSame(tab, world.upstream, world.schema, station.number);
  assert.ok(compared > 150, `${compared} rows`);
  assert.deepEqual(tab.uncaught, []);
});

test('a server that comes back is found without anyone asking', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const station = await tab.db('join', await world.server.addStation('a'));
  await world.server.kill();
  await record(tab, dice(1));
  await tab.statusThat((status) => status.sync.state === 'waiting');
  await world.server.restart();
  await tab.statusThat((status) => status.safeToLeave, 60_000);
  await assertSame(tab, world.upstream, world.schema, station.number);
});

test('the network coming back ends the wait', async (t) => {
  const world = await World.make(t);
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  await tab.db('join', await world.server.addStation('a'));
  await profile.context.setOffline(true);
  await record(tab, dice(1));
  await tab.statusThat((status) => status.sync.lastError !== null && status.sync.retryAt - Date.now() > 4000, 60_000);
  await profile.context.setOffline(false);
  const before = performance.now();
  await tab.statusThat((status) => status.safeToLeave);
  t.diagnostic(`safe ${Math.round(performance.now() - before)} ms after the network was back`);
});

test('a server killed in the middle of a push, again and again, loses and doubles nothing', async (t) => {
  const world = await World.make(t);
  const wire = await world.wire();
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options({ sync: 'manual' }));
  const station = await tab.db('join', await world.server.addStation('a', wire.url));
  const draw = dice(5);
  for (const bytes of [200, 20_000, 60_000, 90_000]) {
    await record(tab, draw, { sites: 3, readings: 3000 });
    await correct(tab, draw);
    const reached = wire.sent(bytes).then(() => world.server.kill());
    const pushed = tab.db('push');
    await reached;
    assert.equal((await pushed).outcome, 'unreachable');
    assert.ok((await tab.db('status')).pending > 0);
    await world.server.restart();
  }
  // The server commits, and its answer is lost.
  wire.mode = 'hold-replies';
  const pushed = tab.db('push');
  await world.until('rows upstream', async () => (await world.upstream.count('reading')) > 0);
  wire.cut();
  assert.equal((await pushed).outcome, 'unreachable');
  wire.restore();
  assert.equal((await tab.db('push')).outcome, 'done');
  await assertSame(tab, world.upstream, world.schema, station.number);
  assert.equal((await tab.db('status')).safeToLeave, true);
});

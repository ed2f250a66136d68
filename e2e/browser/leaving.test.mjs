// The page goes away with changes that were not sent yet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from './harness/wait.mjs';
import { World } from './harness/world.mjs';

test('pagehide sends what waits: it is upstream without the page being there', async (t) => {
  const world = await World.make(t);
  const wire = await world.wire();
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const station = await tab.db('join', await world.server.addStation('a', wire.url));
  await tab.statusThat((status) => status.safeToLeave);
  wire.cut();
  await tab.db('insert', 'site', { name: 'на прощание' });
  // Its next attempt is far away: what arrives is not that.
  await tab.statusThat((status) => status.sync.state === 'waiting' && status.sync.retryAt - Date.now() > 5000, 60_000);
  wire.restore();
  await tab.page.goto('about:blank');
  await until('the row is upstream', async () => (await world.upstream.count('site', station.number)) === 1, 4500);
  // The station does not know yet, asks, and doubles nothing.
  await tab.page.goto(world.app.origin);
  await tab.open(world.options());
  await tab.db('push');
  assert.equal((await tab.statusThat((status) => status.safeToLeave)).pending, 0);
  assert.equal(await world.upstream.count('site', station.number), 1);
});

test('closing the tab sends what waits, too', async (t) => {
  const world = await World.make(t);
  const wire = await world.wire();
  const profile = await world.profile();
  const tab = await profile.tab(world.app.origin, world.options());
  const station = await tab.db('join', await world.server.addStation('a', wire.url));
  await tab.statusThat((status) => status.safeToLeave);
  wire.cut();
  await tab.db('insert', 'site', { name: 'на прощание' });
  await tab.statusThat((status) => status.sync.state === 'waiting' && status.sync.retryAt - Date.now() > 5000, 60_000);
  wire.restore();
  await tab.page.close({ runBeforeUnload: true });
  await until('the row is upstream', async () => (await world.upstream.count('site', station.number)) === 1, 4500);
});
